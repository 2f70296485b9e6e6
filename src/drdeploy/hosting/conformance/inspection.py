"""Everything that is observed of one image, each thing once and only if a clause asks.

Three kinds of container: one that is started as usual, asked, loaded, given bad bodies, stopped,
started again and stopped again, in this order; one under other conditions; one on fewer cores.
And two without a model that loads.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from drdeploy.errors import EngineError
from drdeploy.hosting.conformance.bad_bodies import observe_bad_bodies
from drdeploy.hosting.conformance.broken_model import observe_broken_models
from drdeploy.hosting.conformance.clause import Undetermined
from drdeploy.hosting.conformance.conditions import observe_conditions
from drdeploy.hosting.conformance.hosting import Conditions, patience_s
from drdeploy.hosting.conformance.image import look_at_image
from drdeploy.hosting.conformance.loading import observe_load
from drdeploy.hosting.conformance.processes import observe_processes
from drdeploy.hosting.conformance.requests import observe_requests
from drdeploy.hosting.conformance.starting import observe_start
from drdeploy.hosting.conformance.stopping import (
    observe_restart,
    observe_stop_at_work,
    observe_stop_in_upload,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from drdeploy.hosting.conformance.bad_bodies import BadBodies
    from drdeploy.hosting.conformance.broken_model import Refusal
    from drdeploy.hosting.conformance.conditions import Trials
    from drdeploy.hosting.conformance.hosting import ContainerStart, ContainerUnderTest, Host
    from drdeploy.hosting.conformance.image import ImageFacts
    from drdeploy.hosting.conformance.loading import Load
    from drdeploy.hosting.conformance.processes import Processes
    from drdeploy.hosting.conformance.requests import Requests
    from drdeploy.hosting.conformance.starting import FirstStart
    from drdeploy.hosting.conformance.stopping import StopAtWork, StopInUpload

T = TypeVar("T")


class ObservedOnce(Generic[T]):
    """A property that is observed once; so is the reason why it cannot be."""

    def __init__(self, observe: Callable[[ImageInspection], T]) -> None:
        self._observe = observe
        self.__doc__ = observe.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, seen: ImageInspection, owner: type) -> T:
        if self._name not in seen.observed:
            try:
                seen.observed[self._name] = self._observe(seen)
            except Undetermined as why:
                seen.observed[self._name] = why
        found = seen.observed[self._name]
        if isinstance(found, Undetermined):
            raise found
        return found  # type: ignore[no-any-return]  # what _observe gave


class ImageInspection:
    """What is known of an image under check."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.photograph = host.photograph
        self.contract = host.contract
        self.observed: dict[str, Any] = {}

    @ObservedOnce
    def image(self) -> ImageFacts:
        """Its configuration."""
        return look_at_image(self.host.engine, self.host.image)

    @ObservedOnce
    def first_start(self) -> FirstStart:
        """The ordinary start."""
        return observe_start(self.host)

    @ObservedOnce
    def requests(self) -> Requests:
        """Single photographs."""
        return observe_requests(self, self._server())

    @ObservedOnce
    def load(self) -> Load:
        """Many photographs."""
        return observe_load(self, self._server())

    @ObservedOnce
    def bad_bodies(self) -> BadBodies:
        """What is none."""
        return observe_bad_bodies(self, self._server())

    @ObservedOnce
    def log(self) -> str:
        """What the ordinary container has logged so far."""
        return self._server().container.logs()

    @ObservedOnce
    def trials(self) -> Trials:
        """Other conditions."""
        return observe_conditions(self)

    @ObservedOnce
    def processes(self) -> Processes:
        """Fewer cores, and a killed process."""
        return observe_processes(self)

    @ObservedOnce
    def refusals(self) -> Mapping[str, Refusal]:
        """No model that loads."""
        return observe_broken_models(self)

    @ObservedOnce
    def stop_at_work(self) -> StopAtWork:
        """Stopped while it works."""
        self.require_answers()
        return observe_stop_at_work(self, self._server())

    @ObservedOnce
    def restart(self) -> ContainerStart:
        """Started again after that."""
        if self.stop_at_work.stop.ended is None:
            raise Undetermined("SIGTERM does not end it: see stops-on-sigterm")
        return observe_restart(self, self._hosted())

    @ObservedOnce
    def stop_in_upload(self) -> StopInUpload:
        """Stopped while it receives."""
        start = self.restart if self.restart.is_serving else self.try_out(Conditions())
        if start.hosted is None or not start.is_serving:
            raise Undetermined(f"started again, it was {start}")
        return observe_stop_in_upload(self, start.hosted)

    @property
    def serving(self) -> ContainerStart:
        """The ordinary start, if it got ready."""
        start = self.first_start.start
        if start.ready_s is None:
            raise Undetermined("it never got ready: see serves-on-8080")
        return start

    def require_answers(self) -> None:
        """Say that nothing can be said where not even an ordinary photograph is answered.

        Raises:
            Unjudged: It never was.
        """
        if not self.serving.is_serving:
            raise Undetermined("this photograph is never answered; give another one with --image")

    @property
    def patience_s(self) -> float:
        """How long another start may take."""
        return patience_s(self.serving.ready_s or 0.0)

    def try_out(self, conditions: Conditions) -> ContainerStart:
        """Start another container and wait until it is ready, or for too long."""
        return self.host.try_out(conditions, self.patience_s)

    @staticmethod
    def discard(start: ContainerStart) -> None:
        """Remove a container that is not needed any more."""
        if start.hosted is not None:
            start.hosted.container.remove()

    def _server(self) -> ContainerUnderTest:
        """The ordinary container; started again if something ended it."""
        hosted = self._hosted()
        if hosted.ended() is None:
            return hosted
        began = time.monotonic()
        try:
            hosted.container.start()
        except EngineError as err:
            raise Undetermined(f"it ended and does not start again: {err.what}") from err
        again = self.host.await_ready(hosted, began, self.patience_s)
        if again.ready_s is None:
            raise Undetermined(f"it ended and, started again, was {again}")
        return hosted

    def _hosted(self) -> ContainerUnderTest:
        hosted = self.serving.hosted
        if hosted is None:
            raise Undetermined("it never got ready: see serves-on-8080")
        return hosted
