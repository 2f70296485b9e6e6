"""The ways in which SageMaker hosts a model, with their limits.

The table :data:`WAYS` says which ways this project can set up. A way whose ``deployment`` is empty
is simulated and priced, but never recommended. Only inference components have no ``deployment``,
because HashiCorp's AWS provider for Terraform (6.x) has no resource for them.

The limits come from SageMaker's documentation. A text that excludes an option because of a limit
names the page on which the limit is documented.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from drdeploy.hosting.sagemaker.api_limits import (
    ASYNCHRONOUS_PAYLOAD_BYTES,
    BATCH_PAYLOAD_BYTES,
    REALTIME_PAYLOAD_BYTES,
    SERVERLESS_PAYLOAD_BYTES,
    read_transform_instance_types,
)
from drdeploy.hosting.sagemaker.gpu_hosts import find_gpu_family
from drdeploy.units import MIB, SECONDS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.study.recommendation.requirements import Requirements

WayName = Literal[
    "serverless",
    "real-time",
    "real-time, autoscaled",
    "real-time, scheduled",
    "asynchronous",
    "components",
    "batch",
]

EXCLUSIONS = "developer guide, 'Deploy models with Amazon SageMaker Serverless Inference'"
TRANSFORM_TYPES = "API reference, TransformResources, InstanceType"
VOLUME_KEY = "API reference, CreateEndpointConfig, KmsKeyId"
OWN_DISKS = re.compile(r"^ml\.([a-z]+[0-9]+[a-z]*d[a-z]*|g4dn|g5|g6e?|p4de?|p5e?n?|trn1n?|inf2)\.")
"""A pattern for the instance types with built-in disks, which the ``KmsKeyId`` of
``CreateEndpointConfig`` does not encrypt. The Terraform module ``realtime-endpoint`` has the same
pattern."""


@dataclass(frozen=True, kw_only=True)
class HostingWay:
    """A way in which SageMaker hosts a model.

    Attributes:
        name: The name of the way. An option that uses this way has the name as its kind.
        article: A name with an article, for use in sentences, such as ``a real-time endpoint``.
        deployment: The Terraform module with which the way is set up; empty if there is none.
        command: The command of this project that sets the way up. Its option ``--variables`` takes
            a file with the Terraform variables.
        largest_payload_bytes: The size of the largest photograph that the way accepts.
        payload_source: The page of AWS's documentation that states this size.
        answers_in_response: Whether a client gets its result in the response to its request. If
            not, the result is written to S3, and the client must wait for it.
        operated_parts: The things that someone must operate besides the endpoint itself, such as a
            schedule.
    """

    name: WayName
    article: str
    deployment: str
    command: str = "endpoint deploy"
    largest_payload_bytes: int
    payload_source: str
    answers_in_response: bool = True
    operated_parts: tuple[str, ...] = ()

    @property
    def is_serverless(self) -> bool:
        """Whether the way is a serverless endpoint.

        A serverless endpoint offers no VPC, no network isolation, no GPU, and no volume that your
        own key can encrypt.
        """
        return self.name == "serverless"


_INVOKE = "API reference, InvokeEndpoint"

WAYS: dict[WayName, HostingWay] = {
    way.name: way
    for way in (
        HostingWay(
            name="serverless",
            article="a serverless endpoint",
            deployment="serverless-endpoint",
            largest_payload_bytes=SERVERLESS_PAYLOAD_BYTES,
            payload_source="developer guide, 'Invoke a serverless endpoint'",
        ),
        HostingWay(
            name="real-time",
            article="a real-time endpoint",
            deployment="realtime-endpoint",
            largest_payload_bytes=REALTIME_PAYLOAD_BYTES,
            payload_source=_INVOKE,
            operated_parts=("a number of instances that somebody sets",),
        ),
        HostingWay(
            name="real-time, autoscaled",
            article="a real-time endpoint",
            deployment="realtime-endpoint",
            largest_payload_bytes=REALTIME_PAYLOAD_BYTES,
            payload_source=_INVOKE,
            operated_parts=("a number of instances that somebody sets", "a scaling policy"),
        ),
        HostingWay(
            name="real-time, scheduled",
            article="a real-time endpoint",
            deployment="opening-hours",
            largest_payload_bytes=REALTIME_PAYLOAD_BYTES,
            payload_source=_INVOKE,
            operated_parts=(
                "a number of instances that somebody sets",
                "a schedule that creates and deletes the endpoint",
            ),
        ),
        HostingWay(
            name="asynchronous",
            article="an asynchronous endpoint",
            deployment="asynchronous-endpoint",
            largest_payload_bytes=ASYNCHRONOUS_PAYLOAD_BYTES,
            payload_source="developer guide, 'Asynchronous inference'",
            answers_in_response=False,
            operated_parts=(
                "a bucket for requests and results",
                "a policy that scales up from zero",
            ),
        ),
        HostingWay(
            name="components",
            article="an inference component",
            deployment="",
            largest_payload_bytes=REALTIME_PAYLOAD_BYTES,
            payload_source=_INVOKE,
            operated_parts=(
                "clients that repeat failed calls",
                "a policy that scales up from zero",
            ),
        ),
        HostingWay(
            name="batch",
            article="a batch transform job",
            deployment="batch-transform",
            command="batch run",
            largest_payload_bytes=BATCH_PAYLOAD_BYTES,
            payload_source="API reference, CreateTransformJob, MaxPayloadInMB, which `batch run` "
            "leaves out",
            answers_in_response=False,
            operated_parts=("a bucket for requests and results", "a schedule that starts jobs"),
        ),
    )
}
"""Every way of hosting, by name."""


def describe_broken_constraints(
    required: Requirements, way: HostingWay, instance_type: str
) -> Iterator[str]:
    """Yield a text for each hard constraint that a way of hosting breaks.

    Most of the texts name the page of AWS's documentation that states the limit.

    Args:
        required: The requirements, which hold the constraints.
        way: The way of hosting.
        instance_type: The instance type; empty for a serverless endpoint.
    """
    if way.is_serverless:
        for name, is_needed, source in (
            ("a VPC", required.needs_vpc, EXCLUSIONS),
            ("network isolation", required.needs_network_isolation, EXCLUSIONS),
            ("a GPU", required.needs_gpu, EXCLUSIONS),
            ("a volume encrypted with your own key", required.needs_own_key, VOLUME_KEY),
        ):
            if is_needed:
                yield f"a serverless endpoint does not offer {name} ({source})"
    elif required.needs_gpu and not has_gpu(instance_type):
        yield f"{instance_type} does not have the required GPU"
    if way.name == "batch":
        yield from _describe_broken_constraints_of_job(required, instance_type)
    if required.needs_own_key and OWN_DISKS.match(instance_type):
        yield (
            f"{instance_type} has built-in disks, which your own key cannot encrypt ({VOLUME_KEY})"
        )
    largest = required.largest_photograph_mb
    if largest is not None and largest * MIB > way.largest_payload_bytes:
        yield (
            f"{way.article} takes at most {way.largest_payload_bytes / MIB:g} MB, but a photograph "
            f"may have {largest:g} MB ({way.payload_source})"
        )
    if not way.answers_in_response and required.may_wait_s is None:
        yield (
            f"{way.article} writes results to a bucket some time later, but --may-wait-hours "
            "is not given"
        )


def _describe_broken_constraints_of_job(
    required: Requirements, instance_type: str
) -> Iterator[str]:
    if instance_type not in read_transform_instance_types():
        yield f"a batch transform job cannot run on {instance_type} ({TRANSFORM_TYPES})"
    for name, is_needed in (
        ("a VPC", required.needs_vpc),
        ("network isolation", required.needs_network_isolation),
        ("a volume encrypted with your own key", required.needs_own_key),
    ):
        if is_needed:  # SageMaker offers it, but `batch run` does not
            yield f"a job of `batch run` does not have {name}"


def describe_late_results(required: Requirements, way: HostingWay, slowest_s: float) -> str:
    """Return how late the slowest result is, as text; empty if all results come in time."""
    may_wait_s = required.may_wait_s
    if way.answers_in_response or may_wait_s is None or slowest_s <= may_wait_s:
        return ""
    taken = (
        "never comes" if slowest_s == float("inf") else f"takes {slowest_s / SECONDS_PER_HOUR:.3g}"
    )
    limit = f"results must arrive within {may_wait_s / SECONDS_PER_HOUR:g} hours"
    return f"the slowest result {taken}{' hours' * (slowest_s != float('inf'))}, but {limit}"


def has_gpu(instance_type: str) -> bool:
    """Return whether an instance type has a GPU."""
    return bool(find_gpu_family(instance_type))
