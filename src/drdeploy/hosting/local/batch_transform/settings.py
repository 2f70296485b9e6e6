"""Choose the settings of a transform job from its request, its container and SageMaker's defaults.

A value in the request takes precedence over the container's answer to
``GET /execution-parameters``. The container's answer takes precedence over SageMaker's default
(developer guide, "Custom Inference Code with Batch Transform").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from drdeploy.files import parse_json
from drdeploy.hosting.local.endpoints.instance_client import (
    InstanceAnswerTooLarge,
    InstanceConnectionLost,
    InstanceTimeout,
)
from drdeploy.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.local.endpoints.instance_client import InstanceClient

CONCURRENT_PAYLOADS_MB_MAX = 100
"""The largest product of ``MaxConcurrentTransforms`` and ``MaxPayloadInMB``."""
CONCURRENT_TRANSFORMS_MAX = 100
"""The largest ``MaxConcurrentTransforms``. Without this limit, ``MaxPayloadInMB=0`` would allow any
number of concurrent requests.
"""
DEFAULTS: Mapping[str, Any] = {
    "MaxConcurrentTransforms": 1,
    "BatchStrategy": "MultiRecord",
    "MaxPayloadInMB": 6,
}
INVOCATION_TIMEOUT_S = 600
INVOCATION_RETRIES = 3
PARAMETERS_TIMEOUT_S = 60.0
PARAMETERS_BYTES_MAX = 64 * KIB
_STRATEGIES = {"MULTI_RECORD": "MultiRecord", "SINGLE_RECORD": "SingleRecord"}
OK = 200


class BadParameters(Exception):
    """A container answers ``GET /execution-parameters`` with values that cannot be used."""


@dataclass(frozen=True)
class TransformSettings:
    """How a transform job packs and sends records.

    Attributes:
        concurrency: How many requests each instance receives at once.
        has_many_records: Whether a request holds as many records as fit. If not, it holds one
            record.
        max_payload_bytes: The largest allowed size of a request's body. With None, the only
            limit is that of the local service (``records.HELD_BYTES_MAX``), and the body is sent in
            chunks.
        timeout_s: Seconds within which a container must answer a request.
        retries: How many times a failed request is sent again.
    """

    concurrency: int
    has_many_records: bool
    max_payload_bytes: int | None
    timeout_s: float
    retries: int

    @classmethod
    def from_request(cls, request: Mapping[str, Any], container: Mapping[str, Any]) -> Self:
        """Return a job's settings from its request, the container's answer and the defaults.

        Raises:
            BadParameters: ``MaxConcurrentTransforms``, ``MaxPayloadInMB``, or the product of both
                exceeds its limit.
        """
        # 0 means that the container chooses (API reference, ``MaxConcurrentTransforms``).
        asked = {name: value for name, value in request.items() if name in DEFAULTS}
        if not asked.get("MaxConcurrentTransforms"):
            asked.pop("MaxConcurrentTransforms", None)
        chosen = {**DEFAULTS, **container, **asked}
        if chosen["MaxConcurrentTransforms"] > CONCURRENT_TRANSFORMS_MAX:
            raise BadParameters(
                f"MaxConcurrentTransforms ({chosen['MaxConcurrentTransforms']}) must not exceed "
                f"{CONCURRENT_TRANSFORMS_MAX}"
            )
        payload_mb = chosen["MaxPayloadInMB"]
        total_mb = chosen["MaxConcurrentTransforms"] * payload_mb
        if max(total_mb, payload_mb) > CONCURRENT_PAYLOADS_MB_MAX:
            raise BadParameters(
                f"MaxConcurrentTransforms ({chosen['MaxConcurrentTransforms']}) * MaxPayloadInMB "
                f"({payload_mb}) is {total_mb} MB, and must not exceed "
                f"{CONCURRENT_PAYLOADS_MB_MAX} MB"
            )
        client = request.get("ModelClientConfig") or {}
        return cls(
            chosen["MaxConcurrentTransforms"],
            chosen["BatchStrategy"] == "MultiRecord",
            payload_mb * MIB or None,
            client.get("InvocationsTimeoutInSeconds", INVOCATION_TIMEOUT_S),
            client.get("InvocationsMaxRetries", INVOCATION_RETRIES),
        )

    def describe(self) -> str:
        """Return the settings as SageMaker writes them into the log of a job."""
        payload_mb = (self.max_payload_bytes or 0) // MIB
        strategy = "MULTI_RECORD" if self.has_many_records else "SINGLE_RECORD"
        return (
            f"MaxConcurrentTransforms={self.concurrency}, MaxPayloadInMB={payload_mb}, "
            f"BatchStrategy={strategy}"
        )


def make_environment(container: Mapping[str, str], request: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment variables of the containers of a job."""
    strategies = {name: variable for variable, name in _STRATEGIES.items()}
    strategy = request.get("BatchStrategy")
    set_by_user = {
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": request.get("MaxPayloadInMB"),
        "SAGEMAKER_BATCH_STRATEGY": strategies[strategy] if strategy else None,
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": request.get("MaxConcurrentTransforms") or None,
    }
    return {
        **container,
        **(request.get("Environment") or {}),
        "SAGEMAKER_BATCH": "true",
        **{name: str(value) for name, value in set_by_user.items() if value is not None},
    }


def read_execution_parameters(client: InstanceClient) -> dict[str, Any]:
    """Return a container's answer to ``GET /execution-parameters``; empty if there is no such path.

    Raises:
        BadParameters: The container answers with values that cannot be used.
    """
    try:
        answer = client.send_request(
            "GET",
            "/execution-parameters",
            timeout_s=PARAMETERS_TIMEOUT_S,
            max_bytes=PARAMETERS_BYTES_MAX,
        )
    except (InstanceTimeout, InstanceConnectionLost, InstanceAnswerTooLarge) as err:
        raise BadParameters(f"GET /execution-parameters failed: {err}") from err
    if answer.status != OK or not answer.body.strip():
        return {}
    try:
        values = parse_json(answer.body)
    except ValueError:
        return {}  # some servers answer every path, for example with a page
    if not isinstance(values, dict):
        return {}
    return {
        name: _check_execution_parameter(name, values[name])
        for name in DEFAULTS
        if values.get(name) is not None
    }


def _check_execution_parameter(name: str, value: Any) -> Any:
    if name == "BatchStrategy":
        strategy = _STRATEGIES.get(str(value), value)
        if strategy in _STRATEGIES.values():
            return strategy
    elif type(value) is int and value >= (1 if name == "MaxConcurrentTransforms" else 0):
        return value
    raise BadParameters(f"the container answered GET /execution-parameters with {name}={value!r}")
