"""Whatever ends a deployment: what there is now, by name, and how it is deleted."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.errors import DeploymentError, EndpointError
from drdeploy.hosting.deployment.state import NAMED_IN_MESSAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.hosting.deployment.account import Account
    from drdeploy.hosting.deployment.workspace import Workspace


@dataclass(frozen=True)
class Leftovers:
    """Of one deployment."""

    account: Account
    workspace: Workspace

    @contextmanager
    def named(self) -> Iterator[None]:
        """Whatever ends this, say what there is now and how it is deleted."""
        try:
            yield
        except (DeploymentError, EndpointError) as err:
            reasons = "".join(f"; {reason}" for reason in self._failures())
            told = f"{err.what}{reasons}"
            raise type(err)(told, where=err.where, remedy=self._remedy(err.remedy)) from err
        except BaseException as err:
            if left := self._left():
                err.add_note(left)
            raise

    def _remedy(self, remedy: str) -> str:
        return ". ".join(part for part in (remedy, self._left()) if part)

    def _left(self) -> str:
        resources = self.workspace.resources()
        if not resources:
            return "Nothing was left behind"
        named = ", ".join(str(one) for one in resources if one.type in NAMED_IN_MESSAGES)
        return (
            f"There are now, and may cost money: {named}. Run the same command to go on, or "
            f"delete them ({self.workspace.folder} keeps the state)"
        )

    def _failures(self) -> list[str]:
        """Why endpoints that there are have failed, as SageMaker says it."""
        reasons = []
        for resource in self.workspace.resources():
            if resource.type == "aws_sagemaker_endpoint":
                try:
                    reason = self.account.hosting.failure_reason(resource.name)
                except EndpointError:
                    continue
                if reason:
                    reasons.append(f"endpoint {resource.name} has failed: {reason}")
        return reasons
