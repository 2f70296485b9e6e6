"""The page on calibration before and after adjustments says what the stored predictions say."""

import csv
import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy.special import logit
from sklearn.linear_model import LogisticRegression

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(ROOT / "scripts/write_calibration_page.py"))


def test_the_page_is_what_the_script_writes(script):
    page = (ROOT / "docs/calibration.md").read_text("utf-8")
    assert script["write_page"]() == page, "run scripts/write_calibration_page.py"


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_figures_as_packaged_follow_from_the_predictions(script, precision):
    with (ROOT / f"evidence/mobilenet-idrid/test-{precision}.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["gradable"] == "true"]
    [found, *_] = script["compute_rows"](precision)
    for grade in (2, 3):
        ill = np.array([int(row["icdr_grade"]) >= grade for row in rows])
        chance = np.array([sum(float(row[f"p{at}"]) for at in range(grade, 5)) for row in rows])
        shown = found.calibration[grade]
        assert shown.observed_over_expected.value == pytest.approx(ill.sum() / chance.sum())
        fit = LogisticRegression(C=1e9, tol=1e-9).fit(logit(chance)[:, None], ill)
        assert shown.slope.value == pytest.approx(fit.coef_[0, 0], rel=1e-3)


def test_one_share_keeps_the_mix_of_the_diseased_and_three_shares_do_not(script):
    found = {row.adjustment: row.calibration for row in script["compute_rows"]("fp32")}
    assert len(found) == 4
    as_packaged, one, three = (
        found[script[name]][3].observed_over_expected
        for name in ("AS_PACKAGED", "ONE_SHARE", "THREE_SHARES")
    )
    assert abs(one.value - 1) < abs(three.value - 1)
    assert three.value < as_packaged.value


def test_the_conclusions_of_the_page_follow_from_its_rows(script):
    rows = {
        (row.precision, row.adjustment): row.calibration
        for precision in ("fp32", "int8")
        for row in script["compute_rows"](precision)
    }
    for precision in ("fp32", "int8"):
        packaged, estimated, recalibrated = (
            rows[precision, name]
            for name in (script["AS_PACKAGED"], script["ONE_SHARE"], "recalibrated")
        )
        assert packaged[2].slope.high < 1
        assert estimated[2].slope.high < 1
        assert packaged[2].slope.value < recalibrated[2].slope.value < 1
        assert recalibrated[2].slope.high > 1
        for grade in (2, 3):
            assert packaged[grade].intercept.low < 0 < packaged[grade].intercept.high
        assert packaged[3].slope.low < 1 < packaged[3].slope.high
        assert recalibrated[3].slope.low < 1 < recalibrated[3].slope.high
    assert rows["int8", script["THREE_SHARES"]][3].intercept.high < 0
    assert rows["fp32", script["THREE_SHARES"]][3].intercept.high > 0
