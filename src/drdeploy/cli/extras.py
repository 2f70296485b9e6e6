"""The extras that each command needs beyond the plain install.

The plain install can grade photographs. Most other commands need the packages of an extra. If an
extra is missing, the command is refused at once. Otherwise a study, for example, could fail after
hours of measuring.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from drdeploy.errors import InvalidInput, MissingExtra, describe_extra_installation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SERVE = ("prometheus_client", "python_multipart")
_CLINIC = (
    *("alembic", "gdcm", "h11", "highdicom", "itsdangerous", "jinja2", "jpeg_ls", "markupsafe"),
    *("openjpeg", "pg8000"),
    *("pydicom", "pynetdicom", "python_multipart", "reportlab", "sqlalchemy", "starlette"),
    "uvicorn",
)
_CLASSIC = ("fastapi", "gunicorn", "httptools", "starlette", "uvicorn", "uvicorn_worker")
_CLOUD = ("boto3", "botocore", "docker", "psutil", "pydantic", "requests", "urllib3")
_ANALYSIS = ("jinja2", "markupsafe", "matplotlib", "onnx", "scipy")
_TRAIN = ("h5py", "keras", "sklearn", "tensorflow", "tf2onnx", "threadpoolctl")

MODULES: Mapping[str, tuple[str, ...]] = {
    "archive": (*_CLOUD, "pyarrow", "ray"),
    "serve": _SERVE,
    "tensorflow": (*_SERVE, *_CLASSIC, "tensorflow"),
    "cloud": _CLOUD,
    "clinic": _CLINIC,
    "study": (*_SERVE, *_CLOUD, *_ANALYSIS, "flask", "flask_cors", "moto", "pandas"),
    "train": (*_ANALYSIS, *_TRAIN),
}
"""The modules that each extra of ``pyproject.toml`` installs."""

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "archive": ("archive",),
    "artifact push": ("cloud",),
    "batch": ("cloud",),
    "capacity": ("study",),
    "clinic": ("clinic",),
    "endpoint": ("cloud",),
    "image": ("cloud",),
    "image cold-start": ("study",),
    "image sizes": ("study",),
    "local down": ("study",),
    "local status": ("cloud",),
    "local up": ("study",),
    "model compare": ("study", "train"),
    "model evaluate": ("study",),
    "model export": ("train",),
    "model quantize": ("study",),
    "model recalibrate": ("study",),
    "model train": ("train",),
    "prices": ("cloud",),
    "recommend": ("study",),
    "report": ("study",),
    "reproduce": ("study",),
    "serve": ("serve",),
    "study": ("study",),
}
"""The extras that each command needs; a noun stands for all its verbs. Commands that are not listed
here need no extra.
"""

LINUX_ONLY = frozenset({"archive", "capacity", "image", "local", "serve", "study"})
"""The commands that run only on Linux. All but ``archive`` set or read limits on the memory and CPU
of processes, which only Linux has in this form. ``archive`` needs no such limits, but it starts Ray
through internal parts of Ray, and is tested only on Linux.
"""


def check_extras_and_system_of_command(
    words: Sequence[str], environ: Mapping[str, str] = os.environ
) -> None:
    """Refuse a command that cannot run on this system, or whose extra is missing.

    Args:
        words: The command line without the program's name. With ``--help``, every command is
            accepted.
        environ: The environment variables. For ``serve``, ``DRDEPLOY_PROFILE`` decides which extra
            is needed.

    Raises:
        MissingExtra: Packages that the command needs are not installed.
        InvalidInput: The command needs Linux, and this system is not Linux.
    """
    if "--help" in words:
        return
    noun, command = "".join(words[:1]), " ".join(words[:2])
    if noun in LINUX_ONLY and sys.platform != "linux":
        raise InvalidInput(
            f"`drdeploy {noun}` runs only on Linux, but this system is {sys.platform}",
            remedy=(
                "Run the command on a Linux machine, in a virtual machine or in a Linux container"
            ),
        )
    extras = EXTRAS.get(command) or EXTRAS.get(noun, ())
    if noun == "serve" and environ.get("DRDEPLOY_PROFILE") == "classic":
        extras = ("tensorflow",)
    missing = sorted({name for extra in extras for name in MODULES[extra] if not find_spec(name)})
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise MissingExtra(
            f"`drdeploy {command if command in EXTRAS else noun}` needs "
            f"{' and '.join(f'the extra `{extra}`' for extra in extras)}, which "
            f"{'is' if len(extras) == 1 else 'are'} not fully installed (missing: "
            f"{missing[0]}{more})",
            remedy=describe_extra_installation(",".join(extras)),
        )
