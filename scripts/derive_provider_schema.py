"""Derive the test provider's ``aws_schema.json`` from the npm package ``@cdktf/provider-aws``.

HashiCorp generated this package from its AWS provider for Terraform. The package says, for every
argument, its name, its type and whether it is required. This script takes only these facts, and
only for the resources that the modules of this project use:

    npm pack @cdktf/provider-aws@21.22.1 && tar xzf cdktf-provider-aws-21.22.1.tgz
    python scripts/derive_provider_schema.py package

The provider and the package are MPL-2.0, Copyright (c) HashiCorp, Inc.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parent.parent / "tests/support/aws_provider/aws_schema.json"

RESOURCES = (
    "appautoscaling-policy",
    "appautoscaling-scheduled-action",
    "appautoscaling-target",
    "budgets-budget",
    "cloudwatch-dashboard",
    "cloudwatch-log-group",
    "cloudwatch-metric-alarm",
    "ecr-lifecycle-policy",
    "ecr-repository",
    "ecrpublic-repository",
    "iam-policy",
    "iam-role",
    "iam-role-policy",
    "kms-alias",
    "kms-key",
    "s3-bucket",
    "s3-bucket-lifecycle-configuration",
    "s3-bucket-ownership-controls",
    "s3-bucket-policy",
    "s3-bucket-public-access-block",
    "s3-bucket-server-side-encryption-configuration",
    "s3-bucket-versioning",
    "sagemaker-endpoint",
    "sagemaker-endpoint-configuration",
    "sagemaker-model",
    "scheduler-schedule",
    "sns-topic",
    "sns-topic-subscription",
)
DATA_SOURCES = ("data-aws-caller-identity", "data-aws-partition", "data-aws-region")

NOTE = re.compile(r"// (\w+) - computed: (\w+), optional: (\w+), required: (\w+)\n(.*)\n(.*)\n(.*)")
CLASS = re.compile(r"^export class (\w+) extends cdktf\.(\w+) \{$", re.MULTILINE)
HCL = re.compile(
    r"(\w+): \{\s+value: .*\s+isBlock: (\w+),\s+type: \"(\w+)\",\s+storageClassType: \"(\w+)\""
)
NESTED = re.compile(r"= new (\w+?)(List|Map|OutputReference|StringMap)?\(this, \"(\w+)\"")
PLAIN_BLOCK = re.compile(r"private _\w+\?: (\w+)(\[\])?")
PROPERTY = re.compile(r"readonly \w+(\??): ")
GETTER = re.compile(r"this\.get(\w+)Attribute\(")
SCALARS = {"string": "string", "number": "number", "boolean": "bool", "any": "string"}
OF_GETTER = {
    "String": "string",
    "Number": "number",
    "Boolean": "bool",
    "List": "list(string)",
    "NumberList": "list(number)",
    "StringMap": "map(string)",
}


def main() -> None:
    """Write ``aws_schema.json`` from the folder of the extracted npm package."""
    package = Path(sys.argv[1])
    facts = json.loads((package / "package.json").read_text(encoding="utf-8"))
    found = {name: Module(package / "lib" / name) for name in (*RESOURCES, *DATA_SOURCES)}
    provider = Module(package / "lib" / "provider")
    schema = {
        "about": (
            "Names, types and necessity of arguments of the Terraform provider hashicorp/aws "
            f"{provider.version}. Derived by scripts/derive_provider_schema.py from the npm "
            f"package {facts['name']} {facts['version']} (MPL-2.0, Copyright HashiCorp, Inc.)."
        ),
        "provider": provider.block(),
        "resources": {found[name].type_name: found[name].block() for name in RESOURCES},
        "data_sources": {found[name].type_name: found[name].block() for name in DATA_SOURCES},
    }
    text = json.dumps(schema, indent=1, sort_keys=True)
    text = re.sub(r"\{\s+(\"[^{}\[\]]{1,120}?)\s+\}", lambda found: _on_one_line(found[1]), text)
    TARGET.write_text(f"{text}\n", encoding="utf-8")


def _on_one_line(inside: str) -> str:
    return "{" + re.sub(r"\s*\n\s*", " ", inside) + "}"


class Module:
    """The TypeScript code of a resource, a data source or the provider, from its source map."""

    def __init__(self, folder: Path) -> None:
        code = (folder / "index.js").read_text(encoding="utf-8")
        encoded = code.rpartition("base64,")[2].strip()
        (self._source,) = json.loads(base64.b64decode(encoded))["sourcesContent"]
        self._classes = self._split()
        name = re.search(r"tfResourceType = \"(\w+)\"", self._source)
        self.type_name = name[1] if name else ""
        version = re.search(r"providerVersion: '([\d.]+)'", self._source)
        self.version = version[1] if version else ""

    def _split(self) -> dict[str, str]:
        starts = list(CLASS.finditer(self._source))
        ends = [start.start() for start in starts[1:]] + [len(self._source)]
        return {
            start[1]: self._source[start.start() : end]
            for start, end in zip(starts, ends, strict=True)
        }

    def block(self) -> dict[str, Any]:
        """Return the schema of the whole resource; the last class in the source describes it."""
        name = list(self._classes)[-1]
        return self._block(name, self._hcl_of_resource(name))

    def _hcl_of_resource(self, name: str) -> dict[str, tuple[str, str, str]]:
        _, _, synthesis = self._classes[name].partition("synthesizeHclAttributes()")
        return {found[1]: (found[2], found[3], found[4]) for found in HCL.finditer(synthesis)}

    def _hcl_of_block(self, name: str) -> dict[str, tuple[str, str, str]]:
        function = f"{name[0].lower()}{name[1:]}ToHclTerraform"
        start = self._source.find(f"export function {function}(")
        if start < 0:
            return {}
        text = self._source[start : self._source.index("\n}\n", start)]
        return {found[1]: (found[2], found[3], found[4]) for found in HCL.finditer(text)}

    def _block(self, name: str, hcl: dict[str, tuple[str, str, str]]) -> dict[str, Any]:
        attributes: dict[str, Any] = {}
        blocks: dict[str, Any] = {}
        for note in NOTE.finditer(self._classes[name]):
            if note[1] == "alias" and not self.type_name:
                continue  # an argument of every provider, which Terraform itself handles
            argument, flags = note[1], tuple(flag == "true" for flag in note.group(2, 3, 4))
            following = "\n".join(note.group(5, 6, 7))
            is_block, kind, storage = hcl.get(argument, ("false", "", ""))
            nested = NESTED.search(following)
            plain = PLAIN_BLOCK.search(following)
            if is_block == "true" and plain and not nested:
                blocks[argument] = {"nesting": kind, **self._of_interface(plain[1])}
            elif is_block == "true" and nested:
                blocks[argument] = self._nested(nested, kind, required=flags[2])
            elif nested and nested[2] in {"List", "OutputReference"}:
                attributes[argument] = self._computed_objects(nested, flags)
            else:
                type_name = _type_of(kind, storage) or _type_of_getter(following)
                attributes[argument] = f"{type_name} {_necessity(flags)}"
        return {"attributes": attributes} | ({"blocks": blocks} if blocks else {})

    def _nested(self, nested: re.Match[str], kind: str, *, required: bool) -> dict[str, Any]:
        inner = nested[1]
        block = self._block(f"{inner}OutputReference", self._hcl_of_block(inner))
        limits: dict[str, Any] = {"nesting": {"struct": "single"}.get(kind, kind)}
        if required and kind != "struct":
            limits["min"] = 1
        if nested[2] == "OutputReference" and kind != "struct":
            limits["max"] = 1
        return limits | block

    def _of_interface(self, name: str) -> dict[str, Any]:
        """Return the schema of a block of the provider; each block has its own interface."""
        start = self._source.index(f"export interface {name} {{")
        properties = PROPERTY.findall(self._source[start : self._source.index("\n}\n", start)])
        hcl = self._hcl_of_block(name)
        return {
            "attributes": {
                argument: f"{_type_of(kind, storage)} {'optional' if mark else 'required'}"
                for mark, (argument, (_, kind, storage)) in zip(
                    properties, hcl.items(), strict=True
                )
            }
        }

    def _computed_objects(self, nested: re.Match[str], flags: tuple[bool, ...]) -> dict[str, Any]:
        """Return the schema of a computed attribute that is a list of objects."""
        inner = self._block(f"{nested[1]}OutputReference", self._hcl_of_block(nested[1]))
        fields = {
            name: value.partition(" ")[0]
            for name, value in inner["attributes"].items()
            if isinstance(value, str)
        }
        return {"list_of": fields, "necessity": _necessity(flags)}


def _necessity(flags: tuple[bool, ...]) -> str:
    computed, optional, required = flags
    if required:
        return "required"
    if optional:
        return "optional+computed" if computed else "optional"
    return "computed"


def _type_of(kind: str, storage: str) -> str:
    if kind == "simple":
        return SCALARS[storage]
    if kind in {"list", "set", "map"}:
        element = storage.removesuffix("List").removesuffix("Map").lower()
        return f"{kind}({SCALARS.get(element, 'string')})"
    return ""


def _type_of_getter(following: str) -> str:
    getter = GETTER.search(following)
    if getter is None:
        return "map(string)" if "StringMap" in following else "string"
    name = OF_GETTER[getter[1]]
    return name.replace("list(", "set(") if "Fn.tolist" in following else name


if __name__ == "__main__":
    main()
