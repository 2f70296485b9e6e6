"""What the commands that deploy share: where to, who agrees, and how they end."""

from __future__ import annotations

import signal
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from drdeploy.cli.console import err
from drdeploy.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from drdeploy.hosting.deployment.account import Account
    from drdeploy.hosting.deployment.approval import Proposal
    from drdeploy.hosting.engine import Engine
    from drdeploy.hosting.sagemaker import PriceSheet

LOCAL_URL = "http://127.0.0.1:8765"
INTERRUPTED = 130

TargetChoice = Literal["aws", "local"]
TargetOption = Annotated[
    TargetChoice | None,
    typer.Option("--target", help="Where to: AWS, or the local service. Name one."),
]
LocalUrlOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint-url",
        envvar="DRDEPLOY_ENDPOINT_URL",
        help=f"The local service, with --target local; {LOCAL_URL} by default.",
    ),
]
YesOption = Annotated[
    bool, typer.Option("--yes", "-y", help="Agree to what is planned, without being asked.")
]
UnknownPricesOption = Annotated[
    bool, typer.Option("--accept-unknown-prices", help="Go on where no price is known.")
]


def account_of(
    target: TargetChoice | None, endpoint_url: str | None, region: str | None
) -> Account:
    """Where a command goes.

    Raises:
        InvalidInput: It is not said, or said twice.
    """
    from drdeploy.hosting.deployment.account import Account

    if target is None and endpoint_url is None:
        raise InvalidInput(
            "It is not said where to",
            where="--target",
            remedy="Say --target aws, or --target local for this machine",
        )
    if target == "aws":
        if endpoint_url:
            raise InvalidInput(
                "AWS has no --endpoint-url",
                where=endpoint_url,
                remedy="Leave it out (and DRDEPLOY_ENDPOINT_URL), or say --target local",
            )
        return Account(region=region)
    return Account(endpoint_url or LOCAL_URL, region)


def engine_for(account: Account) -> Engine | None:
    """The engine that holds the images; None where the local service runs processes.

    Raises:
        EngineUnavailable: Images are needed and no engine answers.
        EndpointError: The local service does not answer.
    """
    from drdeploy.hosting.engine import Engine

    if account.platform == "local":
        from drdeploy.study.running.target import local_status

        if local_status(str(account.endpoint_url)).get("isolation") != "container":
            return None
    return Engine.require()


def local_service_answers(endpoint_url: str) -> bool:
    """Whether anything still listens where something was deployed to; slow is not gone."""
    import socket
    from urllib.parse import urlsplit

    address = urlsplit(endpoint_url)
    try:
        socket.create_connection((address.hostname or "", address.port or 80), 10.0).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
    return True


def sheet_of(prices: Path | None) -> PriceSheet:
    """The packaged sheet, or one of the user's."""
    from drdeploy.hosting.sagemaker import PriceSheet

    return PriceSheet.load(prices)


class TerminalApprover:
    """The person at the terminal: told on standard error, asked unless they agreed beforehand.

    Args:
        yes: They agreed.
        is_local: What is planned costs nothing.
        pause: Holds whatever draws on the terminal meanwhile.
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

    def note(self, text: str) -> None:
        """See :class:`~drdeploy.hosting.deployment.approval.Person`."""
        err.print(text, markup=False, highlight=False, soft_wrap=True)

    def agrees(self, proposal: Proposal) -> bool:
        """See :class:`~drdeploy.hosting.deployment.approval.Person`."""
        self.note(f"plan: {proposal.title}: {proposal.changes.summary}")
        for change in proposal.changes.changes:
            self.note(f"  {change.action:8}{change.address}")
        self._show_cost(proposal)
        if self._yes:
            return True
        try:
            with self._pause():
                return typer.confirm("Apply it?", err=True)
        except typer.Abort:
            return False

    def _show_cost(self, proposal: Proposal) -> None:
        cost = proposal.cost
        where = "on AWS; free here" if self._is_local else "on AWS"
        for one in cost.endpoints:
            self.note(f"  cost {one.name}: {one.sentence} ({where}; {one.source})")
        for sentence in cost.unknown:
            self.note(f"  cost {sentence}")
        if cost.hourly_usd and not self._is_local:
            self.note(f"  always on, together: {cost.hourly_usd:.4g} USD an hour until deleted")


@contextmanager
def interruptible(advice: str) -> Iterator[None]:
    """End on Ctrl-C and SIGTERM alike, saying what there is."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt as interruption:
        for note in getattr(interruption, "__notes__", ()):
            err.print(note, markup=False, soft_wrap=True)
        err.print(f"interrupted; {advice}", markup=False, soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
