"""The worked decisions of the documentation are what the code decides."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(ROOT / "scripts/write_worked_decisions.py"))


def test_the_clinic_of_the_original_rows_is_decided_as_the_page_says(script):
    study = script["load_raw_rows_of_study"]()
    written = script["section"](script["CASES"][0], study, None)
    page = (ROOT / "docs/worked-decisions.md").read_text()
    assert written in page, "run scripts/write_worked_decisions.py"
