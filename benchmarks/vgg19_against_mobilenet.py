"""Measure how much longer VGG19 takes for a prediction in fp32 than the packaged MobileNet.

    make model-vgg19
    python benchmarks/vgg19_against_mobilenet.py [--rounds 30] [--out evidence/vgg19-idrid]

Both models are ONNX files, and run in ONNX Runtime with as many threads as the machine has cores.
Each round measures one prediction of each network, in an order that changes. Without --out, the
times are only printed.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from drdeploy.grader.artifacts import extract_archive
from drdeploy.grader.box import box_artifact
from drdeploy.grader.networks.sample import make_sample_batch
from drdeploy.grader.runtimes.cpu_limit import choose_thread_count
from drdeploy.grader.runtimes.model_loading import load_model_in_runtime
from drdeploy.statistics.percentiles import estimate_median
from drdeploy.study.running.models import ARTIFACTS_FOLDER
from harness.rounds import ratio, written

WARM_UPS = 5
VGG19 = ARTIFACTS_FOLDER / "vgg19-fp32-onnx.tar.gz"


def main() -> int:
    """Measure the times, print them, and write them if ``--out`` is given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--out", type=Path, help="folder for predict_s.csv")
    parser.add_argument("--smoke", action="store_true", help="few rounds, MobileNet twice")
    options, _ = parser.parse_known_args()  # `make bench` gives every benchmark its options
    if not VGG19.is_file() and not options.smoke:
        sys.stdout.write(f"{VGG19} is missing: run make model-vgg19 first\n")
        return 0
    archives = {"mobilenet": box_artifact(), "vgg19": box_artifact() if options.smoke else VGG19}
    times = measure(archives, 6 if options.smoke else options.rounds)
    for name, values in times.items():
        median = estimate_median(values).multiplied_by(1e3)
        sys.stdout.write(f"{name}: {written(median, 'ms')} a prediction\n")
    slower = ratio(times["vgg19"], times["mobilenet"])
    sys.stdout.write(f"VGG19 takes {written(slower)} times as long\n")
    if options.out:
        with (options.out / "predict_s.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(times)
            writer.writerows(
                [f"{value:.6f}" for value in row] for row in zip(*times.values(), strict=True)
            )
    return 0


def measure(archives: dict[str, Path], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of one prediction of each network in every round."""
    predictors, inputs = {}, {}
    times: dict[str, list[float]] = {name: [] for name in archives}
    with ExitStack() as stack:
        for name, archive in archives.items():
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="drdeploy-bench-")))
            artifact = extract_archive(archive, folder / "model")
            predictors[name] = load_model_in_runtime(artifact, threads=choose_thread_count())
            inputs[name] = make_sample_batch(artifact.manifest.transform)[:1]
        random = np.random.default_rng(0)
        for number in range(-WARM_UPS, rounds):
            for name in random.permutation(list(archives)):
                started = time.perf_counter()
                predictors[name].predict(inputs[name])
                if number >= 0:
                    times[name].append(time.perf_counter() - started)
    return times


if __name__ == "__main__":
    sys.exit(main())
