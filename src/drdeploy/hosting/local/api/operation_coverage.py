"""Find out which AWS operations and request members the local service serves or refuses.

The operations and members are those in botocore's service models. For each member, this module
makes a request that sets only this member, and carries out the checks that every client's request
must pass. The reference page ``docs/reference/local-service.md`` shows the results.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.local.api.invocations import is_member_served, make_refusal_of_member
from drdeploy.hosting.local.api.request_validation import load_service_model
from drdeploy.hosting.local.api.served_operations import (
    find_served_values,
    refuse_members_without_effect,
    refuse_unserved_operation,
)
from drdeploy.hosting.local.api_errors import ApiError, make_unknown_operation_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUNTIME = "sagemaker-runtime"
INVOKE_ASYNCHRONOUSLY = "InvokeEndpointAsync"
INVOCATIONS = frozenset(
    {"InvokeEndpoint", INVOKE_ASYNCHRONOUSLY, "InvokeEndpointWithResponseStream"}
)
SERVICES = ("sagemaker", RUNTIME, "application-autoscaling", "cloudwatch", "logs")
"""The services whose operations and request members are examined, by their names in botocore.
"""
PLACEHOLDER = "VALUE"
"""The text that stands for a client's own value in the error messages that are listed."""
ENDPOINT = "NAME"
"""The text that stands for the name of a client's endpoint in the listed error messages."""


@dataclass(frozen=True)
class MemberAnswer:
    """Whether the local service serves one request member, and with which values.

    Attributes:
        path: The path of the member, for example ``DataCaptureConfig.EnableCapture``.
        refusal: The error message for a request that sets the member; empty if the local service
            serves the member.
        served_values: The values of the member that are served, if the local service serves only
            some; otherwise empty.
    """

    path: str
    refusal: str
    served_values: tuple[str, ...] = ()


@dataclass(frozen=True)
class OperationAnswer:
    """Whether the local service serves one operation, and which of its request members.

    Attributes:
        name: The name of the operation.
        refusal: The error message for the operation; empty if the local service serves the
            operation.
        members: Whether each request member is served; empty if the operation is not served.
    """

    name: str
    refusal: str
    members: tuple[MemberAnswer, ...] = ()


def list_operation_answers(service: str) -> list[OperationAnswer]:
    """Return which operations of an AWS service the local service serves or refuses.

    The service must be one of ``SERVICES``.
    """
    model = load_service_model(service)
    answers = []
    for name in sorted(model.operation_names):
        refusal = _find_refusal_message(partial(_refuse_operation_if_unserved, service, name))
        members: tuple[MemberAnswer, ...] = ()
        if not refusal:
            leaves = list_leaf_members_of_shape(model.operation_model(name).input_shape)
            members = tuple(_find_answer_to_member(service, name, *leaf) for leaf in leaves)
        answers.append(OperationAnswer(name, refusal, members))
    return answers


def list_leaf_members_of_shape(shape: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and the shape of each member that has no members of its own."""
    if shape is None:
        return
    if shape.type_name == "list" and shape.member.type_name == "structure":
        shape = shape.member
    if shape.type_name != "structure" or not shape.members:
        yield path, shape
        return
    for name, member in shape.members.items():
        yield from list_leaf_members_of_shape(member, f"{path}.{name}" if path else name)


def make_request_with_member(service: str, operation: str, path: str, value: Any) -> dict[str, Any]:
    """Return a request that sets one member, inside the structures that contain this member."""
    shape: Any = load_service_model(service).operation_model(operation).input_shape
    request: dict[str, Any] = {}
    inner = request
    names = path.split(".")
    for name in names[:-1]:
        shape = shape.members[name]
        made: dict[str, Any] = {}
        is_list = shape.type_name == "list"
        inner[name] = [made] if is_list else made
        shape = shape.member if is_list else shape
        if "EnableCapture" in shape.members:
            made["EnableCapture"] = True  # if capture is off, no member is refused
        inner = made
    inner[names[-1]] = value
    return request


def make_example_value_of_shape(shape: Any) -> Any:
    """Return an example value of a shape.

    For a boolean, the value is True, because False often asks for nothing.
    """
    kind = shape.type_name
    if kind == "string":
        return shape.enum[-1] if shape.enum else PLACEHOLDER
    if kind == "list":
        return [make_example_value_of_shape(shape.member)]
    return {"boolean": True, "map": {"name": PLACEHOLDER}, "structure": {}}.get(kind, 1)


def _refuse_operation_if_unserved(service: str, name: str) -> None:
    if service != RUNTIME:
        refuse_unserved_operation(service, name)
    elif name not in INVOCATIONS:
        raise make_unknown_operation_error(name)


def _find_answer_to_member(service: str, operation: str, path: str, shape: Any) -> MemberAnswer:
    if service == RUNTIME:
        # Every member of an asynchronous invocation is served.
        served = operation == INVOKE_ASYNCHRONOUSLY or is_member_served(path)
        return MemberAnswer(path, "" if served else make_refusal_of_member(path, ENDPOINT).message)
    values = find_served_values(service, operation, path)
    if values is not None:
        known = set(shape.enum) if shape.type_name == "string" else set()
        if known and known <= values:
            return MemberAnswer(path, "")
        value: Any = PLACEHOLDER
    else:
        value = make_example_value_of_shape(shape)
    request = make_request_with_member(service, operation, path, value)
    refusal = _find_refusal_message(
        lambda: refuse_members_without_effect(service, operation, request)
    )
    return MemberAnswer(path, refusal, tuple(sorted(values or ())))


def _find_refusal_message(check: Callable[[], None]) -> str:
    try:
        check()
    except ApiError as err:
        return err.message
    return ""
