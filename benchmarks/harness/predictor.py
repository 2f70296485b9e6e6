"""Run a model in a child process, so that each model can have its own number of threads.

A runtime cannot change its number of threads after it has started. The child process is ``python -m
harness.predictor``. The benchmark sends it commands and reads answers, each of which is a line of
JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.limits import limited
from harness.loaders import LOADERS, Spec

if TYPE_CHECKING:
    from contextlib import ExitStack

    from drdeploy.hosting.local.instances.cgroups import ControlGroups
    from harness.loaders import Predict

WARM_UPS = 5


class Predictor:
    """A model that runs in a child process. The benchmark calls the model through this object."""

    def __init__(self, spec: Spec, groups: ControlGroups | None = None, name: str = "") -> None:
        self.spec = spec
        command = [sys.executable, "-m", "harness.predictor", json.dumps(asdict(spec))]
        folder = str(Path(__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            limited(command, groups, spec.cpus, name or f"{id(self)}"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        self.ready = self._read()

    def latencies_s(self, calls: int, pause_s: float = 0.0) -> list[float]:
        """Predict several times, with a pause before each time, and return the seconds of each."""
        seconds: list[float] = self._ask(do="calls", calls=calls, pause_s=pause_s)["seconds"]
        return seconds

    def throughput_per_s(self, seconds: float, callers: int) -> float:
        """Return how many images per second several threads predict together, without pauses."""
        done = self._ask(do="throughput", seconds=seconds, callers=callers)
        return float(done["images"] / done["elapsed_s"])

    def _ask(self, **work: Any) -> dict[str, Any]:
        self._process.stdin.write(json.dumps(work) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        for line in self._process.stdout:
            if line.startswith("{"):  # libraries print lines, too
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise SystemExit(f"the predictor ended: {self.spec}")

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait(60)

    def fastest_s(self, calls: int) -> float:
        """Predict several times, and return the seconds of the fastest prediction.

        The fastest prediction is the one that other programs on the machine disturb least.
        """
        return min(self.latencies_s(calls))


def opened(
    stack: ExitStack, spec: Spec, groups: ControlGroups | None = None, name: str = ""
) -> Predictor:
    """Start a predictor, which is closed when the given exit stack is closed."""
    predictor = Predictor(spec, groups, name)
    stack.callback(predictor.close)
    return predictor


def serve(spec: Spec) -> None:
    """Load the model in the child process, then carry out commands until the input ends."""
    predict = LOADERS[spec.kind](spec)
    for _ in range(WARM_UPS):
        predict()
    _say({"ready": True})
    for line in sys.stdin:
        work = json.loads(line)
        _say(_calls(predict, work) if work["do"] == "calls" else _load(predict, work, spec.batch))


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _calls(predict: Predict, work: dict[str, Any]) -> dict[str, Any]:
    predict()
    seconds = []
    for _ in range(work["calls"]):
        if work["pause_s"]:
            time.sleep(work["pause_s"])
        started = time.perf_counter()
        predict()
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds}


def _load(predict: Predict, work: dict[str, Any], batch: int) -> dict[str, Any]:
    counts = [0] * work["callers"]
    started = time.perf_counter()
    end = started + work["seconds"]

    def call(place: int) -> None:
        while time.perf_counter() < end:
            predict()
            counts[place] += batch

    threads = [threading.Thread(target=call, args=(place,)) for place in range(work["callers"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"images": sum(counts), "elapsed_s": time.perf_counter() - started}


if __name__ == "__main__":
    serve(Spec(**json.loads(sys.argv[1])))
