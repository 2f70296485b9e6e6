"""What is observed of one image: each observation is made once, and only if a clause asks for it.

An observation is a function of the inspection, defined beside the clauses that use it; it may
build on others.  There are four kinds of container: one that is started as usual, sent
photographs, loaded, sent bad bodies, stopped, started again and stopped again, in the order of the
clauses; one under other conditions; one on fewer cores; and two without a model that loads.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from drdeploy.errors import EngineError
from drdeploy.hosting.conformance.containers import Conditions, patience_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.conformance.containers import ContainerStart, ContainerUnderTest, Host

T = TypeVar("T")

NEVER_READY = "it never got ready: see serves-on-8080"


class Undetermined(Exception):
    """A clause cannot be checked, mostly because the image fails another one."""


@dataclass(frozen=True)
class FirstStart:
    """How the container that most clauses are about was started.

    Attributes:
        start: The start that the other observations build on.
        read_only: The start with a model folder that the image cannot write to; the same, unless
            the image ended there and was started with a writable one.
    """

    start: ContainerStart
    read_only: ContainerStart


class ImageInspection:
    """Everything that is known of an image under check."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.photograph = host.photograph
        self.contract = host.contract
        self._observed: dict[Callable[..., Any], Any] = {}

    def observe(self, observation: Callable[[ImageInspection], T]) -> T:
        """Return what an observation found; only the first call makes it.

        Raises:
            Undetermined: It could not be made; every call says the same reason.
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
    def first_start(self) -> FirstStart:
        """The ordinary start, whatever came of it."""
        return self.observe(observe_first_start)

    @property
    def ready_start(self) -> ContainerStart:
        """The ordinary start, if the container got ready.

        Raises:
            Undetermined: It never did.
        """
        start = self.first_start.start
        if start.ready_s is None:
            raise Undetermined(NEVER_READY)
        return start

    def require_answers(self) -> None:
        """Stop here if not even an ordinary photograph is answered.

        Raises:
            Undetermined: It never was.
        """
        if not self.ready_start.is_serving:
            raise Undetermined("this photograph is never answered; name another one with --image")

    @property
    def patience_s(self) -> float:
        """How long another start of this image may take, in seconds."""
        return patience_s(self.ready_start.ready_s or 0.0)

    def start_and_wait(self, conditions: Conditions) -> ContainerStart:
        """Start another container and wait until it is ready, or for too long."""
        return self.host.start_and_wait(conditions, self.patience_s)

    @staticmethod
    def discard(start: ContainerStart) -> None:
        """Remove a container that is not needed any more."""
        if start.container is not None:
            start.container.running.remove()

    @property
    def ordinary_container(self) -> ContainerUnderTest:
        """The container of the ordinary start, which may have ended since.

        Raises:
            Undetermined: It never got ready.
        """
        container = self.ready_start.container
        if container is None:
            raise Undetermined(NEVER_READY)
        return container

    def running_container(self) -> ContainerUnderTest:
        """Return the ordinary container, started again if an earlier clause ended it.

        Raises:
            Undetermined: It does not start again.
        """
        container = self.ordinary_container
        if container.exit_state() is None:
            return container
        began = time.monotonic()
        try:
            container.running.start()
        except EngineError as err:
            raise Undetermined(f"it ended and does not start again: {err.what}") from err
        again = self.host.wait_until_ready(container, began, self.patience_s)
        if again.ready_s is None:
            raise Undetermined(f"the container ended; started again, it was {again}")
        return container


def observe_first_start(inspection: ImageInspection) -> FirstStart:
    """Start the image as usual; if it ends by itself, once more with a writable model folder."""
    host = inspection.host
    start = host.start_and_wait(Conditions(), host.contract.start_s)
    if start.ready_s is not None or start.container is None or start.container.exit_state() is None:
        return FirstStart(start, start)
    host.is_model_writable = True
    return FirstStart(host.start_and_wait(Conditions(), host.contract.start_s), start)
