"""Find out which server an image of this project starts: the lean or the classic profile.

The classic profile is the model server that was measured in the 2023 study, which this project
follows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.serving.settings import ProfileName

PROFILE_VARIABLE = "DRDEPLOY_PROFILE"
"""The environment variable by which an image of this project names its server profile."""
OWN_PROGRAMS = frozenset({"drdeploy-serve", "drdeploy_serve"})
"""The program that an image of this project starts, in both spellings of its name."""

_OWN_TAG = re.compile(
    r"(?:^|/)drdeploy[\w.-]*:"
    r"(?:(?P<lean>lean|minimal)|(?P<classic>classic|baseline|two-step|reduced))\b"
)


def find_profile_of_tag(image: str) -> ProfileName | None:
    """Return the server profile of an image by its tag, or None for an image of another project.

    The images ``drdeploy:lean`` and ``drdeploy:minimal`` are lean. The images ``drdeploy:reduced``,
    ``drdeploy:two-step`` and ``drdeploy:baseline`` are classic.
    """
    own = _OWN_TAG.search(image)
    return cast("ProfileName | None", own and own.lastgroup)


def find_profile_in_image_config(config: Mapping[str, Any]) -> ProfileName | None:
    """Return the server profile in an image's configuration; None for other projects' images.

    An image of this project names its profile in an environment variable and starts the project's
    server. An image of another project may be built on an image of this project. It then inherits
    the variable, but starts another server.

    Args:
        config: The ``Config`` of the image, with ``Env`` and ``Entrypoint``.
    """
    variables = (variable for variable in config.get("Env") or () if "=" in variable)
    values = dict(variable.split("=", 1) for variable in variables)
    program = (config.get("Entrypoint") or [""])[-1].rpartition("/")[2]
    is_own = program.partition(".")[0] in OWN_PROGRAMS
    return cast("ProfileName | None", values.get(PROFILE_VARIABLE) if is_own else None)
