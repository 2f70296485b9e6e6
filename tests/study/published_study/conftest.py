"""A made-up study of the original's shape, whose truth is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from drdeploy.study.published_study.verdicts import reproduce_published_study

HEADER = "id,where,quantity,model,configuration,value,unit\n"


def write_experiment(folder: Path, name: str, total_s: float, prediction_s: float, n: int) -> None:
    """Rows that scatter by 5 % about the given means."""
    rng = np.random.default_rng(sum(map(ord, name)))
    scatter = rng.normal(0, 0.05, n)
    scatter -= scatter.mean()
    rows = pd.DataFrame(
        {
            "requestLatency": prediction_s * (1 + scatter) + 0.001,
            "predictionLatency": prediction_s * (1 + scatter),
            "fullLatency": total_s * (1 + scatter),
        }
    )
    rows.to_csv(folder / f"{name}.csv")


@pytest.fixture
def made_up(tmp_path):
    """Writes the made-up study with these printed figures; gives its folder."""

    def write(*printed: str) -> Path:
        for memory_gb, total_s in ((1, 4.0), (2, 2.0), (3, 1.6)):
            write_experiment(tmp_path, f"warm-up-Net-{memory_gb}gb", total_s, total_s / 2, 25)
            write_experiment(tmp_path, f"cold-start-Net-{memory_gb}gb", 10 * total_s, total_s, 10)
        for family, total_s in (("m4", 0.8), ("m5", 0.5), ("c7g", 0.6)):
            write_experiment(tmp_path, f"Net-{family}", total_s, total_s / 2, 25)
        (tmp_path / "published.csv").write_text(HEADER + "".join(f"{line}\n" for line in printed))
        return tmp_path

    return write


@pytest.fixture
def verdict_on(made_up):
    """The one verdict on one printed figure."""
    return lambda *printed: reproduce_published_study(made_up(*printed)).figures[0]
