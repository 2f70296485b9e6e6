"""Compare the answers of the server, ``grade``, ``archive grade`` and Batch Transform.

Run ``python benchmarks/identical_answers.py`` (two minutes). Each of the four grades the same 200
photographs with the packaged grader. The photographs come from the data set IDRiD if it is on this
machine. Otherwise, they are the examples of the repository and synthetic photographs.
``archive grade`` runs on this machine, with Ray, and once more on SageMaker Batch Transform, which
the local service provides. The target is that grade, decisions and probabilities are the same for
each photograph, to the last digit.
"""

from __future__ import annotations

import csv
import http.client
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from drdeploy.grader.artifacts import extract_archive
from drdeploy.grader.box import box_artifact
from drdeploy.grader.synthetic.photograph import paint_synthetic_photograph
from drdeploy.hosting.container_engine.ports import find_free_port
from harness.local_service import start_service
from harness.models import SHARED
from harness.options import ROOT, parser_for, read_options
from harness.page import Page, Target
from harness.servers import ours, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Answers = dict[str, dict[str, str]]

NUMBER, SMOKE_NUMBER = 200, 4
SIDE_PX = 512
SERVER, GRADE, ARCHIVE, BATCH = (
    "server", "`grade`", "`archive grade` with Ray", "`archive grade` on Batch Transform",
)  # fmt: skip
COMPARED = ("gradable", "ungradable_reason", "grade", "label", "referable", "unlike_training")
"""Columns that are compared, besides the probabilities and the decision at each operating point."""

INTRODUCTION = """
Four ways grade the same photographs with the packaged grader in fp32: the lean server, to which
one client sends the photographs one after the other; `drdeploy grade`; `drdeploy archive grade`
with Ray on this machine; and `drdeploy archive grade --on batch-transform` with the local service.
The columns for the grade, the decisions and the probabilities are compared as text, so a difference
in the last digit counts.
"""


def main() -> int:
    """Grade the photographs in four ways, and compare the answers."""
    given = read_options(parser_for(__doc__))
    options = replace(given, budget=replace(given.budget, rounds=1))
    page = Page("identical_answers", "The same answers everywhere", INTRODUCTION, options)
    number = SMOKE_NUMBER if options.is_smoke else NUMBER
    with tempfile.TemporaryDirectory(prefix="drdeploy-bench-") as name:
        folder = Path(name)
        eyes = folder / "eyes"
        eyes.mkdir()
        for place, content in enumerate(choose_photographs(number)):
            (eyes / f"{place:03}.jpg").write_bytes(content)
        answers = {
            SERVER: ask_server(eyes, extract_archive(box_artifact(), folder / "model").folder),
            GRADE: run_grade(eyes, folder / "grades.csv"),
            ARCHIVE: run_archive_grade(eyes, folder / "ray.parquet"),
            BATCH: run_batch_transform(eyes, folder),
        }
    compare(page, answers, number)
    return page.finish()


def choose_photographs(number: int) -> Iterator[bytes]:
    """Yield photographs: those of IDRiD, or else the examples and synthetic ones."""
    files = sorted((SHARED / "idrid_512").rglob("*.jpg"))
    if len(files) < number:
        files = sorted((ROOT / "examples" / "photographs").glob("*.jpg"))
    for file in files[:number]:
        yield file.read_bytes()
    for seed in range(number - len(files)):
        yield paint_synthetic_photograph(seed, width_px=SIDE_PX, height_px=SIDE_PX)


def ask_server(eyes: Path, model: Path) -> Answers:
    """Send each photograph to a lean server."""
    files = sorted(eyes.iterdir())
    found: Answers = {}
    with running(ours("lean", model), files[0].read_bytes()) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        for file in files:
            connection.request(
                "POST", "/invocations", file.read_bytes(), {"Content-Type": "image/jpeg"}
            )
            response = connection.getresponse()
            body = response.read()
            if response.status != http.HTTPStatus.OK:  # otherwise no answer equals no answer
                raise SystemExit(f"The server answers {file.name} with {response.status}: {body!r}")
            found[file.name] = as_cells(json.loads(body))
        connection.close()
    return found


def as_cells(answer: Mapping[str, Any]) -> dict[str, str]:
    """Return the columns of a table that correspond to an answer of the server."""
    cells: dict[str, Any] = {name: answer.get(name) for name in COMPARED}
    for disease, points in (answer.get("screening") or {}).items():
        cells |= {f"{disease}_{point}": decision for point, decision in points.items()}
    cells |= {f"p_{name}": value for name, value in (answer.get("probabilities") or {}).items()}
    return as_text(cells)


def as_text(cells: Mapping[str, Any]) -> dict[str, str]:
    """Return the cells as text, without those that are empty."""
    return {
        name: str(cell).lower() if isinstance(cell, bool) else str(cell)
        for name, cell in cells.items()
        if cell not in {None, ""}
    }


def choose_cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the cells of a table's row that are compared."""
    points = ("balanced", "high_sensitivity")
    names = {*COMPARED, *(f"{kind}_{at}" for kind in ("referable", "vision_threatening")
                          for at in points)}  # fmt: skip
    return as_text({
        name: cell for name, cell in row.items() if name in names or name.startswith("p_")
    })  # fmt: skip


def run_grade(eyes: Path, table: Path) -> Answers:
    """Run ``drdeploy grade``, and read its table."""
    run("grade", str(eyes), "--csv", str(table), "--names")
    with table.open(newline="", encoding="utf-8") as lines:
        return {Path(row["image"]).name: choose_cells(row) for row in csv.DictReader(lines)}


def run_archive_grade(eyes: Path, table: Path, *more: str) -> Answers:
    """Run ``drdeploy archive grade``, and read its table."""
    run("archive", "grade", str(eyes), "--out", str(table), "--names", *more)
    return {
        row["image"].rpartition("/")[2]: choose_cells(row)
        for row in pq.read_table(table).to_pylist()
    }


def run_batch_transform(eyes: Path, folder: Path) -> Answers:
    """Run ``drdeploy archive grade`` on Batch Transform, with a local service."""
    home = folder / "service"
    home.mkdir()
    service = start_service(home, find_free_port(), "process")
    try:
        return run_archive_grade(
            eyes, folder / "batch.parquet", "--on", "batch-transform", "--endpoint-url", service.url
        )
    finally:
        service.end()


def run(*arguments: str) -> None:
    """Run a command of drdeploy; its exit status must be 0."""
    subprocess.run(
        [sys.executable, "-m", "drdeploy", *arguments], check=True, stdout=subprocess.DEVNULL
    )


def compare(page: Page, answers: dict[str, Answers], number: int) -> None:
    """Compare each way's answers with those of the server, and add the rows of the CSV file."""
    expected = answers[SERVER]
    table = []
    for way, found in answers.items():
        same = [name for name, cells in expected.items() if found.get(name) == cells]
        graded = sum("grade" in cells for cells in found.values())
        table.append([way, len(found), graded, len(found) - graded, len(same)])
        if way == SERVER:
            continue
        page.rows += [
            {"way": way, "photograph": name, "is_same": found.get(name) == cells}
            for name, cells in expected.items()
        ]
        page.targets.append(
            Target(
                f"{way}: the answers of the server, to the last digit",
                len(same) == number == len(found),
                f"{len(same)} of {number} photographs",
            )
        )
    page.table(["way", "photographs", "graded", "not gradable", "as the server"], table)


if __name__ == "__main__":
    sys.exit(main())
