"""The original study's raw rows through the same code, against what it printed."""

import pandas as pd
import pytest

from drdeploy.analysis.measurements import from_frame
from drdeploy.analysis.rows import REQUIRED
from drdeploy.analysis.scenarios import scenarios_of
from drdeploy.analysis.summaries import summarise
from drdeploy.sagemaker.prices import PriceSheet

pytestmark = pytest.mark.shared


def rows_of(path) -> pd.DataFrame:
    scenario, model, size = path.stem.replace("-up", "").replace("-start", "").split("-")
    raw = pd.read_csv(path)
    rows = pd.DataFrame(
        {
            "total_latency_s": raw["fullLatency"],
            "container_latency_s": raw["requestLatency"],
            "prediction_s": raw["predictionLatency"],
            "sequence": raw.index + 1,
        }
    )
    facts = {
        "study": "original",
        "trial": path.stem,
        "platform": "aws",
        "isolation": "managed",
        "model": model,
        "endpoint_kind": "serverless",
        "memory_mb": 1024 * int(size[0]),
        "scenario": scenario,
        "start": scenario,
        "is_warmup": False,
        "outcome": "ok",
        "status": 200,
    }
    rows = rows.assign(**facts)
    return rows.assign(**{name: "" for name in REQUIRED if name not in rows})


@pytest.fixture(scope="module")
def study(shared):
    folder = shared / "data" / "thesis-results"
    files = sorted([*folder.glob("warm-up-*.csv"), *folder.glob("cold-start-*.csv")])
    frame = pd.concat([rows_of(path) for path in files], ignore_index=True)
    scenarios = scenarios_of(from_frame(frame, folder))
    return {s.trial: summarise(s, PriceSheet.load()) for s in scenarios}


@pytest.fixture(scope="module")
def published(shared):
    table = pd.read_csv(shared / "data" / "thesis-results" / "published.csv")
    return table.set_index("id")["value"].astype(float)


@pytest.mark.parametrize("size", ["1gb", "2gb", "3gb"])
@pytest.mark.parametrize(("table", "model"), [("t6.1", "VGG19"), ("t6.2", "MobileNet")])
def test_mean_cost_per_inference_is_what_the_study_printed(study, published, table, model, size):
    cost = study[f"warm-up-{model}-{size}"].cost.inference
    printed = published[f"{table}-cost-{model.lower()}-{size}"]
    assert cost.n == 25
    assert cost.value == pytest.approx(printed, rel=0.01)


@pytest.mark.parametrize("model", ["VGG19", "MobileNet"])
def test_mean_cold_latency_is_what_the_study_printed(study, published, model):
    mean = study[f"cold-start-{model}-2gb"].total.mean
    assert mean.n == 10
    assert mean.value == pytest.approx(published[f"t6.5-after-{model.lower()}"], abs=0.01)


def test_ten_cold_rows_allow_no_interval_for_p95(study):
    p95 = study["cold-start-VGG19-1gb"].total.p95
    assert p95.low is None
    assert "59 needed" in p95.reason
