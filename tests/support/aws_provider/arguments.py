"""Which arguments of a configuration a handler uses; all others are refused when Terraform plans.

An argument that is accepted and has no effect would make a test of a configuration worthless.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from aws_provider.values import is_known

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aws_provider.resources.base import Resource
    from aws_provider.values import State

OF_TERRAFORM = frozenset({"id", "region", "tags_all"})
"""Arguments that the provider itself fills in."""


def unused_arguments(handler: Resource, config: State) -> list[str]:
    """Return the paths of the arguments that are set and that the handler does not use."""
    shape = _input_shape(*handler.operation) if handler.operation else None
    if handler.within_parameter:
        shape = shape.members[member_named(shape, handler.within_parameter)]
    found: list[str] = []
    for name, value in config.items():
        if not _is_set(value) or name in OF_TERRAFORM or name in handler.own_arguments:
            continue
        if name in handler.own_blocks:
            found.extend(_unused_in_block(name, value, handler.own_blocks[name]))
        else:
            found.extend(_unused_in(name, value, shape))
    return found


def member_named(shape: Any, name: str) -> str | None:
    """Return the member of an API's structure that an argument of Terraform stands for."""
    members = {member.lower(): member for member in shape.members}
    plain = name.replace("_", "").lower()
    return members.get(plain) or members.get(f"{plain}s")


def _unused_in(path: str, value: Any, shape: Any) -> Iterator[str]:
    name = path.rpartition(".")[2]
    member = member_named(shape, name) if shape is not None else None
    if member is None:
        yield path
        return
    inner = shape.members[member]
    if inner.type_name == "list":
        inner = inner.member
    if inner.type_name == "structure":
        for block in _blocks(value):
            for key, one in block.items():
                if _is_set(one):
                    yield from _unused_in(f"{path}.{key}", one, inner)


def _unused_in_block(path: str, value: Any, used: frozenset[str]) -> Iterator[str]:
    for block in _blocks(value):
        yield from (
            f"{path}.{key}" for key, one in block.items() if _is_set(one) and key not in used
        )


def _blocks(value: Any) -> list[State]:
    """Return the blocks in a value; a map of keys and values, such as tags, is none."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _is_set(value: Any) -> bool:
    return not is_known(value) or (
        value is not None and value is not False and value not in ([], {})
    )


@cache
def _input_shape(service: str, operation: str) -> Any:
    import botocore.session
    from botocore import xform_name

    model = botocore.session.get_session().get_service_model(service)
    names = {xform_name(name): name for name in model.operation_names}
    return model.operation_model(names[operation]).input_shape
