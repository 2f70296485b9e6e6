"""Check a request against botocore's own service model, in AWS's words."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.local.api_errors import ApiError, invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.model import OperationModel, ServiceModel

AnyShape = Any
"""A shape of botocore's; which members it has depends on its ``type_name``."""

PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "list": (list,),
    "map": (dict,),
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
    "timestamp": (int, float, str),
    "blob": (str, bytes),
}

JAVA_CLASSES = {
    r"\p{ASCII}": r"\x00-\x7F",
    r"\p{Print}": r"\x20-\x7E",
    r"\p{L}": r"\w",
    r"\p{N}": r"\d",
    r"\p{Z}": r"\s",
}
"""Python's ``re`` has no ``\\p``: the nearest class, never narrower than Java's."""


@cache
def service_model(service: str) -> ServiceModel:
    """The model that boto3 itself uses, ``sagemaker`` for example."""
    import botocore.loaders
    import botocore.model

    description = botocore.loaders.Loader().load_service_model(service, "service-2")
    return botocore.model.ServiceModel(description, service)


def check_request(operation: OperationModel, request: dict[str, Any]) -> None:
    """Refuse a request that the model does not allow.

    Raises:
        ApiError: ``SerializationException`` for a value of the wrong type, ``ValidationError``
            with every violated constraint otherwise.
    """
    if operation.input_shape is not None:
        check(operation.input_shape, request)


def check(shape: AnyShape, value: Any, name: str = "") -> None:
    """As :func:`check_request`, for any shape; ``name`` is what messages call the value."""
    found = list(violations(shape, value, _camel_case(name)))
    if not found:
        return
    errors = "error" if len(found) == 1 else "errors"
    raise invalid(f"{len(found)} validation {errors} detected: {'; '.join(found)}")


def violations(shape: AnyShape, value: Any, path: str = "") -> Iterator[str]:
    """Every constraint that ``value`` violates, each as one clause."""
    if not _is_of_type(shape, value):
        raise ApiError(
            "SerializationException",
            f"{type(value).__name__} at '{path}' can not be converted to {shape.type_name}",
        )
    for constraint in _own_violations(shape, value):
        yield f"Value '{_shown(value)}' at '{path}' failed to satisfy constraint: {constraint}"
    yield from _inner_violations(shape, value, path)


def _is_of_type(shape: AnyShape, value: Any) -> bool:
    if isinstance(value, bool):
        return bool(shape.type_name == "boolean")
    return isinstance(value, PYTHON_TYPES[shape.type_name])


def _inner_violations(shape: AnyShape, value: Any, path: str) -> Iterator[str]:
    if shape.type_name == "structure":
        yield from _member_violations(shape, value, path)
    elif shape.type_name == "list":
        for number, item in enumerate(value, start=1):
            yield from violations(shape.member, item, f"{path}.{number}.member")
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from violations(shape.key, key, f"{path}.key")
            yield from violations(shape.value, item, f"{path}.{key}.member")


def _member_violations(shape: AnyShape, value: dict[str, Any], path: str) -> Iterator[str]:
    for name, member in shape.members.items():
        inner = value.get(name)
        place = f"{path}.{_camel_case(name)}" if path else _camel_case(name)
        if inner is not None:
            yield from violations(member, inner, place)
        elif name in shape.required_members:
            yield (f"Value null at '{place}' failed to satisfy constraint: Member must not be null")


def _own_violations(shape: AnyShape, value: Any) -> Iterator[str]:
    if shape.type_name in {"integer", "long", "float", "double"}:
        yield from _range_violations(shape.metadata, value, "Member must have value")
    elif shape.type_name in {"string", "list", "map", "blob"}:
        yield from _range_violations(shape.metadata, len(value), "Member must have length")
    if shape.type_name == "string":
        yield from _text_violations(shape, value)


def _range_violations(limits: dict[str, Any], size: float, what: str) -> Iterator[str]:
    if "max" in limits and size > limits["max"]:
        yield f"{what} less than or equal to {limits['max']}"
    if "min" in limits and size < limits["min"]:
        yield f"{what} greater than or equal to {limits['min']}"


def _text_violations(shape: AnyShape, value: str) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        yield f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
    pattern = shape.metadata.get("pattern")
    if pattern and not compiled(pattern).fullmatch(value):
        yield f"Member must satisfy regular expression pattern: {pattern}"


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """A Java pattern of the model as Python's."""
    parts = re.split(r"(\\p\{\w+\}|\\.|\[|\])", pattern)
    in_class = False
    translated = []
    for part in parts:
        if part in {"[", "]"}:
            in_class = part == "["
        if part in JAVA_CLASSES:
            part = JAVA_CLASSES[part] if in_class else f"[{JAVA_CLASSES[part]}]"  # noqa: PLW2901  translated in place
        translated.append(r"\Z" if part == r"\z" else part)
    return re.compile("".join(translated))


def _camel_case(name: str) -> str:
    return name[:1].lower() + name[1:]


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else str(value)
