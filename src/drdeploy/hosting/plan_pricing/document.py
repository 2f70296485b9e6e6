"""Read a Terraform plan in JSON, as ``terraform show -json`` or ``tofu show -json`` prints it.

Source: "JSON Output Format" of Terraform's documentation, format versions 0.x and 1.x. A value that
is known only after the plan is applied is missing from the section ``planned_values``. The object
``after_unknown`` in the section ``resource_changes`` marks these values with ``true``.
"""

from __future__ import annotations

import codecs
import itertools
import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from drdeploy.errors import InvalidInput
from drdeploy.files import parse_json
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO

PLAN_BYTES_MAX = 64 * MIB
"""The largest plan that is read; a plan of a thousand resources is a few MB long."""
VALUES_MAX = 4_000_000
"""The largest number of values in a plan. The commas in the plan are counted, because they separate
values. Each value takes 64 bytes of memory or more.
"""
RESOURCES_MAX = 20_000
REGION = re.compile(r"[a-z]{2}(-[a-z]+){1,3}-[0-9]{1,2}")
"""Matches the name of a region, for example ``us-gov-west-1``."""
HOW_TO_MAKE = "Make one with `terraform plan -out=plan` and `terraform show -json plan > plan.json`"
HOW_TO_SPLIT = (
    "Make a plan of each part of the configuration with -target, and price each plan separately"
)

Removal = Literal["delete", "forget"]


@dataclass(frozen=True)
class PlannedResource:
    """One resource that exists after the plan is applied.

    Attributes:
        address: The full address of the resource in Terraform, for example
            ``module.a.aws_b.c["key"]``.
        type: The resource's type, for example ``aws_sagemaker_endpoint``.
        module: The address of the resource's module; empty for the root module.
        name: The resource's name in its module.
        index: The key of the resource in ``for_each``, or its index in ``count``; None if the
            resource has neither.
        is_data_source: Whether Terraform only reads the resource (a data source).
        region: The region that the resource or its provider names, or None.
        values: The values that are known before the plan is applied.
        unknown: The part ``after_unknown`` of the plan, which marks with ``true`` each value that
            is known only after the plan is applied.
        references: For each argument of the resource, the expressions that its value refers to, for
            example ``aws_sagemaker_model.this.name``.
    """

    address: str
    type: str
    module: str
    name: str
    index: int | str | None
    is_data_source: bool
    region: str | None
    values: Mapping[str, Any]
    unknown: Any
    references: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def is_unknown(self, *path: str | int) -> bool:
        """Return whether a value is known only after the plan is applied."""
        at = self.unknown
        for step in path:
            if at is True:
                return True
            if isinstance(at, dict) and isinstance(step, str):
                at = at.get(step)
            elif isinstance(at, list) and isinstance(step, int) and step < len(at):
                at = at[step]
            else:
                return False
        return at is True

    def list_blocks(self, name: str) -> list[Mapping[str, Any]]:
        """Return all blocks of the resource that are called ``name``."""
        return list_blocks_in(self.values, name)


def list_blocks_in(values: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Return the nested blocks called ``name`` of a resource, or of another block."""
    blocks = values.get(name)
    return [one for one in blocks if isinstance(one, dict)] if isinstance(blocks, list) else []


@dataclass(frozen=True)
class RemovedResource:
    """A resource that the plan deletes, or removes from the state without deleting it."""

    address: str
    type: str
    removal: Removal


@dataclass(frozen=True, eq=False)  # the caches of its facts are found by identity
class PlanDocument:
    """A Terraform plan.

    Attributes:
        made_by: The version of Terraform or OpenTofu that made the plan.
        resources: The resources that exist after the plan is applied.
        removed: The resources that the plan removes.
        deferred: The addresses of the resources that Terraform leaves to a later plan.
        warnings: Sentences about missing parts of the plan.
    """

    made_by: str
    resources: tuple[PlannedResource, ...]
    removed: tuple[RemovedResource, ...] = ()
    deferred: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def find_referenced_resource(
        self, resource: PlannedResource, argument: str, type_: str
    ) -> PlannedResource | None:
        """Return the only resource of a type that an argument refers to, or None.

        If the argument refers to several resources of the type, the result is None.

        Only a direct reference to a resource of the same module is followed. A plan does not say
        what the outputs and the locals of a module refer to.
        """
        names = {
            parts[1]
            for reference in resource.references.get(argument, ())
            if len(parts := re.split(r"[.\[]", reference)) > 1 and parts[0] == type_
        }
        blocks = [
            self._resources_by_block.get((type_, resource.module, name), {}) for name in names
        ]
        # A resource with a key of `for_each` usually refers to the resource with the same key.
        found = [one for block in blocks for one in block.get(resource.index, ())]
        if not found:
            every = (one for block in blocks for group in block.values() for one in group)
            found = list(itertools.islice(every, 2))
        return found[0] if len(found) == 1 else None

    def list_resources_named(self, type_: str, name: str) -> list[PlannedResource]:
        """Return the resources of the given type whose argument ``name`` has the given value."""
        return self._resources_by_name.get((type_, name), [])

    # An untrusted plan may have thousands of resources that refer to each other. Without these
    # caches, the time to price it would grow with the cube of their number.

    @cached_property
    def _resources_by_block(
        self,
    ) -> Mapping[tuple[str, str, str], dict[int | str | None, list[PlannedResource]]]:
        found: dict[tuple[str, str, str], dict[int | str | None, list[PlannedResource]]] = {}
        for one in self.resources:
            block = found.setdefault((one.type, one.module, one.name), {})
            block.setdefault(one.index, []).append(one)
        return found

    @cached_property
    def _resources_by_name(self) -> Mapping[tuple[str, str], list[PlannedResource]]:
        found: dict[tuple[str, str], list[PlannedResource]] = defaultdict(list)
        for one in self.resources:
            if isinstance(name := one.values.get("name"), str):
                found[one.type, name].append(one)
        return found


def read_plan_document(file: BinaryIO, name: str) -> PlanDocument:
    """Read a Terraform plan from a file in JSON.

    Args:
        file: The file. A file larger than :data:`PLAN_BYTES_MAX` is refused.
        name: The file's name, for messages.

    Raises:
        InvalidInput: The file is not a plan in JSON, or is too large.
    """
    content = file.read(PLAN_BYTES_MAX + 1)
    if len(content) > PLAN_BYTES_MAX:
        raise InvalidInput(
            f"The plan is larger than {PLAN_BYTES_MAX // MIB} MiB",
            where=name,
            remedy=HOW_TO_SPLIT,
        )
    if content.count(b",") >= VALUES_MAX:
        raise InvalidInput(
            f"The plan has more than {VALUES_MAX:,} values",
            where=name,
            remedy=HOW_TO_SPLIT,
        )
    document = _parse_json_object(content, name)
    _refuse_other_documents(document, name)
    try:
        plan = _Plan.model_validate(document)
    except (ValidationError, RecursionError) as err:
        raise InvalidInput(
            f"The plan cannot be read: {_describe_first_error(err)}",
            where=name,
            remedy=HOW_TO_MAKE,
        ) from err
    return _PlanReader(plan, name).make_document()


def _parse_json_object(content: bytes, name: str) -> dict[str, Any]:
    if content.startswith(b"PK"):
        raise InvalidInput(
            "The file is a plan in the binary format, which only Terraform can read",
            where=name,
            remedy="Convert the plan with `terraform show -json PLAN > plan.json`, in the "
            "folder of its configuration",
        )
    if not content.strip():
        raise InvalidInput("The file is empty", where=name, remedy=HOW_TO_MAKE)
    try:
        document = parse_json(_decode_text(content))
    except ValueError as err:
        if content.lstrip().startswith(b'{"@level"'):
            raise InvalidInput(
                "The file is the log of `terraform plan -json`, but not the plan",
                where=name,
                remedy=HOW_TO_MAKE,
            ) from err
        is_text = not isinstance(err, UnicodeDecodeError)
        reason = str(err) if is_text else "it is not text in UTF-8 or UTF-16"
        raise InvalidInput(
            f"The file is not JSON: {reason}", where=name, remedy=HOW_TO_MAKE
        ) from err
    if not isinstance(document, dict):
        raise InvalidInput(
            "The file is JSON, but not a Terraform plan", where=name, remedy=HOW_TO_MAKE
        )
    return document


def _decode_text(content: bytes) -> str:
    # In Windows PowerShell, `>` writes UTF-16.
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    return content.decode("utf-8-sig")


def _refuse_other_documents(document: Mapping[str, Any], name: str) -> None:
    if "planned_values" in document and "format_version" in document:
        return
    if "@level" in document:
        what = "The file is the log of `terraform plan -json`, but not the plan"
    elif "lineage" in document or ("serial" in document and "resources" in document):
        what = "The file is a state file of Terraform, but not a plan"
    elif "format_version" in document and not document.keys() - {"format_version", "checks"}:
        what = (
            "The file contains neither a plan nor a state: `terraform show -json` was run in a "
            "folder that has no state"
        )
    elif "format_version" in document and "values" in document:
        what = "The file is a state in JSON (`terraform show -json` without a plan), but not a plan"
    elif "AWSTemplateFormatVersion" in document or "Resources" in document:
        what = "The file is a CloudFormation template, but not a Terraform plan"
    else:
        what = "The file is JSON, but not a Terraform plan"
    raise InvalidInput(what, where=name, remedy=HOW_TO_MAKE)


def _describe_first_error(error: ValidationError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "its modules are nested too deeply"
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


class _Lenient(BaseModel):
    # Other versions of Terraform write further members.
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Resource(_Lenient):
    address: str
    type: str
    name: str
    mode: str = "managed"
    index: int | str | None = None
    values: dict[str, Any] = Field(default_factory=dict)


class _Module(_Lenient):
    address: str = ""
    resources: list[_Resource] = Field(default_factory=list)
    child_modules: list[_Module] = Field(default_factory=list)


class _PlannedValues(_Lenient):
    root_module: _Module = Field(default_factory=_Module)


class _Change(_Lenient):
    actions: list[str]
    after_unknown: Any = None


class _ResourceChange(_Lenient):
    address: str
    type: str = ""
    mode: str = "managed"
    deposed: str | None = None
    change: _Change


class _Variable(_Lenient):
    value: Any = None


class _Plan(_Lenient):
    format_version: str
    terraform_version: str = ""
    planned_values: _PlannedValues = Field(default_factory=_PlannedValues)
    resource_changes: list[_ResourceChange] = Field(default_factory=list)
    deferred_changes: list[Any] = Field(default_factory=list)
    variables: dict[str, _Variable] = Field(default_factory=dict)
    configuration: dict[str, Any] = Field(default_factory=dict)
    complete: bool | None = None
    errored: bool | None = None


class _PlanReader:
    """Collects what the sections of a plan say about each resource."""

    def __init__(self, plan: _Plan, name: str) -> None:
        if not re.match(r"[01]\.", plan.format_version):
            raise InvalidInput(
                f"The plan has the format version {plan.format_version}, and only the versions 0.x "
                "and 1.x are known",
                where=name,
                remedy="Use a newer version of drdeploy, or an older version of Terraform",
            )
        self._plan = plan
        self._name = name
        self._unknown = {
            one.address: one.change.after_unknown
            for one in plan.resource_changes
            if one.deposed is None
        }
        providers = plan.configuration.get("provider_config")
        self._providers = providers if isinstance(providers, dict) else {}
        root = plan.configuration.get("root_module")
        self._configured = dict(_list_configured_resources(root, ""))

    def make_document(self) -> PlanDocument:
        resources = tuple(self._list_resources(self._plan.planned_values.root_module))
        if len(resources) > RESOURCES_MAX:
            raise InvalidInput(
                f"The plan has {len(resources):,} resources, more than {RESOURCES_MAX:,}",
                where=self._name,
                remedy=HOW_TO_SPLIT,
            )
        return PlanDocument(
            made_by=self._plan.terraform_version,
            resources=resources,
            removed=tuple(self._list_removed_resources()),
            deferred=tuple(self._list_deferred_addresses()),
            warnings=tuple(self._list_warnings()),
        )

    def _list_resources(self, module: _Module) -> Iterator[PlannedResource]:
        for one in module.resources:
            configured = self._configured.get(_remove_keys_of_address(one.address), {})
            yield PlannedResource(
                address=one.address,
                type=one.type,
                module=module.address,
                name=one.name,
                index=one.index,
                is_data_source=one.mode == "data",
                region=self._find_region_of_provider(one, configured),
                values=one.values,
                unknown=self._unknown.get(one.address),
                references=_list_references(configured.get("expressions")),
            )
        for child in module.child_modules:
            yield from self._list_resources(child)

    def _find_region_of_provider(
        self, resource: _Resource, configured: Mapping[str, Any]
    ) -> str | None:
        own = resource.values.get("region")  # from version 6 of the AWS provider
        if isinstance(own, str) and own:
            return own
        key = str(configured.get("provider_config_key", ""))
        # A module that is passed a provider names it `module.NAME:aws`.
        provider = self._providers.get(key) or self._providers.get(key.rpartition(":")[2])
        expressions = provider.get("expressions") if isinstance(provider, dict) else None
        region = expressions.get("region") if isinstance(expressions, dict) else None
        if not isinstance(region, dict):
            return None
        constant = region.get("constant_value")
        if isinstance(constant, str):
            return constant
        if isinstance(provider, dict) and provider.get("module_address"):
            return None  # a plan has only the root module's variables
        for reference in region.get("references") or ():
            kind, _, name = str(reference).partition(".")
            variable = self._plan.variables.get(name) if kind == "var" else None
            value = variable.value if variable else None
            # In `local.regions[var.environment]`, the variable holds no region.
            if isinstance(value, str) and REGION.fullmatch(value):
                return value
        return None

    def _list_removed_resources(self) -> Iterator[RemovedResource]:
        for one in self._plan.resource_changes:
            if one.mode != "managed":
                continue
            if one.change.actions == ["delete"]:
                address = f"{one.address} (deposed {one.deposed})" if one.deposed else one.address
                yield RemovedResource(address, one.type, "delete")
            elif "forget" in one.change.actions:
                yield RemovedResource(one.address, one.type, "forget")

    def _list_deferred_addresses(self) -> Iterator[str]:
        for one in self._plan.deferred_changes:
            change = one.get("resource_change") if isinstance(one, dict) else None
            address = change.get("address") if isinstance(change, dict) else None
            yield str(address or "a resource without an address")

    def _list_warnings(self) -> Iterator[str]:
        if self._plan.errored:
            yield "The plan ended with an error, so resources may be missing from it"
        elif self._plan.complete is False:
            yield (
                "Resources may be missing from the plan, because the plan is not complete. "
                "Either Terraform was run with -target, or it postponed some changes"
            )


def _list_configured_resources(module: Any, prefix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each resource's address, without the keys of ``for_each``, and its configuration."""
    if not isinstance(module, dict):
        return
    for one in module.get("resources") or ():
        if isinstance(one, dict) and isinstance(one.get("address"), str):
            yield f"{prefix}{one['address']}", one
    calls = module.get("module_calls")
    for name, call in (calls if isinstance(calls, dict) else {}).items():
        if isinstance(call, dict):
            yield from _list_configured_resources(call.get("module"), f"{prefix}module.{name}.")


def _list_references(expressions: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(expressions, dict):
        return {}
    return {
        name: tuple(map(str, expression["references"]))
        for name, expression in expressions.items()
        if isinstance(expression, dict) and isinstance(expression.get("references"), list)
    }


def _remove_keys_of_address(address: str) -> str:
    """Return an address without keys.

    For example, ``module.a["x.y"].aws_b.c[0]`` becomes ``module.a.aws_b.c``.
    """
    return re.sub(r'\["(?:[^"\\]|\\.)*"\]|\[\d+\]', "", address)
