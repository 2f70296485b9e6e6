"""Write docs/worked-decisions.md: three decisions, from the 2023 study's rows and from ours.

    drdeploy study run decision
    python scripts/write_worked_decisions.py [--keep results/decision]

`--keep` first copies what a decision needs of a results folder to examples/decision.
Every number on the page comes from `drdeploy.study.recommendation`: run the script again when rows,
prices or the simulation have changed.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from drdeploy.hosting.sagemaker import PriceSheet
from drdeploy.study.measurements.load import Measurements, load
from drdeploy.study.measurements.measurement import REQUIRED
from drdeploy.study.measurements.results import ENVIRONMENT_FILE, MEASUREMENTS_FILE
from drdeploy.study.recommendation import wording
from drdeploy.study.recommendation.decide import decide
from drdeploy.study.recommendation.requirements import Assumptions, DecisionInputs, Requirements
from drdeploy.study.recommendation.traffic.arrivals import Traffic
from drdeploy.study.recommendation.traffic.shape import SHAPES
from drdeploy.study.thesis.raw_rows import load_study

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.study.recommendation.decision import Decision, EvaluatedOption

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "worked-decisions.md"
OURS = ROOT / "examples" / "decision"
ASSUMED_PRICES = ROOT / "examples" / "assumed-provisioned-prices.toml"


@dataclass(frozen=True)
class Case:
    """Somebody who must decide how to host.

    Attributes:
        description: How much traffic they have, for the heading.
        p95_s: Seconds within which 95 of 100 results must be there.
    """

    name: str
    description: str
    requests_per_month: float
    shape: str
    p95_s: float


CASES = (
    Case("A clinic", "500 photographs a month", 500, "clinic", 5.0),
    Case("A city", "50,000 photographs a month", 50_000, "clinic", 2.0),
    Case("A country", "10 million photographs a year", 10e6 / 12, "working-hours", 1.0),
)

HEAD = """\
<!-- Written by scripts/write_worked_decisions.py; do not edit. -->

# Three worked decisions

A clinic, a city and a country ask `drdeploy recommend` how to host: first with the rows that the
2023 study published (SageMaker, us-east-1), then with this project's own rows. Each answer is the
cheapest option that meets the requirements, at the dated prices of `drdeploy prices show`. The
assumptions stand at the end. A negative cost per avoided cold start is a saving: cold starts
are billed too, and avoiding one saved more than it cost. Results are for research use; this is
not a medical device.

The first one is this command:

```sh
drdeploy recommend thesis-2023 --requests 500 --p95 5 --page decision.html
```
"""

OF_STUDY = (
    "Two models on TensorFlow behind NGINX and Gunicorn, 25 warm and 10 cold rows each. The study "
    "printed no sensitivity, so none is required here."
)
OUR_SENSITIVITY = 0.9
KEPT_BESIDES = ("vcpu", "model_setup_s", "payload_bytes", "run_id")
KEPT_FACTS = (
    *("platform", "isolation", "cpu_model", "cpu_count", "machine", "kernel", "drdeploy"),
    *("started_at", "cpu_busy_percent_before", "cpu_busy_percent_after", "trials"),
)


def main() -> int:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", type=Path, default=OURS)
    parser.add_argument("--keep", type=Path, help="results to copy to examples/decision")
    options = parser.parse_args()
    if options.keep:
        keep(options.keep)
    study = load_study()
    parts = [HEAD, f"## The 2023 study's rows\n\n{OF_STUDY}\n"]
    parts += [section(case, study, None) for case in CASES]
    if options.ours.exists():
        ours = load(options.ours)
        parts.append(f"## Our rows\n\n{about(ours)}\n")
        parts += [section(case, ours, OUR_SENSITIVITY) for case in CASES]
    parts.append(
        "\n".join(["## Assumptions", "", *(f"- {s}" for s in Assumptions().sentences), ""])
    )
    PAGE.write_text("\n".join(parts), "utf-8")
    sys.stdout.write(f"wrote {PAGE.relative_to(ROOT)}\n")
    return 0


def keep(results: Path) -> None:
    """Copy from a results folder what a decision needs."""
    frame = pd.read_csv(results / MEASUREMENTS_FILE, dtype=str, keep_default_na=False)
    kept = [name for name in (*REQUIRED, *KEPT_BESIDES) if name in frame]
    OURS.mkdir(parents=True, exist_ok=True)
    frame[kept].to_csv(OURS / MEASUREMENTS_FILE, index=False, lineterminator="\n")
    runs = json.loads((results / ENVIRONMENT_FILE).read_text("utf-8"))
    facts = {
        run: {name: all_facts[name] for name in KEPT_FACTS if name in all_facts}
        for run, all_facts in runs.items()
    }
    (OURS / ENVIRONMENT_FILE).write_text(json.dumps(facts, indent=1) + "\n", "utf-8")


def section(case: Case, measurements: Measurements, min_sensitivity: float | None) -> str:
    """One case as Markdown."""
    decision = decide(measurements, PriceSheet.load(), inputs_of(case, min_sensitivity))
    lines = [
        f"### {case.name}: {case.description}\n",
        f"Required: {wording.requirements_sentence(decision.required)}.",
        f"Traffic: {decision.traffic}.\n",
        *(f"- {sentence}" for sentence in decision.answer),
        *_otherwise(case, measurements, min_sensitivity, decision),
        "",
        "| option | USD a month | per patient | p95 | cold starts | why it loses |",
        "|---|---|---|---|---|---|",
        *_rows(decision),
        "",
        *_mitigation(decision),
    ]
    return "\n".join(lines) + "\n"


def inputs_of(case: Case, min_sensitivity: float | None, *, at_once: int = 1) -> DecisionInputs:
    """Traffic, requirements and assumptions of the case."""
    return DecisionInputs(
        traffic=Traffic(requests_per_month=case.requests_per_month, shape=SHAPES[case.shape]),
        required=Requirements(p95_s=case.p95_s, min_sensitivity=min_sensitivity),
        assumptions=Assumptions(requests_at_once=at_once),
    )


def about(measurements: Measurements) -> str:
    """Where this project's rows come from, and what they cannot say."""
    frame = measurements.frame
    facts = next(iter(measurements.environment.values()), {})
    return (
        f"Measured on this project's local service (platform {_all(frame['platform'])}, isolation "
        f"{_all(frame['isolation'])}) on {facts.get('cpu_count', '?')} cores of "
        f"{facts.get('cpu_model', 'an unknown processor')}, study {_all(frame['study'])}: no "
        "network, no image pull and no placement time of AWS is in them, so rely on the order and "
        "the ratios, not on the seconds. The profile is lean; MobileNet is the grader in the box, "
        "VGG19 has random weights. A sensitivity of 90 % at grade >= 2 is required as well. The "
        "instance is ml.c5.large."
    )


def _all(column: pd.Series) -> str:
    return ", ".join(sorted(set(column)))


def _rows(decision: Decision) -> Iterator[str]:
    """The winner, then the best of each other model, size and kind."""
    shown: set[tuple[str, str, str]] = set()
    for option in (decision.winner, *decision.runners_up, *decision.excluded):
        if option is None or (option.model, option.size, option.kind) in shown:
            continue
        shown.add((option.model, option.size, option.kind))
        if len(shown) <= 1 or _is_shown(option, decision):
            yield _row(option, decision)


def _is_shown(option: EvaluatedOption, decision: Decision) -> bool:
    """Of the winner's configuration every policy; of the others the one without a policy."""
    winner = decision.winner
    own = winner and (option.model, option.size) == (winner.model, winner.size)
    return bool(own) or option.kind in {"serverless", "real-time"}


def _row(option: EvaluatedOption, decision: Decision) -> str:
    cold = f"{option.cold_share:.2%}" if option.policy else "none"
    return (
        f"| {option.name} | {wording.usd(option.usd_per_month).removesuffix(' USD')} | "
        f"{wording.usd(option.usd_per_patient)} | {wording.seconds(option.p95_s)} | {cold} | "
        f"{_why(option, decision)} |"
    )


def _why(option: EvaluatedOption, decision: Decision) -> str:
    winner = decision.winner
    if option is winner:
        return "**it wins**"
    if option.failures:
        return "; ".join(option.failures)
    more = (option.usd_per_month or 0.0) - ((winner.usd_per_month if winner else 0.0) or 0.0)
    return f"{wording.usd(more)} a month more"


def _otherwise(
    case: Case, measurements: Measurements, min_sensitivity: float | None, decision: Decision
) -> Iterator[str]:
    """The decision with a price for provisioned concurrency, and instances that do more at once."""
    sheet = PriceSheet.load().joined(PriceSheet.load(ASSUMED_PRICES))
    other = decide(measurements, sheet, inputs_of(case, min_sensitivity, at_once=4))
    yield (
        "\nIf provisioned concurrency were priced in Lambda's proportions ([an assumed price "
        "sheet](../examples/assumed-provisioned-prices.toml)), and an instance handled four "
        "requests at once:\n"
    )
    winner = other.winner
    same = winner and decision.winner and winner.name == decision.winner.name
    if winner:
        kept = "would still win" if same else "would win"
        yield f"- {winner.name} {kept}, at {wording.usd(winner.usd_per_month)} a month."
    provisioned = [
        one
        for one in (other.winner, *other.runners_up, *other.excluded)
        if one and one.policy == "provisioned" and one.usd_per_month is not None
    ]
    if provisioned:
        best = min(provisioned, key=lambda one: one.usd_per_month or 0.0)
        yield (
            f"- The cheapest with provisioned concurrency: {best.name}, "
            f"{wording.usd(best.usd_per_month)} a month, p95 {wording.seconds(best.p95_s)}, "
            f"{best.cold_share:.2%} cold starts."
        )
    yield from (f"- {wording.break_even_sentence(one)}" for one in other.break_even)


def _mitigation(decision: Decision) -> Iterator[str]:
    if decision.mitigation is None:
        return
    yield f"{wording.best_policy_sentence(decision)}\n"
    yield "| policy | cold starts a month | p95 | USD a month | USD per avoided cold start |"
    yield "|---|---|---|---|---|"
    for line in decision.mitigation.lines:
        avoided = "" if line.usd_per_avoided is None else f"{line.usd_per_avoided:.2g}"
        yield (
            f"| {line.policy} | {line.cold_starts:.3g} | {wording.seconds(line.p95_s)} | "
            f"{wording.usd(line.usd).removesuffix(' USD')} | {avoided or line.note or '-'} |"
        )
    yield ""


if __name__ == "__main__":
    sys.exit(main())
