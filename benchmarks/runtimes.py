"""Measure how fast several runtimes predict, in several precisions and with one or two threads.

The speeds are compared with that of ``model.predict`` of Keras, and with the machine's peak: the
speed of a large matrix product of the same precision.

Run ``python benchmarks/runtimes.py`` (about five minutes, or a third of this time with
``--quick``). Each runtime runs in a process of its own, and each round measures every runtime once.
The benchmark measures:

- Latency of one photograph, and the speed as a share of the machine's peak, which is measured in
  the same rounds.
- drdeploy's whole prediction code, which also checks the probabilities, compared with the fastest
  runtime in fp32.
- Whether int8 gives the same grades as fp32.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.grader.artifacts import open_artifact
from drdeploy.grader.inference import InferenceService
from drdeploy.statistics.percentiles import estimate_median
from harness.loaders import Spec
from harness.models import Forms, forms_of, photographs
from harness.options import Options, parser_for, read_options
from harness.page import Page, at_least, rounded
from harness.predictor import opened
from harness.rounds import interleaved, ratio, written

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CALLS = {"mobilenet": 20, "vgg19": 3}
TARGETS = {"mobilenet": 25.0, "vgg19": 5.0}
SHARE_OF_BEST = 0.85
COMPARED = 40
STUDY = ("keras", "fp32", 2)
KINDS = (
    ("keras", "fp32"), ("signature", "fp32"), ("onnxruntime", "fp32"), ("openvino", "fp32"),
    ("openvino", "bf16"), ("onnxruntime", "int8"), ("openvino", "int8"), ("drdeploy", "fp32"),
    ("drdeploy", "int8"), ("gemm", "fp32"), ("gemm", "bf16"), ("gemm", "int8"),
)  # fmt: skip
"""Kinds of predictor, and the precisions that each is measured in."""
SMOKED = ("keras", "drdeploy", "gemm")

Cell = tuple[str, str, int]
"""One setting that is measured: the kind of predictor, its precision, and its number of threads."""


def main() -> int:
    """Measure, write the page, and print which targets are met."""
    parser = parser_for(__doc__)
    parser.add_argument("--models", nargs="+", choices=CALLS, default=list(CALLS))
    options = read_options(parser)
    page = Page("runtimes", "Runtimes, precisions, threads", INTRODUCTION, options)
    for name in options.more.models:
        forms = forms_of(name)
        matrix(page, forms, options)
        agreement(page, forms, options)
    return page.finish()


INTRODUCTION = """
Only the prediction is measured, for one photograph of 224 x 224 pixels that is already decoded.
`keras` is `model.predict`, which the 2023 study used.  `signature` calls the SavedModel directly.
`drdeploy` is drdeploy's whole prediction code, which uses ONNX Runtime.  MobileNet is the packaged
grader; the page says below how `drdeploy model quantize` judges its int8 form.  VGG19 has random
weights, so its latency is valid but its grades mean nothing.  Only OpenVINO computes in bf16,
because ONNX Runtime converts bf16 to fp32.  The peak is the speed of a matrix product of 1536 x
1536 in the same precision and the same rounds.  The value of a round is its fastest call, which
other work on the machine disturbs least.
"""


def matrix(page: Page, forms: Forms, options: Options) -> None:
    """Measure every runtime in every precision, with one thread and with two."""
    cells = [(kind, precision, threads) for threads in (1, 2) for kind, precision in KINDS]
    if options.is_smoke:
        cells = [cell for cell in cells if cell[2] == 2 and cell[0] in SMOKED]
    specs = {cell: spec_of(forms, *cell) for cell in cells}
    calls = options.budget.calls(CALLS[forms.name])
    with ExitStack() as stack:
        predictors = {cell: opened(stack, spec) for cell, spec in specs.items()}
        asked: Mapping[Cell, Callable[[], float]] = {
            cell: partial(predictor.fastest_s, calls) for cell, predictor in predictors.items()
        }
        found = interleaved(asked, options.budget.rounds)
    keep(page, forms.name, "latency", found)
    page.text(f"## {forms.name}: prediction alone")
    peaks = {cell[1:]: 2 * 1536**3 / min(s) for cell, s in found.items() if cell[0] == "gemm"}
    rows, bars = [], []
    for cell in sorted(
        (c for c in found if c[0] != "gemm"), key=lambda c: estimate_median(found[c]).value
    ):
        kind, precision, threads = cell
        latency = estimate_median(found[cell]).multiplied_by(1e3)
        speed = forms.flop / estimate_median(found[cell]).value
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
    page.text("The processor's peak, in Gop/s, is " + ", ".join(
        f"{peak / 1e9:.0f} in {precision} with {threads} thread{'s' * (threads > 1)}"
        for (precision, threads), peak in sorted(peaks.items())) + ".")  # fmt: skip
    page.bar_plot(forms.name, f"{forms.name}: one prediction", "ms", bars)
    check_speed(page, forms, found)


def check_speed(page: Page, forms: Forms, found: Mapping[Cell, list[float]]) -> None:
    """Compare the measured speeds with the targets."""
    faster = ratio(found[STUDY], found["drdeploy", "int8", 2])
    page.targets.append(at_least(
        f"{forms.name} int8: drdeploy at least {TARGETS[forms.name]:g} x as fast as model.predict",
        faster, TARGETS[forms.name], f"{written(faster)} x",
    ))  # fmt: skip
    rivals = [c for c in found if c[1:] == ("fp32", 2) and c[0] not in {"gemm", "drdeploy"}]
    best = min(rivals, key=lambda c: float(np.median(found[c])))
    share = ratio(found[best], found["drdeploy", "fp32", 2])
    page.targets.append(at_least(
        f"{forms.name} fp32: drdeploy at least {SHARE_OF_BEST:.0%} as fast as the fastest other "
        f"runtime ({best[0]})",
        share, SHARE_OF_BEST, written(share),
    ))  # fmt: skip


def spec_of(forms: Forms, kind: str, precision: str, threads: int) -> Spec:
    """Return the model and the settings for a runtime of the given kind."""
    model = {
        "keras": forms.keras,
        "signature": forms.saved_model,
        "drdeploy": forms.int8 if precision == "int8" else forms.fp32,
    }.get(kind, forms.onnx(precision))
    return Spec(kind, str(model), precision, threads)  # type: ignore[arg-type]


def keep(page: Page, model: str, what: str, found: Mapping[Cell, list[float]]) -> None:
    """Add the measured values to the rows of the CSV file."""
    page.rows += [
        {
            "model": model, "measured": what, "runtime": kind, "precision": precision,
            "threads": threads, "round": place, "value": rounded(value),
        }
        for (kind, precision, threads), values in found.items()
        for place, value in enumerate(values)
    ]  # fmt: skip


def agreement(page: Page, forms: Forms, options: Options) -> None:
    """Compare the grades in int8 and fp32, and quote the verdict of ``drdeploy model quantize``."""
    files = photographs()[: options.budget.calls(COMPARED) if not options.is_smoke else 2]
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
    verdict_text = (
        f"`drdeploy model quantize` *{verdict.verdict}* the int8 model ({verdict.reason})"
        if verdict is not None
        else (
            "The int8 model was not tested against fp32: a network with random weights "
            "has no sensitivity to lose"
        )
    )
    page.text(
        f"{forms.name} gave the same grade in int8 and in fp32 on {same} of {len(pairs)} "
        f"photographs. The probabilities differ by at most {apart:.3f}.  {verdict_text}."
    )


if __name__ == "__main__":
    sys.exit(main())
