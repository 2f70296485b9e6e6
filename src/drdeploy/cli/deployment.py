"""What the commands that deploy have in common: target, prices, approval, and interruption."""

from __future__ import annotations

import signal
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from drdeploy.cli.console import err, print_line
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
    typer.Option("--target", help="Where to deploy: AWS, or the local service. Required."),
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
UnknownPricesOption = Annotated[
    bool, typer.Option("--accept-unknown-prices", help="Go on where a price is not known.")
]


def account_of(
    target: TargetChoice | None, endpoint_url: str | None, region: str | None
) -> Account:
    """Return the account that the options of a command name.

    Raises:
        InvalidInput: They name none, or contradict each other.
    """
    from drdeploy.hosting.deployment.account import Account

    if target is None and endpoint_url is None:
        raise InvalidInput(
            "Where to deploy is missing",
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
    """Return the container engine; None where the local service runs processes instead.

    Raises:
        EngineUnavailable: Images have to be pushed and no engine answers.
        EndpointError: The local service does not answer.
    """
    from drdeploy.hosting.engine import Engine

    if account.platform == "local":
        from drdeploy.study.running.target import local_status

        if local_status(str(account.endpoint_url)).get("isolation") != "container":
            return None
    return Engine.require()


def local_service_answers(endpoint_url: str) -> bool:
    """Return whether a local service still listens at an address.

    Only a refused connection says that it has ended.  One that answers late may still hold
    endpoints, and must not be taken for gone.
    """
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
    """Load a price sheet; None loads the one that ships with the package."""
    from drdeploy.hosting.sagemaker import PriceSheet

    return PriceSheet.load(prices)


class TerminalApprover:
    """The user at the terminal: sees plans on standard error, and is asked to approve them.

    Args:
        yes: Approve every plan without asking (``--yes``).
        is_local: The deployment is on this machine and costs nothing.
        pause: Context in which nothing else draws on the terminal, for as long as a question
            stands there.
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
        """Show one line about what is going on."""
        print_line(text, to=err)

    def approves(self, proposal: Proposal) -> bool:
        """Show a plan with its cost, and ask whether to apply it."""
        self.note(f"plan: {proposal.title}: {proposal.changes.summary}")
        for change in proposal.changes.changes:
            self.note(f"  {change.action:8}{change.address}")
        cost = proposal.cost
        where = "on AWS; free here" if self._is_local else "on AWS"
        for one in cost.endpoints:
            self.note(f"  cost {one.name}: {one.sentence} ({where}; {one.source})")
        for sentence in cost.unknown:
            self.note(f"  cost {sentence}")
        if cost.hourly_usd and not self._is_local:
            self.note(f"  always on, together: {cost.hourly_usd:.4g} USD an hour until deleted")
        if self._yes:
            return True
        try:
            with self._pause():
                return typer.confirm("Apply it?", err=True)
        except typer.Abort:
            return False


@contextmanager
def interruptible(advice: str) -> Iterator[None]:
    """End the command on Ctrl-C and SIGTERM alike, after saying what exists and what to do.

    Args:
        advice: How to go on, for the last line.
    """
    # A scheduler's SIGTERM must not leave endpoints behind unannounced either.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt as interruption:
        for note in getattr(interruption, "__notes__", ()):
            print_line(note, to=err)
        print_line(f"interrupted; {advice}", to=err)
        raise typer.Exit(INTERRUPTED) from None
