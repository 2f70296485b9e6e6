"""The options and the question for approval that all deploying commands share."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from drdeploy.cli.console import err, print_line
from drdeploy.errors import InvalidInput
from drdeploy.hosting.sagemaker.platforms import HostingPlatform

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from drdeploy.hosting.container_engine import ContainerEngine
    from drdeploy.hosting.deployment.account import AwsAccount
    from drdeploy.hosting.deployment.approval import Proposal

LOCAL_URL = "http://127.0.0.1:8765"

TargetOption = Annotated[
    HostingPlatform | None,
    typer.Option(
        "--target",
        help="Where to deploy: AWS, or the local service. Required, unless --endpoint-url names a "
        "local service.",
    ),
]
LocalUrlOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint-url",
        envvar="DRDEPLOY_ENDPOINT_URL",
        help=f"URL of the local service, with --target local; {LOCAL_URL} by default.",
    ),
]
YesOption = Annotated[
    bool, typer.Option("--yes", "-y", help="Approve every plan without being asked.")
]
KmsKeyOption = Annotated[
    str | None,
    typer.Option(
        "--kms-key",
        metavar="ARN",
        help=(
            "KMS key that encrypts archives, images, logs and volumes; by default, each AWS "
            "service uses its own key. If you omit --kms-key later, the key stays the same."
        ),
    ),
]
BoundaryOption = Annotated[
    str | None,
    typer.Option(
        "--permissions-boundary",
        metavar="ARN",
        help=(
            "Policy that limits the execution role; by default, the boundary of "
            "infrastructure/modules/deployer-policy, if the account has it. If you omit "
            "--permissions-boundary later, the policy stays the same."
        ),
    ),
]
DeleteCapturedOption = Annotated[
    bool,
    typer.Option(
        "--delete-captured",
        help="Also delete all objects in the bucket that drdeploy did not upload, such as captured "
        "photographs.",
    ),
]
UnknownPricesOption = Annotated[
    bool, typer.Option("--accept-unknown-prices", help="Continue even if a price is not known.")
]


def make_account_from_options(
    target: HostingPlatform | None, endpoint_url: str | None, region: str | None
) -> AwsAccount:
    """Return the AWS account or the local service, as named by a command's options.

    Raises:
        InvalidInput: The options do not say where to deploy, or contradict each other.
    """
    from drdeploy.hosting.deployment.account import AwsAccount
    from drdeploy.hosting.sagemaker import find_hosting_url

    local_url = find_hosting_url(endpoint_url)
    if target is None and local_url is None:
        raise InvalidInput(
            "No deployment target is given",
            where="--target",
            remedy="Give --target aws, or --target local for this machine",
        )
    if target == "aws":
        if endpoint_url:
            raise InvalidInput(
                "--endpoint-url cannot be combined with --target aws",
                where=endpoint_url,
                remedy="Omit --endpoint-url and unset DRDEPLOY_ENDPOINT_URL, or give "
                "--target local",
            )
        return AwsAccount(region=region)
    return AwsAccount(local_url or LOCAL_URL, region)


def find_engine_for_account(account: AwsAccount) -> ContainerEngine | None:
    """Return the container engine; None if the local service runs processes, not containers.

    Raises:
        EngineUnavailable: Images must be pushed, and no container engine answers.
        EndpointError: The local service does not answer.
    """
    from drdeploy.hosting.container_engine import ContainerEngine

    if account.platform == "local":
        from drdeploy.study.running.target import fetch_local_service_status

        if fetch_local_service_status(str(account.endpoint_url)).get("isolation") != "container":
            return None
    return ContainerEngine.find_or_raise()


class TerminalApprover:
    """Shows a plan on standard error, and asks the user at the terminal to approve it.

    Args:
        yes: Approve every plan without asking (``--yes``).
        is_local: Whether the deployment is on this machine, where it costs nothing.
        pause: Makes a context manager that is active during the question. Meanwhile, nothing else,
            such as a progress bar, may draw on the terminal.
    """

    def __init__(
        self,
        *,
        yes: bool,
        is_local: bool,
        pause: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._yes = yes
        self._pause = pause
        self._is_local = is_local

    def show_progress(self, text: str) -> None:
        """Show one line about the progress of the deployment."""
        print_line(text, to=err)

    def ask_for_approval(self, proposal: Proposal) -> bool:
        """Show a plan with its cost, and ask whether to apply it."""
        self.show_progress(f"plan: {proposal.title}: {proposal.changes.summary}")
        for change in proposal.changes.changes:
            self.show_progress(f"  {change.action:8}{change.address}")
        cost = proposal.cost
        where = "on AWS; free here" if self._is_local else "on AWS"
        for one in cost.endpoints:
            self.show_progress(f"  cost {one.name}: {one.price_sentence} ({where}; {one.source})")
        for sentence in cost.unknown:
            self.show_progress(f"  cost {sentence}")
        if cost.hourly_usd and not self._is_local:
            self.show_progress(
                f"  all that is always on: {cost.hourly_usd:.4g} USD an hour until it is deleted"
            )
        if self._yes:
            return True
        with self._pause():
            return confirm_at_terminal("Apply it?")


def confirm_at_terminal(question: str) -> bool:
    """Ask a question on standard error; if no answer can be read, return False."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        return False
