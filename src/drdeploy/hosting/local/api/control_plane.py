"""The control plane of one region: each operation takes a request and returns its answer.

Requests have been checked against botocore's model before; here they are held against what
there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drdeploy.hosting.local import constraints
from drdeploy.hosting.local.api.listing import page
from drdeploy.hosting.local.api.request_validation import check_request, service_model
from drdeploy.hosting.local.api_errors import ApiError, forbidden_now
from drdeploy.hosting.local.endpoints.deployment import EndpointDeployment
from drdeploy.hosting.local.endpoints.lifecycle import LocalEndpoint
from drdeploy.hosting.local.resource_store import ResourceRecord, ResourceStore, TagStore
from drdeploy.hosting.sagemaker.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.local.endpoints.fleet import InstanceFleet
    from drdeploy.hosting.local.resource_store import AccountRegion

Json = dict[str, Any]

ISOLATION_TAG = "drdeploy:isolation"
"""Tag of every endpoint: what its instances run in."""


class ControlPlane:
    """See the module.

    Args:
        place: Region and account.
        machine: Where endpoints run.
        clock: For stamps.
    """

    def __init__(
        self, place: AccountRegion, machine: InstanceFleet, clock: Clock | None = None
    ) -> None:
        self.place = place
        self.endpoints: ResourceStore[LocalEndpoint] = ResourceStore("endpoint", "endpoint", place)
        self._models: ResourceStore[ResourceRecord] = ResourceStore("model", "model", place)
        self._configs: ResourceStore[ResourceRecord] = ResourceStore(
            "endpoint configuration", "endpoint-config", place
        )
        self._tags = TagStore()
        self._machine = machine
        self._clock = clock or Clock()

    def call(self, operation: str, request: Json) -> Json:
        """Answer one operation.

        Raises:
            ApiError: The request is refused, or the operation is not served here.
        """
        serve = self._operations().get(operation)
        if serve is None:
            raise ApiError(
                "UnknownOperationException", f"The local service does not serve {operation}."
            )
        check_request(service_model("sagemaker").operation_model(operation), request)
        return serve({name: value for name, value in request.items() if value is not None})

    def _operations(self) -> dict[str, Callable[[Json], Json]]:
        return {
            "CreateModel": self._create_model,
            "DescribeModel": self._describe_model,
            "ListModels": self._list_models,
            "DeleteModel": self._delete_model,
            "CreateEndpointConfig": self._create_endpoint_config,
            "DescribeEndpointConfig": self._describe_endpoint_config,
            "ListEndpointConfigs": self._list_endpoint_configs,
            "DeleteEndpointConfig": self._delete_endpoint_config,
            "CreateEndpoint": self._create_endpoint,
            "DescribeEndpoint": self._describe_endpoint,
            "ListEndpoints": self._list_endpoints,
            "UpdateEndpoint": self._update_endpoint,
            "UpdateEndpointWeightsAndCapacities": self._change_capacity,
            "DeleteEndpoint": self._delete_endpoint,
            "AddTags": self._add_tags,
            "ListTags": self._list_tags,
            "DeleteTags": self._delete_tags,
        }

    # -- models ------------------------------------------------------------------------

    def _create_model(self, request: Json) -> Json:
        constraints.check_model(request)
        return {"ModelArn": self._keep(self._models, "ModelName", request)}

    def _describe_model(self, request: Json) -> Json:
        return _described(self._models.get(request["ModelName"]), "ModelArn")

    def _list_models(self, request: Json) -> Json:
        return _listed(self._models, request, "Models", "Model")

    def _delete_model(self, request: Json) -> Json:
        self._tags.forget(self._models.remove(request["ModelName"]).arn)
        return {}

    # -- endpoint configurations -------------------------------------------------------

    def _create_endpoint_config(self, request: Json) -> Json:
        # The values first: what can never be wins over what is not there yet.
        constraints.check_endpoint_config(request, [])
        models = [model.request for model in self._models_of(request).values()]
        constraints.check_endpoint_config(request, models)
        return {"EndpointConfigArn": self._keep(self._configs, "EndpointConfigName", request)}

    def _describe_endpoint_config(self, request: Json) -> Json:
        record = self._configs.get(request["EndpointConfigName"])
        return _described(record, "EndpointConfigArn")

    def _list_endpoint_configs(self, request: Json) -> Json:
        return _listed(self._configs, request, "EndpointConfigs", "EndpointConfig")

    def _delete_endpoint_config(self, request: Json) -> Json:
        self._tags.forget(self._configs.remove(request["EndpointConfigName"]).arn)
        return {}

    # -- endpoints ---------------------------------------------------------------------

    def _create_endpoint(self, request: Json) -> Json:
        config = self._configs.get(request["EndpointConfigName"])
        others = [endpoint.config.request for endpoint in self.endpoints.all()]
        constraints.check_quotas(config.request, others)
        name = request["EndpointName"]
        endpoint = LocalEndpoint(
            name, self.endpoints.arn_of(name), self._deployment(config), self._clock
        )
        self.endpoints.add(endpoint)
        self._tags.add(endpoint.arn, request.get("Tags", []))
        isolation = {"Key": ISOLATION_TAG, "Value": self._machine.backend.isolation}
        self._tags.add(endpoint.arn, [isolation])
        endpoint.create()
        return {"EndpointArn": endpoint.arn}

    def _describe_endpoint(self, request: Json) -> Json:
        return self.endpoints.get(request["EndpointName"]).describe()

    def _list_endpoints(self, request: Json) -> Json:
        found, token = page(self.endpoints.all(), request)
        members = (
            "EndpointName",
            "EndpointArn",
            "CreationTime",
            "LastModifiedTime",
            "EndpointStatus",
        )
        described = [endpoint.describe() for endpoint in found]
        summaries = [{name: one[name] for name in members} for one in described]
        return {"Endpoints": summaries} | ({"NextToken": token} if token else {})

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
        endpoint.delete(lambda: self._forget(endpoint))
        return {}

    # -- tags --------------------------------------------------------------------------

    def _add_tags(self, request: Json) -> Json:
        arn = self._existing(request["ResourceArn"])
        self._tags.add(arn, request["Tags"])
        return {"Tags": self._tags.of(arn)}

    def _list_tags(self, request: Json) -> Json:
        return {"Tags": self._tags.of(self._existing(request["ResourceArn"]))}

    def _delete_tags(self, request: Json) -> Json:
        self._tags.remove(self._existing(request["ResourceArn"]), request["TagKeys"])
        return {}

    # -- shared ------------------------------------------------------------------------

    def _keep(
        self, catalogue: ResourceStore[ResourceRecord], name_member: str, request: Json
    ) -> str:
        name = request[name_member]
        description = {key: value for key, value in request.items() if key != "Tags"}
        record = ResourceRecord(name, catalogue.arn_of(name), self._clock.now(), description)
        catalogue.add(record)
        self._tags.add(record.arn, request.get("Tags", []))
        return record.arn

    def _models_of(self, config: Json) -> dict[str, ResourceRecord]:
        names = {variant["ModelName"] for variant in config["ProductionVariants"]}
        return {name: self._models.get(name) for name in names}

    def _deployment(self, config: ResourceRecord) -> EndpointDeployment:
        return EndpointDeployment(config, self._models_of(config.request), self._machine)

    def _forget(self, endpoint: LocalEndpoint) -> None:
        self.endpoints.remove(endpoint.name)
        self._tags.forget(endpoint.arn)

    def _existing(self, arn: str) -> str:
        records = (*self._models.all(), *self._configs.all())
        known = {record.arn for record in records} | {one.arn for one in self.endpoints.all()}
        for own in known:
            if own.lower() == arn.lower():
                return own
        raise forbidden_now(f'Could not find resource "{arn}".')


def _described(record: ResourceRecord, arn_member: str) -> Json:
    return {**record.request, arn_member: record.arn, "CreationTime": record.created}


def _listed(
    catalogue: ResourceStore[ResourceRecord], request: Json, member: str, prefix: str
) -> Json:
    found, token = page(catalogue.all(), request)
    summaries = [
        {
            f"{prefix}Name": record.name,
            f"{prefix}Arn": record.arn,
            "CreationTime": record.created,
        }
        for record in found
    ]
    return {member: summaries} | ({"NextToken": token} if token else {})
