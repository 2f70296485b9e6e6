"""Find the artifacts that a study's trials need, or build them.

A study names the file of an artifact, or says with which weights a model is built. With ``weights =
"best"``, a trained model is used if there is one: an archive in ``build/artifacts``, or the
packaged grader.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from drdeploy.errors import ArtifactError, StudyError
from drdeploy.files import sha256_of_file
from drdeploy.grader.artifacts import read_manifest_in_archive
from drdeploy.grader.box import box_artifact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from drdeploy.grader.artifacts import ModelFormat, ModelManifest
    from drdeploy.study.design.plan import Trial
    from drdeploy.study.design.study import ModelSpec

ARTIFACTS_FOLDER = Path("build/artifacts")


@dataclass(frozen=True)
class TrialArtifact:
    """A ``model.tar.gz`` on disk, with its manifest and the SHA-256 of the archive."""

    path: Path
    manifest: ModelManifest
    sha256: str

    @classmethod
    def open_archive(cls, path: Path) -> TrialArtifact:
        """Read the manifest and the digest of an archive.

        Raises:
            StudyError: The file does not exist.
            ArtifactError: The file is not an artifact.
        """
        if not path.is_file():
            raise StudyError(
                "The artifact does not exist",
                where=str(path),
                remedy="Correct the path of the artifact in the file of the study",
            )
        return cls(path, read_manifest_in_archive(path), sha256_of_file(path))


ArtifactKey = tuple[str, str, str]
"""The name, the precision and the format of a model."""


def artifact_key_of_trial(trial: Trial) -> ArtifactKey:
    """Return the key of a trial's artifact: the model's name, its precision and its format."""
    return (trial.model_name, trial.precision, trial.image.accepted_model_format)


def find_or_build_artifacts(
    trials: Iterable[Trial],
    *,
    seed: int,
    weights_folder: Path | None = None,
    folder: Path = ARTIFACTS_FOLDER,
    note: Callable[[str], None] = lambda _: None,
) -> dict[ArtifactKey, TrialArtifact]:
    """Find the artifact of every trial, or build it if it is missing.

    Args:
        trials: The trials of the plan.
        seed: The seed of random weights.
        weights_folder: A folder of ImageNet weights, which models with ``weights = "best"`` use.
        folder: The folder to which built artifacts are saved.
        note: Called with a sentence for each artifact that is built.

    Raises:
        StudyError: An artifact is missing and cannot be built, or the folder of weights is missing.
        ArtifactError: The study names a file that is not an artifact.
    """
    needed = {artifact_key_of_trial(trial): trial for trial in trials}
    return {
        key: _find_or_build_artifact(trial, seed, weights_folder, folder, note)
        for key, trial in needed.items()
    }


def check_named_artifacts(trials: Iterable[Trial]) -> None:
    """Check the artifact files that a study names, so that a mistake is found before the run.

    Raises:
        StudyError: A file is missing, or its model has a format that the trial's container image
            does not load, or another precision than the trial.
        ArtifactError: A file is not an artifact.
    """
    for trial in {artifact_key_of_trial(trial): trial for trial in trials}.values():
        if trial.model.artifact is not None:
            _open_named_artifact(trial, trial.model.artifact)


def choose_weights_to_build_with(
    spec: ModelSpec, folder: Path | None
) -> Path | Literal["random", "imagenet"]:
    """Return the weights with which a model is built if it has no trained version.

    Args:
        spec: The model. If its ``weights`` are ``best``, the result is ImageNet weights from the
            folder, or random weights if the folder has none for the architecture.
        folder: A folder of ImageNet weights, whose files have the names that Keras uses
            (``ARCHITECTURE_…imagenet….h5``). None means that there is no such folder.

    Raises:
        StudyError: The folder does not exist.
    """
    if spec.weights != "best" or folder is None:
        return "random" if spec.weights == "best" else spec.weights
    if not folder.is_dir():
        raise StudyError(
            "The folder of weights does not exist",
            where=str(folder),
            remedy="Give an existing folder with --weights or DRDEPLOY_WEIGHTS, or omit both",
        )
    found = sorted(folder.glob(f"{(spec.architecture or '').lower()}_*imagenet*.h5"))
    return found[0].resolve() if found else "random"


def _find_or_build_artifact(
    trial: Trial,
    seed: int,
    weights_folder: Path | None,
    folder: Path,
    note: Callable[[str], None],
) -> TrialArtifact:
    if trial.model.artifact is not None:
        return _open_named_artifact(trial, trial.model.artifact)
    architecture = str(trial.model.architecture)
    path = (
        folder
        / f"{architecture.lower()}-{trial.precision}-{trial.image.accepted_model_format}.tar.gz"
    )
    manifest = _read_manifest_or_none(path)
    if trial.model.weights == "best":
        if manifest and manifest.weights == "trained":
            return TrialArtifact.open_archive(path)
        shipped = _find_packaged_artifact(
            architecture, trial.precision, trial.image.accepted_model_format
        )
        if shipped is not None:
            return shipped
    weights = choose_weights_to_build_with(trial.model, weights_folder)
    label = weights if isinstance(weights, str) else "imagenet"
    # An archive without a seed does not hold random weights, so it can be used with any seed.
    is_current = manifest is not None and (
        manifest.weights == label and manifest.provenance.seed in {None, seed}
    )
    if not is_current:
        # Models with another precision come from quantization, which needs photographs and a
        # validation.
        if trial.precision != "fp32":
            raise StudyError(
                f"drdeploy has no artifact of {architecture} with the precision {trial.precision}",
                where=str(path),
                remedy="Give an artifact of your own with that precision, or remove the precision "
                "from the study",
            )
        name = weights if isinstance(weights, str) else weights.name
        note(f"building {architecture} as {trial.image.accepted_model_format} (weights: {name})")
        _export_network_in_own_process(
            architecture, folder, weights, seed, trial.image.accepted_model_format
        )
    return TrialArtifact.open_archive(path)


def _find_packaged_artifact(
    architecture: str, precision: str, model_format: ModelFormat
) -> TrialArtifact | None:
    """Return the packaged grader in this precision; None for another network or format."""
    try:
        path = box_artifact(precision)
    except ArtifactError:
        return None
    shipped = TrialArtifact.open_archive(path)
    manifest = shipped.manifest
    fits = manifest.architecture.lower() == architecture.lower()
    return shipped if fits and manifest.model_format == model_format else None


def _open_named_artifact(trial: Trial, path: Path) -> TrialArtifact:
    artifact = TrialArtifact.open_archive(path)
    if artifact.manifest.model_format != trial.image.accepted_model_format:
        raise StudyError(
            f"The image '{trial.image_name}' loads models in the format "
            f"{trial.image.accepted_model_format}, but the artifact holds a model in the format "
            f"{artifact.manifest.model_format}",
            where=str(path),
            remedy="Set 'model_format' in the table of the image, or export the model in the "
            "format that the image loads",
        )
    if artifact.manifest.precision != trial.precision:
        held = artifact.manifest.precision
        raise StudyError(
            f"The trial {trial.id} is to measure the precision {trial.precision}, but the artifact "
            f"holds a model in {held}",
            where=str(path),
            remedy=f'Write precisions = ["{held}"] in the block of the trial',
        )
    return artifact


def _read_manifest_or_none(path: Path) -> ModelManifest | None:
    """Return the manifest of an archive, or None if the archive is missing or broken."""
    try:
        return read_manifest_in_archive(path) if path.is_file() else None
    except ArtifactError:
        return None


def _export_network_in_own_process(
    architecture: str, folder: Path, weights: Path | str, seed: int, model_format: ModelFormat
) -> None:
    # The export runs in a process of its own. TensorFlow's memory and threads are gone when that
    # process ends, before anything is measured.
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=_silence_tensorflow_log) as pool:
        pool.submit(
            _export_network_as_archive, architecture, folder, weights, seed, model_format
        ).result()


def _silence_tensorflow_log() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _export_network_as_archive(
    architecture: str, folder: Path, weights: Any, seed: int, model_format: ModelFormat
) -> None:
    if (architecture.lower(), weights, model_format) == ("vgg19", "random", "onnx"):
        # This network is the second model of the study `quick`. It is built without TensorFlow, so
        # that a machine without TensorFlow can run the study.
        from drdeploy.grader.networks.vgg19_onnx import export_random_vgg19_as_onnx

        export_random_vgg19_as_onnx(folder, seed=seed)
        return
    from drdeploy.grader.networks.export import build_and_export_model

    build_and_export_model(
        architecture, folder, weights=weights, seed=seed, formats=(model_format,)
    )
