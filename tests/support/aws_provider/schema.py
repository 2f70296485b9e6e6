"""The schema of resources, data sources and the provider block, from ``aws_schema.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, Self

from aws_provider.wire import message

NESTING = {"single": 1, "list": 2, "set": 3}
"""The numbers of the protocol."""


@dataclass(frozen=True)
class Attribute:
    """An argument or a result of a block.

    Attributes:
        type: In Terraform's JSON form: ``"string"``, ``["set", "string"]``.
        required: Whether it must be given.
        optional: Whether it may be given.
        computed: Whether the provider may fill it in.
    """

    type: Any
    required: bool
    optional: bool
    computed: bool

    @classmethod
    def parse(cls, described: str | dict[str, Any]) -> Self:
        """Read an attribute from the file's form, for example ``"set(string) optional"``."""
        if isinstance(described, str):
            type_name, necessity = described.split(" ")
            type_json = _type_json(type_name)
        else:
            necessity = described["necessity"]
            fields = {name: _type_json(one) for name, one in described["list_of"].items()}
            type_json = ["list", ["object", fields]]
        words = necessity.split("+")
        return cls(type_json, "required" in words, "optional" in words, "computed" in words)


@dataclass(frozen=True)
class Block:
    """A block of the configuration language: attributes, and blocks in it.

    Attributes:
        attributes: By name.
        blocks: By name.
        nesting: Whether the block around it holds it once, as a list, or as a set.
        min_items: How often it must occur.
        max_items: How often it may occur; 0 is no limit.
    """

    attributes: dict[str, Attribute]
    blocks: dict[str, Block]
    nesting: Literal["single", "list", "set"] = "single"
    min_items: int = 0
    max_items: int = 0

    @classmethod
    def parse(cls, described: dict[str, Any]) -> Self:
        """Read a block from the file's form."""
        return cls(
            {name: Attribute.parse(one) for name, one in described["attributes"].items()},
            {name: cls.parse(one) for name, one in described.get("blocks", {}).items()},
            described.get("nesting", "single"),
            described.get("min", 0),
            described.get("max", 0),
        )

    def message(self) -> Any:
        """Return the block as a message of the protocol."""
        return message("Block")(
            attributes=[
                message("Attribute")(
                    name=name,
                    type=json.dumps(one.type).encode(),
                    required=one.required,
                    optional=one.optional,
                    computed=one.computed,
                )
                for name, one in self.attributes.items()
            ],
            block_types=[
                message("NestedBlock")(
                    type_name=name,
                    block=one.message(),
                    nesting=NESTING[one.nesting],
                    min_items=one.min_items,
                    max_items=one.max_items,
                )
                for name, one in self.blocks.items()
            ],
        )


@dataclass(frozen=True)
class Schema:
    """The provider block, and the blocks of all resources and data sources."""

    provider: Block
    resources: dict[str, Block]
    data_sources: dict[str, Block]


@cache
def aws_schema() -> Schema:
    """Return the schema of hashicorp/aws for what the modules use."""
    text = files("aws_provider").joinpath("aws_schema.json").read_text(encoding="utf-8")
    described = json.loads(text)
    return Schema(
        Block.parse(described["provider"]),
        {name: Block.parse(one) for name, one in described["resources"].items()},
        {name: Block.parse(one) for name, one in described["data_sources"].items()},
    )


def _type_json(text: str) -> Any:
    collection, _, element = text.rstrip(")").partition("(")
    return [collection, element] if element else collection
