"""Name in every error of a deployment what exists by then and may cost money."""

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
    """What Terraform has created of one deployment so far."""

    account: Account
    workspace: Workspace

    @contextmanager
    def named_in_errors(self) -> Iterator[None]:
        """Complete every error that leaves the block with the names of what exists.

        Errors of ours keep their type and get a longer remedy.  Everything else, Ctrl-C above all,
        gets a note (:meth:`BaseException.add_note`): its message is not ours to change.
        """
        try:
            yield
        except (DeploymentError, EndpointError) as err:
            # Terraform says that an endpoint has failed; only SageMaker says why.
            what = "; ".join([err.what, *self._failed_endpoints()])
            remedy = ". ".join(part for part in (err.remedy, self._existing()) if part)
            raise type(err)(what, where=err.where, remedy=remedy) from err
        except BaseException as err:
            err.add_note(self._existing())
            raise

    def _existing(self) -> str:
        resources = self.workspace.resources()
        if not resources:
            return "Nothing was left behind"
        names = ", ".join(str(one) for one in resources if one.type in NAMED_IN_MESSAGES)
        return (
            f"These exist now and may cost money: {names}. Run the same command to go on, or "
            f"delete them ({self.workspace.folder} keeps the state)"
        )

    def _failed_endpoints(self) -> Iterator[str]:
        for resource in self.workspace.resources():
            if resource.type != "aws_sagemaker_endpoint":
                continue
            try:
                reason = self.account.hosting.failure_reason(resource.name)
            except EndpointError:
                continue  # an error is being reported already; this would hide it
            if reason:
                yield f"endpoint {resource.name} has failed: {reason}"
