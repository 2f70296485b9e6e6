"""Check constraints on requests that botocore's service model cannot express.

Each check raises an :class:`ApiError` whose message names the constraint.  ``served_members``
refuses the features of SageMaker that the local service lacks.

Sources: SageMaker AI developer guide, "Deploy models with Amazon SageMaker Serverless Inference"
(feature exclusions; minimum and maximum quotas); and API reference, ``ProductionVariant``.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NoReturn

from drdeploy.hosting.local.api_errors import (
    make_limit_exceeded_error,
    make_not_served_error,
    make_validation_error,
)
from drdeploy.hosting.sagemaker import api_limits
from drdeploy.hosting.sagemaker.s3_uris import S3_SCHEME

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drdeploy.files import Json


SERVERLESS_ENDPOINTS_MAX = 50
"""The largest number of serverless endpoints in a region (developer guide)."""
SERVERLESS_CONCURRENCY_MAX = 1000
"""The largest sum of ``MaxConcurrency`` over all serverless endpoints of a region, as the developer
guide states it for the larger regions.
"""

INSTANCES_MAX = 100
"""The largest number of instances of a variant, or copies of an inference component, that the local
service runs. Each instance or copy is a container with its own thread on this machine.
"""

TAGS_MAX = 50
"""The largest number of tags that a resource may have (AWS General Reference, "Tagging AWS
resources").
"""

SERVERLESS_MEMBERS = {"VariantName", "ModelName", "InitialVariantWeight", "ServerlessConfig"}
"""The members that a serverless production variant may set; all other members are for instances."""


def check_model(request: Json) -> None:
    """Refuse a model with several containers or no image, or with unusable data or variables."""
    containers = request.get("Containers") or []
    if len(containers) > 1:
        execution = request.get("InferenceExecutionConfig") or {}
        _refuse_several_containers(len(containers), is_direct=execution.get("Mode") == "Direct")
    if containers and "PrimaryContainer" in request:
        raise make_validation_error("PrimaryContainer and Containers are mutually exclusive.")
    container = find_container_of_model(request)
    if not container.get("Image"):
        raise make_validation_error("The model names no container image.")
    _check_model_data(container)
    for name, value in container.get("Environment", {}).items():
        # The service model allows any character, but no operating system can pass these characters
        # to a process.
        if "\0" in value or not is_encodable_as_utf8(value):
            raise make_validation_error(
                "1 validation error detected: Value at "
                f"'primaryContainer.environment.{name}.member' failed to satisfy constraint: "
                "Member must be UTF-8 text without null characters"
            )


def _refuse_several_containers(count: int, *, is_direct: bool) -> NoReturn:
    kind = "an inference pipeline"
    remedy = (
        "put all steps into one container, or create an endpoint for each container and pass the "
        "answer of each endpoint to the next"
    )
    if is_direct:
        kind = "a multi-container endpoint with direct invocation"
        remedy = (
            "create a model for each container, and an endpoint or an inference component for each "
            "model"
        )
    raise make_not_served_error(f"Containers with {count} containers ({kind}): {remedy}")


def check_endpoint_config(request: Json) -> None:
    """Refuse an endpoint configuration whose members contradict each other."""
    variants = request["ProductionVariants"]
    shadows = request.get("ShadowProductionVariants", [])
    check_names_are_unique([*variants, *shadows])
    for number, variant in enumerate(variants, start=1):
        _check_production_variant(variant, f"productionVariants.{number}.member")
    for number, variant in enumerate(shadows, start=1):
        _check_production_variant(variant, f"shadowProductionVariants.{number}.member")
    _check_shadow_variants(variants, shadows)
    if shadows and request.get("AsyncInferenceConfig"):
        raise make_validation_error(
            "ShadowProductionVariants cannot be set with AsyncInferenceConfig: asynchronous "
            "requests are not copied."
        )
    capture = request.get("DataCaptureConfig")
    if request.get("AsyncInferenceConfig"):
        _check_asynchronous_config(request)
    if not any("ServerlessConfig" in variant for variant in variants):
        if capture:
            _refuse_web_address_of_bucket(capture)
        return
    if len(variants) > 1:
        raise make_validation_error("A serverless endpoint can have only one production variant.")
    if capture and capture.get("EnableCapture") is not False:  # AWS captures unless told otherwise
        raise make_validation_error(
            "Serverless endpoints do not support data capture (DataCaptureConfig)."
        )
    if request.get("KmsKeyId"):
        # The key encrypts the volumes of instances (API reference, ``CreateEndpointConfig``).
        raise make_not_served_error(
            "KmsKeyId on a serverless endpoint, which has no instance with a volume"
        )
    _refuse_private_network(request)


def _check_shadow_variants(variants: list[Json], shadows: list[Json]) -> None:
    """Refuse shadow variants in endpoint configurations for which SageMaker does not offer them.

    Source: API reference, ``CreateEndpointConfig``; developer guide, "Shadow variants".
    """
    if not shadows:
        return
    if len(variants) > 1 or len(shadows) > 1:
        raise make_validation_error(
            "With ShadowProductionVariants, an endpoint must have one production variant and one "
            f"shadow variant. The request has {len(variants)} production variants and "
            f"{len(shadows)} shadow variants."
        )
    for variant in (*variants, *shadows):
        if "ServerlessConfig" in variant or "ModelName" not in variant:
            raise make_validation_error(
                f"Variant {variant['VariantName']} must have a model and instances, because the "
                "endpoint has a shadow variant."
            )


def check_names_are_unique(variants: Iterable[Json]) -> None:
    """Refuse a list in which two entries have the same ``VariantName``."""
    counts = Counter(variant["VariantName"] for variant in variants)
    for name, count in counts.items():
        if count > 1:
            raise make_validation_error(
                f"VariantName must be unique within a request: {name} occurs {count} times."
            )


def check_update_request(request: Json) -> None:
    """Refuse an ``UpdateEndpoint`` request if members contradict each other or have no effect."""
    if request.get("RetainDeploymentConfig") and request.get("DeploymentConfig"):
        raise make_validation_error(
            "RetainDeploymentConfig=true and DeploymentConfig are mutually exclusive."
        )
    if request.get("ExcludeRetainedVariantProperties") and not request.get(
        "RetainAllVariantProperties"
    ):
        raise make_validation_error(
            "ExcludeRetainedVariantProperties has no effect without "
            "RetainAllVariantProperties=true."
        )


def check_variant_names(old_config: Json, new_config: Json) -> None:
    """Refuse an update with deployment guardrails that renames, adds or removes a variant.

    Source: developer guide, "Deployment guardrails", "Exclusions".
    """
    old, new = (
        sorted(variant["VariantName"] for variant in config["ProductionVariants"])
        for config in (old_config, new_config)
    )
    if old != new:
        raise make_validation_error(
            "With a DeploymentConfig, the new endpoint configuration must have the same "
            f"variants as the old one. The old one has {', '.join(old)}, and the new one has "
            f"{', '.join(new)}."
        )


def check_models(config: Json, models: Iterable[Json]) -> None:
    """Refuse a serverless endpoint configuration if a model needs a VPC or network isolation."""
    if is_serverless(config):
        for model in models:
            _refuse_private_network(model)


def check_endpoint_update(old_config: Json, new_config: Json) -> None:
    """Refuse an update that would make an endpoint serverless or change whether it is asynchronous.

    Like SageMaker, the local service does not turn an endpoint with instances into a serverless
    endpoint. In addition, the local service does not turn any endpoint into an asynchronous
    endpoint, or an asynchronous endpoint into a real-time endpoint.
    """
    if is_serverless(new_config) and not is_serverless(old_config):
        raise make_validation_error(
            "Cannot update an instance-based endpoint to a serverless endpoint. Create a new "
            "endpoint with the serverless endpoint configuration."
        )

    kinds = {bool(config.get("AsyncInferenceConfig")) for config in (old_config, new_config)}
    if len(kinds) > 1:
        raise make_not_served_error(
            "an update that makes an endpoint asynchronous or no longer asynchronous. Create a new "
            "endpoint with the endpoint configuration"
        )


def check_quotas(config: Json, others: Iterable[Json]) -> None:
    """Refuse a serverless endpoint that would exceed a quota of the region."""
    if not is_serverless(config):
        return
    existing = [other for other in others if is_serverless(other)]
    if len(existing) >= SERVERLESS_ENDPOINTS_MAX:
        raise make_limit_exceeded_error(
            limit="Number of serverless endpoints",
            maximum=SERVERLESS_ENDPOINTS_MAX,
            used=len(existing),
            delta=1,
        )
    used = sum(_sum_max_concurrency(other) for other in existing)
    delta = _sum_max_concurrency(config)
    if used + delta > SERVERLESS_CONCURRENCY_MAX:
        raise make_limit_exceeded_error(
            limit="Maximum total concurrency that can be allocated across all serverless endpoints",
            maximum=SERVERLESS_CONCURRENCY_MAX,
            used=used,
            delta=delta,
        )


def may_run_without_instances(config: Json) -> bool:
    """Return whether an endpoint configuration allows its variants to run without instances.

    If the variants have models, only an asynchronous endpoint may run without instances, because
    its requests wait in a queue (developer guide, "Autoscale an asynchronous endpoint").
    """
    return bool(config.get("AsyncInferenceConfig"))


def check_serverless_size(serverless: Json, path: str) -> None:
    """Refuse a memory size that SageMaker does not offer, or too much provisioned concurrency.

    Args:
        serverless: The ``ServerlessConfig`` to check.
        path: The path of the ``ServerlessConfig`` in the request, for the message.
    """
    step = api_limits.SERVERLESS_MEMORY_STEP_MB
    memory_mb = serverless.get("MemorySizeInMB", step)
    if memory_mb % step:
        # The service model limits the size to a range; only its documentation says that sizes are
        # 1024 MB apart.
        allowed = api_limits.read_serverless_memory_range_mb()
        sizes = list(range(allowed.minimum, (allowed.maximum or allowed.minimum) + 1, step))
        raise make_validation_error(
            f"1 validation error detected: Value '{memory_mb}' at '{path}.memorySizeInMB' failed "
            f"to satisfy constraint: Member must satisfy enum value set: {sizes}"
        )
    provisioned = serverless.get("ProvisionedConcurrency", 0)
    maximum = serverless.get("MaxConcurrency", provisioned)
    if provisioned > maximum:
        raise make_validation_error(
            f"1 validation error detected: Value '{provisioned}' at "
            f"'{path}.provisionedConcurrency' failed to satisfy constraint: Member must have "
            f"value less than or equal to maxConcurrency ({maximum})"
        )


def check_instance_count(what: str, count: int) -> None:
    """Refuse more instances or copies than the local service runs.

    Args:
        what: The name of the counted thing, for the error message.
        count: The number of instances or copies.
    """
    if count > INSTANCES_MAX:
        raise make_validation_error(
            f"{what} ({count}) must not exceed {INSTANCES_MAX}, the most that the local service "
            "runs."
        )


def check_tags(tags: Iterable[Json]) -> None:
    """Refuse a tag key that AWS reserves, and a tag key that occurs twice."""
    counts = Counter(tag["Key"] for tag in tags)
    for key, count in counts.items():
        if key.lower().startswith("aws:"):
            raise make_validation_error(f"The tag key {key} begins with aws:, which AWS reserves.")
        if count > 1:
            raise make_validation_error(f"The tag key {key} occurs {count} times.")


def check_tag_count(tags: Json) -> None:
    """Refuse more tags than a resource may have."""
    if len(tags) > TAGS_MAX:
        raise make_validation_error(
            f"A resource has at most {TAGS_MAX} tags, and it would have {len(tags)}."
        )


def is_serverless(config: Json) -> bool:
    """Return whether an endpoint configuration is serverless."""
    return "ServerlessConfig" in config["ProductionVariants"][0]


def find_container_of_model(model: Json) -> Json:
    """Return the description of the container in a request of ``CreateModel``."""
    containers = model.get("Containers") or [{}]
    container: Json = model.get("PrimaryContainer") or containers[0]
    return container


def find_model_data_url(model: Json) -> str | None:
    """Return the S3 URI of a model's archive or files; None if the image contains the model."""
    container = find_container_of_model(model)
    source = container.get("ModelDataSource", {}).get("S3DataSource", {})
    url: str | None = container.get("ModelDataUrl") or source.get("S3Uri")
    return url


def is_model_data_archive(model: Json) -> bool:
    """Return whether a model's data is an archive; otherwise it consists of uncompressed files."""
    source = find_container_of_model(model).get("ModelDataSource", {}).get("S3DataSource", {})
    return bool(source.get("CompressionType", "Gzip") == "Gzip")


def _check_model_data(container: Json) -> None:
    """Refuse a model with two archives, or with an archive whose URI the service cannot read."""
    sources = [name for name in ("ModelDataUrl", "ModelDataSource") if container.get(name)]
    if len(sources) > 1:
        raise make_validation_error("ModelDataUrl and ModelDataSource are mutually exclusive.")
    url = find_model_data_url({"PrimaryContainer": container})
    if url is not None and not url.startswith(S3_SCHEME):
        raise make_not_served_error(f"{sources[0]}={url!r}. Write it as s3://BUCKET/KEY")
    source = container.get("ModelDataSource", {}).get("S3DataSource", {})
    if source.get("S3DataType") != "S3Prefix":
        return
    if source["CompressionType"] == "Gzip":
        raise make_validation_error(
            "ModelDataSource.S3DataSource: S3DataType must be S3Object if CompressionType is Gzip."
        )
    if not source["S3Uri"].endswith("/"):
        raise make_validation_error(
            f"ModelDataSource.S3DataSource.S3Uri {source['S3Uri']} must end with a slash, because "
            "S3DataType is S3Prefix."
        )


def is_encodable_as_utf8(text: str) -> bool:
    """Return whether a string can be encoded as UTF-8; a lone surrogate cannot be encoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_network_isolated(*requests: Json) -> bool:
    """Return whether a model or an endpoint configuration enables network isolation."""
    return any(request.get("EnableNetworkIsolation") for request in requests)


def _check_production_variant(variant: Json, path: str) -> None:
    name = variant["VariantName"]
    if "ServerlessConfig" in variant:
        check_serverless_size(variant["ServerlessConfig"], f"{path}.serverlessConfig")
        excluded = [member for member in variant if member not in SERVERLESS_MEMBERS]
        if excluded:
            raise make_validation_error(
                f"Variant {name} has a ServerlessConfig, so {', '.join(excluded)} cannot be set."
            )
        return
    missing = [
        member for member in ("InstanceType", "InitialInstanceCount") if member not in variant
    ]
    if missing:
        raise make_validation_error(
            f"Variant {name} has no ServerlessConfig, so {' and '.join(missing)} must be set."
        )
    check_instance_count(f"InitialInstanceCount of variant {name}", variant["InitialInstanceCount"])


def _check_asynchronous_config(request: Json) -> None:
    """Refuse an asynchronous endpoint configuration whose members contradict each other."""
    if any("ServerlessConfig" in variant for variant in request["ProductionVariants"]):
        raise make_validation_error(
            "A serverless endpoint cannot be asynchronous: ServerlessConfig and "
            "AsyncInferenceConfig are mutually exclusive."
        )
    capture = request.get("DataCaptureConfig")
    if capture and capture.get("EnableCapture") is not False:
        raise make_not_served_error("DataCaptureConfig with AsyncInferenceConfig")
    output = request["AsyncInferenceConfig"]["OutputConfig"]
    if not output.get("S3OutputPath"):
        raise make_not_served_error(
            "AsyncInferenceConfig without OutputConfig.S3OutputPath, which would leave the results "
            "in a bucket of SageMaker's own. Give a folder as s3://BUCKET/FOLDER"
        )
    for member in ("S3OutputPath", "S3FailurePath"):
        uri = output.get(member)
        _refuse_text_without_encoding(f"AsyncInferenceConfig.OutputConfig.{member}", uri or "")
        if uri and not (uri.isascii() and uri.isprintable()):
            raise make_not_served_error(
                f"AsyncInferenceConfig.OutputConfig.{member}={uri!r}, because InvokeEndpointAsync "
                "returns it in a header. Use printable ASCII characters only"
            )
        if uri and not uri.startswith(S3_SCHEME):
            raise make_not_served_error(
                f"AsyncInferenceConfig.OutputConfig.{member}={uri!r}. Write the folder as "
                "s3://BUCKET/FOLDER"
            )
    topics = output.get("NotificationConfig") or {}
    for place, member in (
        ("SUCCESS_NOTIFICATION_TOPIC", "SuccessTopic"),
        ("ERROR_NOTIFICATION_TOPIC", "ErrorTopic"),
    ):
        if place in (topics.get("IncludeInferenceResponseIn") or ()) and not topics.get(member):
            raise make_validation_error(
                f"IncludeInferenceResponseIn names {place}, so {member} must be set."
            )


def _refuse_web_address_of_bucket(capture: Json) -> None:
    """Refuse data capture to an ``https://`` address.

    SageMaker accepts the ``https://`` address of a bucket.
    """
    uri = capture["DestinationS3Uri"]
    _refuse_text_without_encoding("DataCaptureConfig.DestinationS3Uri", uri)
    if not uri.startswith(S3_SCHEME):
        raise make_not_served_error(
            f"DataCaptureConfig.DestinationS3Uri={uri!r}. Write the destination as "
            "s3://BUCKET/FOLDER"
        )


def _refuse_text_without_encoding(name: str, text: str) -> None:
    """Refuse text that UTF-8 cannot encode.

    JSON can express such text, but S3 keys cannot contain it.
    """
    if not is_encodable_as_utf8(text):
        raise make_validation_error(f"{name} must be UTF-8 text.")


def _refuse_private_network(request: Json) -> None:
    if request.get("VpcConfig"):
        raise make_validation_error(
            "Serverless endpoints do not support VPC configuration (VpcConfig)."
        )
    if request.get("EnableNetworkIsolation"):
        raise make_validation_error(
            "Serverless endpoints do not support network isolation (EnableNetworkIsolation)."
        )


def _sum_max_concurrency(config: Json) -> int:
    return sum(
        variant["ServerlessConfig"]["MaxConcurrency"] for variant in config["ProductionVariants"]
    )
