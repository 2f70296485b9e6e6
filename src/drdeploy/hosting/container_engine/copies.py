"""Copy a folder of this machine to a container engine that cannot mount it.

A container engine on another machine, or in a virtual machine, cannot read the files of this
machine. The folder is therefore copied to a volume of the engine, and the container mounts this
volume instead of the folder.
"""

from __future__ import annotations

import tarfile
import tempfile
import uuid
from typing import TYPE_CHECKING, Any

from drdeploy.errors import EngineError
from drdeploy.hosting.container_engine.container import kill_and_remove_container, remove_volumes
from drdeploy.hosting.container_engine.failures import translate_engine_errors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from docker import APIClient

UNPACK_AT = "/drdeploy-copy"


def copy_folder_to_volume(
    api: APIClient, folder: Path, image: str, labels: Mapping[str, str]
) -> str:
    """Copy a folder to a new volume of the engine, and return the volume's name.

    The engine accepts files only through a container. For the copy, a container is therefore
    created from ``image``. The container is never started, and it is removed after the copy. The
    volume and the container get the given labels.

    Raises:
        EngineError: The source is a single file, or the engine refuses the copy.
    """
    if not folder.is_dir():
        raise EngineError(
            "The engine does not see the files of this machine, so a container can be given a "
            "folder but not a single file",
            where=str(folder),
            remedy="Use an engine that runs on this machine: unset DOCKER_HOST and DOCKER_CONTEXT",
        )
    name = f"drdeploy-copy-{uuid.uuid4().hex[:12]}"
    with translate_engine_errors(f"{folder} cannot be copied to the engine", where=image):
        api.create_volume(name, labels=dict(labels))
        try:
            mount: Any = {"Type": "volume", "Source": name, "Target": UNPACK_AT}
            created = api.create_container(
                image,
                command=["none"],
                labels=dict(labels),
                host_config=api.create_host_config(mounts=[mount]),
            )
            try:
                with tempfile.TemporaryFile() as archive:
                    with tarfile.open(fileobj=archive, mode="w") as tar:
                        tar.add(folder, arcname=".")
                    archive.seek(0)
                    api.put_archive(created["Id"], UNPACK_AT, archive)
            finally:
                kill_and_remove_container(api, str(created["Id"]))
        except BaseException:
            remove_volumes(api, [name])
            raise
    return name


def remove_volumes_with_label(api: APIClient, label: str) -> None:
    """Remove the volumes that have a label (``name`` or ``name=value``) and are not in use."""
    found = api.volumes(filters={"label": label}).get("Volumes") or []
    remove_volumes(api, [str(volume["Name"]) for volume in found])
