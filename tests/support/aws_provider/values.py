"""Values as Terraform sends them: msgpack, with one extension for what is not known yet."""

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
"""A value that is settled by applying."""

_WIRE_UNKNOWN = msgspec.msgpack.Ext(0, b"\x00")
_decoder = msgspec.msgpack.Decoder(ext_hook=lambda _code, _data: UNKNOWN)


def decode(message: Any) -> Any:
    """The value of a ``DynamicValue``; None where it holds none."""
    if message.msgpack:
        return _decoder.decode(message.msgpack)
    return json.loads(message.json) if message.json else None


def encode(value: Any) -> bytes:
    """For ``DynamicValue.msgpack``."""
    return msgspec.msgpack.encode(_for_wire(value))


def is_known(value: Any) -> bool:
    """Whether nothing within is unknown."""
    if isinstance(value, dict):
        return all(is_known(inner) for inner in value.values())
    if isinstance(value, list):
        return all(is_known(inner) for inner in value)
    return value is not UNKNOWN


def settled(value: Any) -> Any:
    """The value with null for what is still unknown."""
    if isinstance(value, dict):
        return {key: settled(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [settled(inner) for inner in value]
    return None if value is UNKNOWN else value


def _for_wire(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _for_wire(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_for_wire(inner) for inner in value]
    return _WIRE_UNKNOWN if value is UNKNOWN else value
