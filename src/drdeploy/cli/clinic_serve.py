"""``drdeploy clinic serve``: show the worklist as a web page."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drdeploy.cli.clinic_destinations import read_destinations
from drdeploy.cli.clinic_listen import STOP_S, delete_unused_files
from drdeploy.cli.console import print_note, print_note_on_quantization
from drdeploy.cli.end_event import exit_without_waiting, make_end_event
from drdeploy.cli.options import (
    GIVE_ARTIFACT,
    ArtifactOption,
    DatabaseOption,
    EndpointUrlOption,
    PostOption,
    QuietOption,
    RecordsArgument,
    RegionOption,
    RulesOption,
    RuntimeOption,
    SendOption,
    StowOption,
    TlsCertificateOption,
    TlsKeyOption,
    UntilStdinClosesOption,
    log_to_standard_error,
    refuse_options_without_effect,
)
from drdeploy.errors import InvalidInput

if TYPE_CHECKING:
    from drdeploy.clinic.background_work import Destinations
    from drdeploy.grader.inference import InferenceService
    from drdeploy.grader.runtimes.runtime import RuntimeName


def serve(
    context: typer.Context,
    records: RecordsArgument,
    *,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on; an address that other machines reach needs TLS and "
            "accounts."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")] = 8080,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Name of this machine in the addresses that browsers use."),
    ] = None,
    tls_certificate: TlsCertificateOption = None,
    tls_key: TlsKeyOption = None,
    quiet_s: QuietOption = 5.0,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Studies that are graded at the same time.")
    ] = 2,
    endpoint: Annotated[
        str | None,
        typer.Option(
            help=(
                "Grade with this SageMaker endpoint. --artifact then names the model that the "
                "endpoint serves."
            )
        ),
    ] = None,
    endpoint_url: EndpointUrlOption = None,
    region: RegionOption = None,
    artifact: ArtifactOption = None,
    runtime: RuntimeOption = None,
    rules: RulesOption = None,
    stow: StowOption = None,
    send: SendOption = None,
    post: PostOption = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="With --send: send over a network without TLS.")
    ] = False,
    database: DatabaseOption = None,
    until_stdin_closes: UntilStdinClosesOption = False,
) -> None:
    """Show the worklist in a browser, with the worst eyes first.

    On the page, you can drop photographs, which are then graded, and decide about each patient.

    Nobody needs to sign in if only this machine can reach the page and the records have no
    accounts. If other machines can reach the page, it needs TLS and accounts. If `drdeploy clinic
    listen` runs on the same records, that command grades the photographs, and this one only shows
    the results. Photographs and results are sent to the servers of `--stow`, `--send` and `--post`.
    After a decision about a study, its results are sent again, with the decision: archives get a
    new PDF, and FHIR servers get a new bundle. When the page is ready, the command prints its
    address in one line on standard output.

    For research use. Not a medical device.
    """
    from drdeploy.clinic.background_work import BackgroundWork, ResultSender, StudyGrader
    from drdeploy.clinic.page.access import PageOptions
    from drdeploy.clinic.page.app import WorklistPage
    from drdeploy.clinic.page.grading import GradingPool
    from drdeploy.clinic.page.server import PageAddress, PageServer
    from drdeploy.clinic.records import ClinicRecords
    from drdeploy.clinic.referral_rules import DEFAULT_RULES, ReferralRules
    from drdeploy.photograph_names import PhotographNames

    if endpoint is None:
        refuse_options_without_effect(
            context, ["endpoint_url", "region"], why="without an endpoint", remedy="add --endpoint"
        )
    to = _read_destinations(stow, send, post, plain=plain)
    model = _find_model(artifact)
    chosen = ReferralRules.load(rules or DEFAULT_RULES)
    os.umask(0o077)
    over = make_end_event(until_stdin_closes=until_stdin_closes)
    log_to_standard_error()
    store = ClinicRecords.open(
        records, names=PhotographNames.with_user_key(), database=database, who="clinic serve"
    )
    address = PageAddress(host, port, tuple(name or ()), tls_certificate, tls_key)
    has_accounts = store.accounts.count_accounts() > 0
    address.check_access_and_certificate(has_accounts=has_accounts)
    lock = store.make_grading_lock()
    is_grading = lock.acquire()
    if not is_grading:
        _refuse_destinations(to)
    user = f"{_find_operating_system_user()} on this machine"
    service = _load_service(
        model, runtime, endpoint=endpoint, endpoint_url=endpoint_url, region=region, workers=workers
    )
    chosen.check_grader(service.manifest)
    options = PageOptions(
        hosts=address.accepted_host_names,
        is_tls=address.is_tls,
        needs_sign_in=has_accounts or not address.is_local,
        user=user,
        is_grading=lambda: lock.is_ours,
        is_graded_elsewhere=lock.is_taken,
        operating_points=chosen.list_operating_points(service.manifest),
    )
    grader = StudyGrader(
        store, service, chosen, to, quiet_s=quiet_s, may_grade=lock.keep_or_take_again
    )
    pool = GradingPool(grader, workers)
    sender = ResultSender(store, may_send=lock.keep_or_take_again)
    work = BackgroundWork(grader, sender, lock, pool.grade_due_studies)
    try:
        with PageServer(
            address, WorklistPage(store, options, work.run_all_loops_now).make_app()
        ) as server:
            if is_grading:
                delete_unused_files(store)
                work.start()
            _print_warnings_about_clinic_page(
                is_grading=is_grading,
                is_sending=bool(to.result_destinations),
                user="" if has_accounts else user,
            )
            sys.stdout.write(f"drdeploy clinic: the worklist is at {server.address}\n")
            sys.stdout.flush()
            over.wait()
            work.ask_loops_to_stop()
    finally:
        work.stop(STOP_S)
        store.close()
    exit_without_waiting()


def _find_model(artifact: Path | None) -> Path:
    from drdeploy.grader.box import box_artifact

    model = artifact or box_artifact()
    if not model.exists():
        raise InvalidInput("The artifact does not exist", where=str(model), remedy=GIVE_ARTIFACT)
    return model


def _read_destinations(
    stow: str | None, send: str | None, post: str | None, *, plain: bool
) -> Destinations:
    if plain and send is None:
        raise InvalidInput(
            "--plain has no effect without --send, the only way to send without TLS",
            where="--plain",
            remedy="Add --send, or leave out --plain",
        )
    return read_destinations(stow, send, post, may_be_plain=plain)


def _refuse_destinations(to: Destinations) -> None:
    if to.result_destinations:
        raise InvalidInput(
            "Another program already grades the studies in these records, and sends the results to "
            "its own destinations",
            where="--stow, --send, --post",
            remedy="Leave these options out: the other program also sends what you decide here",
        )


def _print_warnings_about_clinic_page(*, is_grading: bool, is_sending: bool, user: str) -> None:
    if not is_grading:
        print_note("another program grades the studies in these records; this page only shows them")
    elif not is_sending:
        print_note(
            "the results of new studies stay in the records, because neither --stow, --send nor "
            "--post is given"
        )
    if user:
        print_note(
            "nobody needs to sign in: whoever uses this machine can open the page, and the audit "
            f"log calls everybody {user!r}"
        )


def _load_service(
    model: Path,
    runtime: RuntimeName | None,
    *,
    endpoint: str | None,
    endpoint_url: str | None,
    region: str | None,
    workers: int,
) -> InferenceService:
    if endpoint is None:
        from drdeploy.grader.inference import InferenceService

        service = InferenceService.load(model, runtime=runtime)
        print_note_on_quantization(service.manifest)
        return service
    from drdeploy.clinic.page.endpoint import EndpointService

    if runtime is not None:
        raise InvalidInput(
            "--runtime has no effect with --endpoint: the endpoint runs the model",
            where="--runtime",
            remedy="Leave out --runtime or --endpoint",
        )
    return EndpointService.connect(
        endpoint, model, endpoint_url=endpoint_url, region=region, workers=workers
    )


def _find_operating_system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"user {os.getuid()}"
