"""The SageMaker control plane of one region: models, endpoint configurations, endpoints, tags."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.local import constraints
from drdeploy.hosting.local.api.listing import page
from drdeploy.hosting.local.api.request_validation import check_request, service_model
from drdeploy.hosting.local.api_errors import forbidden_now, unknown_operation
from drdeploy.hosting.local.endpoints.deployment import EndpointDeployment
from drdeploy.hosting.local.endpoints.lifecycle import LocalEndpoint
from drdeploy.hosting.local.resource_store import (
    AccountRegion,
    ResourceRecord,
    ResourceStore,
    StoredResource,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.local.endpoints.fleet import InstanceFleet

Json = dict[str, Any]

ISOLATION_TAG = "drdeploy:isolation"
"""Tag of every endpoint that says what its instances run in."""


class ControlPlane:
    """The SageMaker control plane of one region.

    Args:
        account_region: Whose resources these are.
        fleet: Runs the endpoints' instances.
    """

    def __init__(self, account_region: AccountRegion, fleet: InstanceFleet) -> None:
        self.account_region = account_region
        self.endpoints = ResourceStore[LocalEndpoint]("endpoint", "endpoint", account_region)
        self._models = ResourceStore[ResourceRecord]("model", "model", account_region)
        self._configs = ResourceStore[ResourceRecord](
            "endpoint configuration", "endpoint-config", account_region
        )
        self._stores: dict[str, ResourceStore[Any]] = {
            "Model": self._models,
            "EndpointConfig": self._configs,
            "Endpoint": self.endpoints,
        }
        self._fleet = fleet
        self._clock = fleet.clock
        self._operations: dict[str, Callable[[Json], Json]] = {
            "CreateModel": self._create_model,
            "DeleteModel": partial(self._delete, "Model"),
            "CreateEndpointConfig": self._create_endpoint_config,
            "DeleteEndpointConfig": partial(self._delete, "EndpointConfig"),
            "CreateEndpoint": self._create_endpoint,
            "UpdateEndpoint": self._update_endpoint,
            "UpdateEndpointWeightsAndCapacities": self._change_capacity,
            "DeleteEndpoint": self._delete_endpoint,
            "AddTags": self._add_tags,
            "ListTags": lambda request: _tags_of(self._with_arn(request["ResourceArn"])),
            "DeleteTags": self._delete_tags,
        }
        for kind in self._stores:
            self._operations[f"Describe{kind}"] = partial(self._describe, kind)
            self._operations[f"List{kind}s"] = partial(self._list, kind)

    def call(self, operation: str, request: Json) -> Json:
        """Validate a request, carry the operation out and return its response.

        Raises:
            ApiError: The request is refused, or the operation is not served here.
        """
        carry_out = self._operations.get(operation)
        if carry_out is None:
            raise unknown_operation(operation)
        check_request(service_model("sagemaker").operation_model(operation), request)
        # In AWS's JSON protocol a null member counts as an absent one.
        return carry_out({name: value for name, value in request.items() if value is not None})

    # -- every kind of resource ----------------------------------------------------------

    def _describe(self, kind: str, request: Json) -> Json:
        description: Json = self._stores[kind].get(request[f"{kind}Name"]).describe()
        return description

    def _list(self, kind: str, request: Json) -> Json:
        found, token = page(self._stores[kind].all(), request)
        members = (f"{kind}Name", f"{kind}Arn", "CreationTime", "LastModifiedTime", f"{kind}Status")
        descriptions = [resource.describe() for resource in found]
        summaries = [{name: one[name] for name in members if name in one} for one in descriptions]
        return {f"{kind}s": summaries} | ({"NextToken": token} if token else {})

    def _delete(self, kind: str, request: Json) -> Json:
        self._stores[kind].remove(request[f"{kind}Name"])
        return {}

    # -- models and endpoint configurations ----------------------------------------------

    def _create_model(self, request: Json) -> Json:
        constraints.check_model(request)
        return self._store("Model", request)

    def _create_endpoint_config(self, request: Json) -> Json:
        # The request's own values first: what could never be valid is reported before a model
        # that does not exist yet.
        constraints.check_endpoint_config(request)
        models = self._models_of(request).values()
        constraints.check_models(request, [model.request for model in models])
        return self._store("EndpointConfig", request)

    def _store(self, kind: str, request: Json) -> Json:
        name = request[f"{kind}Name"]
        arn = self._stores[kind].arn_of(name)
        # DescribeModel and DescribeEndpointConfig return the request, but never its tags.
        described = {member: value for member, value in request.items() if member != "Tags"}
        tags = _values_by_key(request.get("Tags", []))
        record = ResourceRecord(kind, name, arn, self._clock.now(), tags, described)
        self._stores[kind].add(record)
        return {f"{kind}Arn": arn}

    def _models_of(self, config: Json) -> dict[str, ResourceRecord]:
        names = {variant["ModelName"] for variant in config["ProductionVariants"]}
        return {name: self._models.get(name) for name in names}

    # -- endpoints -----------------------------------------------------------------------

    def _create_endpoint(self, request: Json) -> Json:
        config = self._configs.get(request["EndpointConfigName"])
        others = [endpoint.config.request for endpoint in self.endpoints.all()]
        constraints.check_quotas(config.request, others)
        name = request["EndpointName"]
        endpoint = LocalEndpoint(
            name, self.endpoints.arn_of(name), self._deployment(config), self._clock
        )
        endpoint.tags |= _values_by_key(request.get("Tags", []))
        endpoint.tags[ISOLATION_TAG] = self._fleet.backend.isolation
        self.endpoints.add(endpoint)
        endpoint.create()
        return {"EndpointArn": endpoint.arn}

    def _deployment(self, config: ResourceRecord) -> EndpointDeployment:
        return EndpointDeployment(config, self._models_of(config.request), self._fleet)

    def _update_endpoint(self, request: Json) -> Json:
        endpoint = self.endpoints.get(request["EndpointName"])
        config = self._configs.get(request["EndpointConfigName"])
        constraints.check_update(endpoint.config.request, config.request)
        endpoint.update(self._deployment(config))
        return {"EndpointArn": endpoint.arn}

    def _change_capacity(self, request: Json) -> Json:
        endpoint = self.endpoints.get(request["EndpointName"])
        endpoint.change_capacity(request["DesiredWeightsAndCapacities"])
        return {"EndpointArn": endpoint.arn}

    def _delete_endpoint(self, request: Json) -> Json:
        endpoint = self.endpoints.get(request["EndpointName"])
        # It stays listed as Deleting until its instances have stopped, as on AWS.
        endpoint.delete(lambda: self.endpoints.remove(endpoint.name))
        return {}

    # -- tags ----------------------------------------------------------------------------

    def _add_tags(self, request: Json) -> Json:
        resource = self._with_arn(request["ResourceArn"])
        resource.tags |= _values_by_key(request["Tags"])
        return _tags_of(resource)

    def _delete_tags(self, request: Json) -> Json:
        resource = self._with_arn(request["ResourceArn"])
        for key in request["TagKeys"]:
            resource.tags.pop(key, None)
        return {}

    def _with_arn(self, arn: str) -> StoredResource:
        found: StoredResource
        for store in self._stores.values():
            for found in store.all():
                if found.arn.lower() == arn.lower():
                    return found
        raise forbidden_now(f'Could not find resource "{arn}".')


def _values_by_key(tags: list[dict[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


def _tags_of(resource: StoredResource) -> Json:
    return {"Tags": [{"Key": key, "Value": value} for key, value in resource.tags.items()]}
