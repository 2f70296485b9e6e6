"""Terraform's values: msgpack, with an extension for values that are not known yet."""

from __future__ import annotations

import json
from typing import Any

import msgspec

State = dict[str, Any]


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"

    def __deepcopy__(self, memo: object) -> _Unknown:
        return self


UNKNOWN = _Unknown()
"""A value that will be known when the plan was applied."""

_WIRE_UNKNOWN = msgspec.msgpack.Ext(0, b"\x00")
_decoder = msgspec.msgpack.Decoder(ext_hook=lambda _code, _data: UNKNOWN)


def decode(message: Any) -> Any:
    """Return the value in a ``DynamicValue`` message; None where it holds none."""
    if message.msgpack:
        return _decoder.decode(message.msgpack)
    return json.loads(message.json) if message.json else None


def encode(value: Any) -> bytes:
    """Return a value as msgpack, for a ``DynamicValue`` message."""
    return msgspec.msgpack.encode(_for_wire(value))


def is_known(value: Any) -> bool:
    """Return whether no part of a value is unknown."""
    if isinstance(value, dict):
        return all(is_known(inner) for inner in value.values())
    if isinstance(value, list):
        return all(is_known(inner) for inner in value)
    return value is not UNKNOWN


def without_unknown(value: Any) -> Any:
    """Return a value with null for what is unknown."""
    if isinstance(value, dict):
        return {key: without_unknown(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_unknown(inner) for inner in value]
    return None if value is UNKNOWN else value


def _for_wire(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _for_wire(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_for_wire(inner) for inner in value]
    return _WIRE_UNKNOWN if value is UNKNOWN else value
