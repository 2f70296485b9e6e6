"""How an image of this project serves: the lean profile, or the classic one of the 2023 study."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drdeploy.hosting.serving.settings import ProfileName

PROFILE_VARIABLE = "DRDEPLOY_PROFILE"
"""Environment variable that this project's Dockerfiles set in its images."""

_OWN_TAG = re.compile(
    r"(?:^|/)drdeploy[\w.-]*:"
    r"(?:(?P<lean>lean|minimal)|(?P<classic>classic|baseline|two-step|reduced))\b"
)


def profile_of_tag(image: str) -> ProfileName | None:
    """Return the profile that an image's tag stands for; None for an image of somebody else's.

    ``drdeploy:lean`` and ``drdeploy:minimal`` are lean; ``drdeploy:reduced``, ``two-step`` and
    ``baseline`` are classic.
    """
    own = _OWN_TAG.search(image)
    return cast("ProfileName | None", own and own.lastgroup)


def profile_of_environment(variables: Iterable[str]) -> ProfileName | None:
    """Return the profile that an image's ``NAME=value`` variables set; None for another's image."""
    values = dict(variable.split("=", 1) for variable in variables if "=" in variable)
    return cast("ProfileName | None", values.get(PROFILE_VARIABLE))
