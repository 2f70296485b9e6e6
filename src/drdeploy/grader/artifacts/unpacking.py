"""Unpack an archive of any origin, without checking its manifest or its model.

A container of another project may expect any files in ``/opt/ml/model``. The archive is refused
only if unpacking it is unsafe, or if SageMaker would refuse it too.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.errors import ArtifactError
from drdeploy.files import make_folder_readable_for_every_user
from drdeploy.grader.artifacts.tar_archive import ArchiveLimits, iterate_archive_members

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_LIMITS = ArchiveLimits()


def unpack_archive(
    archive: Path, folder: Path, *, limits: ArchiveLimits = DEFAULT_LIMITS
) -> tuple[str, ...]:
    """Unpack an archive, and let every user read its files.

    Folders are kept, even empty ones, and executable files stay executable.  Owners are not kept,
    because this function does not know which user the container runs as. A refused archive leaves
    nothing behind.

    Args:
        archive: A gzip-compressed tar file.
        folder: The target folder, which must not exist or must be empty.
        limits: The largest extracted size.

    Returns:
        The paths of the files, in the order of the archive.

    Raises:
        UnsafeArchive: A file would be written outside the folder, or the archive holds links or is
            too large.
        TruncatedArchive: The archive ends too early, or is not a gzip-compressed tar file.
        ArtifactError: The folder is not empty, or cannot be written.
    """
    names = []
    with fill_new_folder_atomically(folder) as part:
        for member in iterate_archive_members(archive, limits, with_folders=True):
            path = part / member.name
            if member.is_folder:
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                for chunk in member.iterate_content_chunks():
                    file.write(chunk)
            if member.is_executable:
                path.chmod(0o755)
            names.append(member.name)
    return tuple(names)


@contextmanager
def fill_new_folder_atomically(folder: Path) -> Iterator[Path]:
    """Make a temporary folder that is renamed to the given folder when the ``with`` block ends.

    Every user may read the new folder. If the block raises, nothing is left behind.

    Raises:
        ArtifactError: The folder exists and is not empty, or cannot be written.
    """
    part: Path | None = None
    try:
        if folder.exists() and any(folder.iterdir()):
            raise ArtifactError(
                "The folder to extract to is not empty",
                where=str(folder),
                remedy="Give a new or an empty folder",
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        yield part
        make_folder_readable_for_every_user(part)
        part.replace(folder)
    except OSError as err:  # a full disk, a folder of somebody else's, a name it does not take
        raise ArtifactError(
            f"The archive cannot be extracted: {err.strerror}",
            where=str(folder),
            remedy="Give a folder that you may write to, on a disk with free space",
        ) from err
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
