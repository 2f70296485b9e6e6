"""The operations on inference components of one region."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.hosting.local import request_constraints
from drdeploy.hosting.local.api.listing import filter_and_page_resources
from drdeploy.hosting.local.api_errors import make_validation_error
from drdeploy.hosting.local.endpoints.instance_group import (
    NO_ROOM,
    CopyRequirements,
    InstanceGroup,
)
from drdeploy.hosting.local.inference_components import checks
from drdeploy.hosting.local.inference_components.component import InferenceComponent
from drdeploy.hosting.local.inference_components.deployment import (
    ComponentDeployment,
    ComponentPlace,
)
from drdeploy.hosting.local.resource_store import ResourceRecord, ResourceStore
from drdeploy.hosting.local.served_members import refuse_unserved_members

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.files import Json
    from drdeploy.hosting.local.endpoints.fleet import InstanceFleet
    from drdeploy.hosting.local.endpoints.lifecycle import LocalEndpoint
    from drdeploy.hosting.local.resource_store import AccountRegion


LISTED = (
    *("InferenceComponentName", "InferenceComponentArn", "EndpointName", "EndpointArn"),
    *("VariantName", "InferenceComponentStatus", "CreationTime", "LastModifiedTime"),
)


class ComponentOperations:
    """The operations on inference components.

    Args:
        account_region: The account and the region of the components.
        endpoints: The endpoints of the region.
        models: The models of the region.
        check_model: Takes a ``CreateModel`` request, and raises an error if the model cannot be
            served.
        fleet: The fleet that runs the copies.
    """

    def __init__(
        self,
        account_region: AccountRegion,
        endpoints: ResourceStore[LocalEndpoint],
        models: ResourceStore[ResourceRecord],
        check_model: Callable[[Json], None],
        fleet: InstanceFleet,
    ) -> None:
        self.components = ResourceStore[InferenceComponent](
            "inference component", "inference-component", account_region
        )
        self._endpoints = endpoints
        self._models = models
        self._refuse_unusable_model = check_model
        self._fleet = fleet
        self.operations: dict[str, Callable[[Json], Json]] = {
            "CreateInferenceComponent": self._create_component,
            "DeleteInferenceComponent": self._delete_component,
            "DescribeInferenceComponent": self._describe_component,
            "ListInferenceComponents": self._list_components,
            "UpdateInferenceComponent": self._update_component,
            "UpdateInferenceComponentRuntimeConfig": self._update_runtime_config,
        }

    def refuse_deletion_of_hosting_endpoint(self, name: str) -> None:
        """Refuse to delete an endpoint that still hosts inference components, as SageMaker does."""
        if any(one.endpoint.lower() == name.lower() for one in self.components.list_resources()):
            raise make_validation_error(
                "Cannot delete endpoint with inference component associated. Please delete "
                "inference component and try it again."
            )

    def _create_component(self, request: Json) -> Json:
        refuse_unserved_members("CreateInferenceComponent", request)
        for member in ("VariantName", "Specification", "RuntimeConfig"):
            if not request.get(member):
                raise make_validation_error(
                    f"{member} must be set when an inference component is created."
                )
        endpoint = self._endpoints.find_or_raise(request["EndpointName"])
        place = _find_place_on_endpoint(endpoint, request)
        copies = request["RuntimeConfig"]["CopyCount"]
        name = request["InferenceComponentName"]
        component = InferenceComponent(
            name,
            self.components.make_arn(name),
            endpoint.arn,
            place=place,
            deployment=self._make_deployment(endpoint, place, request["Specification"], copies),
            copies=copies,
            clock=self._fleet.clock,
        )
        tags = request.get("Tags", [])
        request_constraints.check_tags(tags)
        component.tags |= {tag["Key"]: tag["Value"] for tag in tags}
        self.components.add_resource(component)
        component.create()
        return {"InferenceComponentArn": component.arn}

    def _make_deployment(
        self, endpoint: LocalEndpoint, place: ComponentPlace, specification: Json, copies: int
    ) -> ComponentDeployment:
        request_constraints.check_instance_count("CopyCount", copies)
        checks.check_component_specification(specification)
        needed = CopyRequirements.from_specification(specification)
        if not place.group.fits_on_an_empty_instance(needed):
            raise make_validation_error(
                f"{NO_ROOM}: a copy needs more hardware than an {place.variant['InstanceType']} "
                "has."
            )
        role = endpoint.config.request["ExecutionRoleArn"]
        if "ModelName" in specification:
            model = self._models.find_or_raise(specification["ModelName"])
            described = {"ExecutionRoleArn": role, **model.request}
        else:
            described = checks.make_model_from_specification(specification, role)
            self._refuse_unusable_model(described)
        record = ResourceRecord("Model", "", "", self._fleet.clock.now(), {}, described)
        return ComponentDeployment(
            endpoint.config,
            record,
            self._fleet,
            specification=specification,
            place=place,
            needed=needed,
            copies=copies,
        )

    def _update_component(self, request: Json) -> Json:
        refuse_unserved_members("UpdateInferenceComponent", request)
        component = self.components.find_or_raise(request["InferenceComponentName"])
        specification = request.get("Specification")
        runtime = request.get("RuntimeConfig")
        if not specification and not runtime:
            raise make_validation_error("Specification or RuntimeConfig must be set.")
        copies = runtime["CopyCount"] if runtime else component.copy_count
        if not specification:
            component.change_copy_count(copies)
        else:
            endpoint = self._endpoints.find_or_raise(component.endpoint)
            deployment = self._make_deployment(endpoint, component.place, specification, copies)
            component.update(deployment, copies)
        return {"InferenceComponentArn": component.arn}

    def _update_runtime_config(self, request: Json) -> Json:
        component = self.components.find_or_raise(request["InferenceComponentName"])
        component.change_copy_count(request["DesiredRuntimeConfig"]["CopyCount"])
        return {"InferenceComponentArn": component.arn}

    def _delete_component(self, request: Json) -> Json:
        component = self.components.find_or_raise(request["InferenceComponentName"])
        component.delete(lambda: self.components.remove_resource(component.name))
        return {}

    def _describe_component(self, request: Json) -> Json:
        return self.components.find_or_raise(request["InferenceComponentName"]).describe()

    def _list_components(self, request: Json) -> Json:
        endpoint, variant = request.get("EndpointNameEquals"), request.get("VariantNameEquals")
        chosen = [
            one
            for one in self.components.list_resources()
            if endpoint in {None, one.endpoint} and variant in {None, one.variant}
        ]
        found, token = filter_and_page_resources(chosen, request)
        descriptions = [one.describe() for one in found]
        summaries = [{name: one[name] for name in LISTED} for one in descriptions]
        return {"InferenceComponents": summaries} | ({"NextToken": token} if token else {})


def _find_place_on_endpoint(endpoint: LocalEndpoint, request: Json) -> ComponentPlace:
    """Find the variant that a new component's request names, on an endpoint that is in service."""
    if endpoint.status != "InService":
        raise make_validation_error(
            f'Endpoint "{endpoint.arn}" must be InService to host an inference component, but its '
            f"status is {endpoint.status}."
        )
    if not checks.hosts_components(endpoint.config.request):
        raise make_validation_error(
            f'Endpoint "{endpoint.arn}" cannot host inference components, because its variants '
            "name a model. Create the endpoint from a configuration whose variants name no model."
        )
    name = request["VariantName"]
    for variant in endpoint.list_variants_in_service():
        if variant.name == name and isinstance(variant.pool, InstanceGroup):
            return ComponentPlace(
                request["InferenceComponentName"], endpoint.name, variant.request, variant.pool
            )
    raise make_validation_error(f'Variant {name} not found for endpoint "{endpoint.arn}".')
