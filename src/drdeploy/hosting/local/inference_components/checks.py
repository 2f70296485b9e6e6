"""Check constraints on inference components that botocore's service model cannot express.

Sources: API reference, ``InferenceComponentSpecification``, ``ProductionVariant`` and
``ProductionVariantManagedInstanceScaling``; developer guide, "Deploy models for real-time
inference".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.hosting.local.api_errors import make_validation_error
from drdeploy.hosting.local.endpoints.instance_group import InstanceBounds

if TYPE_CHECKING:
    from drdeploy.files import Json


def hosts_components(config: Json) -> bool:
    """Return whether the variants of an endpoint configuration host inference components."""
    return any("ModelName" not in variant for variant in config["ProductionVariants"])


def check_config_for_components(config: Json) -> None:
    """Refuse an endpoint configuration that mixes variants with and without a model.

    Members that do not fit the kind of the variants are refused, too.
    """
    variants = config["ProductionVariants"]
    if not hosts_components(config):
        _refuse_members_for_components(config)
        return
    for variant in variants:
        name = variant["VariantName"]
        if "ModelName" in variant:
            raise make_validation_error(
                f"Variant {name} names a model, and other variants do not. Either all variants "
                "have a ModelName (the endpoint serves models), or none has one (the endpoint "
                "hosts inference components)."
            )
        if "ServerlessConfig" in variant:
            raise make_validation_error(
                f"Variant {name} names no model, so the endpoint hosts inference components. "
                "Inference components run on instances, so ServerlessConfig is not possible."
            )
        if "ContainerStartupHealthCheckTimeoutInSeconds" in variant:
            raise make_validation_error(
                f"Variant {name} names no model, so ContainerStartupHealthCheckTimeoutInSeconds "
                "must be set in the StartupParameters of each inference component instead."
            )
        _check_managed_scaling(variant)
    if config.get("AsyncInferenceConfig"):
        raise make_validation_error(
            "AsyncInferenceConfig cannot be set for an endpoint that hosts inference components, "
            "because inference components serve no asynchronous requests. An endpoint hosts "
            "inference components if its variants name no model."
        )
    if "ExecutionRoleArn" not in config:
        raise make_validation_error(
            "ExecutionRoleArn must be set in an endpoint configuration whose variants name no "
            "model."
        )


def _refuse_members_for_components(config: Json) -> None:
    if config.get("ExecutionRoleArn"):
        raise make_validation_error(
            "ExecutionRoleArn applies only to an endpoint configuration whose variants name no "
            "model. A model has an ExecutionRoleArn of its own."
        )
    for variant in (*config["ProductionVariants"], *config.get("ShadowProductionVariants", [])):
        if variant.get("ManagedInstanceScaling"):
            raise make_validation_error(
                f"Variant {variant['VariantName']} names a model, so ManagedInstanceScaling cannot "
                "be set: it scales the instances that host inference components."
            )


def _check_managed_scaling(variant: Json) -> None:
    scaling = variant.get("ManagedInstanceScaling")
    if not scaling:
        return
    name = variant["VariantName"]
    if scaling.get("Status") != "ENABLED":
        if scaling.keys() - {"Status"}:
            raise make_validation_error(
                f"ManagedInstanceScaling of variant {name} takes effect only with the Status "
                "ENABLED."
            )
        return
    bounds = InstanceBounds.from_variant(variant)
    if bounds is None:
        return
    count = variant["InitialInstanceCount"]
    if not bounds.minimum <= count <= bounds.maximum:
        raise make_validation_error(
            f"InitialInstanceCount ({count}) of variant {name} must be from MinInstanceCount "
            f"({bounds.minimum}) to MaxInstanceCount ({bounds.maximum})."
        )


def check_component_specification(specification: Json) -> None:
    """Refuse a specification whose members contradict each other, or that lacks a member."""
    named = [member for member in ("ModelName", "Container") if specification.get(member)]
    if len(named) != 1:
        raise make_validation_error(
            "The Specification of an inference component must name its model by either ModelName "
            f"or Container. The Specification names {' and '.join(named) or 'neither'}."
        )
    if "Container" in specification and not specification["Container"].get("Image"):
        raise make_validation_error("The Container of the Specification names no image.")
    required = specification.get("ComputeResourceRequirements")
    if not required:
        raise make_validation_error(
            "ComputeResourceRequirements must be set in the Specification of an inference "
            "component."
        )
    minimum = required["MinMemoryRequiredInMb"]
    maximum = required.get("MaxMemoryRequiredInMb", minimum)
    if maximum < minimum:
        raise make_validation_error(
            f"MaxMemoryRequiredInMb ({maximum}) must not be smaller than MinMemoryRequiredInMb "
            f"({minimum})."
        )


def make_model_from_specification(specification: Json, role: str) -> Json:
    """Return a ``CreateModel`` request for the container that a specification describes.

    Args:
        specification: A specification with a ``Container``.
        role: The execution role of the endpoint configuration.
    """
    container = specification["Container"]
    primary = {"Image": container["Image"], "Environment": container.get("Environment", {})}
    if container.get("ArtifactUrl"):
        primary["ModelDataUrl"] = container["ArtifactUrl"]
    return {"ExecutionRoleArn": role, "PrimaryContainer": primary}
