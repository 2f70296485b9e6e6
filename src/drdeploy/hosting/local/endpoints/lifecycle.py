"""An endpoint's life: Creating, InService, Updating, Deleting, Failed."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any, Literal

from drdeploy.hosting.local.api_errors import REASON_LENGTH_MAX, forbidden_now
from drdeploy.hosting.local.constraints import check_serverless_size
from drdeploy.hosting.local.endpoints.real_time_pool import RealTimePool
from drdeploy.hosting.local.endpoints.serverless_pool import ServerlessPool
from drdeploy.hosting.local.instances.instance import StartFailed
from drdeploy.hosting.sagemaker.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from drdeploy.hosting.local.endpoints.deployment import EndpointDeployment, Variant
    from drdeploy.hosting.local.resource_store import ResourceRecord

log = logging.getLogger(__name__)

Status = Literal["Creating", "InService", "Updating", "Deleting", "Failed"]
DELETION_S = 40.0
"""A worker has 30 s to stop."""


class LocalEndpoint:
    """One endpoint; its work is done in threads of its own.

    Args:
        name: As its creator wrote it.
        arn: See :meth:`Place.arn`.
        deployment: What it is to serve; not prepared yet.
        clock: For stamps.
    """

    def __init__(
        self, name: str, arn: str, deployment: EndpointDeployment, clock: Clock | None = None
    ) -> None:
        self.name = name
        self.arn = arn
        self.status: Status = "Creating"
        self.failure_reason = ""
        self._clock = clock or Clock()
        self.created = self.modified = self._clock.now()
        self._deployment = deployment
        self._pending: EndpointDeployment | None = None
        self._lock = threading.Lock()

    @property
    def config(self) -> ResourceRecord:
        """The endpoint configuration in service, or on its way there."""
        return self._deployment.config

    # -- what the control plane asks for -----------------------------------------------

    def create(self) -> None:
        """Prepare what it serves; returns at once."""
        self._in_background(self._create)

    def update(self, deployment: EndpointDeployment) -> None:
        """Serve something else; what is served now goes on until that is ready.

        Raises:
            ApiError: Another change is under way.
        """
        with self._lock:
            self._check_in_service("update")
            self._pending = deployment
            self._turn("Updating")
        self._in_background(lambda: self._update(deployment))

    def change_capacity(self, changes: list[dict[str, Any]]) -> None:
        """Change weights, instance counts and concurrency of what is in service.

        Raises:
            ApiError: Another change is under way, or a variant does not exist.
        """
        with self._lock:
            self._check_in_service("update")
            for change in changes:
                self._change(self._deployment.choose(change["VariantName"]), change)
            self._turn("InService")
        self._deployment.tick()

    def delete(self, forget: Callable[[], object]) -> None:
        """Stop everything, then call ``forget``; returns at once."""
        with self._lock:
            if self.status == "Deleting":
                return
            self._turn("Deleting")
        self._in_background(lambda: self._delete(forget))

    def describe(self) -> dict[str, Any]:
        """The answer of ``DescribeEndpoint``."""
        with self._lock:
            answer: dict[str, Any] = {
                "EndpointName": self.name,
                "EndpointArn": self.arn,
                "EndpointConfigName": self.config.name,
                "EndpointStatus": self.status,
                "CreationTime": self.created,
                "LastModifiedTime": self.modified,
            }
            pending, variants = self._pending, self._deployment.variants
        if self.failure_reason:
            answer["FailureReason"] = self.failure_reason
        if variants:
            answer["ProductionVariants"] = [_summary(variant) for variant in variants]
        if pending is not None:
            answer["PendingDeploymentSummary"] = {"EndpointConfigName": pending.config.name}
        return answer

    # -- what an invocation asks for ---------------------------------------------------

    @contextlib.contextmanager
    def serving(self) -> Iterator[EndpointDeployment | None]:
        """What answers now; None where nothing does."""
        with contextlib.ExitStack() as stack:
            with self._lock:
                is_serving = self.status in {"InService", "Updating"}
                deployment = self._deployment if is_serving else None
                if deployment is not None:
                    stack.enter_context(deployment.invocation())
            yield deployment

    def tick(self) -> None:
        """See :meth:`Pool.tick`."""
        if self.status in {"InService", "Updating"}:
            self._deployment.tick()

    # -- in threads of their own -------------------------------------------------------

    def _create(self) -> None:
        failure = _prepare(self._deployment)
        with self._lock:
            is_wanted = self.status == "Creating"
            if is_wanted:
                self._turn("Failed" if failure else "InService", failure)
        if failure or not is_wanted:
            self._deployment.close()

    def _update(self, deployment: EndpointDeployment) -> None:
        failure = _prepare(deployment)
        with self._lock:
            is_wanted = self.status == "Updating"
            obsolete = deployment
            if is_wanted:
                if not failure:
                    obsolete, self._deployment = self._deployment, deployment
                self._pending = None
                self._turn("InService", failure)
        obsolete.close()

    def _delete(self, forget: Callable[[], object]) -> None:
        self._deployment.close()
        self._deployment.wait_stopped(DELETION_S)
        forget()

    def _in_background(self, work: Callable[[], None]) -> None:
        threading.Thread(target=work, name=f"endpoint {self.name}", daemon=True).start()

    # -- with the lock held ------------------------------------------------------------

    def _turn(self, status: Status, failure: str = "") -> None:
        self.status = status
        self.failure_reason = failure
        self.modified = self._clock.now()

    def _check_in_service(self, action: str) -> None:
        if self.status == "Failed":
            raise forbidden_now(f'Cannot {action} endpoint "{self.arn}" in Failed status.')
        if self.status != "InService":
            raise forbidden_now(f'Cannot {action} in-progress endpoint "{self.arn}".')

    def _change(self, variant: Variant, change: dict[str, Any]) -> None:
        variant.weight = change.get("DesiredWeight", variant.weight)
        serverless = change.get("ServerlessUpdateConfig", {})
        if isinstance(variant.pool, ServerlessPool):
            wanted = {**variant.request["ServerlessConfig"], **serverless}
            check_serverless_size(wanted, "serverlessUpdateConfig")
            variant.request = {**variant.request, "ServerlessConfig": wanted}
            variant.pool.resize(
                max_concurrency=wanted["MaxConcurrency"],
                provisioned=wanted.get("ProvisionedConcurrency", 0),
            )
        elif isinstance(variant.pool, RealTimePool) and "DesiredInstanceCount" in change:
            count = change["DesiredInstanceCount"]
            variant.request = {**variant.request, "InitialInstanceCount": count}
            variant.pool.resize(count)


def _prepare(deployment: EndpointDeployment) -> str:
    """Prepare; the reason of a failure, otherwise an empty text."""
    try:
        deployment.prepare()
    except StartFailed as err:
        return err.what[:REASON_LENGTH_MAX]
    except Exception:
        log.exception("a deployment could not be prepared")
        return "The request processing has failed because of an unknown error."
    return ""


def _summary(variant: Variant) -> dict[str, Any]:
    summary: dict[str, Any] = {
        "VariantName": variant.name,
        "CurrentWeight": variant.weight,
        "DesiredWeight": variant.weight,
        "DeployedImages": [
            {
                "SpecifiedImage": variant.image,
                "ResolvedImage": variant.resolved_image,
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
