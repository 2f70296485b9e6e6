"""Measure how much longer grading takes through the lean server than without a server.

Run ``python benchmarks/server_overhead.py`` (half a minute). In each round, a photograph is graded
in this process, and by a server on this machine, over a connection that stays open. Each round
grades the photograph many times in both ways. The overhead is the difference between the median
times of the two ways. It must be at most 1.5 ms. The page also shows by how much the server's time
exceeds the time of the model alone. This difference includes decoding, the quality check and the
transform.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.grader.inference import InferenceService
from drdeploy.grader.synthetic.photograph import paint_synthetic_photograph
from drdeploy.statistics.percentiles import estimate_median
from harness.load import closed_loop, request_of
from harness.models import forms_of
from harness.options import Options, parser_for, read_options
from harness.page import Page, Target, rounded
from harness.rounds import interleaved, written
from harness.servers import ours, running

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.statistics.estimate import Estimate

AT_MOST_MS = 1.5
CALLS = 60
SECONDS = 1.0
UNCOUNTED = 3

INTRODUCTION = """
The model is MobileNet in fp32 on ONNX Runtime.  The client sends a painted
photograph of 224 x 224 pixels as JPEG, over a connection that stays open.  *In process* decodes,
checks, transforms and predicts without a server.  *Model alone* is the part of this time that the
prediction takes.
"""


def main() -> int:
    """Measure, write the page, and print whether the target is met."""
    options = read_options(parser_for(__doc__))
    page = Page("server_overhead", "Overhead of the server", INTRODUCTION, options)
    model = forms_of("mobilenet").fp32
    photograph = paint_synthetic_photograph(1, width_px=224, height_px=224)
    service = InferenceService.load(model)
    with ExitStack() as stack:
        port = stack.enter_context(running(ours("lean", model), photograph)).port
        found = interleaved(ways(service, port, photograph, options), options.budget.rounds)
    served, local = (np.array(found[name]) for name in ("over loopback", "in process"))
    overhead = estimate_median(served[:, 0] - local[:, 0])
    page.table(
        ["way", "median of a round"],
        [
            ["over loopback", written(estimate_median(served[:, 0]), "ms")],
            ["in process", written(estimate_median(local[:, 0]), "ms")],
            ["model alone", written(estimate_median(local[:, 1]), "ms")],
            ["server's share: over loopback - in process", written(overhead, "ms")],
            [
                "over loopback - model alone",
                written(estimate_median(served[:, 0] - local[:, 1]), "ms"),
            ],
        ],
    )
    page.rows += [
        {"way": name, "round": at, "whole_ms": rounded(whole), "model_ms": rounded(alone)}
        for name, rounds in found.items()
        for at, (whole, alone) in enumerate(rounds)
    ]
    page.targets.append(compared(overhead))
    return page.finish()


def ways(
    service: InferenceService, port: int, photograph: bytes, options: Options
) -> dict[str, Callable[[], tuple[float, float]]]:
    """Return two functions that grade a photograph: one asks a server, one grades in this process.

    Each returns two medians in milliseconds: for grading the photograph, and for the model alone.
    For the server, the time of the model alone is not known, and is NaN.
    """
    request = request_of("/invocations", photograph)

    def over_loopback() -> tuple[float, float]:
        seconds = options.budget.seconds(SECONDS)
        load = closed_loop(port, request, concurrency=1, seconds=seconds)
        # A smoke run on a busy machine may not get further than the first requests.
        counted = load.latencies_s[UNCOUNTED:] or load.latencies_s
        return 1e3 * float(np.median(counted)), float("nan")

    def in_process() -> tuple[float, float]:
        whole, alone = [], []
        for _ in range(UNCOUNTED + options.budget.calls(CALLS)):
            started = time.perf_counter()
            (inference,) = service.infer([photograph])
            whole.append(time.perf_counter() - started)
            alone.append(inference.predict_s)
        return 1e3 * float(np.median(whole[UNCOUNTED:])), 1e3 * float(np.median(alone[UNCOUNTED:]))

    return {"over loopback": over_loopback, "in process": in_process}


def compared(overhead: Estimate) -> Target:
    """Check the target for the overhead: its whole interval must be below the limit."""
    high = overhead.high if overhead.high is not None else overhead.value
    is_met = high is not None and high <= AT_MOST_MS
    return Target(f"the server adds at most {AT_MOST_MS:g} ms", is_met, written(overhead, "ms"))


if __name__ == "__main__":
    sys.exit(main())
