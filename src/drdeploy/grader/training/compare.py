"""Compare frozen networks: train the same head on each, on the same folds of the same photographs.

The folder of a comparison keeps the pooled features, the artifact, the out-of-fold predictions and
the times of single predictions of every candidate, so that nothing is computed twice.  The figures
are derived from these in :mod:`drdeploy.study.recommendation.candidates`.
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
from drdeploy.grader.networks.weights import weights_identifier
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
"""Predictions before the timed ones: the first are slower."""
PREDICTIONS = 30
"""Timed predictions, of one photograph each."""


@dataclass(frozen=True)
class Candidate:
    """A network to compare.

    Attributes:
        architecture: Which network.
        weights: What its base is filled with.
    """

    architecture: Architecture
    weights: WeightsSource


class NetworkMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The size and speed of a candidate.

    Attributes:
        architecture: Name of the network.
        parameters: How many it has with the study's head.
        weights: Kind of the base's weights.
        weights_source: Where these come from.
        preprocessing: What the network was designed for.
        artifact_size_bytes: Of the ONNX archive.
        predict_s: Seconds of each single prediction, warm, by ONNX Runtime.
        threads: How many a prediction had.
        tool_version: The drdeploy that measured.
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
    """A candidate that was measured.

    Attributes:
        measured: Its size and speed.
        out_of_fold: Predictions of every photograph by a head that was not trained on its session.
    """

    measured: NetworkMeasurement
    out_of_fold: GradedSet


@dataclass(frozen=True)
class NetworkComparison:
    """The conditions under which networks are compared, and the folder that keeps the results.

    Attributes:
        dataset: Deduplicated training photographs.
        folds: How many.
        seed: Of random weights, folds and heads.
        folder: Where results are kept.
    """

    dataset: Dataset
    folds: int
    seed: int
    folder: Path

    def finished(self, candidate: Candidate) -> ComparedNetwork | None:
        """Read the result of an earlier run; None if there is none.

        Raises:
            InvalidInput: The file of weights is missing, or the result cannot be read.
        """
        return self._read_result(candidate) if self.result_file(candidate).is_file() else None

    def run(
        self,
        candidate: Candidate,
        *,
        on_step: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> ComparedNetwork:
        """Measure a candidate, or read the result of an earlier run.

        Args:
            candidate: What to measure.
            on_step: Called with the name of each step that begins.
            clock: Returns seconds.

        Raises:
            InvalidInput: The weights do not fit, or there are fewer sessions than folds.
            ModelError: Keras cannot download the weights, or the exported model disagrees with
                the network.
            RequestRefused: A photograph cannot be decoded.
        """
        finished = self.finished(candidate)
        if finished is not None:
            return finished
        folds = grouped_folds(self.dataset, self.folds, seed=self.seed)
        archive, features = self._archive_and_features(candidate, on_step)
        on_step("training heads")
        probabilities = predict_out_of_fold(features, self.dataset.grades, folds, seed=self.seed)
        on_step("timing predictions")
        measured = _measure(candidate.architecture, archive, clock)
        self._write_result(candidate, measured, GradedSet.of(self.dataset, probabilities))
        return self._read_result(candidate)

    def result_file(self, candidate: Candidate) -> Path:
        """Where the size and speed of a candidate are kept; its predictions lie beside it."""
        run = f"{self._input_digest(candidate)}-{self.folds}-folds-seed-{self.seed}.json"
        return self._folder_of(candidate) / run

    def _read_result(self, candidate: Candidate) -> ComparedNetwork:
        row = self.result_file(candidate)
        try:
            measured = msgspec.json.decode(row.read_bytes(), type=NetworkMeasurement)
        except msgspec.DecodeError as err:
            raise InvalidInput(
                f"The result cannot be read: {err}", where=str(row), remedy="Remove the file"
            ) from err
        return ComparedNetwork(measured, GradedSet.read(row.with_suffix(".csv")))

    def _write_result(
        self, candidate: Candidate, measured: NetworkMeasurement, out_of_fold: GradedSet
    ) -> None:
        row = self.result_file(candidate)
        # The row is written last: that it exists means that the candidate is finished.
        out_of_fold.write(row.with_suffix(".csv"))
        write_atomically(row, msgspec.json.format(msgspec.json.encode(measured), indent=2))

    def _folder_of(self, candidate: Candidate) -> Path:
        """The folder of a network with certain weights, for any photographs."""
        name = candidate.architecture.name.lower()
        return self.folder / f"{name}-{weights_identifier(candidate.weights, self.seed)}"

    def _input_digest(self, candidate: Candidate) -> str:
        """A digest of the network's input: the photographs and their transform."""
        described = msgspec.json.encode(candidate.architecture.transform)
        return sha256_of(self.dataset.digest.encode() + described)[:12]

    def _archive_and_features(
        self, candidate: Candidate, on_step: Callable[[str], None]
    ) -> tuple[Path, NDArray[np.float32]]:
        """Read the archive and the pooled features, or make both.

        Both come from the network, which takes long to build and to run.
        """
        architecture, folder = candidate.architecture, self._folder_of(candidate)
        archive = folder / f"{architecture.name.lower()}-fp32-onnx.tar.gz"
        kept = folder / f"{self._input_digest(candidate)}-features.npy"
        if archive.is_file() and kept.is_file():
            return archive, np.load(kept, allow_pickle=False)
        on_step("building")
        built = build_filled(architecture, candidate.weights, seed=self.seed)
        on_step("exporting")
        export_network(
            built.network, built.description, folder, sample=built.sample, formats=["onnx"]
        )
        on_step("reading photographs")
        photographs = prepare(self.dataset, architecture.transform, self.folder / "photographs")
        on_step("extracting features")
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
