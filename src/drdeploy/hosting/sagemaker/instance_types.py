"""The vCPUs, memory and architecture of the ``ml.*`` instance types.

Of the types with accelerators, this module knows only three families with GPUs: g4dn, g5 and g6.
The packaged price sheet lists them.

The numbers come from two pages of AWS, which were read in June 2025 and agree: "Amazon EC2 instance
types", and the pricing page of SageMaker AI. Within a family, the memory per vCPU is constant. The
size in the name of an instance type says how many vCPUs the type has. ``medium`` means 1, ``large``
2, ``xlarge`` 4, and ``Nxlarge`` 4 times N. The exceptions from these two rules are listed one by
one.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, NamedTuple

from drdeploy.errors import InvalidInput
from drdeploy.hosting.sagemaker import api_limits
from drdeploy.units import MIB_PER_GIB

CpuArchitecture = Literal["x86_64", "arm64"]


@dataclass(frozen=True)
class InstanceResources:
    """The resources of one instance.

    Attributes:
        vcpu: The number of vCPUs.
        memory_mb: The memory, MiB.
        architecture: The instruction set of the processors.
    """

    vcpu: int
    memory_mb: int
    architecture: CpuArchitecture


class _Family(NamedTuple):
    memory_gib_per_vcpu: float
    architecture: CpuArchitecture


# c is compute optimized, m general purpose, r memory optimized, g has GPUs.
_FAMILIES: dict[str, _Family] = {
    **dict.fromkeys(("c5", "c5d", "c6i", "c6in", "c7i"), _Family(2, "x86_64")),
    **dict.fromkeys(("m4", "m5", "m5d", "m6i", "m7i"), _Family(4, "x86_64")),
    **dict.fromkeys(("r5", "r5d", "r6i", "r7i"), _Family(8, "x86_64")),
    **dict.fromkeys(("c6g", "c6gd", "c6gn", "c7g", "c8g"), _Family(2, "arm64")),
    **dict.fromkeys(("m6g", "m6gd", "m8g"), _Family(4, "arm64")),
    **dict.fromkeys(("r6g", "r6gd", "r7gd", "r8g"), _Family(8, "arm64")),
    "c4": _Family(1.875, "x86_64"),
    **dict.fromkeys(("g4dn", "g5", "g6"), _Family(4, "x86_64")),
}

_EXCEPTIONS: dict[str, InstanceResources] = {
    "ml.c4.8xlarge": InstanceResources(36, 60 * MIB_PER_GIB, "x86_64"),
    "ml.t2.medium": InstanceResources(2, 4 * MIB_PER_GIB, "x86_64"),
    "ml.t2.large": InstanceResources(2, 8 * MIB_PER_GIB, "x86_64"),
    "ml.t2.xlarge": InstanceResources(4, 16 * MIB_PER_GIB, "x86_64"),
    "ml.t2.2xlarge": InstanceResources(8, 32 * MIB_PER_GIB, "x86_64"),
}

_VCPU_PER_XLARGE = 4
_NAMED_SIZES = {"medium": 1, "large": 2, "xlarge": _VCPU_PER_XLARGE}


def find_instance_resources(instance_type: str) -> InstanceResources:
    """Return the vCPUs, memory and architecture of an instance type.

    Raises:
        InvalidInput: SageMaker does not offer the instance type for endpoints, or this module has
            no numbers for it, for example because it has accelerators.
    """
    if instance_type not in api_limits.read_instance_types():
        close = get_close_matches(instance_type, sorted(api_limits.read_instance_types()), n=3)
        raise InvalidInput(
            f"{instance_type!r} is not a SageMaker hosting instance type",
            where="instance_type",
            remedy=f"Did you mean {' or '.join(close)}"
            if close
            else "Choose an instance type like ml.m5.xlarge",
        )
    if instance_type in _EXCEPTIONS:
        return _EXCEPTIONS[instance_type]
    _, family_name, size = instance_type.split(".")
    if family_name not in _FAMILIES:
        raise InvalidInput(
            f"The vCPUs and the memory of {instance_type} are not known",
            where="instance_type",
            remedy=f"Use an instance type of one of these families: "
            f"{', '.join(sorted((*_FAMILIES, 't2')))}",
        )
    family = _FAMILIES[family_name]
    vcpu = _NAMED_SIZES.get(size) or int(size.removesuffix("xlarge")) * _VCPU_PER_XLARGE
    memory_mb = int(vcpu * family.memory_gib_per_vcpu * MIB_PER_GIB)
    return InstanceResources(vcpu, memory_mb, family.architecture)
