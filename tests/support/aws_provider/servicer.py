"""The calls of Terraform's plugin protocol 6, one method each."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

from aws_provider.arguments import unused_arguments
from aws_provider.planning import plan_creation, plan_update, replaced_by
from aws_provider.resources import DATA_SOURCES, RESOURCES
from aws_provider.resources.base import CreatedButUnusable
from aws_provider.schema import aws_schema
from aws_provider.values import UNKNOWN, State, decode, encode, is_known, without_unknown
from aws_provider.wire import METHODS, message
from drdeploy.errors import DrdeployError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_provider.aws import Aws
    from aws_provider.resources.base import Resource

log = logging.getLogger(__name__)

ERROR = 1


def _answering(method: Callable[[Servicer, Any], Any]) -> Callable[[Servicer, Any, Any], Any]:
    """Turn every error of a call into a diagnostic, which Terraform shows to the user."""
    response = METHODS[method.__name__][1]

    @functools.wraps(method)
    def answer(self: Servicer, request: Any, context: Any) -> Any:
        del context
        try:
            return method(self, request)
        except Exception as err:
            log.exception("%s failed", method.__name__)
            return message(response)(diagnostics=[_diagnostic(request, err)])

    return answer


class Servicer:
    """Answers the calls; keeps no state but the settings of the provider block."""

    # The names of the methods are the protocol's.
    # ruff: noqa: N802

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._schema = aws_schema()

    def GetMetadata(self, _request: Any, _context: Any) -> Any:
        """Name the resources and data sources."""
        named = message("Named")
        return message("GetMetadataResponse")(
            server_capabilities=_capabilities(),
            resources=[named(type_name=name) for name in self._schema.resources],
            data_sources=[named(type_name=name) for name in self._schema.data_sources],
        )

    def GetProviderSchema(self, _request: Any, _context: Any) -> Any:
        """Return the whole schema."""
        return message("GetProviderSchemaResponse")(
            provider=_schema_message(self._schema.provider),
            resource_schemas=_named(self._schema.resources),
            data_source_schemas=_named(self._schema.data_sources),
            server_capabilities=_capabilities(),
        )

    def ValidateProviderConfig(self, _request: Any, _context: Any) -> Any:
        """Accept the provider block: Terraform itself has checked names and types."""
        return message("ValidateProviderConfigResponse")()

    def ValidateResourceConfig(self, _request: Any, _context: Any) -> Any:
        """Accept a resource block: Terraform itself has checked names and types."""
        return message("DiagnosticsResponse")()

    def ValidateDataResourceConfig(self, _request: Any, _context: Any) -> Any:
        """Accept the block of a data source."""
        return message("DiagnosticsResponse")()

    def GetFunctions(self, _request: Any, _context: Any) -> Any:
        """Answer that the provider has no functions."""
        return message("Nothing")()

    def StopProvider(self, _request: Any, _context: Any) -> Any:
        """Make every wait for an endpoint end: Terraform was interrupted."""
        self._aws.interrupted.set()
        return message("StopProviderResponse")()

    @_answering
    def ConfigureProvider(self, request: Any) -> Any:
        """Take over region and default tags; the local service needs nothing else."""
        config = decode(request.config)
        self._aws.interrupted.clear()
        if isinstance(config.get("region"), str):
            self._aws.region = config["region"]
        default = (config.get("default_tags") or [{}])[0].get("tags")
        self._aws.default_tags = without_unknown(default) or {}
        return message("DiagnosticsResponse")()

    @_answering
    def UpgradeResourceState(self, request: Any) -> Any:
        """Return a stored state as it is: the schema has had one version only."""
        import json

        state = json.loads(request.raw_state.json)
        return message("StateResponse")(state=_value(state))

    @_answering
    def ReadResource(self, request: Any) -> Any:
        """Return the state of a resource as the API reports it now."""
        state = decode(request.current_state)
        changes = _handler(request).read(self._aws, state)
        new_state = None if changes is None else {**state, **changes}
        return message("StateResponse")(state=_value(new_state))

    @_answering
    def ReadDataSource(self, request: Any) -> Any:
        """Return the values of a data source."""
        config = decode(request.config)
        return message("StateResponse")(
            state=_value({**config, **DATA_SOURCES[request.type_name](self._aws)})
        )

    @_answering
    def PlanResourceChange(self, request: Any) -> Any:
        """Return the values after a change, and which arguments need a new resource."""
        prior, proposed, config = (
            decode(value)
            for value in (request.prior_state, request.proposed_new_state, request.config)
        )
        block = self._schema.resources[request.type_name]
        answer = message("PlanResourceChangeResponse")
        if proposed is None:
            return answer(planned_state=_value(None))
        _refuse_unused_arguments(request, config)
        if prior is None:
            planned = self._with_defaults(block, plan_creation(block, proposed, config), config)
            return answer(planned_state=_value(planned))
        planned = self._with_defaults(block, plan_update(block, prior, proposed, config), config)
        handler = _handler(request)
        step = message("Step")
        return answer(
            planned_state=_value(planned),
            requires_replace=[
                message("AttributePath")(steps=[step(attribute_name=name)])
                for name in replaced_by(block, prior, planned, handler.in_place)
            ],
        )

    def _with_defaults(self, block: Any, planned: State, config: State) -> State:
        """Add the region and the default tags of the provider block to planned values."""
        defaults: State = {}
        if "region" in block.attributes and config.get("region") is None:
            defaults["region"] = self._aws.region
        if "tags_all" in block.attributes:
            tags = config.get("tags") or {}
            tags_all = {**self._aws.default_tags, **tags} if is_known(tags) else UNKNOWN
            defaults["tags_all"] = tags_all
        return {**planned, **defaults}

    @_answering
    def ApplyResourceChange(self, request: Any) -> Any:
        """Create, change or delete a resource."""
        prior, planned = decode(request.prior_state), decode(request.planned_state)
        handler, answer = _handler(request), message("ApplyResourceChangeResponse")
        if planned is None:
            handler.delete(self._aws, prior)
            return answer(new_state=_value(None))
        diagnostics = []
        try:
            if prior is None:
                computed = handler.create(self._aws, without_unknown(planned))
            else:
                computed = handler.update(self._aws, prior, without_unknown(planned))
        except CreatedButUnusable as err:
            computed = err.values
            diagnostics = [_diagnostic(request, err)]
        except Exception as err:
            log.exception("%s could not be changed", request.type_name)
            return answer(new_state=_value(prior), diagnostics=[_diagnostic(request, err)])
        return answer(new_state=_value(_filled(planned, computed)), diagnostics=diagnostics)

    @_answering
    def ImportResourceState(self, request: Any) -> Any:
        """Refuse to import a resource."""
        raise DrdeployError(
            "The test provider imports nothing", where=f"{request.type_name} {request.id}"
        )


def _filled(planned: State, computed: State) -> State:
    """Return the planned values, with the computed ones for those that were unknown."""
    unknown = {name for name, value in planned.items() if value is UNKNOWN}
    return {
        name: computed.get(name) if name in unknown else without_unknown(value)
        for name, value in planned.items()
    }


def _handler(request: Any) -> Resource:
    try:
        return RESOURCES[request.type_name]
    except KeyError as err:
        raise DrdeployError(
            "The local service has no such resource",
            where=request.type_name,
            remedy="Leave it out here; on AWS, HashiCorp's provider creates it",
        ) from err


def _refuse_unused_arguments(request: Any, config: State) -> None:
    """Refuse a resource with an argument that would have no effect here.

    Raises:
        DrdeployError: There is one or more of them; the message names them.
    """
    handler = RESOURCES.get(request.type_name)
    unused = unused_arguments(handler, config) if handler is not None else []
    if unused:
        raise DrdeployError(
            f"The test provider does not use {', '.join(unused)}",
            where=request.type_name,
            remedy="Leave it out here, or teach the handler in tests/support/aws_provider",
        )


def _capabilities() -> Any:
    return message("ServerCapabilities")(get_provider_schema_optional=True)


def _schema_message(block: Any) -> Any:
    return message("Schema")(version=0, block=block.message())


def _named(blocks: dict[str, Any]) -> list[Any]:
    named = message("NamedSchema")
    return [named(key=name, value=_schema_message(block)) for name, block in blocks.items()]


def _value(value: Any) -> Any:
    return message("DynamicValue")(msgpack=encode(value))


def _diagnostic(request: Any, err: Exception) -> Any:
    type_name = getattr(request, "type_name", "provider")
    return message("Diagnostic")(severity=ERROR, summary=f"{type_name}: {err}", detail="")
