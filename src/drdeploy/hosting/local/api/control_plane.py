"""The SageMaker control plane of one region.

It holds models, endpoint configurations, endpoints, inference components, transform jobs and tags.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.local import request_constraints
from drdeploy.hosting.local.api.inference_components import ComponentOperations
from drdeploy.hosting.local.api.listing import (
    DEFAULT_MAX_TAGS,
    cut_page_of_list,
    filter_and_page_resources,
)
from drdeploy.hosting.local.api.request_validation import (
    drop_null_members,
    load_service_model,
    refuse_invalid_request,
)
from drdeploy.hosting.local.api.served_operations import (
    refuse_members_without_effect,
    refuse_unserved_operation,
)
from drdeploy.hosting.local.api.transform_jobs import TransformJobs
from drdeploy.hosting.local.api_errors import make_not_served_error, make_validation_error
from drdeploy.hosting.local.endpoints.data_capture import list_kms_keys_of_config
from drdeploy.hosting.local.endpoints.deployment import EndpointDeployment
from drdeploy.hosting.local.endpoints.guardrails import Guardrails, list_rollback_alarms
from drdeploy.hosting.local.endpoints.lifecycle import LocalEndpoint
from drdeploy.hosting.local.gpu_constraints import check_gpu_hosts_of_variants
from drdeploy.hosting.local.inference_components.checks import (
    check_config_for_components,
    hosts_components,
)
from drdeploy.hosting.local.instances.instance import ImageUnavailable
from drdeploy.hosting.local.resource_store import (
    AccountRegion,
    ResourceRecord,
    ResourceStore,
    StoredResource,
)
from drdeploy.hosting.local.served_members import SERVED_MEMBERS, refuse_unserved_members

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from drdeploy.files import Json
    from drdeploy.hosting.local.batch_transform.object_list import ObjectStorage
    from drdeploy.hosting.local.endpoints.fleet import InstanceFleet


class ControlPlane:
    """The SageMaker control plane of one region.

    Args:
        account_region: The account and the region of the resources.
        fleet: The fleet that runs the instances of the endpoints.
        storage: The objects of S3, for transform jobs.
    """

    def __init__(
        self,
        account_region: AccountRegion,
        fleet: InstanceFleet,
        storage: ObjectStorage | None = None,
    ) -> None:
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
            "DeleteModel": partial(self._delete_resource, "Model"),
            "CreateEndpointConfig": self._create_endpoint_config,
            "DeleteEndpointConfig": partial(self._delete_resource, "EndpointConfig"),
            "CreateEndpoint": self._create_endpoint,
            "UpdateEndpoint": self._update_endpoint,
            "UpdateEndpointWeightsAndCapacities": self._update_weights_and_capacities,
            "DeleteEndpoint": self._delete_endpoint,
            "AddTags": self._add_tags,
            "ListTags": self._list_tags_page,
            "DeleteTags": self._delete_tags,
        }
        for kind in self._stores:
            self._operations[f"Describe{kind}"] = partial(self._describe_resource, kind)
            self._operations[f"List{kind}s"] = partial(self._list_resources, kind)
        self.transform_jobs = TransformJobs(account_region, self._models, fleet, storage)
        self._operations |= self.transform_jobs.operations
        self._stores["TransformJob"] = self.transform_jobs.store
        self._component_operations = ComponentOperations(
            account_region, self.endpoints, self._models, self._refuse_unusable_model, fleet
        )
        self.components = self._component_operations.components
        self._stores["InferenceComponent"] = self.components
        self._operations |= self._component_operations.operations

    def carry_out_operation(self, operation: str, request: Json) -> Json:
        """Validate a request, carry out the operation, and return the response.

        Raises:
            ApiError: The request is not valid, or the local service does not offer the operation.
        """
        refuse_unserved_operation("sagemaker", operation)
        refuse_invalid_request(load_service_model("sagemaker").operation_model(operation), request)
        if operation not in SERVED_MEMBERS:
            # Operations in SERVED_MEMBERS refuse members later, between their other checks: the
            # checks are made in SageMaker's order.
            refuse_members_without_effect("sagemaker", operation, request)
        return self._operations[operation](drop_null_members(request))

    # -- every kind of resource ----------------------------------------------------------

    def _describe_resource(self, kind: str, request: Json) -> Json:
        description: Json = self._stores[kind].find_or_raise(request[f"{kind}Name"]).describe()
        return description

    def _list_resources(self, kind: str, request: Json) -> Json:
        found, token = filter_and_page_resources(self._stores[kind].list_resources(), request)
        members = (f"{kind}Name", f"{kind}Arn", "CreationTime", "LastModifiedTime", f"{kind}Status")
        descriptions = [resource.describe() for resource in found]
        summaries = [{name: one[name] for name in members if name in one} for one in descriptions]
        return {f"{kind}s": summaries} | ({"NextToken": token} if token else {})

    def _delete_resource(self, kind: str, request: Json) -> Json:
        self._stores[kind].remove_resource(request[f"{kind}Name"])
        return {}

    # -- models and endpoint configurations ----------------------------------------------

    def _create_model(self, request: Json) -> Json:
        self._refuse_unusable_model(request)
        return self._store_resource("Model", request)

    def _refuse_unusable_model(self, request: Json) -> None:
        request_constraints.check_model(request)
        refuse_unserved_members("CreateModel", request)
        self._fleet.refuse_unsupported_model(
            request_constraints.find_container_of_model(request).get("Environment", {}), request
        )
        self._refuse_absent_parts_of_model(request)

    def _create_endpoint_config(self, request: Json) -> Json:
        # The request's own values are checked first. An error in them is reported before an error
        # about a missing model, because a missing model may still be created.
        request_constraints.check_endpoint_config(request)
        check_config_for_components(request)
        refuse_unserved_members("CreateEndpointConfig", request)
        models = self._find_models_of_config(request)
        request_constraints.check_models(request, [model.request for model in models.values()])
        check_gpu_hosts_of_variants(
            request,
            lambda name: self._fleet.backend.find_image_variables(
                request_constraints.find_container_of_model(models[name].request)["Image"]
            ),
        )
        self._fleet.refuse_unsupported_model({}, request)
        self._refuse_unusable_keys(request)
        return self._store_resource("EndpointConfig", request)

    def _refuse_absent_parts_of_model(self, request: Json) -> None:
        """Refuse a model whose archive or image is missing, as SageMaker does."""
        url = request_constraints.find_model_data_url(request)
        if url is not None and not self._fleet.has_object(url):
            raise make_validation_error(f"Could not find model data at {url}.")
        image = request_constraints.find_container_of_model(request)["Image"]
        try:
            self._fleet.backend.check_image(image)
        except ImageUnavailable as err:
            remedy = f" {err.remedy}." if err.remedy else ""
            raise make_validation_error(
                f"Requested image {image} not found. {err.what}.{remedy}"
            ) from err

    def _refuse_unusable_keys(self, config: Json) -> None:
        """Refuse an endpoint configuration with a KMS key that does not exist or cannot encrypt."""
        for key in list_kms_keys_of_config(config):
            problem = self._fleet.problem_with_key(self.account_region.region, key)
            if problem:
                raise make_validation_error(f"The KMS key {key} {problem}.")

    def _store_resource(self, kind: str, request: Json) -> Json:
        name = request[f"{kind}Name"]
        arn = self._stores[kind].make_arn(name)
        # DescribeModel and DescribeEndpointConfig return the request, but never its tags.
        described = {member: value for member, value in request.items() if member != "Tags"}
        tags = _make_tags_by_key(request.get("Tags", []))
        record = ResourceRecord(kind, name, arn, self._clock.now(), tags, described)
        self._stores[kind].add_resource(record)
        return {f"{kind}Arn": arn}

    def _find_models_of_config(self, config: Json) -> dict[str, ResourceRecord]:
        variants = [*config["ProductionVariants"], *config.get("ShadowProductionVariants", [])]
        names = {variant["ModelName"] for variant in variants if "ModelName" in variant}
        return {name: self._models.find_or_raise(name) for name in names}

    # -- endpoints -----------------------------------------------------------------------

    def _create_endpoint(self, request: Json) -> Json:
        refuse_unserved_members("CreateEndpoint", request)
        config = self._configs.find_or_raise(request["EndpointConfigName"])
        self._read_guardrails(request.get("DeploymentConfig"), config.request)
        self._check_quotas(config.request)
        self._refuse_unusable_keys(config.request)
        name = request["EndpointName"]
        endpoint = LocalEndpoint(
            name,
            self.endpoints.make_arn(name),
            self._make_deployment(config, name),
            raised=self._list_raised_alarms,
            clock=self._clock,
        )
        endpoint.deployment_config = request.get("DeploymentConfig")
        endpoint.tags |= _make_tags_by_key(request.get("Tags", []))
        self.endpoints.add_resource(endpoint)
        endpoint.create()
        return {"EndpointArn": endpoint.arn}

    def _check_quotas(self, config: Json, changed: LocalEndpoint | None = None) -> None:
        """Refuse a configuration of a new or changed endpoint that would exceed a quota."""
        others = [one for one in self.endpoints.list_resources() if one is not changed]
        request_constraints.check_quotas(config, [one.present_config for one in others])

    def _make_deployment(self, config: ResourceRecord, endpoint: str) -> EndpointDeployment:
        models = self._find_models_of_config(config.request)
        return EndpointDeployment(config, models, self._fleet, endpoint)

    def _update_endpoint(self, request: Json) -> Json:
        refuse_unserved_members("UpdateEndpoint", request)
        request_constraints.check_update_request(request)
        endpoint = self.endpoints.find_or_raise(request["EndpointName"])
        config = self._configs.find_or_raise(request["EndpointConfigName"])
        request_constraints.check_endpoint_update(endpoint.config.request, config.request)
        self._check_quotas(config.request, endpoint)
        if hosts_components(endpoint.config.request) or hosts_components(config.request):
            raise make_not_served_error(
                "UpdateEndpoint for variants without a model (inference components). Create "
                "another endpoint, or change the number of instances with "
                "UpdateEndpointWeightsAndCapacities"
            )
        self._refuse_unusable_keys(config.request)
        if request.get("RetainAllVariantProperties"):
            config = _retain_variant_properties(endpoint, config, request)
        deployment_config = request.get("DeploymentConfig")
        if request.get("RetainDeploymentConfig"):
            deployment_config = endpoint.deployment_config
        if deployment_config:
            request_constraints.check_variant_names(endpoint.config.request, config.request)
        guardrails = self._read_guardrails(deployment_config, config.request)
        deployment = self._make_deployment(config, endpoint.name)
        endpoint.update(deployment, guardrails, deployment_config)
        return {"EndpointArn": endpoint.arn}

    def _read_guardrails(self, deployment_config: Json | None, config: Json) -> Guardrails:
        """Read a ``DeploymentConfig``; refuse it if it names an alarm that does not exist."""
        for name in list_rollback_alarms(deployment_config):
            if self._fleet.state_of_alarm(self.account_region.region, name) is None:
                raise make_validation_error(f"Could not find alarm {name}.")
        return Guardrails.from_deployment_config(deployment_config, config["ProductionVariants"])

    def _list_raised_alarms(self, alarms: Sequence[str]) -> list[str]:
        region = self.account_region.region
        return [name for name in alarms if self._fleet.state_of_alarm(region, name) == "ALARM"]

    def _update_weights_and_capacities(self, request: Json) -> Json:
        refuse_unserved_members("UpdateEndpointWeightsAndCapacities", request)
        request_constraints.check_names_are_unique(request["DesiredWeightsAndCapacities"])
        endpoint = self.endpoints.find_or_raise(request["EndpointName"])
        changes = {
            one["VariantName"]: one.get("ServerlessUpdateConfig") or {}
            for one in request["DesiredWeightsAndCapacities"]
        }
        self._check_quotas(_change_serverless_variants(endpoint.present_config, changes), endpoint)
        endpoint.change_capacity(request["DesiredWeightsAndCapacities"])
        return {"EndpointArn": endpoint.arn}

    def _delete_endpoint(self, request: Json) -> Json:
        endpoint = self.endpoints.find_or_raise(request["EndpointName"])
        self._component_operations.refuse_deletion_of_hosting_endpoint(endpoint.name)
        # As on AWS, the endpoint stays listed as Deleting until its instances have stopped.
        endpoint.delete(lambda: self.endpoints.remove_resource(endpoint.name))
        return {}

    # -- tags ----------------------------------------------------------------------------

    def _add_tags(self, request: Json) -> Json:
        resource = self._find_by_arn(request["ResourceArn"])
        added = _make_tags_by_key(request["Tags"])
        request_constraints.check_tag_count(resource.tags | added)
        resource.tags |= added
        return _list_tags(resource)

    def _list_tags_page(self, request: Json) -> Json:
        tags = _list_tags(self._find_by_arn(request["ResourceArn"]))["Tags"]
        found, token = cut_page_of_list(tags, request, default_max=DEFAULT_MAX_TAGS)
        return {"Tags": found} | ({"NextToken": token} if token else {})

    def _delete_tags(self, request: Json) -> Json:
        resource = self._find_by_arn(request["ResourceArn"])
        for key in request["TagKeys"]:
            resource.tags.pop(key, None)
        return {}

    def _find_by_arn(self, arn: str) -> StoredResource:
        found: StoredResource
        for store in self._stores.values():
            for found in store.list_resources():
                if found.arn.lower() == arn.lower():
                    return found
        raise make_validation_error(f'Could not find resource "{arn}".')


def _retain_variant_properties(
    endpoint: LocalEndpoint, config: ResourceRecord, request: Json
) -> ResourceRecord:
    """Return a configuration that takes over the variants' present weights and instance counts."""
    excluded = {
        one["VariantPropertyType"] for one in request.get("ExcludeRetainedVariantProperties", [])
    }
    retained: dict[str, Json] = {}
    for variant in endpoint.list_variants_in_service():
        retained[variant.name] = {}
        if "DesiredWeight" not in excluded:
            retained[variant.name]["InitialVariantWeight"] = variant.weight
        if "DesiredInstanceCount" not in excluded and "InitialInstanceCount" in variant.request:
            count = variant.request["InitialInstanceCount"]
            retained[variant.name]["InitialInstanceCount"] = count
    changed = {
        member: [
            variant | retained.get(variant["VariantName"], {}) for variant in config.request[member]
        ]
        for member in ("ProductionVariants", "ShadowProductionVariants")
        if member in config.request
    }
    return replace(config, request=config.request | changed)


def _change_serverless_variants(config: Json, changes: dict[str, Json]) -> Json:
    """Return an endpoint configuration with other limits for its serverless variants."""
    variants = [
        {**one, "ServerlessConfig": one["ServerlessConfig"] | changes.get(one["VariantName"], {})}
        if "ServerlessConfig" in one
        else one
        for one in config["ProductionVariants"]
    ]
    return {**config, "ProductionVariants": variants}


def _make_tags_by_key(tags: list[dict[str, str]]) -> dict[str, str]:
    request_constraints.check_tags(tags)
    return {tag["Key"]: tag["Value"] for tag in tags}


def _list_tags(resource: StoredResource) -> Json:
    return {"Tags": [{"Key": key, "Value": value} for key, value in resource.tags.items()]}
