"""The life cycle of an endpoint: Creating, InService, Updating, Deleting, Failed.

::

    CreateEndpoint --> Creating --> InService <--> Updating
                           |            |             |
                           v            v             v
                        Failed -----> Deleting <------+      then it no longer exists

The statuses are those in the API reference (``DescribeEndpoint``, ``EndpointStatus``). A request
that creates, updates or deletes an endpoint only changes the status, and is answered at once. The
workers are then started and stopped in a separate thread. At its end, the thread reads the status
again. If the endpoint was deleted in the meantime, the thread closes the deployment that it has
prepared. While an update is in progress, the new deployment gets a share of the invocations. The
share grows in the steps that ``guardrails`` lists. An update that fails is undone (RollingBack),
and the endpoint is InService with its previous deployment.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
from typing import TYPE_CHECKING, Any, Literal

from drdeploy.hosting.local.api_errors import (
    FAILURE_REASON_LENGTH_MAX,
    make_validation_error,
)
from drdeploy.hosting.local.endpoints.data_capture import make_capture_summary
from drdeploy.hosting.local.endpoints.instance_group import InstanceGroup
from drdeploy.hosting.local.endpoints.serverless_pool import ServerlessPool
from drdeploy.hosting.local.instances.instance import StartFailed
from drdeploy.hosting.local.request_constraints import (
    check_instance_count,
    check_serverless_size,
    may_run_without_instances,
)
from drdeploy.hosting.sagemaker import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from drdeploy.hosting.local.endpoints.deployment import EndpointDeployment, Variant
    from drdeploy.hosting.local.endpoints.guardrails import Guardrails
    from drdeploy.hosting.local.resource_store import ResourceRecord

log = logging.getLogger(__name__)

EndpointStatus = Literal["Creating", "InService", "Updating", "RollingBack", "Deleting", "Failed"]
SERVING = frozenset({"InService", "Updating", "RollingBack"})
UpdateStage = Literal["Creating", "ActivatingTraffic", "Baking", "Deleting"]
"""The stages of an update (API reference, ``ProductionVariantStatus``)."""
WATCH_S = 0.2
"""Seconds between two checks of an update's alarms and instances."""
TOO_SLOW = "The update takes longer than MaximumExecutionTimeoutInSeconds."
DELETION_S = 40.0
"""Seconds that a deletion waits for each worker: 30 s from SIGTERM to SIGKILL, plus 10 s."""


class LocalEndpoint:
    """An endpoint of the local service, which runs slow operations in threads.

    Args:
        name: The endpoint's name, in the spelling of the request that created it.
        arn: The endpoint's ARN.
        deployment: The first deployment, which is not prepared yet.
        raised: A function that takes the names of alarms, and returns those that are in the state
            ``ALARM``.
        clock: The clock that gives the times of creations and changes, and measures updates.

    Attributes:
        deployment_config: The ``DeploymentConfig`` of the last change, or None.
    """

    def __init__(
        self,
        name: str,
        arn: str,
        deployment: EndpointDeployment,
        *,
        raised: Callable[[Sequence[str]], Sequence[str]] = lambda _: (),
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.arn = arn
        self.tags: dict[str, str] = {}
        self.status: EndpointStatus = "Creating"
        self.failure_reason = ""
        self._clock = clock or Clock()
        self.created = self.modified = self._clock.now()
        self.deployment_config: dict[str, Any] | None = None
        self._raised = raised
        self._deployment = deployment
        # The new deployment of an update in progress, and its share of the invocations.
        self._arriving: EndpointDeployment | None = None
        self._arrived_share = 0.0
        self._stage: tuple[UpdateStage, datetime] = ("Creating", self.created)
        self._lock = threading.Lock()

    @property
    def config(self) -> ResourceRecord:
        """The endpoint configuration in service; for a new endpoint, the one being deployed."""
        return self._deployment.config

    @property
    def present_config(self) -> dict[str, Any]:
        """The newest endpoint configuration, with the capacities that the variants have now."""
        deployment = self._arriving or self._deployment
        variants = [variant.request for variant in deployment.variants]
        config = deployment.config.request
        return {**config, "ProductionVariants": variants or config["ProductionVariants"]}

    @property
    def is_asynchronous(self) -> bool:
        """Whether the endpoint takes asynchronous requests only."""
        return self._deployment.asynchronous is not None

    @property
    def is_serving(self) -> bool:
        """Whether the endpoint takes requests."""
        return self.status in SERVING

    # -- for the control plane: return at once -------------------------------------------

    def create(self) -> None:
        """Begin to start the endpoint's first deployment, and return at once."""
        self._run_in_background(self._start_first_deployment)

    def update(
        self,
        deployment: EndpointDeployment,
        guardrails: Guardrails,
        deployment_config: dict[str, Any] | None = None,
    ) -> None:
        """Begin to replace the deployment in service, which serves until the new one is ready.

        Args:
            deployment: The new deployment, which is not prepared yet.
            guardrails: How the update proceeds, is watched, and is undone.
            deployment_config: The ``DeploymentConfig`` of the request.

        Raises:
            ApiError: Another change is in progress.
        """
        with self._lock:
            self._check_in_service()
            self._arriving, self._arrived_share = deployment, 0.0
            self._set_stage_of_update("Creating")
            self.deployment_config = deployment_config
            self._set_status("Updating")
        self._run_in_background(lambda: self._shift_traffic_or_roll_back(deployment, guardrails))

    def change_capacity(self, changes: list[dict[str, Any]]) -> None:
        """Change weights, instance counts and concurrency of the deployment in service.

        Raises:
            ApiError: Another change is in progress, or a variant does not exist.
        """
        with self._lock:
            self._check_in_service()
            # All changes are checked before the first change is made, so that all are made or none.
            variants = [
                self._deployment.find_variant_or_shadow(one["VariantName"]) for one in changes
            ]
            for variant, change in zip(variants, changes, strict=True):
                _check_capacity_change(variant, change, self.config.request)
            for variant, change in zip(variants, changes, strict=True):
                _change_variant_capacity(variant, change)
            self._set_status("InService")
        self._deployment.maintain_workers()

    def delete(self, forget: Callable[[], object]) -> None:
        """Begin to stop the endpoint; ``forget`` is called when all its workers have stopped."""
        with self._lock:
            if self.status == "Deleting":
                return
            self._set_status("Deleting")
            deployments = [one for one in (self._deployment, self._arriving) if one is not None]
        self._run_in_background(lambda: self._stop_workers_and_forget(deployments, forget))

    def describe(self) -> dict[str, Any]:
        """Return the response of ``DescribeEndpoint``."""
        with self._lock:
            config = self.config
            response: dict[str, Any] = {
                "EndpointName": self.name,
                "EndpointArn": self.arn,
                "EndpointConfigName": config.name,
                "EndpointStatus": self.status,
                "CreationTime": self.created,
                "LastModifiedTime": self.modified,
            }
            arriving, variants = self._arriving, self._deployment.variants
            shadows = self._deployment.shadows
            stage = {"Status": self._stage[0], "StartTime": self._stage[1]}
        if self.failure_reason:
            response["FailureReason"] = self.failure_reason
        if self.deployment_config:
            response["LastDeploymentConfig"] = self.deployment_config
        capture = config.request.get("DataCaptureConfig")
        if capture:
            response["DataCaptureConfig"] = make_capture_summary(capture)
        if self.is_asynchronous:
            response["AsyncInferenceConfig"] = config.request["AsyncInferenceConfig"]
        if variants:
            response["ProductionVariants"] = [_describe_variant(variant) for variant in variants]
        if shadows:
            response["ShadowProductionVariants"] = [_describe_variant(one) for one in shadows]
        if arriving is not None:
            pending: dict[str, Any] = {
                "EndpointConfigName": arriving.config.name,
                "StartTime": response["LastModifiedTime"],
            }
            arriving_variants = [
                _describe_variant(variant) | {"VariantStatus": [stage]}
                for variant in arriving.variants
            ]
            if arriving_variants:  # empty until images and archives are pinned
                pending["ProductionVariants"] = arriving_variants
            response["PendingDeploymentSummary"] = pending
        return response

    # -- for invocations -----------------------------------------------------------------

    @contextlib.contextmanager
    def hold_deployment_in_service(self) -> Iterator[EndpointDeployment | None]:
        """Yield a deployment that takes requests, or None; the ``with`` block keeps it open."""
        with contextlib.ExitStack() as stack:
            with self._lock:
                deployment = self._choose_deployment() if self.status in SERVING else None
                if deployment is not None:
                    # With the lock, because an update could otherwise close the deployment between
                    # the two lines.
                    stack.enter_context(deployment.keep_open_for_invocation())
            yield deployment

    def list_variants_in_service(self) -> tuple[Variant, ...]:
        """Return the variants that serve requests now, and the shadow variants."""
        if self.status not in SERVING:
            return ()
        arriving = self._arriving if self._arrived_share else None
        current = self._deployment.list_all_variants()
        return current + (arriving.list_all_variants() if arriving else ())

    def maintain_workers(self) -> None:
        """Stop idle workers, and replace dead ones, in all deployments that take requests."""
        if self.status in SERVING:
            self._deployment.maintain_workers()
            arriving = self._arriving
            if arriving is not None and self._arrived_share:
                arriving.maintain_workers()

    # -- in threads of their own ---------------------------------------------------------

    def _start_first_deployment(self) -> None:
        failure = _prepare_deployment(self._deployment)
        with self._lock:
            is_current = self.status == "Creating"  # a client may have deleted the endpoint
            if is_current:
                self._set_status("Failed" if failure else "InService", failure)
        if failure or not is_current:
            self._deployment.close()

    def _shift_traffic_or_roll_back(
        self, deployment: EndpointDeployment, guardrails: Guardrails
    ) -> None:
        deadline = (
            self._clock.monotonic() + guardrails.maximum_s - guardrails.bake_and_termination_s
        )
        first = guardrails.steps[0] if guardrails.is_rolling else 1.0
        failure = _prepare_deployment(deployment, first)
        if self._clock.monotonic() > deadline:
            failure = failure or TOO_SLOW
        for share in () if failure else guardrails.steps:
            failure = self._move_share_and_watch_alarms(deployment, guardrails, share, deadline)
            if failure or self.status != "Updating":
                break
        if not failure:
            self._watch_alarms(guardrails.termination_s, ())
        elif self._arrived_share:
            self._roll_back(deployment, guardrails)
        with self._lock:
            # If the endpoint has been deleted meanwhile, the new deployment is closed.
            is_done = self.status == "Updating" and not failure
            obsolete = self._deployment if is_done else deployment
            if is_done:
                self._deployment = deployment
            self._arriving, self._arrived_share = None, 0.0
            if self.status in {"Updating", "RollingBack"}:
                self._set_status("InService", failure)
        obsolete.close()

    def _move_share_and_watch_alarms(
        self, deployment: EndpointDeployment, guardrails: Guardrails, share: float, deadline: float
    ) -> str:
        """Send a share of the traffic to the new deployment, and watch the alarms for a time.

        Returns the reason for a rollback, or an empty text if all is well.
        """
        if guardrails.is_rolling:
            deployment.set_capacity(share)
            if not self._wait_for_capacity(deployment, deadline):
                return TOO_SLOW
        with self._lock:
            self._arrived_share = share
            self._set_stage_of_update("ActivatingTraffic")
        if guardrails.is_rolling:
            self._deployment.set_capacity(1 - share)
        with self._lock:
            self._set_stage_of_update("Baking")
        return self._watch_alarms(guardrails.bake_s, guardrails.alarms)

    def _roll_back(self, deployment: EndpointDeployment, guardrails: Guardrails) -> None:
        with self._lock:
            if self.status != "Updating":
                return
            self._set_status("RollingBack")
        steps = guardrails.rollback_steps if guardrails.is_rolling else (1.0,)
        for share in steps:
            if guardrails.is_rolling:
                self._deployment.set_capacity(max(share, 1 - self._arrived_share))
                self._wait_for_capacity(
                    self._deployment, self._clock.monotonic() + guardrails.maximum_s
                )
                deployment.set_capacity(min(1 - share, self._arrived_share))
            with self._lock:
                self._arrived_share = min(1 - share, self._arrived_share)

    def _wait_for_capacity(self, deployment: EndpointDeployment, deadline: float) -> bool:
        """Wait until a deployment's instances are running; return False if that takes too long."""
        while not deployment.has_capacity():
            if self._clock.monotonic() > deadline:
                return False
            if self.status not in {"Updating", "RollingBack"}:
                break
            self._clock.sleep(WATCH_S)
        return True

    def _watch_alarms(self, seconds: float, alarms: Sequence[str]) -> str:
        """Watch alarms for some seconds, or until an alarm is raised or the endpoint is deleted.

        Return the reason for a rollback, or an empty text if there is none.
        """
        deadline = self._clock.monotonic() + seconds
        while self.status == "Updating":
            raised = self._raised(alarms)
            if raised:
                return f"The alarm {raised[0]} is in ALARM: the update is rolled back."
            left_s = deadline - self._clock.monotonic()
            if left_s <= 0:
                break
            self._clock.sleep(min(WATCH_S, left_s))
        return ""

    def _stop_workers_and_forget(
        self, deployments: Sequence[EndpointDeployment], forget: Callable[[], object]
    ) -> None:
        for deployment in deployments:
            deployment.close()
        for deployment in deployments:
            deployment.wait_until_workers_stopped(DELETION_S)
        forget()

    def _run_in_background(self, work: Callable[[], None]) -> None:
        threading.Thread(target=work, name=f"endpoint {self.name}", daemon=True).start()

    # -- called with the lock held -------------------------------------------------------

    def _choose_deployment(self) -> EndpointDeployment:
        """Return the deployment for a request; during an update, choose between two at random."""
        arriving = self._arriving
        if arriving is not None and random.random() < self._arrived_share:
            return arriving
        return self._deployment

    def _set_stage_of_update(self, stage: UpdateStage) -> None:
        self._stage = (stage, self._clock.now())

    def _set_status(self, status: EndpointStatus, failure: str = "") -> None:
        self.status = status
        self.failure_reason = failure
        self.modified = self._clock.now()

    def _check_in_service(self) -> None:
        if self.status == "Failed":
            raise make_validation_error(f'Cannot update endpoint "{self.arn}" in Failed status.')
        if self.status != "InService":
            raise make_validation_error(f'Cannot update in-progress endpoint "{self.arn}".')


def _check_capacity_change(
    variant: Variant, change: dict[str, Any], config: dict[str, Any]
) -> None:
    """Refuse an entry of ``UpdateEndpointWeightsAndCapacities`` that cannot be applied."""
    if change.keys() <= {"VariantName"}:
        raise make_validation_error(
            f"The change of variant {variant.name} must set DesiredWeight, DesiredInstanceCount "
            "or ServerlessUpdateConfig, but sets none of them."
        )
    check_instance_count(
        f"DesiredInstanceCount of variant {variant.name}", change.get("DesiredInstanceCount") or 0
    )
    if isinstance(variant.pool, InstanceGroup):
        _check_count_for_components(variant.name, variant.pool, change)
        return
    is_serverless = isinstance(variant.pool, ServerlessPool)
    unserved = "DesiredInstanceCount" if is_serverless else "ServerlessUpdateConfig"
    if change.get(unserved) is not None:
        raise make_validation_error(f"{unserved} does not apply to variant {variant.name}.")
    if is_serverless:
        check_serverless_size(_merge_serverless_config(variant, change), "serverlessUpdateConfig")
    elif change.get("DesiredInstanceCount") == 0 and not may_run_without_instances(config):
        raise make_validation_error(
            f"DesiredInstanceCount of variant {variant.name} must be at least 1. Only an endpoint "
            "with inference components or an asynchronous endpoint runs without instances."
        )


def _check_count_for_components(name: str, group: InstanceGroup, change: dict[str, Any]) -> None:
    """Refuse a number of instances that is too small for the copies of inference components."""
    if change.get("ServerlessUpdateConfig") is not None:
        raise make_validation_error(f"ServerlessUpdateConfig does not apply to variant {name}.")
    count = change.get("DesiredInstanceCount")
    if count is None:
        return
    if group.bounds is not None:
        raise make_validation_error(
            f"DesiredInstanceCount of variant {name} cannot be set: ManagedInstanceScaling sets it."
        )
    in_use = group.count_instances_in_use()
    if count < in_use:
        raise make_validation_error(
            f"DesiredInstanceCount ({count}) of variant {name} is too small: {in_use} instances "
            "host copies of inference components."
        )


def _merge_serverless_config(variant: Variant, change: dict[str, Any]) -> dict[str, Any]:
    return {**variant.request["ServerlessConfig"], **change.get("ServerlessUpdateConfig", {})}


def _change_variant_capacity(variant: Variant, change: dict[str, Any]) -> None:
    """Apply one entry of ``UpdateEndpointWeightsAndCapacities``."""
    variant.weight = change.get("DesiredWeight", variant.weight)
    if isinstance(variant.pool, ServerlessPool):
        serverless = _merge_serverless_config(variant, change)
        variant.request = {**variant.request, "ServerlessConfig": serverless}
        variant.pool.set_limits(
            max_concurrency=serverless["MaxConcurrency"],
            provisioned=serverless.get("ProvisionedConcurrency", 0),
        )
    elif "DesiredInstanceCount" in change:
        count = change["DesiredInstanceCount"]
        variant.request = {**variant.request, "InitialInstanceCount": count}
        variant.pool.set_worker_count(count)


def _prepare_deployment(deployment: EndpointDeployment, capacity: float = 1.0) -> str:
    """Start the workers of a deployment.

    Return the reason if that failed, otherwise an empty text.
    """
    try:
        deployment.pin_models_and_start_workers(capacity)
    except StartFailed as err:
        return err.what[:FAILURE_REASON_LENGTH_MAX]
    except Exception:
        log.exception("a deployment could not be prepared")
        return "The request processing has failed because of an unknown error."
    return ""


def _describe_variant(variant: Variant) -> dict[str, Any]:
    if isinstance(variant.pool, InstanceGroup):
        return _describe_variant_without_model(variant, variant.pool)
    summary: dict[str, Any] = {
        "VariantName": variant.name,
        "CurrentWeight": variant.weight,
        "DesiredWeight": variant.weight,
        "DeployedImages": [
            {
                "SpecifiedImage": variant.image,
                "ResolvedImage": variant.resolved_image.name,
                "ResolutionTime": variant.resolved_at,
            }
        ],
    }
    if "ServerlessConfig" in variant.request:
        serverless = variant.request["ServerlessConfig"]
        return summary | {
            "CurrentServerlessConfig": serverless,
            "DesiredServerlessConfig": serverless,
        }
    return summary | {
        "CurrentInstanceCount": len(variant.pool.workers()),
        "DesiredInstanceCount": variant.request["InitialInstanceCount"],
    }


def _describe_variant_without_model(variant: Variant, group: InstanceGroup) -> dict[str, Any]:
    count = group.count_instances()
    return {
        "VariantName": variant.name,
        "CurrentWeight": variant.weight,
        "DesiredWeight": variant.weight,
        "CurrentInstanceCount": count,
        "DesiredInstanceCount": count,
        **{
            member: variant.request[member]
            for member in ("ManagedInstanceScaling", "RoutingConfig")
            if member in variant.request
        },
    }
