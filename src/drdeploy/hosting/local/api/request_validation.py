"""Validate a request against botocore's own service model, with AWS's error messages.

boto3 checks little before it sends a request, so most mistakes are found and reported by AWS. Some
clients parse AWS's error messages, so the local service must send the same messages.
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.local.api_errors import make_malformed_error, make_validation_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.model import OperationModel, ServiceModel

AnyShape = Any
"""A shape of botocore, which describes a type. The attributes of a shape depend on its
``type_name``."""

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
    "timestamp": (int, float),
    "blob": (str, bytes),
}

JAVA_CLASSES = {
    r"\p{ASCII}": r"\x00-\x7F",
    r"\p{Print}": r"\x20-\x7E",
    r"\p{L}": r"\w",
    r"\p{N}": r"\d",
    r"\p{Z}": r"\s",
}
"""The Python character class for each Java character class in the patterns of AWS, because Python's
``re`` has no ``\\p``. Every Python class contains all characters of its Java class, so all values
that AWS accepts are accepted here."""


@cache
def load_service_model(service: str) -> ServiceModel:
    """Return boto3's service model of a service, for example ``sagemaker``."""
    import botocore.loaders
    import botocore.model

    description = botocore.loaders.Loader().load_service_model(service, "service-2")
    return botocore.model.ServiceModel(description, service)


def drop_null_members(value: Any) -> Any:
    """Return a request without its null members, which count as absent in AWS's JSON protocol."""
    if isinstance(value, dict):
        return {name: drop_null_members(one) for name, one in value.items() if one is not None}
    if isinstance(value, list):
        return [drop_null_members(one) for one in value]
    return value


def refuse_invalid_request(operation: OperationModel, request: dict[str, Any]) -> None:
    """Refuse a request that is not valid for its operation, according to the service model.

    Raises:
        ApiError: ``SerializationException`` for a value of the wrong type, else
            ``ValidationException`` with every violated constraint.
    """
    if operation.input_shape is not None:
        refuse_invalid_value(operation.input_shape, request)


def refuse_invalid_value(shape: AnyShape, value: Any, name: str = "") -> None:
    """Refuse a value that its shape does not allow.

    Args:
        shape: The shape that the value must have.
        value: A whole request, or a part of a request.
        name: The name of the value in error messages.

    Raises:
        ApiError: See :func:`refuse_invalid_request`.
    """
    found = list(find_violations(shape, value, _lower_first_letter(name)))
    if found:
        errors = "error" if len(found) == 1 else "errors"
        raise make_validation_error(
            f"{len(found)} validation {errors} detected: {'; '.join(found)}"
        )


def find_violations(shape: AnyShape, value: Any, path: str = "") -> Iterator[str]:
    """Yield a message for each constraint that a value or one of its members violates.

    Raises:
        ApiError: A value has the wrong type (``SerializationException``).
    """
    # bool is a subclass of int: without this, true would pass for a number.
    is_of_type = (
        shape.type_name == "boolean"
        if isinstance(value, bool)
        else isinstance(value, PYTHON_TYPES[shape.type_name])
    )
    if not is_of_type:
        raise make_malformed_error(
            f"{type(value).__name__} at '{path}' can not be converted to {shape.type_name}"
        )
    if isinstance(value, float) and not math.isfinite(value):
        # JSON has neither NaN nor infinity, but Python reads NaN, and 1e999 as infinity.
        raise make_malformed_error(f"{value} at '{path}' is not a finite number")
    for constraint in _find_value_violations(shape, value):
        yield f"Value '{value}' at '{path}' failed to satisfy constraint: {constraint}"
    if shape.type_name == "structure":
        yield from _find_member_violations(shape, value, path)
    elif shape.type_name == "list":
        for number, item in enumerate(value, start=1):
            yield from find_violations(shape.member, item, f"{path}.{number}.member")
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from find_violations(shape.key, key, f"{path}.key")
            yield from find_violations(shape.value, item, f"{path}.{key}.member")


def _find_member_violations(shape: AnyShape, value: dict[str, Any], path: str) -> Iterator[str]:
    for name, member in shape.members.items():
        inner = value.get(name)
        inner_path = f"{path}.{_lower_first_letter(name)}" if path else _lower_first_letter(name)
        if inner is not None:
            yield from find_violations(member, inner, inner_path)
        elif name in shape.required_members:
            yield (
                f"Value null at '{inner_path}' failed to satisfy constraint: "
                "Member must not be null"
            )


def _find_value_violations(shape: AnyShape, value: Any) -> Iterator[str]:
    if shape.type_name in {"integer", "long", "float", "double"}:
        yield from _find_range_violations(shape.metadata, value, "Member must have value")
    elif shape.type_name in {"string", "list", "map", "blob"}:
        yield from _find_range_violations(shape.metadata, len(value), "Member must have length")
    if shape.type_name == "string":
        if shape.enum and value not in shape.enum:
            # Sorted, as AWS sorts them in the message that moto has verified against AWS
            # (tests/test_applicationautoscaling).
            yield f"Member must satisfy enum value set: [{', '.join(sorted(shape.enum))}]"
        pattern = shape.metadata.get("pattern")
        if pattern and not compile_java_pattern(pattern).fullmatch(value):
            yield f"Member must satisfy regular expression pattern: {pattern}"


def _find_range_violations(limits: dict[str, Any], size: float, what: str) -> Iterator[str]:
    if "max" in limits and size > limits["max"]:
        yield f"{what} less than or equal to {limits['max']}"
    if "min" in limits and size < limits["min"]:
        yield f"{what} greater than or equal to {limits['min']}"


@cache
def compile_java_pattern(java_pattern: str) -> re.Pattern[str]:
    """Translate a Java pattern of the service model into Python's syntax, and compile it."""
    # Escapes and brackets are handled separately: inside brackets, a character class is written as
    # it is; outside brackets, it needs brackets of its own. Java writes characters beyond 16 bits
    # as a range of surrogate pairs.
    java_pattern = java_pattern.replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF")
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


def _lower_first_letter(name: str) -> str:
    return name[:1].lower() + name[1:]
