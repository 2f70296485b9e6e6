"""``drdeploy clinic``: grade patients' photographs, and say which patients are most urgent."""

from __future__ import annotations

import filecmp
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.progress import Progress

from drdeploy.cli import (
    clinic_account,
    clinic_export,
    clinic_listen,
    clinic_pull,
    clinic_records,
    clinic_serve,
)
from drdeploy.cli.clinic_outputs import FailedFile, ResultOutputs
from drdeploy.cli.console import (
    Column,
    Table,
    err,
    print_json,
    print_line,
    print_note,
    print_note_on_quantization,
)
from drdeploy.cli.grade import select_photographs
from drdeploy.cli.options import GIVE_ARTIFACT, ArtifactOption, JsonOption, RuntimeOption
from drdeploy.errors import InvalidInput, PredictionFailed, RequestRefused, format_count
from drdeploy.files import sha256_of_bytes, sha256_of_file
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.grader.photograph_files import read_photograph_bytes
from drdeploy.photograph_names import PhotographNames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.clinic.patients import GradedPhotograph, GradedStudy
    from drdeploy.grader.inference import InferenceService

app = typer.Typer(no_args_is_help=True)
app.command()(clinic_pull.pull)
app.command()(clinic_listen.listen)
app.command()(clinic_serve.serve)
app.add_typer(clinic_account.app, name="account", help="Who may sign in to `clinic serve`.")
app.command()(clinic_records.studies)
app.command()(clinic_records.audit)
app.command()(clinic_records.erase)
app.command("export")(clinic_export.export_deidentified)


@app.command()
def triage(
    photographs: Annotated[
        list[Path], typer.Argument(help="DICOM files, and folders that hold DICOM files.")
    ],
    *,
    artifact: ArtifactOption = None,
    runtime: RuntimeOption = None,
    eye: Annotated[
        Literal["left", "right"] | None,
        typer.Option(help="Which eye the photographs show, for files that do not say."),
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option(help="Your own referral rules (TOML); by default, the packaged rules."),
    ] = None,
    fhir: Annotated[
        Path | None,
        typer.Option(
            help="Write a FHIR R4 bundle of each study into this folder. Bundles hold the "
            "identifiers of patients.",
            file_okay=False,
        ),
    ] = None,
    post: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Send a FHIR R4 bundle of each study to this server's base address."
        ),
    ] = None,
    sr: Annotated[
        Path | None,
        typer.Option(
            help="Write a DICOM structured report of each study into this folder. Reports name "
            "the patients.",
            file_okay=False,
        ),
    ] = None,
    pdf: Annotated[
        Path | None,
        typer.Option(
            help="Write a one-page PDF about each study into this folder, inside a DICOM file. "
            "The PDFs name the patients.",
            file_okay=False,
        ),
    ] = None,
    stow: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help=(
                "Send the photographs of each study, a structured report and a PDF to an "
                "archive. The value is the base address of the archive's DICOMweb service."
            ),
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Grade photographs, and list the patients, most urgent first.

    Photographs are grouped by patient, study and eye. The grade of an eye is the worst grade among
    its photographs. If no photograph of an eye can be graded, the packaged rules refer the patient.
    The list names patients by a keyed hash. The exit status is 1 if a file cannot be read or used,
    if a folder holds pictures in other formats, or if the server of --post or the archive of --stow
    refuses a study.

    For research use. Not a medical device.
    """
    from drdeploy.clinic.patients import group_by_study, sort_by_urgency
    from drdeploy.clinic.referral_rules import DEFAULT_RULES, ReferralRules
    from drdeploy.grader.box import box_artifact
    from drdeploy.grader.inference import InferenceService

    outputs = ResultOutputs(fhir=fhir, post=post, sr=sr, pdf=pdf, stow=stow)
    outputs.check_servers()
    chosen = ReferralRules.load(rules or DEFAULT_RULES)
    model = artifact or box_artifact()
    if not model.exists():
        raise InvalidInput("The artifact does not exist", where=str(model), remedy=GIVE_ARTIFACT)
    naming = PhotographNames.with_user_key()
    selection = select_photographs(photographs)
    service = InferenceService.load(model, runtime=runtime)
    chosen.check_grader(service.manifest)
    print_note_on_quantization(service.manifest)
    graded = _GradedFiles(naming)
    with Progress(console=err, transient=True) as progress:
        for path in progress.track(selection.paths, description="grading"):
            graded.add_file(path, _grade_file(service, path, eye, naming))
    artifact_used = service.classifier.artifact
    studies = {
        _name_study(study, naming): study
        for study in sort_by_urgency(group_by_study(graded.photographs, chosen, service.manifest))
    }
    rows = [_make_row(name, study, naming) for name, study in studies.items()]
    notes = selection.write_notes_on_left_out_files(
        show_paths=False, how_to_show="`drdeploy names FOLDER`"
    )
    if graded.copies:
        notes.append(f"copies of photographs, which count only once: {graded.copies:,}")
    failures = [*graded.failures, *outputs.write_results(studies, artifact_used)]
    if as_json:
        print_json({
            "notice": RESEARCH_USE_NOTICE,
            "patients": rows,
            "failed": [vars(one) for one in failures],
            "notes": notes,
        })  # fmt: skip
    else:
        _print_rows(rows, failures)
    print_line(
        f"{format_count(len(rows), 'study', 'studies')}, {len(failures)} failed. "
        f"{RESEARCH_USE_NOTICE}",
        to=err,
    )
    for note in notes:
        print_note(note)
    # Sending comes last, so that results have been shown and written even if they cannot be sent.
    refused = outputs.send_results(studies, artifact_used, graded.files)
    for one in refused:
        print_line(f"{one.image}: {one.error}", style="red", to=err)
    if failures or refused or any(one.may_be_missed_photograph for one in selection.left_out):
        raise typer.Exit(1)


@dataclass
class _GradedFiles:
    """The photographs of the graded files, and what was left out.

    Attributes:
        naming: Names the files that are refused.
        photographs: The photographs, graded or not.
        failures: The files that cannot be used.
        files: The file of each photograph, by the photograph's SOP Instance UID.
        copies: How many files were left out because they are copies of others.
    """

    naming: PhotographNames
    photographs: list[GradedPhotograph] = field(default_factory=list)
    failures: list[FailedFile] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    copies: int = 0

    def add_file(self, path: Path, found: list[GradedPhotograph] | FailedFile) -> None:
        """Add the photographs of a file, unless it is refused or is the copy of another."""
        if isinstance(found, FailedFile):
            self.failures.append(found)
            return
        first = self.files.setdefault(str(found[0].dataset.SOPInstanceUID), path)
        if first is path:
            self.photographs += found
        elif filecmp.cmp(first, path, shallow=False):
            self.copies += 1
        else:  # results refer to a photograph by this identifier only
            name = self.naming.name_of_photograph(path, str(path), sha256_of_file(path))
            self.failures.append(
                FailedFile(name, "Another photograph has the same SOP Instance UID.")
            )


def _grade_file(
    service: InferenceService,
    path: Path,
    eye: Literal["left", "right"] | None,
    naming: PhotographNames,
) -> list[GradedPhotograph] | FailedFile:
    from drdeploy.clinic.patients import grade_dicom_file

    name = naming.name_of_photograph(path, str(path))
    try:
        data = read_photograph_bytes(path)
        name = naming.name_of_photograph(path, str(path), sha256_of_bytes(data))
        return list(grade_dicom_file(service, data, eye=eye))
    except (RequestRefused, PredictionFailed) as error:
        return FailedFile(name, error.sentence)
    except OSError as error:
        return FailedFile(name, f"{error.strerror or 'The file cannot be read'}.")


def _make_row(name: str, study: GradedStudy, naming: PhotographNames) -> dict[str, Any]:
    from drdeploy.clinic.patients import describe_eye_outcomes

    return {
        "patient": naming.name_of_table_entry("group", study.patient_identity),
        "study": name,
        "outcome": study.outcome,
        "eyes": describe_eye_outcomes(study),
    }


def _name_study(study: GradedStudy, naming: PhotographNames) -> str:
    # The patient is part of the name, because two clinics may have given the same identifier to two
    # studies.
    text = f"study {study.patient_identity} {study.dataset.StudyInstanceUID}"
    hashed = naming.name_of_table_entry("group", text)
    return hashed.replace("group-", "study-")


def _print_rows(rows: Sequence[dict[str, Any]], failures: Sequence[FailedFile]) -> None:
    table = Table([
        Column.of_names("patient"),
        Column.of_sentences("outcome"),
        Column.of_sentences("right eye"),
        Column.of_sentences("left eye"),
    ])  # fmt: skip
    for row in rows:
        cells = (_describe_eye_in_table(row["eyes"][eye]) for eye in ("right", "left"))
        table.add_row(row["patient"], row["outcome"], *cells)
    table.print()
    for failure in failures:
        print_line(f"{failure.image}: {failure.error}", style="red")


def _describe_eye_in_table(eye: dict[str, Any]) -> str:
    if not eye["photographs"]:
        return "no photograph"
    shown = f"{eye['grade']} {eye['label']}" if eye["gradable"] else "ungradable"
    return ", ".join([shown, *eye["marks"]])
