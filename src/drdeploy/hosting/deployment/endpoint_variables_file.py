"""Read the Terraform variables of an endpoint from a file, for example from ``recommend --tfvars``.

The file is a JSON object with a value for the variable ``endpoint``, which the Terraform
environment ``single-endpoint`` declares. The file may also hold the variable ``allow_always_on``,
and the variable ``model`` with network settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from drdeploy.errors import InvalidInput
from drdeploy.files import parse_json, path_of_shipped_file
from drdeploy.hosting.deployment.variables import EndpointVariables
from drdeploy.hosting.sagemaker import AsynchronousConfig, RealTimeConfig, ServerlessConfig

if TYPE_CHECKING:
    from pathlib import Path

    from drdeploy.hosting.sagemaker import DeployableConfig

WRITE_VARIABLES = "Write the file with `drdeploy recommend --tfvars`"
_CONFIGS: dict[str, type[DeployableConfig]] = {
    "serverless": ServerlessConfig,
    "realtime": RealTimeConfig,
    "asynchronous": AsynchronousConfig,
}
_SETTINGS = {
    "serverless": {"provisioned_scaling", "keep_warm"},
    "realtime": {"autoscaling", "guardrails", "opening_hours", "data_capture", "kms_key_arn"},
    "asynchronous": {"autoscaling", "kms_key_arn"},
}
"""For each kind of endpoint, the settings that the Terraform variable ``endpoint`` may have besides
the configuration. Other settings are refused, because Terraform would silently drop them.
"""
_ATTRIBUTES = "infrastructure/modules/deployment/attributes.json"
"""The file that lists the attributes of each setting, which the Terraform environments read too."""


class VpcConfig(BaseModel):
    """The subnets and security groups of a model, by their ids."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    subnet_ids: Annotated[list[str], Field(min_length=1)]
    security_group_ids: Annotated[list[str], Field(min_length=1)]


class ModelNetwork(BaseModel):
    """The network settings of a model; attributes of the Terraform variable ``model``."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    vpc_config: VpcConfig | None = None
    network_isolation: bool = False


@dataclass(frozen=True)
class DescribedEndpoint:
    """The content of a variables file: an endpoint, and the network settings of its model."""

    endpoint: EndpointVariables
    network: dict[str, Any]


def read_endpoint_variables_from_file(file: Path, model: str) -> DescribedEndpoint:
    """Return the endpoint that a file of Terraform variables describes.

    Args:
        file: The JSON file.
        model: The key of the endpoint's model.

    Raises:
        InvalidInput: The file is not a JSON object with an endpoint, or has unknown members. The
            message names the problem.
    """
    document = read_variables_document(file)
    if isinstance(document, dict) and "batch" in document:
        raise InvalidInput(
            "The file describes batch transform jobs, which need no endpoint",
            where=str(file),
            remedy="Use `drdeploy batch run --variables`",
        )
    endpoint = document.get("endpoint") if isinstance(document, dict) else None
    if not isinstance(endpoint, dict):
        raise InvalidInput(
            "The file describes no endpoint",
            where=str(file),
            remedy=WRITE_VARIABLES,
        )
    _refuse_unknown_variables(file, set(document), {"endpoint", "allow_always_on", "model"}, "")
    described = make_endpoint_variables(file, model, endpoint)
    may_be_always_on = document.get("allow_always_on", True)
    if not isinstance(may_be_always_on, bool):
        raise InvalidInput(
            f"allow_always_on must be true or false, not {may_be_always_on!r}",
            where=str(file),
            remedy="Write true or false without quotes",
        )
    if described.is_always_on and not may_be_always_on:
        raise InvalidInput(
            "The endpoint costs money day and night, and allow_always_on is false",
            where=str(file),
            remedy="Set allow_always_on to true, or choose an endpoint that is not always on",
        )
    network = _read_network_settings(file, document.get("model") or {})
    if network and described.config.kind == "serverless":
        raise InvalidInput(
            "A serverless endpoint cannot have a VPC or network isolation",
            where=f"{file}: model",
            remedy="Remove the member 'model', or describe an endpoint that runs on instances",
        )
    return DescribedEndpoint(described, network)


def read_variables_document(file: Path) -> Any:
    """Return the parsed JSON of a file of variables.

    Raises:
        InvalidInput: The file cannot be read, or is not JSON.
    """
    try:
        return parse_json(file.read_text("utf-8"))
    except (OSError, ValueError) as err:
        reason = err.strerror if isinstance(err, OSError) else err
        if isinstance(err, UnicodeDecodeError):
            reason = "it is not text in UTF-8"
        raise InvalidInput(
            f"The file cannot be read as JSON: {reason}", where=str(file), remedy=WRITE_VARIABLES
        ) from err


def _read_network_settings(file: Path, model: Any) -> dict[str, Any]:
    try:
        network = ModelNetwork.model_validate(model)
    except ValidationError as err:
        raise _make_error_of_variables_file(file, "model", err) from err
    return network.model_dump(exclude_defaults=True)


def make_endpoint_variables(file: Path, model: str, endpoint: dict[str, Any]) -> EndpointVariables:
    """Return the endpoint that is described by a value of the Terraform variable ``endpoint``.

    Raises:
        InvalidInput: SageMaker or the Terraform modules would refuse the endpoint.
    """
    kind = str(endpoint.get("kind"))
    if kind not in _CONFIGS:
        raise InvalidInput(
            f"{kind!r} is not a kind of endpoint",
            where=f"{file}: endpoint.kind",
            remedy=f"Choose one of {', '.join(_CONFIGS)}",
        )
    config, settings = _CONFIGS[kind], _SETTINGS[kind]
    fields = set(config.model_fields)
    _refuse_unknown_variables(file, set(endpoint), fields | settings, "endpoint.")
    given = {name: value for name, value in endpoint.items() if value is not None}
    attributes = parse_json(path_of_shipped_file(_ATTRIBUTES).read_text("utf-8"))
    for name in sorted(settings & set(given)):
        _refuse_unknown_attributes(file, f"endpoint.{name}", given[name], attributes)
    try:
        made = config.model_validate({name: given[name] for name in fields & set(given)})
    except ValidationError as err:
        raise _make_error_of_variables_file(file, "endpoint", err) from err
    return EndpointVariables(model, made, {name: given[name] for name in settings & set(given)})


def _make_error_of_variables_file(file: Path, variable: str, err: ValidationError) -> InvalidInput:
    first = err.errors()[0]
    place = ".".join([variable, *map(str, first["loc"])])
    return InvalidInput(
        first["msg"].removeprefix("Value error, "),
        where=f"{file}: {place}",
        remedy=WRITE_VARIABLES,
    )


def _refuse_unknown_attributes(
    file: Path, place: str, value: Any, attributes: dict[str, list[str]], path: str = ""
) -> None:
    """Refuse attributes of a setting that Terraform would silently drop.

    Args:
        file: The file, for messages.
        place: The key of the setting in ``attributes``.
        value: The value of the setting.
        attributes: The attributes of each setting that has attributes.
        path: The place of the setting in the file, if this is not ``place``.

    Raises:
        InvalidInput: The setting has unknown attributes, or must have attributes and has none.
    """
    if place not in attributes:
        return
    path = path or place
    if not isinstance(value, dict):
        raise InvalidInput(
            f"{path} must be an object", where=str(file), remedy="Write its attributes in { }"
        )
    _refuse_unknown_variables(file, set(value), set(attributes[place]), f"{path}.")
    schedules = value.get("schedules")
    for name, schedule in schedules.items() if isinstance(schedules, dict) else ():
        _refuse_unknown_attributes(
            file, f"{place}.schedules", schedule, attributes, f"{path}.schedules.{name}"
        )


def _refuse_unknown_variables(file: Path, names: set[str], known: set[str], prefix: str) -> None:
    unknown = sorted(names - known)
    if unknown:
        raise InvalidInput(
            f"Unknown members: {', '.join(prefix + name for name in unknown)}",
            where=str(file),
            remedy=f"Use {', '.join(prefix + name for name in sorted(known))}",
        )
