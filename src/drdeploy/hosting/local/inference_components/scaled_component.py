"""The interface through which the autoscaler reads and changes the copies of a component."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drdeploy.hosting.local.inference_components.component import InferenceComponent


@dataclass(frozen=True)
class ScaledComponent:
    """An inference component whose number of copies can be set."""

    component: InferenceComponent
    name_of_capacity_unit: str = "desired copy count"

    @property
    def is_in_service(self) -> bool:
        """Whether the component is in service, so that it accepts a change of its copies."""
        return self.component.status == "InService"

    @property
    def capacity(self) -> int:
        """The desired number of copies."""
        return self.component.copy_count

    def set_capacity(self, capacity: int) -> None:
        """Set the number of copies.

        Raises:
            ApiError: The component refuses the change.
        """
        self.component.change_copy_count(capacity)

    def has_capacity(self) -> bool:
        """Return whether as many copies are running as :meth:`set_capacity` last asked for."""
        deployment = self.component.find_deployment_in_service()
        return deployment is not None and deployment.count_copies() == self.capacity
