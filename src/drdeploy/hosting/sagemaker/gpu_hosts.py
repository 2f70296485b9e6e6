"""Check that a container image with CUDA can start on the GPU host that SageMaker uses.

An image holds the libraries of CUDA, and the host holds the driver. A program that was built for
CUDA 13 needs driver 580. By default, a real-time endpoint on ``ml.g5`` has driver 470. The program
cannot start on this host. SageMaker nevertheless accepts the endpoint. Only a quarter of an hour
later does it report a failed health check. :func:`check_gpu_host` needs no hardware, because it
compares the environment variables of the image with the tables here.

Sources, read in November 2026:

- drivers of the AMI versions: service model of SageMaker (botocore 1.44),
  ``ProductionVariant.InferenceAmiVersion`` and ``TransformResources.TransformAmiVersion``;
- drivers of hosts for which no AMI version is chosen: developer guide, "Best practices to minimize
  interruptions during GPU driver upgrades"
  (https://docs.aws.amazon.com/sagemaker/latest/dg/inference-gpu-drivers.html);
- oldest driver for each version of CUDA: NVIDIA, "CUDA Compatibility", section "Minor Version
  Compatibility" (https://docs.nvidia.com/deploy/cuda-compatibility/);
- GPUs that CUDA no longer supports: release notes of CUDA 12.0 (Kepler) and 13.0 (Maxwell, Pascal,
  Volta).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

REQUIREMENT_VARIABLE = "NVIDIA_REQUIRE_CUDA"
"""The variable with which an image states its CUDA to the NVIDIA Container Toolkit, for example
``cuda>=12.4 brand=tesla,driver>=535,driver<536``.  A space means "or", and a comma means "and"."""

OLDEST_DRIVERS = {13: 580, 12: 525, 11: 450}
"""For each major version of CUDA, the oldest driver that runs its programs."""

LAST_CUDA_MAJORS = {"p2": 11, "p3": 12}
"""The last major version of CUDA that supports an old instance family: ``p2`` has K80 GPUs, and
``p3`` has V100 GPUs.
"""

GPU_FAMILY = re.compile(r"ml\.(?P<family>(?:g[0-9]|p[0-9])[a-z0-9-]*)\.")
"""Matches an instance type with NVIDIA GPUs (Amazon EC2, "Accelerated computing")."""


@dataclass(frozen=True)
class GpuDriver:
    """The NVIDIA driver of a host.

    Attributes:
        version: The major version of the driver, for example 580.
        cuda: The newest CUDA that the driver supports, for example ``(13, 0)``.
    """

    version: int
    cuda: tuple[int, int]


INFERENCE_AMIS: dict[str, GpuDriver | None] = {
    "al2-ami-sagemaker-inference-gpu-2": GpuDriver(535, (12, 2)),
    "al2-ami-sagemaker-inference-gpu-2-1": GpuDriver(535, (12, 2)),
    "al2-ami-sagemaker-inference-gpu-3-1": GpuDriver(550, (12, 4)),
    "al2023-ami-sagemaker-inference-gpu-4-1": GpuDriver(580, (13, 0)),
    "al2-ami-sagemaker-inference-neuron-2": None,
}
"""The driver of each AMI version for endpoints; None for AWS's own accelerators."""

TRANSFORM_AMIS: dict[str, GpuDriver | None] = {
    "al2-ami-sagemaker-batch-gpu-470": GpuDriver(470, (11, 4)),
    "al2-ami-sagemaker-batch-gpu-535": GpuDriver(535, (12, 2)),
}
"""The driver of each AMI version for Batch Transform."""

DEFAULT_DRIVERS: dict[str, GpuDriver] = {
    **dict.fromkeys(("p2", "p3", "p4d", "p4de", "g4dn", "g5"), GpuDriver(470, (11, 4))),
    **dict.fromkeys(("p5", "g6"), GpuDriver(535, (12, 2))),
    **dict.fromkeys(("p5e", "p5en"), GpuDriver(550, (12, 4))),
}
"""For each instance family, the driver of an endpoint's host if no AMI version is chosen.

AWS documents only the drivers of these families.
"""


def find_gpu_family(instance_type: str) -> str:
    """Return the family of an instance type with NVIDIA GPUs, for example ``g5``; empty for others.

    >>> find_gpu_family("ml.g5.xlarge")
    'g5'
    """
    found = GPU_FAMILY.match(instance_type)
    return found["family"] if found else ""


def check_gpu_host(
    variables: Mapping[str, str],
    instance_type: str | None,
    ami: str | None = None,
    *,
    amis: Mapping[str, GpuDriver | None] = INFERENCE_AMIS,
    ami_member: str = "InferenceAmiVersion",
) -> None:
    """Refuse an image that cannot start on the host of an endpoint.

    If AWS does not document the driver of the host, for example for a new instance family, the
    image is accepted.

    Args:
        variables: The environment variables of the image.
        instance_type: The type of the instances; None for a serverless endpoint.
        ami: The AMI version of the instances; None for SageMaker's default.
        amis: All AMI versions, with their drivers.
        ami_member: The field of the AWS request that holds the AMI version, for messages.

    Raises:
        InvalidInput: The image cannot start, or the AMI version does not fit the instances. The
            message says why, and names hosts that would work.
    """
    required = variables.get(REQUIREMENT_VARIABLE, "")
    if instance_type is None:
        if required:
            raise InvalidInput(
                f"The image needs a GPU ({REQUIREMENT_VARIABLE}={required}), but a serverless "
                "endpoint has none",
                where="image",
                remedy="Choose a real-time endpoint with a GPU, for example ml.g5.xlarge",
            )
        return
    family = find_gpu_family(instance_type)
    if ami is not None:
        _refuse_ami_without_driver(ami, instance_type, family, amis, ami_member)
    if not required:
        return
    if not family:
        raise InvalidInput(
            f"The image needs a GPU ({REQUIREMENT_VARIABLE}={required}), but {instance_type} has "
            "none",
            where="instance_type",
            remedy="Choose an instance type with a GPU, for example ml.g5.xlarge, or an image for "
            "the CPU, for example lean",
        )
    _check_architecture(required, instance_type, family)
    driver = DEFAULT_DRIVERS.get(family) if ami is None else amis[ami]
    if driver is None or _is_any_alternative_met(required, driver):
        return
    host = f"the default host of {instance_type}" if ami is None else ami
    raise InvalidInput(
        f"The image needs {REQUIREMENT_VARIABLE}={required}, but {host} has driver "
        f"{driver.version}, which supports CUDA {_format_version(driver.cuda)}",
        where=ami_member,
        remedy=_describe_sufficient_amis(required, amis, ami_member),
    )


def find_required_cuda(variables: Mapping[str, str]) -> str | None:
    """Return the version of CUDA that an image asks for, for example ``13.0``, or None."""
    found = re.search(r"cuda>=([0-9]+\.[0-9]+)", variables.get(REQUIREMENT_VARIABLE, ""))
    return found[1] if found else None


def parse_image_variables(env: Iterable[str] | None) -> dict[str, str]:
    """Return the environment variables in an image's list of strings like ``NAME=VALUE``."""
    return dict(text.split("=", 1) for text in env or () if "=" in text)


def _refuse_ami_without_driver(
    ami: str,
    instance_type: str,
    family: str,
    amis: Mapping[str, GpuDriver | None],
    ami_member: str,
) -> None:
    if ami not in amis:
        raise InvalidInput(
            f"The AMI version {ami} does not exist",
            where=ami_member,
            remedy=f"Choose one of {', '.join(amis)}",
        )
    if amis[ami] is not None and not family:
        raise InvalidInput(
            f"{ami} is for instances with a GPU, but {instance_type} has none",
            where=ami_member,
            remedy=f"Leave {ami_member} out, or choose an instance type with a GPU",
        )
    if amis[ami] is None and family:
        raise InvalidInput(
            f"{ami} is for Inferentia and Trainium, but {instance_type} has an NVIDIA GPU",
            where=ami_member,
            remedy=f"Choose one of {', '.join(one for one in amis if amis[one])}",
        )


def _check_architecture(required: str, instance_type: str, family: str) -> None:
    """Refuse an image whose version of CUDA no longer supports the GPU, even with a new driver."""
    last = LAST_CUDA_MAJORS.get(family)
    needed = re.search(r"cuda>=([0-9]+)", required)
    if last is not None and needed is not None and int(needed[1]) > last:
        raise InvalidInput(
            f"The image needs CUDA {needed[1]}, but CUDA {last} is the last that supports the GPU "
            f"of {instance_type}",
            where="instance_type",
            remedy="Choose a newer instance type, for example ml.g4dn.xlarge or ml.g5.xlarge",
        )


def _is_any_alternative_met(required: str, driver: GpuDriver) -> bool:
    """Return whether a driver meets the requirement of an image.

    The value of ``NVIDIA_REQUIRE_CUDA`` is a list of alternatives, separated by blanks. Each
    alternative is a list of conditions, separated by commas. All conditions of at least one
    alternative must be met.
    """
    return any(
        all(_is_condition_met(condition, driver) for condition in alternative.split(","))
        for alternative in required.split()
    )


def _is_condition_met(condition: str, driver: GpuDriver) -> bool:
    """Return whether a condition on CUDA or the driver, such as ``cuda>=12.4``, is met.

    A condition on anything else counts as met.
    """
    found = re.fullmatch(r"(cuda|driver)(>=|<=|>|<|=)([0-9]+)(?:\.([0-9]+))?.*", condition)
    if found is None:
        return True
    name, sign, major, minor = found.groups()
    wanted = (int(major), int(minor or 0))
    if name == "cuda" and sign == ">=":
        # Within a major version, the oldest driver of the major version suffices.
        return driver.version >= OLDEST_DRIVERS.get(wanted[0], 0) and driver.cuda[0] >= wanted[0]
    have = driver.cuda if name == "cuda" else (driver.version, 0)
    compared = (have > wanted) - (have < wanted)
    return compared in {">=": (0, 1), "<=": (0, -1), ">": (1,), "<": (-1,), "=": (0,)}[sign]


def _describe_sufficient_amis(
    required: str, amis: Mapping[str, GpuDriver | None], ami_member: str
) -> str:
    enough = [name for name, one in amis.items() if one and _is_any_alternative_met(required, one)]
    if enough:
        return f"Set {ami_member} to {' or '.join(enough)}"
    return f"No {ami_member} has a newer driver; build the image for an older CUDA"


def _format_version(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
