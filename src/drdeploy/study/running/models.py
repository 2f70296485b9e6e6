"""Find the artifacts that a study's trials need, or build them.

The best weights of an architecture are trained ones: those of an archive that is there already,
or of the grader that ships.
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
from drdeploy.grader.artifacts import inspect
from drdeploy.grader.box import box_artifact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from drdeploy.grader.artifacts import ModelFormat, ModelManifest
    from drdeploy.study.design.plan import Trial
    from drdeploy.study.design.study import ModelSpec

ARTIFACTS_FOLDER = Path("build/artifacts")


@dataclass(frozen=True)
class Artifact:
    """A ``model.tar.gz`` on disk, with its manifest and the SHA-256 of the archive."""

    path: Path
    manifest: ModelManifest
    sha256: str

    @classmethod
    def open(cls, path: Path) -> Artifact:
        """Read the manifest of an archive, and the archive's digest.

        Raises:
            StudyError: There is no such file.
            ArtifactError: The file is not an artifact.
        """
        if not path.is_file():
            raise StudyError("There is no such artifact", where=str(path))
        return cls(path, inspect(path), sha256_of_file(path))


ArtifactKey = tuple[str, str, str]
"""A model's name, its precision and its format."""


def artifact_key(trial: Trial) -> ArtifactKey:
    """Return the key of the artifact that a trial is measured with."""
    return (trial.model_name, trial.precision, trial.image.takes)


def ensure_artifacts(
    trials: Iterable[Trial],
    *,
    seed: int,
    weights_folder: Path | None = None,
    folder: Path = ARTIFACTS_FOLDER,
    note: Callable[[str], None] = lambda _: None,
) -> dict[ArtifactKey, Artifact]:
    """Find or build the artifact of every trial.

    Args:
        trials: Those of the plan.
        seed: Of random weights.
        weights_folder: Of ImageNet weights for ``best`` ones (see :func:`weights_of`).
        folder: Where artifacts that are built are kept.
        note: Called with a sentence for each artifact that is built.

    Raises:
        StudyError: One is missing and cannot be built from an architecture, or there is no
            folder of weights.
    """
    needed = {artifact_key(trial): trial for trial in trials}
    return {
        key: _find_or_build(trial, seed, weights_folder, folder, note)
        for key, trial in needed.items()
    }


def check_own_artifacts(trials: Iterable[Trial]) -> None:
    """Check the artifacts that a study names, so that a plan fails where its run would.

    Raises:
        StudyError: A file does not exist, or is not in the format that its image takes.
        ArtifactError: A file is not an artifact.
    """
    for trial in {artifact_key(trial): trial for trial in trials}.values():
        if trial.model.artifact is not None:
            _named_artifact(trial, trial.model.artifact)


def weights_of(spec: ModelSpec, folder: Path | None) -> Path | Literal["random", "imagenet"]:
    """Return the weights that an architecture is built with.

    Args:
        spec: The model; ``best`` takes ImageNet's from the folder, or else random ones.
        folder: Of weights as Keras publishes them, ``ARCHITECTURE_…imagenet….h5``; None where
            there is none.

    Raises:
        StudyError: There is no such folder.
    """
    if spec.weights != "best" or folder is None:
        return "random" if spec.weights == "best" else spec.weights
    if not folder.is_dir():
        raise StudyError(
            "There is no such folder of weights",
            where=str(folder),
            remedy="Name one that exists by --weights or DRDEPLOY_WEIGHTS, or none",
        )
    found = sorted(folder.glob(f"{(spec.architecture or '').lower()}_*imagenet*.h5"))
    return found[0].resolve() if found else "random"


def _find_or_build(
    trial: Trial,
    seed: int,
    weights_folder: Path | None,
    folder: Path,
    note: Callable[[str], None],
) -> Artifact:
    if trial.model.artifact is not None:
        return _named_artifact(trial, trial.model.artifact)
    architecture = str(trial.model.architecture)
    path = folder / f"{architecture.lower()}-{trial.precision}-{trial.image.takes}.tar.gz"
    manifest = _manifest(path)
    if trial.model.weights == "best":
        if manifest and manifest.weights == "trained":
            return Artifact.open(path)
        shipped = _shipped_artifact(architecture, trial.precision, trial.image.takes)
        if shipped is not None:
            return shipped
    weights = weights_of(trial.model, weights_folder)
    label = weights if isinstance(weights, str) else "imagenet"
    # An archive without a seed holds no random weights, so every seed fits it.
    is_current = manifest is not None and (
        manifest.weights == label and manifest.provenance.seed in {None, seed}
    )
    if not is_current:
        # Other precisions come from quantization, which needs photographs and a validation.
        if trial.precision != "fp32":
            raise StudyError(
                f"There is no {trial.precision} artifact of {architecture}",
                where=str(path),
                remedy="Name an artifact of your own in that precision, or leave it out",
            )
        name = weights if isinstance(weights, str) else weights.name
        note(f"building {architecture} as {trial.image.takes} (weights: {name})")
        _export_in_a_process(architecture, folder, weights, seed, trial.image.takes)
    return Artifact.open(path)


def _shipped_artifact(
    architecture: str, precision: str, model_format: ModelFormat
) -> Artifact | None:
    """Return the grader that ships, if it is this network in this form."""
    try:
        path = box_artifact(precision)
    except ArtifactError:
        return None
    shipped = Artifact.open(path)
    manifest = shipped.manifest
    fits = manifest.architecture.lower() == architecture.lower()
    return shipped if fits and manifest.model_format == model_format else None


def _named_artifact(trial: Trial, path: Path) -> Artifact:
    artifact = Artifact.open(path)
    if artifact.manifest.model_format != trial.image.takes:
        raise StudyError(
            f"Image {trial.image_name} takes {trial.image.takes}, "
            f"and the artifact is {artifact.manifest.model_format}",
            where=str(path),
            remedy="Say model_format in the image's table, or export the model in that format",
        )
    return artifact


def _manifest(path: Path) -> ModelManifest | None:
    """Return the manifest of an archive; None where there is none, or a broken one."""
    try:
        return inspect(path) if path.is_file() else None
    except ArtifactError:
        return None


def _export_in_a_process(
    architecture: str, folder: Path, weights: Path | str, seed: int, model_format: ModelFormat
) -> None:
    # TensorFlow's memory and threads end with the process, before anything is measured.
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=_quieten_tensorflow) as pool:
        pool.submit(_export, architecture, folder, weights, seed, model_format).result()


def _quieten_tensorflow() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _export(
    architecture: str, folder: Path, weights: Any, seed: int, model_format: ModelFormat
) -> None:
    if (architecture.lower(), weights, model_format) == ("vgg19", "random", "onnx"):
        # The second model of `quick`: a machine without TensorFlow can run that study.
        from drdeploy.grader.networks.vgg19_onnx import export_vgg19_onnx

        export_vgg19_onnx(folder, seed=seed)
        return
    from drdeploy.grader.networks.export import export_model

    export_model(architecture, folder, weights=weights, seed=seed, formats=(model_format,))
