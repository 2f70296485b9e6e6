"""A plan with its cost, and whoever has to approve it before it is applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from drdeploy.hosting.deployment.changes import PlannedChanges
    from drdeploy.hosting.deployment.cost import CostEstimate


@dataclass(frozen=True)
class Proposal:
    """A plan that waits for approval.

    Attributes:
        title: What it is about, in a few words.
        changes: What applying it will create, change and delete.
        cost: What the endpoints will cost afterwards.
    """

    title: str
    changes: PlannedChanges
    cost: CostEstimate


class Approver(Protocol):
    """Whoever follows a deployment and approves its plans: a person, or a test."""

    def note(self, text: str) -> None:
        """Show one line about what is going on."""

    def approves(self, proposal: Proposal) -> bool:
        """Show a proposal and return whether it may be applied."""
