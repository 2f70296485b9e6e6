"""Read a transform that a user wrote as JSON or TOML, with the fields of ``FundusTransform``."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import msgspec

from drdeploy.errors import InvalidInput
from drdeploy.grader.fundus.transform import FundusTransform

if TYPE_CHECKING:
    from pathlib import Path


def read_transform(file: Path) -> FundusTransform:
    """Read a transform; fields that are left out keep their defaults.

    Raises:
        InvalidInput: The file cannot be read, or a field is wrong; the message names the field.
    """
    try:
        data = file.read_bytes()
        if file.suffix == ".toml":
            return msgspec.convert(tomllib.loads(data.decode()), FundusTransform)
        return msgspec.json.decode(data, type=FundusTransform)
    except OSError as err:
        raise InvalidInput(f"Cannot read it: {err.strerror}", where=str(file)) from err
    except (
        msgspec.DecodeError,
        tomllib.TOMLDecodeError,
        UnicodeDecodeError,
        RecursionError,
    ) as err:
        raise InvalidInput(
            str(err).replace("`", "'"),
            where=str(file),
            remedy="Its fields are those of a manifest's transform",
        ) from err
