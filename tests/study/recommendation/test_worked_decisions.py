"""The worked decisions of the documentation are what the code decides."""

import re
import runpy
from pathlib import Path

import pytest

from drdeploy.hosting.sagemaker import PriceSheet
from drdeploy.study.measurements.load import load_results_folder
from drdeploy.study.recommendation.configurations import collect_measured_configurations
from drdeploy.study.recommendation.decide import choose_cheapest_hosting

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(ROOT / "scripts/write_worked_decisions.py"))


@pytest.fixture(scope="module")
def page():
    return (ROOT / "docs/worked-decisions.md").read_text()


@pytest.fixture(scope="module")
def ours(script):
    return load_results_folder(script["OURS"])


def test_the_clinic_of_the_original_rows_is_decided_as_the_page_says(script, page):
    study = script["load_raw_rows_of_study"]()
    written = script["section"](script["CASES"][0], study, None)
    assert written in page, "run scripts/write_worked_decisions.py"


def test_the_example_has_the_cross_fitted_rates_of_the_graders(script, ours):
    graders = script["read_graders"]()
    for one in collect_measured_configurations(ours):
        name = "MobileNet" if one.configuration.model == "mobilenet" else "VGG19"
        assert one.operating_points == graders[f"{name}, fp32"].operating_points, (
            "run scripts/write_worked_decisions.py --renew-operating-points"
        )
        assert all(point.cross_fitted for point in one.operating_points)


def test_the_page_compares_the_rates_of_three_graders(script, page):
    assert "\n".join(script["write_table_of_graders"]()) in page
    assert script["write_how_small_the_differences_are"]() in page


def test_the_page_and_the_example_decide_alike_on_a_sensitivity(script, page, ours):
    inputs = script["inputs_of"](script["CASES"][1], 0.9)
    winner = choose_cheapest_hosting(ours, PriceSheet.load(), inputs).winner
    (row,) = re.findall(r"^\| 0\.90 \|.*$", page, re.MULTILINE)
    assert row.split(" | ")[-1] == f"{winner.name} |"


def test_the_explanation_has_the_rates_of_the_graders(script):
    text = " ".join((ROOT / "docs/explanation.md").read_text().split())
    points = {
        name: script["_find_high_sensitivity_point"](clinical)
        for name, clinical in script["read_graders"]().items()
    }
    found = {name: point.sensitivity.value * point.sensitivity.n for name, point in points.items()}
    low = {name: point.sensitivity.low for name, point in points.items()}
    clear = {name: point.specificity.value for name, point in points.items()}
    fp32, int8, vgg19 = "MobileNet, fp32", "MobileNet, int8", "VGG19, fp32"
    assert (
        f"of VGG19 flags {found[vgg19]:.0f} of the {points[vgg19].sensitivity.n} photographs with "
        f"grade >= 2, so the lower end is {low[vgg19]:.3f}. MobileNet in fp32 flags "
        f"{found[fp32]:.0f}, so its lower end is {low[fp32]:.3f}. MobileNet in int8 flags "
        f"{found[int8]:.0f}. Its lower end is {low[int8]:.3f}"
    ) in text
    assert (
        f"The specificity of VGG19 is lower: {clear[vgg19]:.2f}, against {clear[fp32]:.2f} for "
        f"MobileNet in fp32 and {clear[int8]:.2f} in int8."
    ) in text
