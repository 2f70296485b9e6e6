"""The name of a container image in a private ECR registry."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_ECR_URI = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com"
    r"/(?P<name>[a-z0-9._/-]+?)(?:@(?P<digest>sha256:[0-9a-f]{64})|:(?P<tag>[\w.-]+))?"
)


@dataclass(frozen=True)
class EcrUri:
    """The parsed name of an image in a private ECR registry.

    The name has the form ``ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME@DIGEST``, or ends in
    ``NAME:TAG``.

    Attributes:
        account: The registry's account.
        region: The registry's region.
        name: The repository's name.
        reference: The digest or the tag; ``latest`` if the name has neither.
    """

    account: str
    region: str
    name: str
    reference: str

    @classmethod
    def parse(cls, image: str) -> Self | None:
        """Parse the name of an image; return None if the image is not in a private ECR registry."""
        found = _ECR_URI.fullmatch(image)
        if found is None:
            return None
        reference = found["digest"] or found["tag"] or "latest"
        return cls(found["account"], found["region"], found["name"], reference)
