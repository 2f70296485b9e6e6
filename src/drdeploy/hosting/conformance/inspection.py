"""Observe how an image behaves; each observation is made once, when a clause first needs it.

An observation is a function that takes the inspection and returns what it saw, for example the
answers to bad bodies. An observation is defined in the module of the clauses that use it, and may
use other observations. Most observations are made on one container, called the ordinary container.
The ordinary container gets photographs, then load, then bad bodies. Then this container is stopped,
started again and stopped again. Further containers run under other conditions, on fewer cores, or
without a usable model.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from drdeploy.errors import EngineError
from drdeploy.hosting.conformance.containers import Conditions, compute_later_start_timeout_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.conformance.containers import (
        ContainerStart,
        ContainerUnderTest,
        ModelHost,
    )

T = TypeVar("T")

NEVER_READY = "the container never became ready; see the clause serves-on-8080"


class Undetermined(Exception):
    """A clause cannot be checked, usually because the image fails another clause."""


@dataclass(frozen=True)
class FirstStart:
    """The start of the ordinary container, on which most observations are made.

    Attributes:
        start: The start of the container on which the other observations are made.
        read_only: The start with a read-only model folder. Usually, this is the same start as
            ``start``. If the container ended, the image was started again with a writable model
            folder, and the second start is ``start``.
    """

    start: ContainerStart
    read_only: ContainerStart


class ImageInspection:
    """All observations of the checked image."""

    def __init__(self, host: ModelHost) -> None:
        self.host = host
        self.photograph = host.photograph
        self.contract = host.contract
        self._observed: dict[Callable[..., Any], Any] = {}

    def observe_once(self, observation: Callable[[ImageInspection], T]) -> T:
        """Return the result of an observation, which is made only at the first call.

        Raises:
            Undetermined: The observation cannot be made; every later call gives the same reason.
        """
        if observation not in self._observed:
            try:
                self._observed[observation] = observation(self)
            except Undetermined as why:
                self._observed[observation] = why
        found = self._observed[observation]
        if isinstance(found, Undetermined):
            raise found
        return cast("T", found)

    @property
    def first_container_start(self) -> FirstStart:
        """The start of the container on which most observations are made, successful or not."""
        return self.observe_once(observe_first_container_start)

    @property
    def ready_container_start(self) -> ContainerStart:
        """The start of the container on which most observations are made, if it became ready.

        Raises:
            Undetermined: The container never became ready.
        """
        start = self.first_container_start.start
        if start.ready_s is None:
            raise Undetermined(NEVER_READY)
        return start

    def require_answered_photograph(self) -> None:
        """Raise ``Undetermined`` if the image never answered the photograph.

        Raises:
            Undetermined: The image never answered a photograph.
        """
        if not self.ready_container_start.is_serving:
            raise Undetermined(
                "the image never answered the photograph; send another photograph with --image"
            )

    @property
    def later_start_timeout_s(self) -> float:
        """The seconds that a later start of the image may take."""
        return compute_later_start_timeout_s(self.ready_container_start.ready_s or 0.0)

    def start_container_and_wait(self, conditions: Conditions) -> ContainerStart:
        """Start another container, and wait until it is ready or has taken too long."""
        return self.host.start_container_and_wait(conditions, self.later_start_timeout_s)

    @staticmethod
    def remove_started_container(start: ContainerStart) -> None:
        """Remove the container of a start, if the start has one."""
        if start.container is not None:
            start.container.running.remove()

    @property
    def ordinary_container(self) -> ContainerUnderTest:
        """The container on which most observations are made; it may have ended since its start.

        Raises:
            Undetermined: The container never became ready.
        """
        container = self.ready_container_start.container
        if container is None:
            raise Undetermined(NEVER_READY)
        return container

    def ensure_running_container(self) -> ContainerUnderTest:
        """Return the ordinary container; if it has ended, start it again first.

        Raises:
            Undetermined: The container never became ready, or does not start again.
        """
        container = self.ordinary_container
        if container.exit_state() is None:
            return container
        began = time.monotonic()
        try:
            container.running.start()
        except EngineError as err:
            raise Undetermined(f"the container ended and does not start again: {err.what}") from err
        again = self.host.wait_until_container_ready(container, began, self.later_start_timeout_s)
        if again.ready_s is None:
            raise Undetermined(
                f"the container ended, and after a restart the container was {again}"
            )
        return container


def observe_first_container_start(inspection: ImageInspection) -> FirstStart:
    """Start the image; if the container ends, start another with a writable model folder."""
    host = inspection.host
    start = host.start_container_and_wait(Conditions(), host.contract.start_s)
    if start.ready_s is not None or start.container is None or start.container.exit_state() is None:
        return FirstStart(start, start)
    host.is_model_writable = True
    return FirstStart(host.start_container_and_wait(Conditions(), host.contract.start_s), start)
