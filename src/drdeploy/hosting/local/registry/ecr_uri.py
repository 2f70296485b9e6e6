"""The name of an image in a private ECR registry."""

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
    """``ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME@DIGEST`` or ``…/NAME:TAG``.

    Attributes:
        account: The registry's account.
        region: The registry's region.
        name: The repository's name.
        reference: Digest or tag; ``latest`` where the URI has neither, as engines read it.
    """

    account: str
    region: str
    name: str
    reference: str

    @classmethod
    def parse(cls, image: str) -> Self | None:
        """Parse an image's name; None where it is not in a private ECR registry."""
        found = _ECR_URI.fullmatch(image)
        if found is None:
            return None
        reference = found["digest"] or found["tag"] or "latest"
        return cls(found["account"], found["region"], found["name"], reference)
