"""Load a model as a server would and predict with it, before it is packed.

Some model files do not state the size of the input, or which axis of the input holds the channels.
A trial prediction finds out what works. It also shows whether the model is a classifier.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from drdeploy.errors import ModelLoadFailed, PredictionFailed, one_line_error_message
from drdeploy.grader.artifacts import ModelArtifact, ModelManifest
from drdeploy.grader.fundus.apply import make_model_input
from drdeploy.grader.grading.outputs import (
    ONE_VALUE,
    are_probability_distributions,
    explain_why_no_logits,
    explain_why_no_probabilities,
    explain_wrong_class_count,
)
from drdeploy.grader.inference import DEFAULT_LIMITS, WARM_UP_PHOTOGRAPH
from drdeploy.grader.runtimes.model_loading import open_model
from drdeploy.grader.runtimes.runtime import Runtime
from drdeploy.grader.runtimes.signature import (
    check_and_read_signature,
    find_image_input,
    find_layouts,
    make_model_refused_error,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import InputLayout, ModelDescription, ModelFormat
    from drdeploy.grader.fundus.transform import FundusTransform
    from drdeploy.grader.runtimes.runtime import OpenedModel
    from drdeploy.grader.runtimes.signature import Tensor

FALLING_LOGITS = (
    "the outputs decrease from the first class to the last, for every image that was tried. Check "
    "that the model is not ordinal: an ordinal model has one output for each boundary between "
    "classes, and if these outputs are read as logits, the answer is always the first class"
)
SizePx = tuple[int | None, int | None]
"""Height and width of a model's input; None reads them from the model's file."""


def predict_on_probe_images_and_complete_description(
    source: Path, model_format: ModelFormat, description: ModelDescription, size_px: SizePx
) -> tuple[ModelDescription, list[str]]:
    """Load a model, predict with it, and add to its description what the predictions show.

    Returns:
        The completed description, and notes for the user if the predictions look doubtful.

    Raises:
        RuntimeUnavailable: The library that runs the model is not installed.
        ModelLoadFailed: The model cannot be served as its description says.
    """
    draft = _make_draft_manifest(source, model_format, description)
    opened = open_model(ModelArtifact(source.parent, draft, ""))
    taken = find_image_input(draft, opened.inputs)
    said = description.input_layout
    layouts = (said,) if said else find_layouts(taken.shape)
    manifests = [
        msgspec.structs.replace(
            draft,
            transform=_fit_transform_to_input_size(draft, taken, layout, size_px),
            # A layout that the model states itself is not repeated; a wrong one is refused below.
            input_layout=layout if said or len(layouts) > 1 else None,
        )
        for layout in layouts
    ] or [draft]
    chosen, rows = _choose_working_manifest(opened, manifests)
    _refuse_predictions_unlike_manifest(chosen, rows)
    completed = msgspec.structs.replace(
        description, transform=chosen.transform, input_layout=chosen.input_layout
    )
    are_falling = rows.shape[1] > 2 and bool((np.diff(rows, axis=1) <= 0).all())
    return completed, [FALLING_LOGITS] if chosen.output == "logits" and are_falling else []


def _make_draft_manifest(
    source: Path, model_format: ModelFormat, description: ModelDescription
) -> ModelManifest:
    own = {"model_format": model_format, "entry": source.name, "files": ()}
    return ModelManifest(**(msgspec.structs.asdict(description) | own))


def _fit_transform_to_input_size(
    draft: ModelManifest, taken: Tensor, layout: InputLayout, size_px: SizePx
) -> FundusTransform:
    """Return the transform with the user's input size or, without one, the model's own size."""
    declared = taken.shape[2:4] if layout == "nchw" else taken.shape[1:3]
    height_px, width_px = (
        side if given is None else given for side, given in zip(declared, size_px, strict=True)
    )
    if height_px is None or width_px is None:
        raise make_model_refused_error(
            draft,
            f"The model's input {taken} does not declare the image size",
            "Give the image size that the model was trained with, for example --height-px 224 "
            "--width-px 224",
        )
    return msgspec.structs.replace(draft.transform, height_px=height_px, width_px=width_px)


def _choose_working_manifest(
    opened: OpenedModel, manifests: list[ModelManifest]
) -> tuple[ModelManifest, NDArray[np.float32]]:
    """Try each possible manifest, and return the one that works, with the model's predictions."""
    working = []
    failures = []
    for manifest in manifests:
        runtime = Runtime(opened, check_and_read_signature(manifest, opened.inputs, opened.outputs))
        try:
            working.append((manifest, _predict_probe_images(runtime, manifest)))
        except PredictionFailed as err:
            failures.append(err)
    if len(working) > 1:  # refuses the model, which does not state its layout
        unsaid = msgspec.structs.replace(manifests[0], input_layout=None)
        check_and_read_signature(unsaid, opened.inputs, opened.outputs)
    if not working:
        transform, failure = manifests[0].transform, failures[0]
        cause = failure.__cause__
        reason = one_line_error_message(cause) if isinstance(cause, Exception) else failure.what
        raise ModelLoadFailed(
            f"The model cannot predict an image of {transform.height_px} x {transform.width_px} "
            f"pixels: {reason}",
            where=manifests[0].name,
            remedy="Check --height-px and --width-px, or export the model again",
        ) from failure
    return working[0]


def _predict_probe_images(runtime: Runtime, manifest: ModelManifest) -> NDArray[np.float32]:
    """Run the model on probe images one by one, as a server does; return one row for each image."""
    rows = []
    for image in _make_probe_images(manifest.transform):
        row = runtime.predict(image[None])
        if row.ndim != 2 or len(row) != 1:
            raise PredictionFailed(f"the output for one image has the shape {row.shape}")
        rows.append(row)
    return np.concatenate(rows)


def _make_probe_images(transform: FundusTransform) -> Iterator[NDArray[np.float32]]:
    """Yield five images: an eye, the eye in other colours, all black, all white, and noise."""
    eye = make_model_input(
        transform, WARM_UP_PHOTOGRAPH.read_bytes(), limits=DEFAULT_LIMITS, eye_px=0
    )
    low, high = eye.min(axis=(0, 1)), eye.max(axis=(0, 1))
    yield eye
    yield np.ascontiguousarray(eye[..., ::-1])
    yield np.broadcast_to(low, eye.shape).astype(np.float32)
    yield np.broadcast_to(high, eye.shape).astype(np.float32)
    yield np.random.default_rng(0).uniform(low, high, eye.shape).astype(np.float32)


def _refuse_predictions_unlike_manifest(manifest: ModelManifest, rows: NDArray[np.float32]) -> None:
    """Refuse a model whose predictions contradict the manifest."""
    count, names = rows.shape[1], manifest.classes
    if not np.all(np.isfinite(rows)):
        raise make_model_refused_error(
            manifest,
            "The model answers with values that are not numbers",
            "Check the model's weights and preprocessing, for example --value-range",
        )
    if count <= 1:
        raise make_model_refused_error(manifest, *ONE_VALUE)
    if names and count != len(names):
        raise make_model_refused_error(manifest, *explain_wrong_class_count(count, len(names)))
    if manifest.output == "logits":
        wrong = explain_why_no_logits(rows)
    else:
        wrong = None if are_probability_distributions(rows) else explain_why_no_probabilities(rows)
    if wrong is not None:
        raise make_model_refused_error(manifest, *wrong)
    if (rows == rows[0]).all():
        raise make_model_refused_error(
            manifest,
            "The model gives the same answer for an eye, for noise and for black and white images",
            "Check the model's weights and preprocessing, for example --value-range",
        )
