"""The life cycle of an inference component: Creating, InService, Updating, Deleting, Failed.

::

    CreateInferenceComponent --> Creating --> InService <--> Updating
                                    |            |
                                    v            v
                                 Failed ----> Deleting      then it no longer exists

The statuses are those in the API reference (``DescribeInferenceComponent``,
``InferenceComponentStatus``). A component cannot be deleted while it is being created or changed.
If a change fails, it is undone: the component is InService again, and its ``FailureReason`` says
why the change failed.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any, Literal

from drdeploy.hosting.local.api_errors import FAILURE_REASON_LENGTH_MAX, make_validation_error
from drdeploy.hosting.local.endpoints.lifecycle import DELETION_S
from drdeploy.hosting.local.instances.instance import StartFailed
from drdeploy.hosting.local.request_constraints import check_instance_count
from drdeploy.hosting.sagemaker import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from drdeploy.hosting.local.inference_components.deployment import (
        ComponentDeployment,
        ComponentPlace,
    )

log = logging.getLogger(__name__)

ComponentStatus = Literal["Creating", "InService", "Updating", "Deleting", "Failed"]
SERVING = frozenset({"InService", "Updating"})
UNKNOWN_FAILURE = "The request processing has failed because of an unknown error."
WATCH_S = 0.05
"""Seconds between two checks of whether the copies that a change asks for have started."""


class InferenceComponent:
    """An inference component, which runs slow operations in threads.

    Args:
        name: The name, in the spelling of the request that created the component.
        arn: The component's ARN.
        endpoint_arn: The ARN of the endpoint that hosts the component.
        place: Where the component is hosted.
        deployment: The first deployment, which is not prepared yet.
        copies: The number of copies of the first deployment.
        clock: The clock that gives the times of creations and changes.

    Attributes:
        copy_count: The number of copies that the component should have.
    """

    def __init__(
        self,
        name: str,
        arn: str,
        endpoint_arn: str,
        *,
        place: ComponentPlace,
        deployment: ComponentDeployment,
        copies: int,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.arn = arn
        self.tags: dict[str, str] = {}
        self.status: ComponentStatus = "Creating"
        self.failure_reason = ""
        self.endpoint = place.endpoint
        self.variant: str = place.variant["VariantName"]
        self.copy_count = copies
        self.place = place
        self._endpoint_arn = endpoint_arn
        self._deployment = deployment
        self._clock = clock or Clock()
        self.created = self.modified = self._clock.now()
        self._lock = threading.Lock()

    @property
    def specification(self) -> dict[str, Any]:
        """The specification in service; for a new component, the one being deployed."""
        return self._deployment.specification

    # -- for the control plane: return at once -------------------------------------------

    def create(self) -> None:
        """Begin to start the first copies."""
        self._run_in_background(self._start_copies_and_report)

    def change_copy_count(self, count: int) -> None:
        """Begin to start or stop copies, until ``count`` copies are running.

        Raises:
            ApiError: The status of the component is not ``InService``, or ``count`` is more than
                the local service allows.
        """
        check_instance_count("CopyCount", count)
        with self._lock:
            self._begin_update()
            before, self.copy_count = self.copy_count, count
        self._run_in_background(lambda: self._run_copy_change(count, before))

    def update(self, deployment: ComponentDeployment, count: int) -> None:
        """Begin to replace all copies; the current copies serve until the new copies are ready.

        Args:
            deployment: The new deployment, which is not prepared yet.
            count: The number of copies of the new deployment.

        Raises:
            ApiError: The status of the component is not ``InService``.
        """
        with self._lock:
            self._begin_update()
        self._run_in_background(lambda: self._start_new_copies_and_replace(deployment, count))

    def delete(self, forget: Callable[[], object]) -> None:
        """Begin to stop all copies, and call ``forget`` when they have stopped.

        Raises:
            ApiError: The component is being created or changed.
        """
        with self._lock:
            if self.status == "Deleting":
                return
            if self.status in {"Creating", "Updating"}:
                raise make_validation_error(
                    f'Cannot delete inference component "{self.arn}" in {self.status} status.'
                )
            self._set_status("Deleting")
        self._run_in_background(lambda: self._stop_copies_and_forget(forget))

    def describe(self) -> dict[str, Any]:
        """Return the response of ``DescribeInferenceComponent``."""
        with self._lock:
            deployment = self._deployment
            response: dict[str, Any] = {
                "InferenceComponentName": self.name,
                "InferenceComponentArn": self.arn,
                "EndpointName": self.endpoint,
                "EndpointArn": self._endpoint_arn,
                "VariantName": self.variant,
                "InferenceComponentStatus": self.status,
                "CreationTime": self.created,
                "LastModifiedTime": self.modified,
                "RuntimeConfig": {
                    "DesiredCopyCount": self.copy_count,
                    "CurrentCopyCount": deployment.count_copies(),
                },
            }
        if self.failure_reason:
            response["FailureReason"] = self.failure_reason
        response["Specification"] = _summarize_specification(deployment)
        return response

    # -- for invocations -----------------------------------------------------------------

    @contextlib.contextmanager
    def hold_deployment_in_service(self) -> Iterator[ComponentDeployment | None]:
        """Yield the deployment in service, or None; the ``with`` block keeps it open."""
        with contextlib.ExitStack() as stack:
            with self._lock:
                deployment = self._deployment if self.status in SERVING else None
                if deployment is not None:
                    # With the lock, because an update could otherwise close the deployment between
                    # the two lines.
                    stack.enter_context(deployment.keep_open_for_invocation())
            yield deployment

    def find_deployment_in_service(self) -> ComponentDeployment | None:
        """Return the deployment in service, or None."""
        return self._deployment if self.status in SERVING else None

    def maintain_workers(self) -> None:
        """Replace the copies that have died."""
        if self.status in SERVING:
            self._deployment.maintain_workers()

    # -- in threads of their own ---------------------------------------------------------

    def _start_copies_and_report(self) -> None:
        failure = _start_deployment(self._deployment)
        if failure:
            self._deployment.close_and_wait(DELETION_S)
        with self._lock:
            self._set_status("Failed" if failure else "InService", failure)

    def _run_copy_change(self, count: int, before: int) -> None:
        deployment = self._deployment
        try:
            deployment.set_copy_count(count)
            while not deployment.has_capacity() and not deployment.find_failure():
                self._clock.sleep(WATCH_S)
            failure = "" if deployment.has_capacity() else deployment.find_failure()
            if failure:
                deployment.set_copy_count(before)
            # Wait before the change ends, because the next change may need the resources of these
            # copies.
            deployment.wait_until_copies_hold_room(before if failure else count, DELETION_S)
        except Exception:
            # Without this handler, the component would be Updating forever, and could not even be
            # deleted.
            log.exception("the copies of the inference component %s cannot be changed", self.name)
            failure = UNKNOWN_FAILURE
            with contextlib.suppress(Exception):
                deployment.set_copy_count(before)
        with self._lock:
            if failure:
                self.copy_count = before
            self._set_status("InService", failure[:FAILURE_REASON_LENGTH_MAX])

    def _start_new_copies_and_replace(self, deployment: ComponentDeployment, count: int) -> None:
        failure = _start_deployment(deployment)
        with self._lock:
            obsolete = deployment if failure else self._deployment
            if not failure:
                self._deployment, self.copy_count = deployment, count
        # Wait before the change ends, because the next change may need the resources of these
        # copies.
        obsolete.close_and_wait(DELETION_S)
        with self._lock:
            self._set_status("InService", failure)

    def _stop_copies_and_forget(self, forget: Callable[[], object]) -> None:
        self._deployment.close_and_wait(DELETION_S)
        forget()

    def _run_in_background(self, work: Callable[[], None]) -> None:
        threading.Thread(target=work, name=f"component {self.name}", daemon=True).start()

    # -- called with the lock held -------------------------------------------------------

    def _begin_update(self) -> None:
        if self.status == "Failed":
            raise make_validation_error(
                f'Cannot update inference component "{self.arn}" in Failed status.'
            )
        if self.status != "InService":
            raise make_validation_error(
                f'Cannot update in-progress inference component "{self.arn}".'
            )
        self._set_status("Updating")

    def _set_status(self, status: ComponentStatus, failure: str = "") -> None:
        self.status = status
        self.failure_reason = failure
        self.modified = self._clock.now()


def _start_deployment(deployment: ComponentDeployment) -> str:
    """Start all copies of a deployment.

    Return the reason if that failed, otherwise an empty text.
    """
    try:
        deployment.pin_models_and_start_workers()
    except StartFailed as err:
        return err.what[:FAILURE_REASON_LENGTH_MAX]
    except Exception:
        log.exception("an inference component could not be prepared")
        return UNKNOWN_FAILURE
    return ""


def _summarize_specification(deployment: ComponentDeployment) -> dict[str, Any]:
    """Return an ``InferenceComponentSpecificationSummary``."""
    summary = dict(deployment.specification)
    container = summary.get("Container")
    if container:
        summary["Container"] = {
            name: value for name, value in container.items() if name != "Image"
        } | {"DeployedImage": _describe_image(deployment, container["Image"])}
    return summary


def _describe_image(deployment: ComponentDeployment, image: str) -> dict[str, Any]:
    copies = deployment.copies
    if copies is None:
        return {"SpecifiedImage": image}
    return {
        "SpecifiedImage": image,
        "ResolvedImage": copies.resolved_image.name,
        "ResolutionTime": copies.resolved_at,
    }
