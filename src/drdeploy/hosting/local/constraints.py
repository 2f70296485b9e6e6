"""What botocore's model cannot say: which members go together, and what is not served here.

Sources: the developer guide on serverless endpoints ("Feature exclusions", "Minimum and maximum
quotas") and the API reference of ``ProductionVariant``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drdeploy.hosting.local.api_errors import invalid, limit_exceeded
from drdeploy.hosting.sagemaker import quotas

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Json = dict[str, Any]

SERVERLESS_ENDPOINTS_MAX = 50
"""Per region (developer guide)."""
SERVERLESS_CONCURRENCY_MAX = 1000
"""Of all serverless endpoints of a region together, in the larger regions (developer guide)."""

INSTANCE_MEMBERS = (
    "InstanceType",
    "InitialInstanceCount",
    "InstancePools",
    "AcceleratorType",
    "VolumeSizeInGB",
    "CoreDumpConfig",
    "ModelDataDownloadTimeoutInSeconds",
    "ContainerStartupHealthCheckTimeoutInSeconds",
    "EnableSSMAccess",
    "ManagedInstanceScaling",
    "RoutingConfig",
    "InferenceAmiVersion",
    "CapacityReservationConfig",
)
"""Members of a variant that a serverless one has no use for."""

NOT_SERVED_CONFIG = (
    "AsyncInferenceConfig",
    "ShadowProductionVariants",
    "ExplainerConfig",
    "CrossRegionTrafficConfig",
)
NOT_SERVED_VARIANT = ("InstancePools", "AcceleratorType", "ManagedInstanceScaling")
NOT_SERVED_CONTAINER = (
    "ModelPackageName",
    "AdditionalModelDataSources",
    "InferenceSpecificationName",
)


def check_model(request: Json) -> None:
    """Refuse a model that cannot be hosted here.

    Raises:
        ApiError: A pipeline, a multi-model container, or no image.
    """
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
    _refuse_present(container, NOT_SERVED_CONTAINER)
    source = container.get("ModelDataSource", {}).get("S3DataSource")
    if source and (source["S3DataType"], source["CompressionType"]) != ("S3Object", "Gzip"):
        raise _not_served("ModelDataSource other than one gzip-compressed S3Object")


def check_endpoint_config(request: Json, models: Iterable[Json]) -> None:
    """Refuse an endpoint configuration whose parts contradict each other.

    Args:
        request: Of ``CreateEndpointConfig``.
        models: The requests that made the models its variants name.

    Raises:
        ApiError: With the rule that it breaks.
    """
    _refuse_present(request, NOT_SERVED_CONFIG)
    variants = request["ProductionVariants"]
    names = [variant["VariantName"] for variant in variants]
    if len(set(names)) < len(names):
        raise invalid("Variant names must be unique within an endpoint configuration.")
    for number, variant in enumerate(variants, start=1):
        _check_variant(variant, f"productionVariants.{number}.member")
    if any("ServerlessConfig" in variant for variant in variants):
        _check_serverless(request, models)


def check_update(old_config: Json, new_config: Json) -> None:
    """Refuse to make a real-time endpoint serverless; the other way is allowed.

    Raises:
        ApiError: That is what is asked.
    """
    if is_serverless(new_config) and not is_serverless(old_config):
        raise invalid(
            "Cannot update an instance-based endpoint to a serverless endpoint. Create a new "
            "endpoint with the serverless endpoint configuration."
        )


def check_quotas(config: Json, others: Iterable[Json]) -> None:
    """Refuse a serverless endpoint beyond the region's quotas.

    Args:
        config: Of the endpoint that is to be created.
        others: Configurations of the endpoints that there are.

    Raises:
        ApiError: ``ResourceLimitExceeded``.
    """
    if not is_serverless(config):
        return
    existing = [other for other in others if is_serverless(other)]
    if len(existing) >= SERVERLESS_ENDPOINTS_MAX:
        raise limit_exceeded(
            "Number of serverless endpoints", SERVERLESS_ENDPOINTS_MAX, len(existing), 1
        )
    used = sum(_concurrency(other) for other in existing)
    delta = _concurrency(config)
    if used + delta > SERVERLESS_CONCURRENCY_MAX:
        raise limit_exceeded(
            "Maximum total concurrency that can be allocated across all serverless endpoints",
            SERVERLESS_CONCURRENCY_MAX,
            used,
            delta,
        )


def check_serverless_size(serverless: Json, place: str) -> None:
    """Refuse a memory size between the steps, and more provisioned than permitted concurrency.

    Raises:
        ApiError: With the place of the offending value.
    """
    memory_mb = serverless.get("MemorySizeInMB", quotas.SERVERLESS_MEMORY_STEP_MB)
    if memory_mb % quotas.SERVERLESS_MEMORY_STEP_MB:
        raise invalid(
            f"1 validation error detected: Value '{memory_mb}' at '{place}.memorySizeInMB' failed "
            f"to satisfy constraint: Member must satisfy enum value set: {list(_memory_sizes())}"
        )
    provisioned = serverless.get("ProvisionedConcurrency", 0)
    maximum = serverless.get("MaxConcurrency", provisioned)
    if provisioned > maximum:
        raise invalid(
            f"1 validation error detected: Value '{provisioned}' at "
            f"'{place}.provisionedConcurrency' failed to satisfy constraint: Member must have "
            f"value less than or equal to maxConcurrency ({maximum})"
        )


def is_serverless(config: Json) -> bool:
    """Whether an endpoint configuration's variant is serverless."""
    return "ServerlessConfig" in config["ProductionVariants"][0]


def container_of(model: Json) -> Json:
    """The one container of a model's request."""
    containers = model.get("Containers") or [{}]
    container: Json = model.get("PrimaryContainer") or containers[0]
    return container


def model_data_url(model: Json) -> str | None:
    """Where the model's archive is; None where the image brings its model along."""
    container = container_of(model)
    source = container.get("ModelDataSource", {}).get("S3DataSource", {})
    url: str | None = container.get("ModelDataUrl") or source.get("S3Uri")
    return url


def _check_variant(variant: Json, place: str) -> None:
    _refuse_present(variant, NOT_SERVED_VARIANT)
    if "ModelName" not in variant:
        raise _not_served("variants without a model (inference components)")
    if "ServerlessConfig" in variant:
        check_serverless_size(variant["ServerlessConfig"], f"{place}.serverlessConfig")
        unfit = [name for name in INSTANCE_MEMBERS if name in variant]
        if unfit:
            raise invalid(
                f"Variant {variant['VariantName']} has a ServerlessConfig, so {', '.join(unfit)} "
                "cannot be set."
            )
        return
    missing = [name for name in ("InstanceType", "InitialInstanceCount") if name not in variant]
    if missing:
        raise invalid(
            f"Variant {variant['VariantName']} has no ServerlessConfig, so {' and '.join(missing)} "
            "must be set."
        )


def _check_serverless(request: Json, models: Iterable[Json]) -> None:
    if len(request["ProductionVariants"]) > 1:
        raise invalid("A serverless endpoint can have one production variant only.")
    if request.get("DataCaptureConfig", {}).get("EnableCapture"):
        raise invalid("Serverless endpoints do not support data capture (DataCaptureConfig).")
    for owner in (request, *models):
        if owner.get("VpcConfig"):
            raise invalid("Serverless endpoints do not support VPC configuration (VpcConfig).")
        if owner.get("EnableNetworkIsolation"):
            raise invalid(
                "Serverless endpoints do not support network isolation (EnableNetworkIsolation)."
            )


def _refuse_present(request: Json, members: tuple[str, ...]) -> None:
    for name in members:
        if request.get(name):
            raise _not_served(name)


def _not_served(what: str) -> Exception:
    return invalid(f"The local service does not serve {what}.")


def _concurrency(config: Json) -> int:
    return sum(
        variant["ServerlessConfig"]["MaxConcurrency"] for variant in config["ProductionVariants"]
    )


def _memory_sizes() -> Iterator[int]:
    allowed = quotas.serverless_memory_mb()
    step = quotas.SERVERLESS_MEMORY_STEP_MB
    return iter(range(allowed.minimum, (allowed.maximum or allowed.minimum) + 1, step))
