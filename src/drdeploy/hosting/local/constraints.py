"""Constraints that botocore's service model cannot express: which members exclude each other.

Also refused here, with a message that says so, is what SageMaker offers and the local service does
not: inference pipelines, multi-model endpoints, asynchronous inference and the like.  What a check
refuses, it refuses with an :class:`ApiError` whose message names the constraint.

Sources: SageMaker AI developer guide, "Deploy models with Amazon SageMaker Serverless Inference"
(feature exclusions; minimum and maximum quotas); API reference, ``ProductionVariant``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drdeploy.hosting.local.api_errors import invalid, limit_exceeded
from drdeploy.hosting.sagemaker import quotas

if TYPE_CHECKING:
    from collections.abc import Iterable

Json = dict[str, Any]

SERVERLESS_ENDPOINTS_MAX = 50
"""Serverless endpoints in a region (developer guide)."""
SERVERLESS_CONCURRENCY_MAX = 1000
"""Sum of ``MaxConcurrency`` over a region's serverless endpoints, in the larger regions
(developer guide)."""

SERVERLESS_MEMBERS = {"VariantName", "ModelName", "InitialVariantWeight", "ServerlessConfig"}
"""Members of a production variant that a serverless one may set; all others are of instances."""

UNSUPPORTED_IN_CONFIG = (
    "AsyncInferenceConfig",
    "ShadowProductionVariants",
    "ExplainerConfig",
    "CrossRegionTrafficConfig",
)
UNSUPPORTED_IN_VARIANT = ("InstancePools", "AcceleratorType", "ManagedInstanceScaling")
UNSUPPORTED_IN_CONTAINER = (
    "ModelPackageName",
    "AdditionalModelDataSources",
    "InferenceSpecificationName",
)


def check_model(request: Json) -> None:
    """Refuse a model that is a pipeline, holds several models, or names no image."""
    containers = request.get("Containers") or []
    if len(containers) > 1:
        raise _not_served("inference pipelines (several Containers)")
    if containers and "PrimaryContainer" in request:
        raise invalid("PrimaryContainer and Containers exclude each other.")
    container = container_of(request)
    if not container.get("Image"):
        raise invalid("The model names no container image.")
    if container.get("Mode") == "MultiModel":
        raise _not_served("multi-model endpoints")
    _refuse_unsupported(container, UNSUPPORTED_IN_CONTAINER)
    source = container.get("ModelDataSource", {}).get("S3DataSource")
    if source and (source["S3DataType"], source["CompressionType"]) != ("S3Object", "Gzip"):
        raise _not_served("ModelDataSource other than one gzip-compressed S3Object")


def check_endpoint_config(request: Json) -> None:
    """Refuse an endpoint configuration whose members contradict each other."""
    _refuse_unsupported(request, UNSUPPORTED_IN_CONFIG)
    variants = request["ProductionVariants"]
    names = [variant["VariantName"] for variant in variants]
    if len(set(names)) < len(names):
        raise invalid("Variant names must be unique within an endpoint configuration.")
    for number, variant in enumerate(variants, start=1):
        _check_variant(variant, f"productionVariants.{number}.member")
    if not any("ServerlessConfig" in variant for variant in variants):
        return
    if len(variants) > 1:
        raise invalid("A serverless endpoint can have one production variant only.")
    if request.get("DataCaptureConfig", {}).get("EnableCapture"):
        raise invalid("Serverless endpoints do not support data capture (DataCaptureConfig).")
    _refuse_private_network(request)


def check_models(config: Json, models: Iterable[Json]) -> None:
    """Refuse a serverless endpoint configuration if a model of it asks for a private network."""
    if is_serverless(config):
        for model in models:
            _refuse_private_network(model)


def check_update(old_config: Json, new_config: Json) -> None:
    """Refuse to turn an instance-based endpoint into a serverless one; the reverse is allowed."""
    if is_serverless(new_config) and not is_serverless(old_config):
        raise invalid(
            "Cannot update an instance-based endpoint to a serverless endpoint. Create a new "
            "endpoint with the serverless endpoint configuration."
        )


def check_quotas(config: Json, others: Iterable[Json]) -> None:
    """Refuse a serverless endpoint that, with the existing ones, exceeds the region's quotas."""
    if not is_serverless(config):
        return
    existing = [other for other in others if is_serverless(other)]
    if len(existing) >= SERVERLESS_ENDPOINTS_MAX:
        raise limit_exceeded(
            "Number of serverless endpoints", SERVERLESS_ENDPOINTS_MAX, len(existing), 1
        )
    used = sum(_max_concurrency(other) for other in existing)
    delta = _max_concurrency(config)
    if used + delta > SERVERLESS_CONCURRENCY_MAX:
        raise limit_exceeded(
            "Maximum total concurrency that can be allocated across all serverless endpoints",
            SERVERLESS_CONCURRENCY_MAX,
            used,
            delta,
        )


def check_serverless_size(serverless: Json, path: str) -> None:
    """Refuse a memory size that is not offered, and more provisioned than maximum concurrency.

    Args:
        serverless: A ``ServerlessConfig``.
        path: Where it stands in the request, for the message.
    """
    step = quotas.SERVERLESS_MEMORY_STEP_MB
    memory_mb = serverless.get("MemorySizeInMB", step)
    if memory_mb % step:
        # The service model bounds the size; only its prose says that sizes are 1024 MB apart.
        allowed = quotas.serverless_memory_mb()
        sizes = list(range(allowed.minimum, (allowed.maximum or allowed.minimum) + 1, step))
        raise invalid(
            f"1 validation error detected: Value '{memory_mb}' at '{path}.memorySizeInMB' failed "
            f"to satisfy constraint: Member must satisfy enum value set: {sizes}"
        )
    provisioned = serverless.get("ProvisionedConcurrency", 0)
    maximum = serverless.get("MaxConcurrency", provisioned)
    if provisioned > maximum:
        raise invalid(
            f"1 validation error detected: Value '{provisioned}' at "
            f"'{path}.provisionedConcurrency' failed to satisfy constraint: Member must have "
            f"value less than or equal to maxConcurrency ({maximum})"
        )


def is_serverless(config: Json) -> bool:
    """Return whether an endpoint configuration is serverless."""
    return "ServerlessConfig" in config["ProductionVariants"][0]


def container_of(model: Json) -> Json:
    """Return the one container that a model's request describes."""
    containers = model.get("Containers") or [{}]
    container: Json = model.get("PrimaryContainer") or containers[0]
    return container


def model_data_url(model: Json) -> str | None:
    """Return the S3 URI of a model's archive; None where the image contains its model."""
    container = container_of(model)
    source = container.get("ModelDataSource", {}).get("S3DataSource", {})
    url: str | None = container.get("ModelDataUrl") or source.get("S3Uri")
    return url


def _check_variant(variant: Json, path: str) -> None:
    _refuse_unsupported(variant, UNSUPPORTED_IN_VARIANT)
    name = variant["VariantName"]
    if "ModelName" not in variant:
        raise _not_served("variants without a model (inference components)")
    if "ServerlessConfig" in variant:
        check_serverless_size(variant["ServerlessConfig"], f"{path}.serverlessConfig")
        excluded = [member for member in variant if member not in SERVERLESS_MEMBERS]
        if excluded:
            raise invalid(
                f"Variant {name} has a ServerlessConfig, so {', '.join(excluded)} cannot be set."
            )
        return
    missing = [
        member for member in ("InstanceType", "InitialInstanceCount") if member not in variant
    ]
    if missing:
        raise invalid(
            f"Variant {name} has no ServerlessConfig, so {' and '.join(missing)} must be set."
        )


def _refuse_private_network(request: Json) -> None:
    if request.get("VpcConfig"):
        raise invalid("Serverless endpoints do not support VPC configuration (VpcConfig).")
    if request.get("EnableNetworkIsolation"):
        raise invalid(
            "Serverless endpoints do not support network isolation (EnableNetworkIsolation)."
        )


def _refuse_unsupported(request: Json, members: tuple[str, ...]) -> None:
    for name in members:
        if request.get(name):
            raise _not_served(name)


def _not_served(what: str) -> Exception:
    return invalid(f"The local service does not serve {what}.")


def _max_concurrency(config: Json) -> int:
    return sum(
        variant["ServerlessConfig"]["MaxConcurrency"] for variant in config["ProductionVariants"]
    )
