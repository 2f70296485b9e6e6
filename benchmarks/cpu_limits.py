"""Measure which runtime settings are fastest under a CPU limit, and whether batches are faster.

Run ``python benchmarks/cpu_limits.py``. It takes about five minutes, or a third of that with
``--quick``. The benchmark measures:

- ONNX Runtime and OpenVINO under the CPU limits of SageMaker's memory sizes, with one thread and
  with two. Idle threads of ONNX Runtime either spin, which uses CPU time, or sleep. There are two
  loads: single photographs with pauses between them, and as many photographs as possible. The
  settings that drdeploy chooses are measured too.
- Batches of 1, 2, 4 and 8 photographs. For comparison, two threads each run the model on one
  photograph at a time.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.statistics.percentiles import estimate_median
from harness.limits import control_groups
from harness.loaders import Spec
from harness.models import forms_of
from harness.options import parser_for, read_options
from harness.page import Page, Target, rounded
from harness.predictor import opened
from harness.rounds import interleaved, ratio, written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.local.instances.cgroups import ControlGroups
    from drdeploy.statistics.estimate import Estimate
    from harness.models import Forms
    from harness.options import Options
    from harness.predictor import Predictor

SHARE_OF_BEST = 0.85
LIMITS = (0.58, 1.16, 1.74, 2.0)
"""The CPU limits, in CPUs, of endpoints with 1024, 2048, 3072, and 4096 MB or more. The machine has
two CPUs, so the last limit is 2.
"""
NOW_AND_THEN_S = 0.15
"""Seconds between photographs. The kernel limits CPU time in periods of 100 ms, and this pause is
longer than a period.
"""
BATCHES = (1, 2, 4, 8)
IDLE = (
    ("onnxruntime", 1, "wait"), ("onnxruntime", 2, "wait"), ("onnxruntime", 2, "spin"),
    ("openvino", 1, ""), ("openvino", 2, ""),
)  # fmt: skip
"""The settings that are measured under each CPU limit: the runtime, the number of its threads, and
whether idle threads spin or wait.
"""

INTRODUCTION = """
The model is the packaged grader, a MobileNet in int8.  Only the prediction is measured, on
photographs that are already decoded, in control groups with a CPU quota.  *Now and then* is the
median latency with a pause of 150 ms before each photograph.  *Photographs/s* is the throughput
with as many threads as CPUs, rounded up.  *Spin* is ONNX Runtime's default, and *chooses* is the
setting that drdeploy chooses.  The targets give the share of the best setting's speed that
drdeploy's choice reaches.  A target counts as missed only if the whole interval of this share is
below 85 %.
"""


def main() -> int:
    """Run the benchmark, write its page of results, and print which targets are met."""
    options = read_options(parser_for(__doc__))
    page = Page("cpu_limits", "Under a CPU limit", INTRODUCTION, options)
    forms = forms_of("mobilenet")
    with control_groups() as groups:
        if groups is None:
            page.text("No control groups here: nothing was measured under CPU limits.")
        else:
            under_limits(page, forms, options, groups)
    batches(page, forms, options)
    return page.finish()


def under_limits(page: Page, forms: Forms, options: Options, groups: ControlGroups) -> None:
    """Measure latency and throughput of each runtime and setting at each CPU limit."""
    calls, seconds = options.budget.calls(5), options.budget.seconds(0.6)
    page.text("## Under a CPU limit (MobileNet, int8)")
    header = ["CPUs", "runtime", "threads", "idle threads", "now and then", "photographs/s"]
    rows, lines = [], {}
    for cpus in LIMITS[:1] if options.is_smoke else LIMITS:
        specs = {
            (kind, threads, idle): Spec(
                kind,
                str(forms.onnx("int8")),
                "int8",
                threads,
                spins=None if kind == "openvino" else idle == "spin",
                cpus=cpus,
            )
            for kind, threads, idle in (IDLE[:1] if options.is_smoke else IDLE)
        }
        specs["drdeploy", 0, "chooses"] = Spec(
            "drdeploy", str(forms.int8), "int8", threads=0, cpus=cpus
        )
        with ExitStack() as stack:
            asked = {}
            for cell, spec in specs.items():
                name = f"{cpus}-{'-'.join(map(str, cell))}"
                asked[cell] = partial(
                    both, opened(stack, spec, groups, name), calls, seconds, ceil(cpus)
                )
            found = interleaved(asked, options.budget.rounds)
        latency = {cell: [one for one, _ in values] for cell, values in found.items()}
        throughput = {cell: [other for _, other in values] for cell, values in found.items()}
        for cell in sorted(found, key=lambda c: float(np.median(latency[c]))):
            kind, threads, idle = cell
            rows.append([
                cpus, kind, threads or "own choice", idle,
                written(estimate_median(latency[cell]).multiplied_by(1e3), "ms"),
                written(estimate_median(throughput[cell])),
            ])  # fmt: skip
            label = f"{kind} {idle} x{threads}" if threads else "drdeploy"
            lines.setdefault(label, []).append((cpus, float(np.median(throughput[cell]))))
        for what, values in (("now and then", latency), ("images per second", throughput)):
            page.rows += [
                {"model": forms.name, "measured": f"{what}, {cell[2]}", "runtime": cell[0],
                 "precision": "int8", "threads": cell[1], "cpus": cpus, "round": place,
                 "value": rounded(value)}
                for cell, rounds in values.items() for place, value in enumerate(rounds)
            ]  # fmt: skip
        if len(latency) > 1:
            check_choice(page, cpus, latency, throughput)
    page.table(header, rows)
    page.line_plot(
        "limits", "Full load under a CPU limit", ("CPUs", "photographs/s"),
        [(label, [x for x, _ in points], [y for _, y in points])
         for label, points in lines.items()],
    )  # fmt: skip


def both(predictor: Predictor, calls: int, seconds: float, callers: int) -> tuple[float, float]:
    """Measure the latency with pauses between photographs, and the throughput without pauses."""
    latency = float(np.median(predictor.latencies_s(calls, NOW_AND_THEN_S)))
    return latency, predictor.throughput_per_s(seconds, callers)


def check_choice(
    page: Page,
    cpus: float,
    latency: Mapping[tuple[str, int, str], list[float]],
    throughput: Mapping[tuple[str, int, str], list[float]],
) -> None:
    """Compare the setting that drdeploy chooses with the best settings of ONNX Runtime."""
    ours = ("drdeploy", 0, "chooses")
    rivals = [cell for cell in latency if cell[0] == "onnxruntime"]
    fastest = min(rivals, key=lambda cell: float(np.median(latency[cell])))
    fullest = max(rivals, key=lambda cell: float(np.median(throughput[cell])))
    shares: list[tuple[str, Estimate]] = [
        ("latency", ratio(latency[fastest], latency[ours])),
        ("throughput", ratio(throughput[ours], throughput[fullest])),
    ]
    page.targets += [
        Target(
            f"drdeploy's choice at {cpus:g} CPUs: {what} within 15 % of the best setting",
            (share.high or share.value or 0) >= SHARE_OF_BEST,
            written(share),
        )
        for what, share in shares
    ]


def batches(page: Page, forms: Forms, options: Options) -> None:
    """Compare predicting several photographs in one batch with predicting each one separately."""
    sizes = BATCHES[:2] if options.is_smoke else BATCHES
    specs = {
        (precision, size): Spec(
            "onnxruntime", str(forms.onnx(precision)), precision, threads=2, batch=size
        )
        for precision in ("int8", "fp32")
        for size in sizes
    }
    calls = options.budget.calls(10)
    with ExitStack() as stack:
        asked = {
            cell: partial(opened(stack, spec).fastest_s, calls) for cell, spec in specs.items()
        }
        # What a server does today: two callers side by side, with one thread each.
        pair = opened(stack, Spec("onnxruntime", str(forms.onnx("int8")), "int8", threads=1))
        seconds = options.budget.seconds(0.5)
        asked["int8, two callers of one thread", 1] = lambda: 1 / pair.throughput_per_s(seconds, 2)
        found = interleaved(asked, options.budget.rounds)
    each = {cell: np.array(values) / cell[1] for cell, values in found.items()}
    page.rows += [
        {"model": forms.name, "measured": f"seconds per image, batch of {size}",
         "runtime": "onnxruntime", "precision": precision, "threads": 2, "round": place,
         "value": rounded(float(value))}
        for (precision, size), values in each.items() for place, value in enumerate(values)
    ]  # fmt: skip
    page.text("## Micro-batching")
    page.table(
        ["MobileNet", "batch", "per photograph", "x one at a time"],
        [
            [precision, size, written(estimate_median(values).multiplied_by(1e3), "ms"),
             written(ratio(each[precision.split(",")[0], 1], values))]
            for (precision, size), values in each.items()
        ],
    )  # fmt: skip
    gain = max(
        (ratio(each["int8, two callers of one thread", 1], each["int8", size]) for size in sizes),
        key=lambda estimate: estimate.value or 0.0,
    )
    page.text(
        "Two threads that predict one photograph each already keep both cores busy.  "
        f"The best batch is {written(gain)} times as fast as these threads, which "
        + ("justifies batching." if (gain.low or 0) > 1.1 else "does not justify batching.")
    )


if __name__ == "__main__":
    sys.exit(main())
