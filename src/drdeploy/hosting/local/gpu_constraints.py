"""Refuse variants whose image needs a GPU or a driver that the instance type lacks on AWS.

SageMaker accepts such variants, but their endpoint fails a quarter of an hour later. Instances on
this machine get no GPU, so the local service also refuses all instance types with a GPU. It first
checks whether the variant could start on AWS. If the variant could not, the error message says
this, and does not mention the missing GPU of this machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.errors import InvalidInput
from drdeploy.hosting.local.api_errors import make_not_served_error, make_validation_error
from drdeploy.hosting.sagemaker.gpu_hosts import check_gpu_host, find_gpu_family

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from drdeploy.files import Json


def check_gpu_hosts_of_variants(
    config: Json, find_image_variables: Callable[[str], Mapping[str, str]]
) -> None:
    """Refuse an endpoint configuration if a variant's image cannot start on the variant's host.

    Args:
        config: The request of ``CreateEndpointConfig``.
        find_image_variables: A function that takes the name of a model, and returns the environment
            variables of its image; empty if they are not known.

    Raises:
        ApiError: A variant could not start on AWS (the message says what would work), or its
            instance type has a GPU.
    """
    variants: Iterable[Json] = (
        *config["ProductionVariants"],
        *config.get("ShadowProductionVariants", []),
    )
    for variant in variants:
        variables = find_image_variables(variant["ModelName"]) if "ModelName" in variant else {}
        instance_type = variant.get("InstanceType")
        try:
            check_gpu_host(variables, instance_type, variant.get("InferenceAmiVersion"))
        except InvalidInput as err:
            raise make_validation_error(
                f"Variant {variant['VariantName']} could not start: {err.what}. {err.remedy}."
            ) from err
        if instance_type and find_gpu_family(instance_type):
            raise make_not_served_error(
                f"InstanceType={instance_type!r}, because instances on this machine get no GPU. "
                "Measure the configuration on AWS"
            )
