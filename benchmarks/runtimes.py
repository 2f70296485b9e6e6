"""Runtimes x precisions x models x threads, and what to choose at which CPU limit.

Run ``python benchmarks/runtimes.py`` (about five minutes; ``--quick`` a third of it).  Each
predictor is a process of its own; all of one model are asked in turn in every round.

- Latency of one photograph, with the share of the machine's peak: what a large matrix product
  of the same precision reaches in the same rounds.
- Our path (from a batch to checked probabilities) against the best runtime in fp32.
- Batches of 1, 2, 4 and 8: whether micro-batching would win.
- Under the CPU limits of SageMaker's memory sizes: ONNX Runtime and OpenVINO, one thread or two,
  idle threads that spin or wait, for one photograph now and then and for a full house.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.analysis.statistics import Estimate, median
from drdeploy.artifacts import open_artifact
from drdeploy.serving.inference import InferenceService
from harness.limits import control_groups
from harness.models import Forms, forms_of, photographs
from harness.options import Options, parser_for, read_options
from harness.page import Bar, Page, at_least, rounded
from harness.predictor import Predictor, Spec
from harness.rounds import interleaved, ratio, written

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CALLS = {"mobilenet": 20, "vgg19": 3}
FLOORS = {"mobilenet": 25.0, "vgg19": 5.0}
SHARE_OF_BEST = 0.85
LIMITS = (0.58, 1.16, 1.74, 2.0)
"""CPUs at 1024, 2048, 3072 and 4096 MB or more on a machine of two."""
NOW_AND_THEN_S = 0.15
"""Between photographs: more than a period of the kernel's quota, which is 100 ms."""
BATCHES = (1, 2, 4, 8)
JUDGED = 40
STUDY = ("keras", "fp32", 2)
KINDS = (
    ("keras", "fp32"), ("signature", "fp32"), ("onnxruntime", "fp32"), ("openvino", "fp32"),
    ("openvino", "bf16"), ("onnxruntime", "int8"), ("openvino", "int8"), ("drdeploy", "fp32"),
    ("drdeploy", "int8"), ("gemm", "fp32"), ("gemm", "bf16"), ("gemm", "int8"),
)  # fmt: skip
"""Kinds of predictor, and their precisions."""
SMOKED = ("keras", "drdeploy", "gemm")
IDLE = (
    ("onnxruntime", 1, "wait"), ("onnxruntime", 2, "wait"), ("onnxruntime", 2, "spin"),
    ("openvino", 1, ""), ("openvino", 2, ""),
)  # fmt: skip
"""Under a CPU limit: kinds of predictor, threads, and what idle ones do."""

Cell = tuple[str, str, int]
"""Kind of predictor, precision, threads."""


def main() -> int:
    """Measure, write the page, say which bars are met."""
    parser = parser_for(__doc__)
    parser.add_argument("--models", nargs="+", choices=CALLS, default=list(CALLS))
    options = read_options(parser)
    page = Page("runtimes", "Runtimes, precisions, threads", INTRODUCTION, options)
    with control_groups() as groups:
        for name in options.more.models:
            forms = forms_of(name)
            matrix(page, forms, options)
            agreement(page, forms, options)
        forms = forms_of("mobilenet")
        batches(page, forms, options)
        if groups is None:
            page.text("No control groups here: nothing was measured under CPU limits.")
        else:
            under_limits(page, forms, options, groups)
    return page.finish()


INTRODUCTION = """
One photograph of 224 x 224, already decoded: the prediction alone.  `keras` is `model.predict`, as
the original study serves; `signature` the same SavedModel called directly; `drdeploy` our whole
path around ONNX Runtime.  MobileNet is the grader in the box, whose int8 form was accepted by the
quantization verdict; VGG19 has random weights, so its latency is real and its grades mean nothing.
bf16 is computed by OpenVINO alone (ONNX Runtime widens it to fp32).  The peak is what a matrix
product of 1536 x 1536 reaches in that precision in the same rounds.  A round's value is its
quickest call, which other work on the machine disturbs least; under a CPU limit the median.
"""


def matrix(page: Page, forms: Forms, options: Options) -> None:
    """Every runtime at every precision on one thread and on two."""
    cells = [(kind, precision, threads) for threads in (1, 2) for kind, precision in KINDS]
    if options.is_smoke:
        cells = [
            cell for cell in cells if cell[2] == 2 and cell[0] in {"keras", "drdeploy", "gemm"}
        ]
    specs = {cell: spec_of(forms, *cell) for cell in cells}
    calls = options.budget.calls(CALLS[forms.name])
    with ExitStack() as stack:
        predictors = {cell: opened(stack, spec) for cell, spec in specs.items()}
        asked: Mapping[Cell, Callable[[], float]] = {
            cell: partial(quickest_s, predictor, calls) for cell, predictor in predictors.items()
        }
        found = interleaved(asked, options.budget.rounds)
    keep(page, forms.name, "latency", found)
    page.text(f"## {forms.name}: prediction alone")
    peaks = {cell[1:]: 2 * 1536**3 / min(s) for cell, s in found.items() if cell[0] == "gemm"}
    rows, bars = [], []
    for cell in sorted((c for c in found if c[0] != "gemm"), key=lambda c: median(found[c]).value):
        kind, precision, threads = cell
        latency = median(found[cell]).scaled(1e3)
        speed = forms.flop / median(found[cell]).value
        rows.append([
            kind, precision, threads, written(latency, "ms"), f"{speed / 1e9:.0f}",
            f"{100 * speed / peaks[precision, threads]:.0f} %",
            written(ratio(found[STUDY], found[cell])),
        ])  # fmt: skip
        bars.append((f"{kind} {precision} x{threads}", latency, int(kind != "drdeploy")))
    page.table(
        ["runtime", "precision", "threads", "latency", "Gop/s", "of the peak", "x model.predict"],
        rows,
    )
    page.text("Peak, Gop/s: " + ", ".join(
        f"{precision} x{threads} {peak / 1e9:.0f}"
        for (precision, threads), peak in sorted(peaks.items())) + ".")  # fmt: skip
    page.bar_plot(forms.name, f"{forms.name}: one prediction", "ms", bars)
    judge_speed(page, forms, found)


def judge_speed(page: Page, forms: Forms, found: Mapping[Cell, list[float]]) -> None:
    """The bars."""
    faster = ratio(found[STUDY], found["drdeploy", "int8", 2])
    page.bars.append(at_least(
        f"{forms.name} int8, our path, at least {FLOORS[forms.name]:g} x as fast as model.predict",
        faster, FLOORS[forms.name], f"{written(faster)} x",
    ))  # fmt: skip
    rivals = [c for c in found if c[1:] == ("fp32", 2) and c[0] not in {"gemm", "drdeploy"}]
    best = min(rivals, key=lambda c: float(np.median(found[c])))
    share = ratio(found[best], found["drdeploy", "fp32", 2])
    page.bars.append(at_least(
        f"{forms.name} fp32, our path, at least {SHARE_OF_BEST:.0%} of the best ({best[0]})",
        share, SHARE_OF_BEST, written(share),
    ))  # fmt: skip


def spec_of(forms: Forms, kind: str, precision: str, threads: int) -> Spec:
    """Which file a kind of predictor loads."""
    model = {
        "keras": forms.keras,
        "signature": forms.saved_model,
        "drdeploy": forms.int8 if precision == "int8" else forms.fp32,
    }.get(kind, forms.onnx(precision))
    return Spec(kind, str(model), precision, threads)  # type: ignore[arg-type]


def opened(stack: ExitStack, spec: Spec, *more: object) -> Predictor:
    """A predictor that the stack closes."""
    predictor = Predictor(spec, *more)  # type: ignore[arg-type]
    stack.callback(predictor.close)
    return predictor


def quickest_s(predictor: Predictor, calls: int) -> float:
    """The quickest of a round's calls: what other work on the machine disturbs least."""
    return min(predictor.latencies_s(calls))


def keep(page: Page, model: str, what: str, found: Mapping[Cell, list[float]]) -> None:
    """Rows for the CSV."""
    page.rows += [
        {
            "model": model, "measured": what, "runtime": kind, "precision": precision,
            "threads": threads, "round": place, "value": rounded(value),
        }
        for (kind, precision, threads), values in found.items()
        for place, value in enumerate(values)
    ]  # fmt: skip


def agreement(page: Page, forms: Forms, options: Options) -> None:
    """Whether int8 gives the grades of fp32, and what the verdict on it was."""
    files = photographs()[: options.budget.calls(JUDGED) if not options.is_smoke else 2]
    services = [InferenceService.load(folder) for folder in (forms.fp32, forms.int8)]
    pairs = [
        (one, other)
        for file in files
        for one, other in [[s.infer([file])[0].prediction for s in services]]
        if one is not None and other is not None
    ]
    same = sum(one.grade == other.grade for one, other in pairs)
    apart = max(float(np.abs(a.probabilities - b.probabilities).max()) for a, b in pairs)
    verdict = open_artifact(forms.int8).manifest.quantization
    said = (
        f"the verdict in its manifest is *{verdict.verdict}* ({verdict.reason})"
        if verdict is not None
        else "there is no verdict on it: random weights have no sensitivity to lose"
    )
    page.text(
        f"{forms.name} in int8 gave the grade of fp32 on {same} of {len(pairs)} photographs, "
        f"probabilities at most {apart:.3f} apart; {said}."
    )


def batches(page: Page, forms: Forms, options: Options) -> None:
    """Whether several photographs at once are cheaper than one after the other."""
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
            cell: partial(quickest_s, opened(stack, spec), calls) for cell, spec in specs.items()
        }
        # What a server does today: two threads of one each, side by side.
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
            [precision, size, written(median(values).scaled(1e3), "ms"),
             written(ratio(each[precision.split(",")[0], 1], values))]
            for (precision, size), values in each.items()
        ],
    )  # fmt: skip
    gain = max(
        (ratio(each["int8, two callers of one thread", 1], each["int8", size]) for size in sizes),
        key=lambda estimate: estimate.value or 0.0,
    )
    page.text(
        "Threads that predict one photograph each already keep both cores busy.  The best batch "
        f"is {written(gain)} x as fast as they are: "
        + ("worth building." if (gain.low or 0) > 1.1 else "not worth the wait for a full batch.")
    )


def under_limits(page: Page, forms: Forms, options: Options, groups: object) -> None:
    """One photograph now and then, and a full house, at each CPU limit."""
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
        house = {cell: [other for _, other in values] for cell, values in found.items()}
        for cell in sorted(found, key=lambda c: float(np.median(latency[c]))):
            kind, threads, idle = cell
            rows.append([
                cpus, kind, threads or "own choice", idle,
                written(median(latency[cell]).scaled(1e3), "ms"), written(median(house[cell])),
            ])  # fmt: skip
            label = f"{kind} {idle} x{threads}" if threads else "drdeploy"
            lines.setdefault(label, []).append((cpus, float(np.median(house[cell]))))
        for what, values in (("now and then", latency), ("images per second", house)):
            page.rows += [
                {"model": forms.name, "measured": f"{what}, {cell[2]}", "runtime": cell[0],
                 "precision": "int8", "threads": cell[1], "cpus": cpus, "round": place,
                 "value": rounded(value)}
                for cell, rounds in values.items() for place, value in enumerate(rounds)
            ]  # fmt: skip
        judge_choice(page, cpus, latency, house)
    page.table(header, rows)
    page.line_plot(
        "limits", "Full house under a CPU limit", ("CPUs", "photographs/s"),
        [(label, [x for x, _ in points], [y for _, y in points])
         for label, points in lines.items()],
    )  # fmt: skip


def both(predictor: Predictor, calls: int, seconds: float, callers: int) -> tuple[float, float]:
    """Latency of one now and then, and images per second of a full house."""
    latency = float(np.median(predictor.latencies_s(calls, NOW_AND_THEN_S)))
    return latency, predictor.throughput_per_s(seconds, callers)


def judge_choice(
    page: Page,
    cpus: float,
    latency: Mapping[tuple[str, int, str], list[float]],
    house: Mapping[tuple[str, int, str], list[float]],
) -> None:
    """What the product chooses by itself should be among the best of ONNX Runtime."""
    ours = ("drdeploy", 0, "chooses")
    rivals = [cell for cell in latency if cell[0] == "onnxruntime"]
    quickest = min(rivals, key=lambda cell: float(np.median(latency[cell])))
    fullest = max(rivals, key=lambda cell: float(np.median(house[cell])))
    shares: list[tuple[str, Estimate]] = [
        ("latency", ratio(latency[quickest], latency[ours])),
        ("throughput", ratio(house[ours], house[fullest])),
    ]
    page.bars += [
        Bar(
            f"own choice at {cpus:g} CPUs within 15 % of the best setting's {what}",
            (share.high or share.value or 0) >= SHARE_OF_BEST,
            written(share),
        )
        for what, share in shares
    ]


if __name__ == "__main__":
    sys.exit(main())
