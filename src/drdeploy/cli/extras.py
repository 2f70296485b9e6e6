"""What a command needs beyond the plain install, and how a missing part of it is reported.

The plain install grades photographs.  Every other command needs the packages of an extra, and is
refused before it does anything: a study that cannot write its report should not first measure.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from drdeploy.errors import InvalidInput, MissingExtra, install_remedy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SERVE = ("httptools", "prometheus_client", "python_multipart")
_CLASSIC = ("fastapi", "gunicorn", "starlette", "uvicorn", "uvicorn_worker")
_CLOUD = ("boto3", "botocore", "docker", "psutil", "pydantic", "requests")
_ANALYSIS = ("jinja2", "markupsafe", "matplotlib", "onnx", "scipy")
_TRAIN = ("keras", "sklearn", "tensorflow", "tf2onnx", "threadpoolctl")

MODULES: Mapping[str, tuple[str, ...]] = {
    "serve": _SERVE,
    "tensorflow": (*_SERVE, *_CLASSIC, "tensorflow"),
    "cloud": _CLOUD,
    "study": (*_SERVE, *_CLOUD, *_ANALYSIS, "flask", "flask_cors", "moto", "pandas"),
    "train": (*_ANALYSIS, *_TRAIN),
}
"""What each extra of ``pyproject.toml`` installs: the modules that are looked for."""

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "artifact push": ("cloud",),
    "endpoint": ("cloud",),
    "image": ("cloud",),
    "image cold-start": ("study",),
    "image sizes": ("study",),
    "local down": ("study",),
    "local up": ("study",),
    "model compare": ("study", "train"),
    "model evaluate": ("study",),
    "model export": ("train",),
    "model quantize": ("study",),
    "model train": ("train",),
    "prices": ("cloud",),
    "recommend": ("study",),
    "report": ("study",),
    "reproduce": ("study",),
    "serve": ("serve",),
    "study": ("study",),
}
"""The extras of a noun's verbs, or of one verb.  A command that is not here needs none."""

LINUX_ONLY = frozenset({"image", "local", "serve", "study"})
"""Commands that limit processes and containers as only Linux can."""


def check_command(words: Sequence[str], environ: Mapping[str, str] = os.environ) -> None:
    """Refuse a command that cannot run here.

    Args:
        words: The command line without the program's name.  Help is always given.
        environ: Decides which server `serve` is.

    Raises:
        MissingExtra: Packages that it needs are not installed.
        InvalidInput: It needs Linux.
    """
    if "--help" in words:
        return
    noun, command = "".join(words[:1]), " ".join(words[:2])
    if noun in LINUX_ONLY and sys.platform != "linux":
        raise InvalidInput(
            f"`drdeploy {noun}` runs on Linux alone, and this is {sys.platform}",
            remedy="Run it on a Linux machine, in a virtual machine or in a Linux container",
        )
    extras = EXTRAS.get(command) or EXTRAS.get(noun, ())
    if noun == "serve" and environ.get("DRDEPLOY_PROFILE") == "classic":
        extras = ("tensorflow",)
    missing = sorted({name for extra in extras for name in MODULES[extra] if not find_spec(name)})
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise MissingExtra(
            f"`drdeploy {command if command in EXTRAS else noun}` needs "
            f"{' and '.join(f'the extra `{extra}`' for extra in extras)}, which is not installed "
            f"(no {missing[0]}{more})",
            remedy=install_remedy(",".join(extras)),
        )
