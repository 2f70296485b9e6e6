"""An endpoint's life cycle: Creating, InService, Updating, Deleting, Failed.

::

    CreateEndpoint --> Creating --> InService <--> Updating
                           |            |             |
                           v            v             v
                        Failed -----> Deleting <------+      then it no longer exists

(API reference, ``DescribeEndpoint``, ``EndpointStatus``.)  The control plane only changes the
status and returns; what takes time (starting and stopping workers) happens in a thread for each
change.  When that thread is done, it looks at the status again: the endpoint may have been deleted
meanwhile, and what the thread prepared is then thrown away.  A failed update rolls back: the
endpoint is InService with what it served before.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any, Literal

from drdeploy.hosting.local.api_errors import FAILURE_REASON_LENGTH_MAX, forbidden_now
from drdeploy.hosting.local.constraints import check_serverless_size
from drdeploy.hosting.local.endpoints.real_time_pool import RealTimePool
from drdeploy.hosting.local.endpoints.serverless_pool import ServerlessPool
from drdeploy.hosting.local.instances.instance import StartFailed
from drdeploy.hosting.sagemaker import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from drdeploy.hosting.local.endpoints.deployment import EndpointDeployment, Variant
    from drdeploy.hosting.local.resource_store import ResourceRecord

log = logging.getLogger(__name__)

Status = Literal["Creating", "InService", "Updating", "Deleting", "Failed"]
DELETION_S = 40.0
"""How long a deletion waits for each worker: 30 s between SIGTERM and SIGKILL, and some."""


class LocalEndpoint:
    """An endpoint; what takes time runs in threads of its own.

    Args:
        name: The endpoint's name, spelled as its creator did.
        arn: The endpoint's ARN.
        deployment: What it is to serve; not prepared yet.
        clock: Stamps creation and modification.
    """

    def __init__(
        self, name: str, arn: str, deployment: EndpointDeployment, clock: Clock | None = None
    ) -> None:
        self.name = name
        self.arn = arn
        self.tags: dict[str, str] = {}
        self.status: Status = "Creating"
        self.failure_reason = ""
        self._clock = clock or Clock()
        self.created = self.modified = self._clock.now()
        self._deployment = deployment
        self._pending: EndpointDeployment | None = None
        self._lock = threading.Lock()

    @property
    def config(self) -> ResourceRecord:
        """The endpoint configuration in service, or that of the creation in progress."""
        return self._deployment.config

    # -- for the control plane: return at once -------------------------------------------

    def create(self) -> None:
        """Begin to prepare what it serves."""
        self._in_background(self._create)

    def update(self, deployment: EndpointDeployment) -> None:
        """Begin to replace what it serves; the present deployment serves until that is ready.

        Raises:
            ApiError: Another change is in progress.
        """
        with self._lock:
            self._check_in_service()
            self._pending = deployment
            self._set_status("Updating")
        self._in_background(lambda: self._update(deployment))

    def change_capacity(self, changes: list[dict[str, Any]]) -> None:
        """Change weights, instance counts and concurrency of the deployment in service.

        Raises:
            ApiError: Another change is in progress, or a variant does not exist.
        """
        with self._lock:
            self._check_in_service()
            for change in changes:
                _change_capacity(self._deployment.choose(change["VariantName"]), change)
            self._set_status("InService")
        self._deployment.tick()

    def delete(self, forget: Callable[[], object]) -> None:
        """Begin to stop everything; ``forget`` is called when that is done."""
        with self._lock:
            if self.status == "Deleting":
                return
            self._set_status("Deleting")
        self._in_background(lambda: self._delete(forget))

    def describe(self) -> dict[str, Any]:
        """Return the response of ``DescribeEndpoint``."""
        with self._lock:
            response: dict[str, Any] = {
                "EndpointName": self.name,
                "EndpointArn": self.arn,
                "EndpointConfigName": self.config.name,
                "EndpointStatus": self.status,
                "CreationTime": self.created,
                "LastModifiedTime": self.modified,
            }
            pending, variants = self._pending, self._deployment.variants
        if self.failure_reason:
            response["FailureReason"] = self.failure_reason
        if variants:
            response["ProductionVariants"] = [_summary(variant) for variant in variants]
        if pending is not None:
            response["PendingDeploymentSummary"] = {"EndpointConfigName": pending.config.name}
        return response

    # -- for invocations -----------------------------------------------------------------

    @contextlib.contextmanager
    def serving(self) -> Iterator[EndpointDeployment | None]:
        """Yield the deployment that serves now, kept open meanwhile; None where none does."""
        with contextlib.ExitStack() as stack:
            with self._lock:
                is_serving = self.status in {"InService", "Updating"}
                deployment = self._deployment if is_serving else None
                if deployment is not None:
                    # Within the lock, or an update could close it between the two lines.
                    stack.enter_context(deployment.invocation())
            yield deployment

    def tick(self) -> None:
        """Let the pools in service stop idle workers and replace dead ones."""
        if self.status in {"InService", "Updating"}:
            self._deployment.tick()

    # -- in threads of their own ---------------------------------------------------------

    def _create(self) -> None:
        failure = _prepare(self._deployment)
        with self._lock:
            is_current = self.status == "Creating"  # it may have been deleted meanwhile
            if is_current:
                self._set_status("Failed" if failure else "InService", failure)
        if failure or not is_current:
            self._deployment.close()

    def _update(self, deployment: EndpointDeployment) -> None:
        failure = _prepare(deployment)
        with self._lock:
            obsolete = deployment
            if self.status == "Updating":  # it may have been deleted meanwhile
                if not failure:
                    obsolete, self._deployment = self._deployment, deployment
                self._pending = None
                self._set_status("InService", failure)
        obsolete.close()

    def _delete(self, forget: Callable[[], object]) -> None:
        self._deployment.close()
        self._deployment.wait_stopped(DELETION_S)
        forget()

    def _in_background(self, work: Callable[[], None]) -> None:
        threading.Thread(target=work, name=f"endpoint {self.name}", daemon=True).start()

    # -- called with the lock held -------------------------------------------------------

    def _set_status(self, status: Status, failure: str = "") -> None:
        self.status = status
        self.failure_reason = failure
        self.modified = self._clock.now()

    def _check_in_service(self) -> None:
        if self.status == "Failed":
            raise forbidden_now(f'Cannot update endpoint "{self.arn}" in Failed status.')
        if self.status != "InService":
            raise forbidden_now(f'Cannot update in-progress endpoint "{self.arn}".')


def _change_capacity(variant: Variant, change: dict[str, Any]) -> None:
    """Apply one entry of ``UpdateEndpointWeightsAndCapacities``."""
    variant.weight = change.get("DesiredWeight", variant.weight)
    if isinstance(variant.pool, ServerlessPool):
        update = change.get("ServerlessUpdateConfig", {})
        serverless = {**variant.request["ServerlessConfig"], **update}
        check_serverless_size(serverless, "serverlessUpdateConfig")
        variant.request = {**variant.request, "ServerlessConfig": serverless}
        variant.pool.resize(
            max_concurrency=serverless["MaxConcurrency"],
            provisioned=serverless.get("ProvisionedConcurrency", 0),
        )
    elif isinstance(variant.pool, RealTimePool) and "DesiredInstanceCount" in change:
        count = change["DesiredInstanceCount"]
        variant.request = {**variant.request, "InitialInstanceCount": count}
        variant.pool.resize(count)


def _prepare(deployment: EndpointDeployment) -> str:
    """Prepare a deployment; return the reason of a failure, or an empty string."""
    try:
        deployment.prepare()
    except StartFailed as err:
        return err.what[:FAILURE_REASON_LENGTH_MAX]
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
