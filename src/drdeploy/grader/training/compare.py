"""Compare frozen networks by training the same last layers on each, on the same folds.

For every candidate, the folder of a comparison keeps the pooled features, the artifact, the
out-of-fold predictions and how long single predictions took. A second run reads the stored files
instead of computing them again. The module :mod:`drdeploy.study.recommendation.candidates` computes
the results of the comparison from the files in the folder.
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
from drdeploy.files import open_for_atomic_write, sha256_of_bytes, write_file_atomically
from drdeploy.grader.artifacts import Weights, extract_archive, read_manifest_in_archive
from drdeploy.grader.datasets import split_into_grouped_folds
from drdeploy.grader.evaluation.predictions import GradedSet
from drdeploy.grader.networks.export import build_network_with_weights, export_network_as_archives
from drdeploy.grader.networks.frameworks import import_tensorflow_and_keras
from drdeploy.grader.networks.network import extract_pooled_feature_network
from drdeploy.grader.networks.sample import make_sample_batch
from drdeploy.grader.networks.weights import identifier_of_weights
from drdeploy.grader.runtimes.cpu_limit import choose_thread_count
from drdeploy.grader.runtimes.model_loading import load_model_in_runtime
from drdeploy.grader.training.baseline import train_heads_and_predict_out_of_fold
from drdeploy.grader.training.fit import make_prediction_function
from drdeploy.grader.training.prepared_photographs import prepare_photographs

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from drdeploy.grader.datasets import Dataset
    from drdeploy.grader.networks.architectures import Architecture
    from drdeploy.grader.networks.weights import WeightsSource

WARM_UPS = 5
"""This many predictions come before the timed ones, because the first predictions are slower."""
PREDICTIONS = 30
"""Number of timed predictions, each for one photograph."""


@dataclass(frozen=True)
class Candidate:
    """A network to compare, and the weights of its base (all layers except the last ones)."""

    architecture: Architecture
    weights: WeightsSource


class NetworkMeasurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The size and speed of a candidate network.

    Attributes:
        architecture: Name of the network.
        parameters: Number of weights, including the last layers.
        weights: What the weights of the base are: trained, pretrained on ImageNet, random or
            unknown.
        weights_source: Where the base's weights come from.
        preprocessing: Kind of preprocessing that the network was designed for.
        artifact_size_bytes: Size of the ONNX archive.
        predict_s: Seconds of each timed prediction by ONNX Runtime. The first predictions are
            slower, and are not timed.
        threads: Number of threads of a prediction.
        tool_version: Version of drdeploy that made the measurements.
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
    """A candidate network that was measured.

    Attributes:
        measured: Size and speed of the network.
        out_of_fold: Predictions for every photograph, by last layers that were not trained on
            photographs of the same capture session.
    """

    measured: NetworkMeasurement
    out_of_fold: GradedSet


@dataclass(frozen=True)
class NetworkComparison:
    """The conditions under which networks are compared, and the folder that keeps the results.

    The data set holds the training photographs; copied photographs are left out. The seed
    determines the random weights, the folds, and how the last layers are trained.
    """

    dataset: Dataset
    folds: int
    seed: int
    folder: Path

    def read_finished_result(self, candidate: Candidate) -> ComparedNetwork | None:
        """Read the result of an earlier run for a candidate; None if there is none.

        Raises:
            InvalidInput: The file of weights is missing, or the result cannot be read.
        """
        return (
            self._read_result_of_candidate(candidate)
            if self.path_of_result(candidate).is_file()
            else None
        )

    def measure_or_read_result(
        self,
        candidate: Candidate,
        *,
        on_step: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> ComparedNetwork:
        """Measure a candidate network, or read the result of an earlier run.

        ``on_step`` is called at the beginning of each step, with the step's name.

        Raises:
            InvalidInput: The weights do not fit, or there are fewer sessions than folds.
            ModelError: Keras cannot download the weights, or the exported model disagrees with
                the network.
            RequestRefused: A photograph cannot be decoded.
        """
        finished = self.read_finished_result(candidate)
        if finished is not None:
            return finished
        folds = split_into_grouped_folds(self.dataset, self.folds, seed=self.seed)
        archive, features = self._read_or_make_archive_and_features(candidate, on_step)
        on_step("training heads")
        probabilities = train_heads_and_predict_out_of_fold(
            features, self.dataset.grades, folds, seed=self.seed
        )
        on_step("timing predictions")
        measured = _measure_size_and_speed(candidate.architecture, archive, clock)
        self._write_result_of_candidate(
            candidate, measured, GradedSet.from_dataset(self.dataset, probabilities)
        )
        return self._read_result_of_candidate(candidate)

    def path_of_result(self, candidate: Candidate) -> Path:
        """Return the path of the file with a candidate's size and speed, beside its predictions."""
        run = f"{self._digest_of_network_input(candidate)}-{self.folds}-folds-seed-{self.seed}.json"
        return self._folder_of_candidate_network(candidate) / run

    def _read_result_of_candidate(self, candidate: Candidate) -> ComparedNetwork:
        row = self.path_of_result(candidate)
        try:
            measured = msgspec.json.decode(row.read_bytes(), type=NetworkMeasurement)
        except msgspec.DecodeError as err:
            raise InvalidInput(
                f"The stored result cannot be read: {err}", where=str(row), remedy="Delete the file"
            ) from err
        return ComparedNetwork(measured, GradedSet.read_csv(row.with_suffix(".csv")))

    def _write_result_of_candidate(
        self, candidate: Candidate, measured: NetworkMeasurement, out_of_fold: GradedSet
    ) -> None:
        row = self.path_of_result(candidate)
        # The row is written last, so if it exists, the candidate is finished.
        out_of_fold.write_csv(row.with_suffix(".csv"))
        write_file_atomically(row, msgspec.json.format(msgspec.json.encode(measured), indent=2))

    def _folder_of_candidate_network(self, candidate: Candidate) -> Path:
        """Return the folder for a network with given weights."""
        name = candidate.architecture.name.lower()
        return self.folder / f"{name}-{identifier_of_weights(candidate.weights, self.seed)}"

    def _digest_of_network_input(self, candidate: Candidate) -> str:
        """Return a digest of the network's input, that is, of the photographs and the transform."""
        described = msgspec.json.encode(candidate.architecture.transform)
        return sha256_of_bytes(self.dataset.digest_with_files.encode() + described)[:12]

    def _read_or_make_archive_and_features(
        self, candidate: Candidate, on_step: Callable[[str], None]
    ) -> tuple[Path, NDArray[np.float32]]:
        """Read a candidate's archive and pooled features, or make both.

        The archive and the features are kept, because building and running the network takes a long
        time.
        """
        architecture, folder = candidate.architecture, self._folder_of_candidate_network(candidate)
        archive = folder / f"{architecture.name.lower()}-fp32-onnx.tar.gz"
        kept = folder / f"{self._digest_of_network_input(candidate)}-features.npy"
        if archive.is_file() and kept.is_file():
            return archive, np.load(kept, allow_pickle=False)
        on_step("building")
        built = build_network_with_weights(architecture, candidate.weights, seed=self.seed)
        on_step("exporting")
        export_network_as_archives(built, folder, formats=["onnx"])
        on_step("reading photographs")
        photographs = prepare_photographs(
            self.dataset, architecture.transform, self.folder / "photographs"
        )
        on_step("extracting features")
        extract_features = make_prediction_function(
            extract_pooled_feature_network(built.network), architecture.transform
        )
        features = extract_features(photographs.exact)
        with open_for_atomic_write(kept) as file:
            np.save(file, features)
        import_tensorflow_and_keras().keras.backend.clear_session()
        return archive, features


def _measure_size_and_speed(
    architecture: Architecture, archive: Path, clock: Callable[[], float]
) -> NetworkMeasurement:
    manifest, threads = read_manifest_in_archive(archive), choose_thread_count()
    return NetworkMeasurement(
        architecture=architecture.name,
        parameters=architecture.parameter_count,
        weights=manifest.weights,
        weights_source=manifest.provenance.source,
        preprocessing=architecture.preprocessing,
        artifact_size_bytes=archive.stat().st_size,
        predict_s=_measure_prediction_time(archive, threads, clock),
        threads=threads,
        tool_version=manifest.provenance.tool_version,
    )


def _measure_prediction_time(
    archive: Path, threads: int, clock: Callable[[], float]
) -> tuple[float, ...]:
    with tempfile.TemporaryDirectory(prefix="drdeploy-compare-") as scratch:
        artifact = extract_archive(archive, Path(scratch) / "model")
        runtime = load_model_in_runtime(artifact, threads=threads)
        photograph = make_sample_batch(artifact.manifest.transform)[:1]
        times = []
        for _ in range(WARM_UPS + PREDICTIONS):
            started = clock()
            runtime.predict(photograph)
            times.append(clock() - started)
    return tuple(times[WARM_UPS:])
