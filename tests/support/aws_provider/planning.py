"""Predict the values of a resource after a change, before it is applied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_provider.values import UNKNOWN, State, is_known

if TYPE_CHECKING:
    from collections.abc import Collection

    from aws_provider.schema import Block


def plan_creation(block: Block, proposed: State, config: State) -> State:
    """Return a new resource's values; what the provider computes and nobody has set is unknown."""
    planned = dict(proposed)
    for name, attribute in block.attributes.items():
        if attribute.computed and config.get(name) is None:
            planned[name] = UNKNOWN
    for name, inner in block.blocks.items():
        planned[name] = _plan_block(inner, proposed.get(name), config.get(name))
    return planned


def plan_update(block: Block, prior: State, proposed: State, config: State) -> State:
    """Return a changed resource's values; computed ones stay, except in blocks that change."""
    planned = dict(proposed)
    for name, inner in block.blocks.items():
        if proposed.get(name) != prior.get(name):
            planned[name] = _plan_block(inner, proposed.get(name), config.get(name))
    return planned


def replaced_by(
    block: Block, prior: State, planned: State, in_place: Collection[str]
) -> tuple[str, ...]:
    """Return the names of the changed arguments that need a new resource."""
    settable = {name for name, one in block.attributes.items() if one.required or one.optional}
    return tuple(
        name
        for name in sorted(settable | set(block.blocks))
        if name not in in_place and _differs(prior.get(name), planned.get(name))
    )


def _plan_block(block: Block, proposed: Any, config: Any) -> Any:
    if not isinstance(proposed, list):
        return proposed if not isinstance(proposed, dict) else _plan_one(block, proposed, config)
    configured = config if isinstance(config, list) else [{}] * len(proposed)
    if block.nesting == "set":
        # The elements of a set come in no order, so they cannot be paired with those of the
        # configuration; each is taken for its own.
        configured = proposed
    return [_plan_one(block, *pair) for pair in zip(proposed, configured, strict=False)]


def _plan_one(block: Block, proposed: Any, config: Any) -> Any:
    if not isinstance(proposed, dict) or not isinstance(config, dict):
        return proposed
    return plan_creation(block, proposed, config)


def _differs(prior: Any, planned: Any) -> bool:
    if not is_known(planned):
        return True
    return bool(_normal(prior) != _normal(planned))


def _normal(value: Any) -> Any:
    """Return a value for comparison: sets without order, an empty collection like a missing one."""
    if isinstance(value, list):
        return sorted((_normal(one) for one in value), key=repr) or None
    if isinstance(value, dict):
        return {key: _normal(one) for key, one in value.items() if _normal(one) is not None} or None
    return value
