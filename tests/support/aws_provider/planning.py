"""What a change will do, before it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_provider.values import UNKNOWN, State, is_known

if TYPE_CHECKING:
    from collections.abc import Collection

    from aws_provider.schema import Block


def plan_creation(block: Block, proposed: State, config: State) -> State:
    """What will be there: unknown is what the provider computes and nobody has set."""
    planned = dict(proposed)
    for name, attribute in block.attributes.items():
        if attribute.computed and config.get(name) is None:
            planned[name] = UNKNOWN
    for name, inner in block.blocks.items():
        planned[name] = _plan_block(inner, proposed.get(name), config.get(name))
    return planned


def plan_update(block: Block, prior: State, proposed: State, config: State) -> State:
    """What will be there: computed values stay, except in blocks that change."""
    planned = dict(proposed)
    for name, inner in block.blocks.items():
        if proposed.get(name) != prior.get(name):
            planned[name] = _plan_block(inner, proposed.get(name), config.get(name))
    return planned


def replaced_by(
    block: Block, prior: State, planned: State, in_place: Collection[str]
) -> tuple[str, ...]:
    """Names of arguments whose change needs a new resource in the place of the old one."""
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
        # Sets are sent in an order of their own; each element is its own configuration.
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
    """Sets come in any order, and an empty collection is none."""
    if isinstance(value, list):
        return sorted((_normal(one) for one in value), key=repr) or None
    if isinstance(value, dict):
        return {key: _normal(one) for key, one in value.items() if _normal(one) is not None} or None
    return value
