"""``drdeploy grade``: grade photographs on this machine, without a server."""

from __future__ import annotations

import csv
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer
from rich.markup import escape
from rich.progress import Progress
from rich.table import Column, Table

from drdeploy.cli.console import JsonOption, err, out, print_json
from drdeploy.errors import InvalidInput, PredictionFailed, RequestRefused
from drdeploy.grading.grade import RESEARCH_USE_NOTICE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drdeploy.serving.inference import InferenceService

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})
"""What is taken from a folder.  A file that is named is tried whatever it is called."""


@dataclass(frozen=True)
class Row:
    """One input: what was found, or why not."""

    image: str
    grade: int | None = None
    label: str = ""
    referable: bool | None = None
    probabilities: tuple[float, ...] = ()
    decode_s: float | None = None
    transform_s: float | None = None
    predict_s: float | None = None
    error: str = ""


def grade(
    images: Annotated[
        list[Path], typer.Argument(help="Photographs, and folders that hold photographs.")
    ],
    artifact: Annotated[
        Path, typer.Option("--artifact", "-a", help="A model.tar.gz, or its extracted folder.")
    ],
    runtime: Annotated[
        str, typer.Option(help="tensorflow, onnxruntime or openvino; else the format's own.")
    ] = "",
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write the rows to this CSV file as well.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Grade photographs on this machine.

    Every input has a row, those that could not be graded too; the exit status is 1 if there
    are any of these.  For research use. Not a medical device.
    """
    check_writable(csv_file)
    with loaded(artifact, runtime) as service:
        classes = service.classifier.artifact.manifest.classes
        rows = with_progress(service, find_images(images))
    if as_json:
        print_json(as_document(rows, classes))
    else:
        print_table(rows)
    if csv_file is not None:  # last: what cannot be written has been shown
        write_csv(csv_file, rows, classes)
    failed = sum(bool(row.error) for row in rows)
    err.print(f"{len(rows) - failed} graded, {failed} not. {RESEARCH_USE_NOTICE}")
    if failed:
        raise typer.Exit(1)


def find_images(inputs: Sequence[Path]) -> list[Path]:
    """The named files, and below each folder every file that has an image's suffix."""
    found: list[Path] = []
    for path in inputs:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(
            file
            for file in path.rglob("*")
            if file.suffix.lower() in IMAGE_SUFFIXES and not file.is_dir()
        )
        found += inside or [path]  # an empty folder has a row of its own
    return list(dict.fromkeys(found))


@contextmanager
def loaded(path: Path, runtime: str) -> Iterator[InferenceService]:
    """The model of an archive or of an extracted folder, ready to infer."""
    from drdeploy.artifacts import extract
    from drdeploy.fundus.limits import LOCAL_FILE_LIMITS
    from drdeploy.runtimes.protocol import RuntimeName
    from drdeploy.serving.inference import InferenceService

    if runtime and runtime not in get_args(RuntimeName):
        raise InvalidInput(
            f"There is no runtime {runtime!r}",
            where="--runtime",
            remedy=f"Choose from {', '.join(get_args(RuntimeName))}",
        )
    chosen = cast("RuntimeName | None", runtime or None)
    if path.is_dir():
        yield InferenceService.load(path, runtime=chosen, limits=LOCAL_FILE_LIMITS)
        return
    if not path.is_file():
        raise InvalidInput("There is no such artifact", where=str(path))
    with tempfile.TemporaryDirectory(prefix="drdeploy-") as folder:
        model_dir = extract(path, Path(folder) / "model").folder
        yield InferenceService.load(model_dir, runtime=chosen, limits=LOCAL_FILE_LIMITS)


def with_progress(service: InferenceService, paths: Sequence[Path]) -> list[Row]:
    """A row for every path; progress goes to standard error."""
    with Progress(console=err, transient=True) as progress:
        return [grade_one(service, path) for path in progress.track(paths, description="grading")]


def grade_one(service: InferenceService, path: Path) -> Row:
    """Grade one file; what cannot be graded says why."""
    try:
        inference = service.infer([path.read_bytes()])[0]
    except IsADirectoryError:
        return Row(str(path), error="The folder holds no JPEG, PNG or TIFF.")
    except OSError as error:
        return Row(str(path), error=f"{error.strerror or 'The file cannot be read'}.")
    except (RequestRefused, PredictionFailed) as error:
        return Row(str(path), error=error.sentence)
    prediction = inference.prediction
    grade = prediction.grade
    return Row(
        image=str(path),
        grade=None if grade is None else int(grade),
        label=prediction.label,
        referable=None if grade is None else grade.is_referable,
        probabilities=tuple(prediction.probabilities.tolist()),
        decode_s=inference.decode_s,
        transform_s=inference.transform_s,
        predict_s=inference.predict_s,
    )


def as_document(rows: Sequence[Row], classes: tuple[str, ...]) -> dict[str, Any]:
    """The rows as one JSON document."""
    return {
        "notice": RESEARCH_USE_NOTICE,
        "classes": classes,
        "results": [asdict(row) for row in rows],
    }


def print_table(rows: Sequence[Row]) -> None:
    """The rows on the terminal."""
    image = Column("image", overflow="fold")  # a name cut short is no name
    table = Table(image, "grade", "label", "referable", "probability", caption=RESEARCH_USE_NOTICE)
    for row in rows:
        if row.error:
            table.add_row(escape(row.image), "-", f"[red]{escape(row.error)}[/]", "", "")
            continue
        grade = "-" if row.grade is None else str(row.grade)
        referable = {None: "-", True: "yes", False: "no"}[row.referable]
        best = max(row.probabilities)
        table.add_row(escape(row.image), grade, escape(row.label), referable, f"{best:.3f}")
    out.print(table)


def check_writable(path: Path | None) -> None:
    """Say so before an hour of grading, not after it."""
    if path is not None and not path.parent.is_dir():
        raise InvalidInput("There is no such folder", where=str(path.parent))


def write_csv(path: Path, rows: Sequence[Row], classes: tuple[str, ...]) -> None:
    """One line per input; probabilities in columns ``p_CLASS``, durations in seconds."""
    width = max((len(row.probabilities) for row in rows), default=len(classes))
    names = classes or tuple(str(index) for index in range(width))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([
            *("image", "grade", "label", "referable", "error"),
            *(f"p_{name}" for name in names),
            *("decode_s", "transform_s", "predict_s", "notice"),
        ])  # fmt: skip
        for row in rows:
            referable = "" if row.referable is None else str(row.referable).lower()
            probabilities = row.probabilities or ("",) * len(names)
            writer.writerow([
                *(row.image, row.grade, row.label, referable, row.error),
                *probabilities,
                *(row.decode_s, row.transform_s, row.predict_s, RESEARCH_USE_NOTICE),
            ])  # fmt: skip
