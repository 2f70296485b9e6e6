"""Validate a request against botocore's own service model, with AWS's error messages.

boto3 checks little before it sends (a bad pattern or a too large number passes), so AWS answers
with these messages, and clients that parse them must find the same here.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.local.api_errors import invalid, malformed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.model import OperationModel, ServiceModel

AnyShape = Any
"""One of botocore's shapes: its description of a type.  Its attributes depend on ``type_name``."""

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
"""AWS writes patterns in Java's syntax, and Python's ``re`` has no ``\\p``: each Java class and the
nearest Python one, never a narrower one, so that nothing is refused that AWS would accept."""


@cache
def service_model(service: str) -> ServiceModel:
    """Return the service model that boto3 itself uses, for example of ``sagemaker``."""
    import botocore.loaders
    import botocore.model

    description = botocore.loaders.Loader().load_service_model(service, "service-2")
    return botocore.model.ServiceModel(description, service)


def check_request(operation: OperationModel, request: dict[str, Any]) -> None:
    """Refuse a request that the service model does not allow for its operation.

    Raises:
        ApiError: ``SerializationException`` for a value of the wrong type, else
            ``ValidationError`` with every violated constraint.
    """
    if operation.input_shape is not None:
        check(operation.input_shape, request)


def check(shape: AnyShape, value: Any, name: str = "") -> None:
    """Refuse a value that its shape does not allow.

    Args:
        shape: What the value must be.
        value: A part of a request, or all of it.
        name: What messages call the value.

    Raises:
        ApiError: See :func:`check_request`.
    """
    found = list(violations(shape, value, _camel_case(name)))
    if found:
        errors = "error" if len(found) == 1 else "errors"
        raise invalid(f"{len(found)} validation {errors} detected: {'; '.join(found)}")


def violations(shape: AnyShape, value: Any, path: str = "") -> Iterator[str]:
    """Yield a clause for each constraint that a value, or anything inside it, violates.

    Raises:
        ApiError: ``SerializationException``: a value has the wrong type.
    """
    # bool is a subclass of int: without this, true would pass for a number.
    is_of_type = (
        shape.type_name == "boolean"
        if isinstance(value, bool)
        else isinstance(value, PYTHON_TYPES[shape.type_name])
    )
    if not is_of_type:
        raise malformed(
            f"{type(value).__name__} at '{path}' can not be converted to {shape.type_name}"
        )
    for constraint in _own_violations(shape, value):
        yield f"Value '{value}' at '{path}' failed to satisfy constraint: {constraint}"
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
        inner_path = f"{path}.{_camel_case(name)}" if path else _camel_case(name)
        if inner is not None:
            yield from violations(member, inner, inner_path)
        elif name in shape.required_members:
            yield (
                f"Value null at '{inner_path}' failed to satisfy constraint: "
                "Member must not be null"
            )


def _own_violations(shape: AnyShape, value: Any) -> Iterator[str]:
    if shape.type_name in {"integer", "long", "float", "double"}:
        yield from _range_violations(shape.metadata, value, "Member must have value")
    elif shape.type_name in {"string", "list", "map", "blob"}:
        yield from _range_violations(shape.metadata, len(value), "Member must have length")
    if shape.type_name == "string":
        if shape.enum and value not in shape.enum:
            yield f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
        pattern = shape.metadata.get("pattern")
        if pattern and not python_pattern(pattern).fullmatch(value):
            yield f"Member must satisfy regular expression pattern: {pattern}"


def _range_violations(limits: dict[str, Any], size: float, what: str) -> Iterator[str]:
    if "max" in limits and size > limits["max"]:
        yield f"{what} less than or equal to {limits['max']}"
    if "min" in limits and size < limits["min"]:
        yield f"{what} greater than or equal to {limits['min']}"


@cache
def python_pattern(java_pattern: str) -> re.Pattern[str]:
    """Translate a Java pattern of the service model into Python's syntax, and compile it."""
    # Escapes and brackets are separated from the rest: inside brackets a class stands bare, outside
    # it needs brackets of its own.
    parts = re.split(r"(\\p\{\w+\}|\\.|\[|\])", java_pattern)
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
