"""The server, `grade`, `archive grade` on Ray and with Batch Transform give the same answers.

``python tests/clinic/test_same_answers.py FOLDER`` compares all photographs of a folder.
"""

import csv
import json
import sys
import tempfile
from importlib.util import find_spec
from os import environ
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from local_aws import Aws
from photographs import photograph
from typer.testing import CliRunner

if find_spec("ray") is None and environ.get("CI") != "true":
    pytest.skip("needs the extra archive", allow_module_level=True)

import pyarrow.parquet as pq

from drdeploy.cli.app import build_app
from drdeploy.clinic.graded_rows import GradedRow, list_columns_of_model, make_row_of_answer
from drdeploy.grader.box import box_artifact
from drdeploy.grader.inference import InferenceService
from drdeploy.grader.synthetic.photograph import paint_synthetic_photograph
from drdeploy.hosting.local import LocalService


def run(*words):
    return CliRunner().invoke(build_app(), [str(word) for word in words])


def as_csv_text(cell):
    if cell is None:
        return ""
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


def by_name(rows):
    """The rows by the names of their files, without times."""
    return {
        Path(row["image"]).name: {
            name: as_csv_text(cell)
            for name, cell in row.items()
            if name != "image" and not name.endswith("_s")
        }
        for row in rows
    }


def grade(folder, work):
    run("grade", folder, "--csv", work / "grade.csv", "--names")
    with (work / "grade.csv").open(newline="") as lines:
        return by_name(csv.DictReader(lines))


def grade_archive(folder, work, name, *more):
    table = work / f"{name}.parquet"
    done = run("archive", "grade", folder, "--out", table, "--names", *more)
    assert table.exists(), done.exception
    return by_name(pq.read_table(table).to_pylist())


def ask_server(folder, url):
    """The rows of the answers of an endpoint, whose container is the lean server."""
    aws = Aws.at(url)
    aws.s3.create_bucket(Bucket="same-answers")
    aws.s3.put_object(Bucket="same-answers", Key="model.tar.gz", Body=box_artifact().read_bytes())
    endpoint = aws.endpoint(
        url="s3://same-answers/model.tar.gz", InstanceType="ml.m5.large", InitialInstanceCount=1
    )
    columns = list_columns_of_model(InferenceService.load(box_artifact(), threads=1))
    rows = []
    for path in folder.iterdir():
        try:
            answer = aws.invoke(endpoint, path.read_bytes(), ContentType="application/x-image")
            row = make_row_of_answer(path.name, json.dumps(answer).encode())
        except ClientError as error:
            message = json.loads(error.response["OriginalMessage"])["error"]["message"]
            row = GradedRow(path.name, error=message)
        rows.append(dict(zip(columns.column_names, columns.list_cells(row), strict=True)))
    return by_name(rows)


def find_differences(folder, work):
    """The rows of `grade`, and where those of the other ways differ."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRDEPLOY_LOCAL_HOME", str(work / "home"))
        with LocalService(0, isolation="process") as service:
            expected = grade(folder, work)
            transform = ("--on", "batch-transform", "--endpoint-url", service.url)
            found = {
                "server": ask_server(folder, service.url),
                "Batch Transform": grade_archive(folder, work, "transform", *transform),
                "Ray": grade_archive(folder, work, "ray"),
            }
    return expected, {
        (way, name): (row, rows.get(name))
        for way, rows in found.items()
        for name, row in expected.items()
        if rows.get(name) != row
    }


def test_every_way_gives_the_same_answers(tmp_path):
    folder = tmp_path / "eyes"
    folder.mkdir()
    for seed in range(6):
        content = paint_synthetic_photograph(seed, width_px=512 + 64 * seed, height_px=512)
        (folder / f"{seed}.jpg").write_bytes(content)
    (folder / "disc.png").write_bytes(photograph(256, kind="PNG"))
    (folder / "scan.tif").write_bytes(photograph(256, kind="TIFF"))
    (folder / "torn.jpg").write_bytes(photograph(256)[:200])
    (folder / "text.jpg").write_bytes(b"no photograph")
    expected, differences = find_differences(folder, tmp_path)
    assert differences == {}
    assert len(expected) == 10
    assert {row["gradable"] for row in expected.values()} == {"true", "false", ""}
    assert sum(bool(row["error"]) for row in expected.values()) == 2


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as work:
        expected, differences = find_differences(Path(sys.argv[1]), Path(work))
    graded = sum(row["error"] == "" and row["gradable"] != "false" for row in expected.values())
    print(f"{len(expected)} photographs, {graded} graded; differences: {differences or 'none'}")  # noqa: T201
