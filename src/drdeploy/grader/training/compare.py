"""Frozen networks side by side: the same head on each, on the same folds of the same photographs.

For every candidate the pooled features, the artifact, the out-of-fold predictions and the times of
single predictions are kept in the comparison's folder, and what is there is not made again.  No
figure is derived here: :mod:`drdeploy.study.recommendation.candidates` does that.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.files import atomic_writer, sha256_of, write_atomically
from drdeploy.grader.artifacts import Weights, extract, inspect
from drdeploy.grader.datasets import grouped_folds
from drdeploy.grader.evaluation.predictions import GradedSet
from drdeploy.grader.networks.export import build_filled, export_network
from drdeploy.grader.networks.frameworks import import_frameworks
from drdeploy.grader.networks.network import base_of
from drdeploy.grader.networks.sample import sample_batch
from drdeploy.grader.networks.weights import identify
from drdeploy.grader.runtimes.cpu_limit import thread_count
from drdeploy.grader.runtimes.load import load_runtime
from drdeploy.grader.training.baseline import predict_out_of_fold
from drdeploy.grader.training.fit import predict
from drdeploy.grader.training.prepared import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from drdeploy.grader.datasets import Dataset
    from drdeploy.grader.networks.architectures import Architecture
    from drdeploy.grader.networks.weights import WeightsSource

WARM_UPS = 5
PREDICTIONS = 30
"""Timed, one photograph each."""


@dataclass(frozen=True)
class Candidate:
    """A network, and what its base is filled with."""

    architecture: Architecture
    weights: WeightsSource


class NetworkMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was measured of a candidate.

    Attributes:
        parameters: With the study's head.
        artifact_size_bytes: Of the ONNX archive.
        predict_s: Time of single predictions, warm, by ONNX Runtime.
        threads: That a prediction had.
    """

    architecture: str
    parameters: int
    weights: Weights
    weights_source: str
    preprocessing: str
    artifact_size_bytes: int
    predict_s: tuple[float, ...]
    threads: int
    tool_version: str


@dataclass(frozen=True, eq=False)
class ComparedNetwork:
    """A finished candidate.

    Attributes:
        out_of_fold: Predictions of every photograph by a head that never saw its session.
    """

    measured: NetworkMeasurement
    out_of_fold: GradedSet


@dataclass(frozen=True)
class NetworkComparison:
    """The photographs, their folds, and the folder where results are kept.

    Attributes:
        dataset: Deduplicated training photographs.
        seed: Of random weights, folds and heads.
    """

    dataset: Dataset
    folds: int
    seed: int
    folder: Path

    def finished(self, candidate: Candidate) -> ComparedNetwork | None:
        """What an earlier run has found, or None.

        Raises:
            InvalidInput: The file of weights is not there, or what was kept cannot be read.
        """
        return self._read(candidate) if self._row(candidate).is_file() else None

    def run(
        self,
        candidate: Candidate,
        *,
        on_stage: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> ComparedNetwork:
        """Measure a candidate, or read what an earlier run has found.

        Args:
            candidate: What to measure.
            on_stage: Told what begins.
            clock: Seconds.

        Raises:
            InvalidInput: The weights do not fit, or there are fewer sessions than folds.
            ModelError: Keras cannot download the weights, or the export disagrees.
            RequestRefused: A photograph cannot be decoded.
        """
        finished = self.finished(candidate)
        if finished is not None:
            return finished
        folds = grouped_folds(self.dataset, self.folds, seed=self.seed)
        archive, features = self._archive_and_features(candidate, on_stage)
        on_stage("training heads")
        probabilities = predict_out_of_fold(features, self.dataset.grades, folds, seed=self.seed)
        on_stage("timing predictions")
        measured = _measure(candidate.architecture, archive, clock)
        self._keep(candidate, measured, GradedSet.of(self.dataset, probabilities))
        return self._read(candidate)

    def _read(self, candidate: Candidate) -> ComparedNetwork:
        row = self._row(candidate)
        try:
            measured = msgspec.json.decode(row.read_bytes(), type=NetworkMeasurement)
        except msgspec.DecodeError as err:
            raise InvalidInput(
                f"The result cannot be read: {err}", where=str(row), remedy="Remove the file"
            ) from err
        return ComparedNetwork(measured, GradedSet.read(row.with_suffix(".csv")))

    def _keep(
        self, candidate: Candidate, measured: NetworkMeasurement, out_of_fold: GradedSet
    ) -> None:
        """The row last, and whole or not at all: it says that the candidate is finished."""
        row = self._row(candidate)
        out_of_fold.write(row.with_suffix(".csv"))
        write_atomically(row, msgspec.json.format(msgspec.json.encode(measured), indent=2))

    def _of(self, candidate: Candidate) -> Path:
        """The folder of a network with certain weights, whatever the photographs."""
        name = candidate.architecture.name.lower()
        return self.folder / f"{name}-{identify(candidate.weights, self.seed)}"

    def _row(self, candidate: Candidate) -> Path:
        run = f"{self._input_of(candidate)}-{self.folds}-folds-seed-{self.seed}.json"
        return self._of(candidate) / run

    def _input_of(self, candidate: Candidate) -> str:
        """Tells apart what a network was shown: the photographs and their transform."""
        described = msgspec.json.encode(candidate.architecture.transform)
        return sha256_of(self.dataset.digest.encode() + described)[:12]

    def _archive_and_features(
        self, candidate: Candidate, on_stage: Callable[[str], None]
    ) -> tuple[Path, NDArray[np.float32]]:
        """Both from disk, or both from the network, which takes long to build and to run."""
        architecture, folder = candidate.architecture, self._of(candidate)
        archive = folder / f"{architecture.name.lower()}-fp32-onnx.tar.gz"
        kept = folder / f"{self._input_of(candidate)}-features.npy"
        if archive.is_file() and kept.is_file():
            return archive, np.load(kept, allow_pickle=False)
        on_stage("building")
        built = build_filled(architecture, candidate.weights, seed=self.seed)
        on_stage("exporting")
        export_network(
            built.network, built.described, folder, sample=built.sample, formats=["onnx"]
        )
        on_stage("reading photographs")
        photographs = prepare(self.dataset, architecture.transform, self.folder / "photographs")
        on_stage("extracting features")
        features = predict(base_of(built.network), architecture.transform, photographs.exact)
        with atomic_writer(kept) as file:
            np.save(file, features)
        import_frameworks().keras.backend.clear_session()
        return archive, features


def _measure(
    architecture: Architecture, archive: Path, clock: Callable[[], float]
) -> NetworkMeasurement:
    manifest, threads = inspect(archive), thread_count()
    return NetworkMeasurement(
        architecture=architecture.name,
        parameters=architecture.parameter_count,
        weights=manifest.weights,
        weights_source=manifest.provenance.source,
        preprocessing=architecture.preprocessing,
        artifact_size_bytes=archive.stat().st_size,
        predict_s=_time_predictions(archive, threads, clock),
        threads=threads,
        tool_version=manifest.provenance.tool_version,
    )


def _time_predictions(archive: Path, threads: int, clock: Callable[[], float]) -> tuple[float, ...]:
    with tempfile.TemporaryDirectory(prefix="drdeploy-compare-") as scratch:
        artifact = extract(archive, Path(scratch) / "model")
        runtime = load_runtime(artifact, threads=threads)
        photograph = sample_batch(artifact.manifest.transform)[:1]
        times = []
        for _ in range(WARM_UPS + PREDICTIONS):
            started = clock()
            runtime.predict(photograph)
            times.append(clock() - started)
    return tuple(times[WARM_UPS:])
