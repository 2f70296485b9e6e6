"""The messages of Terraform's provider protocol 6, as far as this provider uses them.

Names and numbers of fields are those of the protocol; what is left out is skipped when read.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "tfplugin6"

_VALUE, _DIAGNOSTICS = "DynamicValue", "*Diagnostic"

MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "DynamicValue": {"msgpack": (1, "bytes"), "json": (2, "bytes")},
    "Step": {"attribute_name": (1, "string")},
    "AttributePath": {"steps": (1, "*Step")},
    "Diagnostic": {
        "severity": (1, "int64"),
        "summary": (2, "string"),
        "detail": (3, "string"),
    },
    "RawState": {"json": (1, "bytes")},
    "Attribute": {
        "name": (1, "string"),
        "type": (2, "bytes"),
        "required": (4, "bool"),
        "optional": (5, "bool"),
        "computed": (6, "bool"),
    },
    "NestedBlock": {
        "type_name": (1, "string"),
        "block": (2, "Block"),
        "nesting": (3, "int64"),
        "min_items": (4, "int64"),
        "max_items": (5, "int64"),
    },
    "Block": {"attributes": (2, "*Attribute"), "block_types": (3, "*NestedBlock")},
    "Schema": {"version": (1, "int64"), "block": (2, "Block")},
    "NamedSchema": {"key": (1, "string"), "value": (2, "Schema")},
    "ServerCapabilities": {"get_provider_schema_optional": (2, "bool")},
    "Nothing": {},
    "Named": {"type_name": (1, "string")},
    "GetMetadataResponse": {
        "server_capabilities": (1, "ServerCapabilities"),
        "data_sources": (3, "*Named"),
        "resources": (4, "*Named"),
    },
    "GetProviderSchemaResponse": {
        "provider": (1, "Schema"),
        "resource_schemas": (2, "*NamedSchema"),
        "data_source_schemas": (3, "*NamedSchema"),
        "diagnostics": (4, _DIAGNOSTICS),
        "server_capabilities": (6, "ServerCapabilities"),
    },
    "ValidateProviderConfigRequest": {"config": (1, _VALUE)},
    "ValidateProviderConfigResponse": {"diagnostics": (2, _DIAGNOSTICS)},
    "ValidateRequest": {"type_name": (1, "string"), "config": (2, _VALUE)},
    "DiagnosticsResponse": {"diagnostics": (1, _DIAGNOSTICS)},
    "UpgradeResourceStateRequest": {"type_name": (1, "string"), "raw_state": (3, "RawState")},
    "StateResponse": {"state": (1, _VALUE), "diagnostics": (2, _DIAGNOSTICS)},
    "ConfigureProviderRequest": {"config": (2, _VALUE)},
    "ReadResourceRequest": {"type_name": (1, "string"), "current_state": (2, _VALUE)},
    "PlanResourceChangeRequest": {
        "type_name": (1, "string"),
        "prior_state": (2, _VALUE),
        "proposed_new_state": (3, _VALUE),
        "config": (4, _VALUE),
    },
    "PlanResourceChangeResponse": {
        "planned_state": (1, _VALUE),
        "requires_replace": (2, "*AttributePath"),
        "diagnostics": (4, _DIAGNOSTICS),
    },
    "ApplyResourceChangeRequest": {
        "type_name": (1, "string"),
        "prior_state": (2, _VALUE),
        "planned_state": (3, _VALUE),
    },
    "ApplyResourceChangeResponse": {
        "new_state": (1, _VALUE),
        "diagnostics": (3, _DIAGNOSTICS),
    },
    "ImportResourceStateRequest": {"type_name": (1, "string"), "id": (2, "string")},
    "ImportResourceStateResponse": {"diagnostics": (2, _DIAGNOSTICS)},
    "StopProviderResponse": {"error": (1, "string")},
}

METHODS: dict[str, tuple[str, str]] = {
    "GetMetadata": ("Nothing", "GetMetadataResponse"),
    "GetProviderSchema": ("Nothing", "GetProviderSchemaResponse"),
    "ValidateProviderConfig": ("ValidateProviderConfigRequest", "ValidateProviderConfigResponse"),
    "ValidateResourceConfig": ("ValidateRequest", "DiagnosticsResponse"),
    "ValidateDataResourceConfig": ("ValidateRequest", "DiagnosticsResponse"),
    "UpgradeResourceState": ("UpgradeResourceStateRequest", "StateResponse"),
    "ConfigureProvider": ("ConfigureProviderRequest", "DiagnosticsResponse"),
    "ReadResource": ("ReadResourceRequest", "StateResponse"),
    "PlanResourceChange": ("PlanResourceChangeRequest", "PlanResourceChangeResponse"),
    "ApplyResourceChange": ("ApplyResourceChangeRequest", "ApplyResourceChangeResponse"),
    "ImportResourceState": ("ImportResourceStateRequest", "ImportResourceStateResponse"),
    "ReadDataSource": ("ValidateRequest", "StateResponse"),
    "GetFunctions": ("Nothing", "Nothing"),
    "StopProvider": ("Nothing", "StopProviderResponse"),
}
"""Request and response of each call; calls with the same fields share a message."""

_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "bytes": _Field.TYPE_BYTES,
    "string": _Field.TYPE_STRING,
    "bool": _Field.TYPE_BOOL,
    "int64": _Field.TYPE_INT64,  # on the wire, an enum is one as well
}


@cache
def message(name: str) -> Any:
    """Return the class of a message."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{PACKAGE}.{name}"))


@cache
def _pool() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="drdeploy/tfplugin6.proto", package=PACKAGE, syntax="proto3"
    )
    for name, fields in MESSAGES.items():
        described = file.message_type.add(name=name)
        for field_name, (number, type_name) in fields.items():
            _add_field(described, field_name, number, type_name)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _add_field(described: Any, name: str, number: int, type_name: str) -> None:
    repeated, plain = type_name.startswith("*"), type_name.lstrip("*")
    field = described.field.add(name=name, number=number)
    field.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    if plain in _TYPES:
        field.type = _TYPES[plain]
    else:
        field.type = _Field.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{plain}"
