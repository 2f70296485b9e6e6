"""What may be written in a resource, data source or provider block: ``aws_schema.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, Self

from aws_provider.wire import message

NESTING = {"single": 1, "list": 2, "set": 3}
"""As the protocol numbers them."""


@dataclass(frozen=True)
class Attribute:
    """One argument or result.

    Attributes:
        type: As JSON describes it to Terraform: ``"string"``, ``["set", "string"]``.
        required: Must be given.
        optional: May be given.
        computed: The provider may fill it in.
    """

    type: Any
    required: bool
    optional: bool
    computed: bool

    @classmethod
    def parse(cls, described: str | dict[str, Any]) -> Self:
        """From ``"set(string) optional"``."""
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
    """Attributes, and blocks within.

    Attributes:
        attributes: By name.
        blocks: By name.
        nesting: How often it may stand in the block around it.
        min_items: At least so often.
        max_items: At most; 0 is no limit.
    """

    attributes: dict[str, Attribute]
    blocks: dict[str, Block]
    nesting: Literal["single", "list", "set"] = "single"
    min_items: int = 0
    max_items: int = 0

    @classmethod
    def parse(cls, described: dict[str, Any]) -> Self:
        """From the file's form."""
        return cls(
            {name: Attribute.parse(one) for name, one in described["attributes"].items()},
            {name: cls.parse(one) for name, one in described.get("blocks", {}).items()},
            described.get("nesting", "single"),
            described.get("min", 0),
            described.get("max", 0),
        )

    def message(self) -> Any:
        """As the protocol describes it."""
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
    """Everything that the provider knows."""

    provider: Block
    resources: dict[str, Block]
    data_sources: dict[str, Block]


@cache
def aws_schema() -> Schema:
    """The schema of hashicorp/aws, for what the modules use."""
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
