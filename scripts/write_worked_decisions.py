"""Write docs/worked-decisions.md: five cases, decided with the 2023 study's rows and with our rows.

    drdeploy study run decision
    python scripts/write_worked_decisions.py [--keep results/decision] [--renew-operating-points]

Rows are measurements of requests. The first command measures our rows. With `--keep`, the script
first copies the files that a decision needs from the results folder to examples/decision. With
`--keep` or `--renew-operating-points`, it then writes operating points into
examples/decision/environment.json: those of the packaged MobileNet in fp32, and those of the VGG19
in evidence/vgg19-idrid. The decisions are computed from examples/decision as it is, so `drdeploy
recommend examples/decision` gives the same decisions. Run the script again when rows, prices,
graders or the simulation have changed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pandas as pd

from drdeploy.grader.artifacts import Clinical, read_manifest_in_archive
from drdeploy.grader.box import box_artifact
from drdeploy.hosting.sagemaker import PriceSheet
from drdeploy.study.measurements.load import Measurements, load_results_folder
from drdeploy.study.measurements.measurement import REQUIRED
from drdeploy.study.measurements.results import ENVIRONMENT_FILE, MEASUREMENTS_FILE
from drdeploy.study.published_study.raw_rows import load_raw_rows_of_study
from drdeploy.study.recommendation import wording
from drdeploy.study.recommendation.choice import SAME_SPEED_SHARE
from drdeploy.study.recommendation.configurations import collect_measured_configurations
from drdeploy.study.recommendation.decide import choose_cheapest_hosting
from drdeploy.study.recommendation.evaluated import describe_missed_sensitivity
from drdeploy.study.recommendation.hosting_ways import WAYS
from drdeploy.study.recommendation.requirements import Assumptions, DecisionInputs, Requirements
from drdeploy.study.recommendation.traffic import SHAPES, Traffic, make_archive_arrivals
from drdeploy.units import SECONDS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.grader.artifacts import OperatingPoint, Rate
    from drdeploy.study.recommendation.decision import Decision, EvaluatedOption

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "worked-decisions.md"
OURS = ROOT / "examples" / "decision"
ASSUMED_PRICES = ROOT / "examples" / "assumed-provisioned-prices.toml"
ASSUMED_HOURS = ROOT / "examples" / "assumed-asynchronous-and-batch-prices.toml"
EVIDENCE = ROOT / "evidence"
VGG19 = EVIDENCE / "vgg19-idrid" / "clinical.json"
"""The operating points of the VGG19 that `make model-vgg19` trains."""
WAYS_SHOWN_ONCE = {name for name in WAYS if name not in {"serverless", "real-time"}}


@dataclass(frozen=True)
class Case:
    """A case of the page: who must decide how to host, and what they require.

    Attributes:
        description: The traffic in words, for the heading.
        p95_s: Seconds within which 95 % of the results must arrive. None if there is no such limit.
        needs_vpc: Whether the model must run in a VPC.
        may_wait_s: Seconds within which an archive of photographs must be graded. None for a case
            in which each client waits for its answer.
    """

    name: str
    description: str
    requests_per_month: float
    shape: str
    p95_s: float | None
    needs_vpc: bool = False
    may_wait_s: float | None = None


CASES = (
    Case("A clinic", "500 photographs a month", 500, "clinic", 5.0),
    Case("A city", "50,000 photographs a month", 50_000, "clinic", 2.0),
    Case("A country", "10 million photographs a year", 10e6 / 12, "working-hours", 1.0),
    Case("A hospital", "5,000 photographs a month, in a VPC", 5_000, "clinic", 2.0, needs_vpc=True),
    Case(
        "An archive",
        "a million photographs that may wait a night",
        1_000_000,
        "",
        None,
        may_wait_s=12.0 * SECONDS_PER_HOUR,
    ),
)

HEAD = """\
<!-- Written by scripts/write_worked_decisions.py; do not edit. -->

# Worked decisions

This page shows how `drdeploy recommend` decides in five cases: a clinic, a city, a country, a
hospital that requires a VPC, and an archive. Each case is decided twice: with the rows that the
2023 study published (SageMaker, us-east-1), and with this project's own rows. All latencies are
used as they were measured. The prices are those that `drdeploy prices show` prints, except where a
decision says that it assumes prices.

Among the options that meet the requirements, the cheapest wins. Costs that differ by at most 5 %,
or by at most 1 USD a month, count as equal. Among options of equal cost, the one that is simplest
to run wins. Among equally simple options, the fastest wins. A policy against cold starts keeps
containers ready, for example with keep-warm requests. Some of these policies exist only in this
project's simulation. The tables mark them as research, and they cannot win. Inference components
cannot win either, because Terraform's AWS provider has no resource for them. The name of an option
gives the network, its number format, the server profile, and the memory size or the instance type
with the number of instances. At the end, it may name a policy, or a way to run instances. The
assumptions are listed at the end of the page.

The last column of the second table in each case says how much a policy against cold starts adds to
the bill for each cold start that it avoids. A negative number means that the bill is lower with the
policy than without one. Results are for research use; `drdeploy` is not a medical device.

The following command makes the first decision:

```sh
drdeploy recommend thesis-2023 --requests 500 --p95 5 --page decision.html
```

The hospital requires a VPC, and the results of the archive may come later. The commands for these
two cases therefore have further options:

```sh
drdeploy recommend thesis-2023 --requests 5000 --p95 2 --vpc
drdeploy recommend thesis-2023 --archive 1000000 --may-wait-hours 12
```
"""

OF_STUDY = (
    "The 2023 study measured two models on TensorFlow behind NGINX and Gunicorn. For each model "
    "and memory size, it has 25 rows of warm requests and 10 rows of cold starts. The study "
    "published no sensitivities, so the decisions from its rows do not require a sensitivity."
)
ON_NETWORKS = """\
## A required sensitivity: MobileNet or VGG19

`make model-vgg19` trains the last two blocks of a VGG19 on the photographs on which the packaged
MobileNet was trained, with the same folds ([the comparison of the two
networks](explanation.md#a-large-network-against-a-small-one)). The following table shows the
high-sensitivity point at grade >= 2 of three graders: the packaged MobileNet in fp32 and in int8,
and this VGG19. The sensitivity and the specificity of the training photographs are cross-fitted:
each photograph was graded and flagged by a network and a threshold that come from other
photographs. `drdeploy recommend` requires that the lower end of the 95 % interval of this
sensitivity reaches the required sensitivity, and that the lower end of the 95 % interval of the
specificity reaches 0.5. It does not use the test photographs.
"""
THIN = """\
The differences between the three sensitivities are small: of {n} photographs with grade >= 2,
{found}. The lower ends of the intervals are {lows}. Whether a grader meets a requirement between
these numbers depends on one or two photographs. A grader that meets it need not find more diseased
eyes than the others: on the same photographs, the difference between VGG19 and MobileNet in fp32
may be due to chance ([the comparison](explanation.md#a-large-network-against-a-small-one)). The
specificity of VGG19 is lower, so it sends more eyes without the disease to a human.

Each row of the following table requires another sensitivity. The measurements of VGG19 were made
with random weights. This does not matter, because latency and cost depend only on the architecture
of a network, not on its weights. MobileNet in int8 was not measured in this study. Its cost is
therefore not known, and it is not among the options. [In another
measurement](benchmarks/runtimes.md#mobilenet-prediction-alone), a prediction of the int8 MobileNet
took less time than one of the fp32 MobileNet.
"""
COMMANDS = """\
The first command makes the decision in the row 0.90 from the rows of this repository. The other
commands compare the two networks on your machine:

```sh
drdeploy recommend examples/decision --requests 50000 --p95 2 --min-sensitivity 0.9 \\
    --as-measured
make model-vgg19
drdeploy study run decision
drdeploy recommend results/decision --requests 50000 --p95 2 --min-sensitivity 0.9
```
"""
HEAD_OF_GRADERS = (
    "| grader | flagged, of the photographs with grade >= 2 | sensitivity | specificity "
    "| test photographs: sensitivity | test photographs: specificity |"
)
HEAD_OF_CHOICES = (
    "| required sensitivity | cheapest with MobileNet, fp32 | MobileNet, int8 "
    "| cheapest with VGG19, fp32 | choice among the measured options |"
)
OUR_SENSITIVITY = 0.9
SENSITIVITIES = (0.80, 0.85, 0.90, 0.92, 0.94)
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
    parser.add_argument(
        "--renew-operating-points",
        action="store_true",
        help="write the operating points of the trained networks to examples/decision",
    )
    options = parser.parse_args()
    if options.keep:
        keep(options.keep)
    if options.keep or options.renew_operating_points:
        write_operating_points_of_trained_networks()
    study = load_raw_rows_of_study()
    parts = [HEAD, f"## The 2023 study's rows\n\n{OF_STUDY}\n"]
    parts += [section(case, study, None) for case in CASES]
    if options.ours.exists():
        ours = load_results_folder(options.ours)
        parts.append(f"## This project's rows\n\n{about(ours)}\n")
        parts += [section(case, ours, OUR_SENSITIVITY) for case in CASES]
        parts.append(section_on_networks(ours))
    parts.append(
        "\n\n".join(["## Assumptions", *(f"- {s}" for s in Assumptions().sentences)]) + "\n"
    )
    PAGE.write_text("\n".join(parts), "utf-8")
    sys.stdout.write(f"wrote {PAGE.relative_to(ROOT)}\n")
    return 0


def mark_option_names(page: str) -> str:
    """Put backticks around the names of options in sentences, because the names contain commas."""
    name = re.compile(
        r"(?:mobilenet|vgg19) \w+ (?:classic|lean), (?:\d+ MB|ml\.[\w.]+ x \d+)"
        r"(?:, (?:keep-warm|provisioned-fixed|provisioned|hybrid-histogram|forecast|autoscaled"
        r"|scheduled|asynchronous|components|batch))?",
        re.IGNORECASE,
    )
    return "\n".join(
        line if line.startswith("|") else name.sub(r"`\g<0>`", line) for line in page.split("\n")
    )


def keep(results: Path) -> None:
    """Copy the files that a decision needs from a results folder."""
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
    """Return the section of one case as Markdown."""
    decision = choose_cheapest_hosting(
        measurements, PriceSheet.load(), inputs_of(case, min_sensitivity)
    )
    lines = [
        f"### {case.name}: {case.description}\n",
        f"The requirements are: {wording.write_requirements_in_one_line(decision.required)}.",
        f"The traffic is {decision.traffic}.\n",
        *(f"- {sentence}\n" for sentence in decision.answer),
        *(_variables(decision.winner) if decision.winner else ()),
        *_otherwise(case, measurements, min_sensitivity, decision),
        "",
        "| option | USD a month | per patient | p95 | cold starts | why it loses |",
        "|---|---|---|---|---|---|",
        *_rows(decision),
        "",
        *_mitigation(decision),
    ]
    return mark_option_names(re.sub("\n{3,}", "\n\n", "\n".join(lines)) + "\n")


def inputs_of(case: Case, min_sensitivity: float | None, *, at_once: int = 1) -> DecisionInputs:
    """Return the traffic, the requirements and the assumptions of a case."""
    return DecisionInputs(
        traffic=make_archive_arrivals(int(case.requests_per_month), case.may_wait_s)
        if case.may_wait_s is not None
        else Traffic(requests_per_month=case.requests_per_month, shape=SHAPES[case.shape]),
        required=Requirements(
            p95_s=case.p95_s,
            min_sensitivity=min_sensitivity,
            needs_vpc=case.needs_vpc,
            may_wait_s=case.may_wait_s,
        ),
        assumptions=Assumptions(requests_at_once=at_once),
    )


def about(measurements: Measurements) -> str:
    """Return a paragraph on how this project's rows were measured, and what they leave out."""
    frame = measurements.frame
    facts = next(iter(measurements.environment.values()), {})
    return (
        f"The study `{_all(frame['study'])}` measured these rows on this project's local service "
        f"(`platform` is {_all(frame['platform'])}, `isolation` is "
        f"{_all(frame['isolation'])}). The machine "
        f"has {facts.get('cpu_count', '?')} cores of "
        f"{facts.get('cpu_model', 'an unknown processor')}. Local latencies do not "
        "include the network, the image pull, or the time that AWS takes to place a container. "
        "The order of the options and the ratios between them are more reliable than the seconds. "
        "All rows are from the server profile `lean`. MobileNet was measured with an earlier "
        "packaged grader, and VGG19 with random weights. Latency and cost do not depend on the "
        "weights. The only instance type is ml.c5.large. The decisions from these rows have one "
        "more requirement: the lower end of the 95 % interval of the sensitivity at grade >= 2 "
        "must be at least 90 %. For MobileNet, the rates of the packaged grader in fp32 are used, "
        "and for VGG19 those of the network that `make model-vgg19` trains. "
        "`examples/decision/environment.json` contains these rates. Whether a network meets this "
        "requirement depends on [one or two photographs]"
        "(#a-required-sensitivity-mobilenet-or-vgg19)."
    )


def read_graders() -> dict[str, Clinical]:
    """Return the thresholds and operating points of the three trained graders by their names."""
    found = {
        "MobileNet, fp32": read_manifest_in_archive(box_artifact("fp32")).clinical,
        "MobileNet, int8": read_manifest_in_archive(box_artifact("int8")).clinical,
        "VGG19, fp32": msgspec.json.decode(VGG19.read_bytes(), type=Clinical),
    }
    return {name: one for name, one in found.items() if one is not None}


def write_operating_points_of_trained_networks() -> None:
    """Write the operating points of the trained networks to the facts in examples/decision.

    The rows of VGG19 were measured with random weights, and the rows of MobileNet with an earlier
    packaged grader. Latency does not depend on the weights, but sensitivity does.
    """
    graders = read_graders()
    sources = {
        "mobilenet": (graders["MobileNet, fp32"], box_artifact("fp32")),
        "vgg19": (graders["VGG19, fp32"], VGG19),
    }
    file = OURS / ENVIRONMENT_FILE
    runs = json.loads(file.read_text("utf-8"))
    for facts in runs.values():
        for trial, artifact in facts["trials"].items():
            clinical, source = sources[trial.split("-")[0]]
            artifact["operating_points"] = msgspec.to_builtins(clinical.operating_points)
            artifact["operating_points_from"] = source.relative_to(ROOT).as_posix()
    file.write_text(json.dumps(runs, indent=1) + "\n", "utf-8")


def section_on_networks(measurements: Measurements) -> str:
    """Return the section on which network meets a required sensitivity, and at what cost."""
    case = CASES[1]
    lines = [
        ON_NETWORKS,
        *write_table_of_graders(),
        "",
        write_how_small_the_differences_are(),
        f"{case.name} has {case.description} and requires a p95 of at most {case.p95_s:g} s.\n",
        HEAD_OF_CHOICES,
        "|---|---|---|---|---|",
    ]
    for required in SENSITIVITIES:
        inputs = inputs_of(case, required)
        decision = choose_cheapest_hosting(measurements, PriceSheet.load(), inputs)
        cells = [_cheapest_with(model, decision) for model in ("mobilenet", "vgg19")]
        missed = _describe_missed_sensitivity_of_int8(measurements, inputs.required)
        int8 = missed or "sensitivity and specificity are high enough; the cost was not measured"
        chosen = decision.winner.name if decision.winner else "none"
        lines.append(f"| {required:.2f} | {cells[0]} | {int8} | {cells[1]} | {chosen} |")
    return "\n".join([*lines, "", COMMANDS])


def write_table_of_graders() -> list[str]:
    """Return the lines of a table of the graders' high-sensitivity points at grade >= 2."""
    lines = [
        HEAD_OF_GRADERS,
        "|---|---|---|---|---|---|",
    ]
    for name, clinical in read_graders().items():
        point = _find_high_sensitivity_point(clinical)
        rate = point.sensitivity
        tested = _read_test_rates(name)
        lines.append(
            f"| {name} | {rate.value * rate.n:.0f} of {rate.n} | {_write_rate(rate)} | "
            f"{_write_rate(point.specificity)} | {_write_rate(tested['sensitivity'])} | "
            f"{_write_rate(tested['specificity'])} |"
        )
    return lines


def write_how_small_the_differences_are() -> str:
    """Return the paragraphs on the differences between the graders' sensitivities."""
    rates = {
        name: _find_high_sensitivity_point(clinical).sensitivity
        for name, clinical in read_graders().items()
    }
    called = {name: name.replace(", ", " in ") for name in rates}
    found = [f"{called[name]} flags {rate.value * rate.n:.0f}" for name, rate in rates.items()]
    lows = [f"{rate.low:.3f} for {called[name]}" for name, rate in rates.items()]
    return THIN.format(
        n=next(iter(rates.values())).n,
        found=f"{', '.join(found[:-1])} and {found[-1]}",
        lows=f"{', '.join(lows[:-1])} and {lows[-1]}",
    )


def _find_high_sensitivity_point(clinical: Clinical) -> OperatingPoint:
    return next(
        one
        for one in clinical.operating_points
        if (one.name, one.at_or_above) == ("high_sensitivity", 2)
    )


def _read_test_rates(grader: str) -> dict[str, Any]:
    """Return sensitivity and specificity of a grader on the test photographs, from the evidence."""
    network, precision = grader.lower().split(", ")
    metrics = json.loads((EVIDENCE / f"{network}-idrid" / "metrics.json").read_text("utf-8"))
    if network == "vgg19":
        rates: dict[str, Any] = metrics["test"]["vgg19"]["grade_2"]["high_sensitivity_point"]
    else:
        rates = metrics["test"][precision]["referable"]["operating_points"]["high_sensitivity"]
    return rates


def _write_rate(rate: Rate | dict[str, Any]) -> str:
    fields = msgspec.to_builtins(rate)
    value, low, high = (fields[name] for name in ("value", "low", "high"))
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def _describe_missed_sensitivity_of_int8(measurements: Measurements, required: Requirements) -> str:
    points = read_graders()["MobileNet, int8"].operating_points
    any_one = collect_measured_configurations(measurements)[0]
    return describe_missed_sensitivity(replace(any_one, operating_points=points), required)


def _cheapest_with(model: str, decision: Decision) -> str:
    """Return a model's cheapest option that meets every requirement, or why there is none."""
    options = [one for one in decision.options if one.model == model and one.is_deployable]
    good = [one for one in options if not one.failures and one.usd_per_month is not None]
    if good:
        best = min(good, key=lambda one: one.usd_per_month or 0.0)
        size = f"{best.size}, {best.policy}" if best.policy != "nothing" else best.size
        return f"{wording.format_usd(best.usd_per_month)} a month ({size})"
    fewest = min(options, key=lambda one: len(one.failures))
    return "; ".join(fewest.failures)


def _all(column: pd.Series) -> str:
    return ", ".join(sorted(set(column)))


def _rows(decision: Decision) -> Iterator[str]:
    """Yield the rows of the table: the winner, and the best option of each model, size and kind."""
    shown: set[tuple[str, str, str]] = set()
    for option in decision.options:
        if (option.model, option.size, option.kind) in shown:
            continue
        if option.kind in WAYS_SHOWN_ONCE:
            if option.kind in {kind for _, _, kind in shown}:
                continue
            shown.add((option.model, option.size, option.kind))
            yield _row(option, decision)
            continue
        shown.add((option.model, option.size, option.kind))
        if len(shown) <= 1 or _is_shown(option, decision):
            yield _row(option, decision)


def _is_shown(option: EvaluatedOption, decision: Decision) -> bool:
    """Return whether the table shows an option.

    Plain serverless and real-time options are always shown. Others are shown only for the network
    and the size of the winner.
    """
    winner = decision.winner
    own = winner and (option.model, option.size) == (winner.model, winner.size)
    return bool(own) or option.kind in {"serverless", "real-time"}


def _row(option: EvaluatedOption, decision: Decision) -> str:
    cold = f"{option.cold_share:.2%}" if option.policy else "none"
    return (
        f"| {option.name} | {wording.format_usd(option.usd_per_month).removesuffix(' USD')} | "
        f"{wording.format_usd(option.usd_per_patient)} | {wording.format_seconds(option.p95_s)} | "
        f"{cold} | {_why(option, decision)} |"
    )


def _why(option: EvaluatedOption, decision: Decision) -> str:
    winner = decision.winner
    if option is winner:
        return "**it wins**"
    if option.failures:
        return "; ".join(option.failures)
    if not option.is_deployable and not option.policy:
        return "this project has no Terraform module for this way of hosting"
    if not option.is_deployable:
        return "research: this option exists only in the simulation"
    if winner and option.name in decision.equivalent:
        return _why_in_tie(option, winner)
    more = (option.usd_per_month or 0.0) - ((winner.usd_per_month if winner else 0.0) or 0.0)
    return f"{wording.format_usd(more)} a month more"


def _why_in_tie(option: EvaluatedOption, winner: EvaluatedOption) -> str:
    if len(option.operated_parts) > len(winner.operated_parts):
        return f"a tie, but this option also needs {' and '.join(option.operated_parts)}"
    if (option.p95_s or 0.0) > (winner.p95_s or 0.0) * (1 + SAME_SPEED_SHARE):
        return "a tie, but this option is slower"
    return "a tie, and as fast within 5 %, but dearer"


def _variables(winner: EvaluatedOption) -> Iterator[str]:
    """Yield lines with the winner's Terraform variables, and the command that reads them."""
    name = " NAME" * (winner.command == "endpoint deploy")
    command = f"drdeploy {winner.command}{name} --variables"
    yield (
        "\n- With `--tfvars FILE`, `drdeploy recommend` writes the following Terraform variables "
        f"to a file, and `{command} FILE` reads them:"
    )
    yield ""
    yield "  ```json"
    yield from (f"  {line}" for line in json.dumps(winner.settings, indent=1).splitlines())
    yield "  ```"
    yield ""


def _otherwise(
    case: Case, measurements: Measurements, min_sensitivity: float | None, decision: Decision
) -> Iterator[str]:
    """Yield the decision with two more assumptions.

    Where a price is not known, a price is assumed. An instance is assumed to handle four requests
    at once.
    """
    sheet = PriceSheet.load()
    for assumed in (ASSUMED_PRICES, ASSUMED_HOURS):
        sheet = sheet.joined(PriceSheet.load(assumed))
    other = choose_cheapest_hosting(
        measurements, sheet, inputs_of(case, min_sensitivity, at_once=4)
    )
    yield (
        "\nThe decision above leaves out options whose prices are not known. What if they are "
        "included, at assumed prices? If the price of provisioned concurrency is not known, it is "
        "assumed to be the same share of the on-demand price as on AWS Lambda ([price sheet with "
        "these prices](../examples/assumed-provisioned-prices.toml)). For asynchronous endpoints "
        "and batch transform, an instance is assumed to cost as much per hour as for a real-time "
        "endpoint ([price sheet with these "
        "prices](../examples/assumed-asynchronous-and-batch-prices.toml)). An instance is also "
        "assumed to handle four requests at once. The decision is then:\n"
    )
    winner = other.winner
    same = winner and decision.winner and winner.name == decision.winner.name
    if winner:
        kept = "still wins" if same else "wins"
        yield f"\n- {winner.name} {kept}, at {wording.format_usd(winner.usd_per_month)} a month."
    if winner and not same:
        yield from _variables(winner)
    provisioned = [
        one
        for one in other.options
        if one.policy == "provisioned" and one.usd_per_month is not None
    ]
    if provisioned:
        best = min(provisioned, key=lambda one: one.usd_per_month or 0.0)
        yield (
            f"\n- The cheapest option with provisioned concurrency is {best.name}. This option "
            f"costs {wording.format_usd(best.usd_per_month)} a month. Its p95 is "
            f"{wording.format_seconds(best.p95_s)}, and {best.cold_share:.2%} of its requests "
            "are cold starts."
        )
    waiting = [
        one
        for one in other.runners_up
        if one.kind in {"asynchronous", "batch", "real-time, scheduled"}
    ]
    for one in sorted(waiting, key=lambda one: one.usd_per_month or 0.0)[:2]:
        yield (
            f"\n- {one.name} would cost {wording.format_usd(one.usd_per_month)} a month "
            f"({one.description})."
        )
    yield from (f"\n- {wording.write_break_even_sentence(one)}" for one in other.break_even)


def _mitigation(decision: Decision) -> Iterator[str]:
    if decision.mitigation is None:
        return
    yield f"{wording.write_best_policy_sentence(decision)}\n"
    yield "| policy | cold starts a month | p95 | USD a month | USD per avoided cold start |"
    yield "|---|---|---|---|---|"
    for line in decision.mitigation.lines:
        avoided = "" if line.usd_per_avoided is None else f"{line.usd_per_avoided:.2g}"
        policy = line.policy if line.is_deployable else f"{line.policy} (research)"
        yield (
            f"| {policy} | {line.cold_starts:.3g} | {wording.format_seconds(line.p95_s)} | "
            f"{wording.format_usd(line.usd).removesuffix(' USD')} | {avoided or line.note or '-'} |"
        )
    yield ""


if __name__ == "__main__":
    sys.exit(main())
