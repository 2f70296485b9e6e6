"""Read a batch transform job's instance type and count from a file of ``recommend --tfvars``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from drdeploy.errors import InvalidInput
from drdeploy.hosting.deployment.endpoint_variables_file import (
    WRITE_VARIABLES,
    read_variables_document,
)
from drdeploy.hosting.sagemaker import BatchConfig

if TYPE_CHECKING:
    from pathlib import Path


def read_batch_config_from_file(file: Path) -> BatchConfig:
    """Return the instance type and count that a file describes.

    Raises:
        InvalidInput: The file is not a JSON object that describes a job.
    """
    document = read_variables_document(file)
    if isinstance(document, dict) and "endpoint" in document:
        raise InvalidInput(
            "The file describes an endpoint, not a batch transform job",
            where=str(file),
            remedy="Use `drdeploy endpoint deploy NAME --variables FILE`",
        )
    if not isinstance(document, dict) or set(document) != {"batch"}:
        raise InvalidInput(
            "The file must be a JSON object whose only member is `batch`",
            where=str(file),
            remedy=WRITE_VARIABLES,
        )
    try:
        return BatchConfig.model_validate(document["batch"])
    except ValidationError as err:
        first = err.errors()[0]
        place = ".".join(["batch", *map(str, first["loc"])])
        raise InvalidInput(
            first["msg"].removeprefix("Value error, "),
            where=f"{file}: {place}",
            remedy=WRITE_VARIABLES,
        ) from err
