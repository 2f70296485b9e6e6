"""What is proposed, and who agrees to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from drdeploy.hosting.deployment.changes import Changes
    from drdeploy.hosting.deployment.cost import CostEstimate


@dataclass(frozen=True)
class Proposal:
    """What somebody is to agree to before it is applied."""

    title: str
    changes: Changes
    cost: CostEstimate


class Approver(Protocol):
    """Is told what goes on, and agrees to it or not."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def agrees(self, proposal: Proposal) -> bool:
        """Whether it may be applied."""
