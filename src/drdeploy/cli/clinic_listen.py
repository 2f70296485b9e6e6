"""``drdeploy clinic listen``: receive photographs from cameras, and send results to archives."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drdeploy.cli.clinic_destinations import read_destinations
from drdeploy.cli.console import print_note, print_note_on_quantization
from drdeploy.cli.end_event import exit_without_waiting, make_end_event
from drdeploy.cli.options import (
    GIVE_ARTIFACT,
    ArtifactOption,
    DatabaseOption,
    PostOption,
    QuietOption,
    RecordsArgument,
    RulesOption,
    RuntimeOption,
    SendOption,
    StowOption,
    TlsCertificateOption,
    TlsKeyOption,
    UntilStdinClosesOption,
    log_to_standard_error,
)
from drdeploy.errors import ClinicError, InvalidInput, format_count

if TYPE_CHECKING:
    from drdeploy.clinic.records import ClinicRecords

STOP_S = 5.0
"""Seconds that work in progress may still take when the program has to end."""


def listen(
    records: RecordsArgument,
    *,
    host: Annotated[str, typer.Option(help="Address of this machine to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")] = 11112,
    title: Annotated[str, typer.Option(help="AE title of this program.")] = "DRDEPLOY",
    caller: Annotated[
        list[str] | None,
        typer.Option(
            help="AE title of a camera or archive that may send photographs; by default, all may."
        ),
    ] = None,
    tls_certificate: TlsCertificateOption = None,
    tls_key: TlsKeyOption = None,
    tls_authority: Annotated[
        Path | None,
        typer.Option(help="Refuse senders without a certificate from these authorities (PEM)."),
    ] = None,
    plain: Annotated[
        bool,
        typer.Option(
            "--plain", help="Listen on a network without TLS; --send may send without TLS, too."
        ),
    ] = False,
    quiet_s: QuietOption = 30.0,
    artifact: ArtifactOption = None,
    runtime: RuntimeOption = None,
    rules: RulesOption = None,
    stow: StowOption = None,
    send: SendOption = None,
    post: PostOption = None,
    database: DatabaseOption = None,
    until_stdin_closes: UntilStdinClosesOption = False,
) -> None:
    """Receive and grade photographs from cameras, and send results.

    The command receives photographs by DICOM C-STORE until you press Ctrl-C. The sender gets the
    answer "success" as soon as its photograph is on the disk. If an archive or a server cannot be
    reached, the command sends the results again later. If an archive or a server refuses a result,
    the result is sent again only if you run `drdeploy clinic studies --again`. After a crash, run
    the same command again to continue. When the command is ready, it prints its address in one line
    on standard output. The log names patients and studies by keyed hashes.

    For research use. Not a medical device.
    """
    from drdeploy.clinic.background_work import BackgroundWork, ResultSender, StudyGrader
    from drdeploy.clinic.dicom_receiver import (
        ListeningAddress,
        PhotographListener,
        is_loopback,
    )
    from drdeploy.clinic.records import ClinicRecords
    from drdeploy.clinic.referral_rules import DEFAULT_RULES, ReferralRules
    from drdeploy.grader.box import box_artifact
    from drdeploy.grader.inference import InferenceService
    from drdeploy.photograph_names import PhotographNames

    if plain and send is None and (tls_certificate is not None or is_loopback(host)):
        raise InvalidInput(
            "--plain would have no effect: "
            + (
                "with --tls-certificate, photographs are received only over TLS"
                if tls_certificate is not None
                else f"only programs of this machine reach {host}"
            )
            + ", and nothing is sent with --send",
            where="--plain",
            remedy="Omit --plain",
        )
    to = read_destinations(stow, send, post, may_be_plain=plain)
    model = artifact or box_artifact()
    if not model.exists():
        raise InvalidInput("The artifact does not exist", where=str(model), remedy=GIVE_ARTIFACT)
    chosen = ReferralRules.load(rules or DEFAULT_RULES)
    os.umask(0o077)
    log_to_standard_error()
    over = make_end_event(until_stdin_closes=until_stdin_closes)
    address = ListeningAddress(
        host, port, title, tuple(caller or ()), tls_certificate, tls_key, tls_authority, plain
    )
    store = ClinicRecords.open(
        records, names=PhotographNames.with_user_key(), database=database, who="clinic listen"
    )
    lock = store.make_grading_lock()  # held until the program ends
    if not lock.acquire():
        raise ClinicError(
            "Another program already grades the studies in these records, and sends the results to "
            "its own destinations",
            where=str(records),
            remedy="End the other program. If it is `clinic serve`, run this command first, and "
            "start `clinic serve` again while this command runs",
        )
    # The listener is made before the model loads, so that an unusable title or certificate is
    # reported at once.
    listener = PhotographListener(address, store)
    service = InferenceService.load(model, runtime=runtime)
    chosen.check_grader(service.manifest)
    print_note_on_quantization(service.manifest)
    delete_unused_files(store)
    grader = StudyGrader(
        store, service, chosen, to, quiet_s=quiet_s, may_grade=lock.keep_or_take_again
    )
    sender = ResultSender(store, may_send=lock.keep_or_take_again)
    work = BackgroundWork(grader, sender, lock)
    try:
        with listener:
            work.start()
            sys.stdout.write(f"drdeploy clinic: {title} listens on {host}:{listener.port}\n")
            sys.stdout.flush()
            over.wait()
            work.ask_loops_to_stop()
    finally:
        work.stop(STOP_S)
        store.close()
    exit_without_waiting()


def delete_unused_files(records: ClinicRecords) -> None:
    """Delete the photographs that killed programs left behind, and say how many there were."""
    if count := records.erasure.remove_unused_files():
        print_note(f"{format_count(count, 'photograph')} of no study deleted from the disk")
