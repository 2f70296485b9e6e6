"""``manifest.json``: what a server must know about a model."""

from __future__ import annotations

import math
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal, overload

import msgspec

from drdeploy.errors import ManifestError
from drdeploy.grader.fundus.gradability_limits import GradabilityLimits  # noqa: TC001 - msgspec reads it
from drdeploy.grader.fundus.transform import FundusTransform
from drdeploy.grader.grading.grade import ICDR_CLASSES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MANIFEST_NAME = "manifest.json"
SCHEMA_VERSION = 1
MAX_SIDE_PX = 4096
"""Larger than any classifier needs, and small enough to find a typing error."""

ModelFormat = Literal["saved_model", "onnx"]
Precision = Literal["fp32", "fp16", "bf16", "int8"]
Weights = Literal["trained", "imagenet", "random", "unknown"]


class FileDigest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the artifact.

    Attributes:
        path: Relative to the manifest, with slashes.
        sha256: In hexadecimal.
        size_bytes: Of the file.
    """

    path: str
    sha256: str
    size_bytes: int


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the model comes from.  Every field is optional, and none is used to predict.

    Attributes:
        created_at: ISO 8601; empty in archives that must be the same byte for byte.
        tool_version: The drdeploy that wrote the manifest.
        source: Whose network, and whose weights it started from.
        dataset: The photographs that it was trained on, with their digest.
        licence: Of the weights.
        seed: Of whatever was random.
        notes: What a user must know, in sentences.
    """

    created_at: str = ""
    tool_version: str = ""
    source: str = ""
    dataset: str = ""
    licence: str = ""
    seed: int | None = None
    notes: str = ""


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A share of photographs with its 95 % interval (Wilson 1927).

    Attributes:
        value: From 0 to 1.
        low: Lower limit.
        high: Upper limit.
        n: Photographs that it is a share of.
    """

    value: float
    low: float
    high: float
    n: int


class OperatingPoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A threshold from which an eye is flagged, chosen once on validation photographs.

    Attributes:
        name: ``high_sensitivity`` misses few diseased eyes and flags more healthy ones;
            ``balanced`` weighs both errors alike.
        at_or_above: The ICDR grade from which an eye should be flagged (2 or 3).
        threshold: An eye is flagged if P(grade >= ``at_or_above``) reaches it.
        sensitivity: Share of the validation photographs at or above that grade that are flagged.
        specificity: Share of the validation photographs below that grade that are not flagged.
    """

    name: Literal["high_sensitivity", "balanced"]
    at_or_above: Literal[2, 3]
    threshold: float
    sensitivity: Rate
    specificity: Rate

    @overload
    def flags(self, probability: float) -> bool: ...
    @overload
    def flags(self, probability: NDArray[np.floating]) -> NDArray[np.bool_]: ...
    def flags(self, probability: float | NDArray[np.floating]) -> bool | NDArray[np.bool_]:
        """Whether an eye with that P(grade >= ``at_or_above``) is flagged; many eyes at once."""
        return probability >= self.threshold


class Clinical(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a grader's probabilities become grades and decisions.

    Attributes:
        chosen_on: The photographs on which all of it was chosen, in words.
        temperature: What the logits were divided by to calibrate them (Guo et al., ICML 2017).
            It is part of the network already: its outputs are calibrated as they are.
        grade_thresholds: See :class:`drdeploy.grader.grading.Prediction`.
        operating_points: At most one of each name and grade.
    """

    chosen_on: str
    temperature: float = 1.0
    grade_thresholds: tuple[float, float, float, float] | None = None
    operating_points: tuple[OperatingPoint, ...] = ()


class Quantization(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The result of comparing a quantized model with the fp32 model it was made from.

    Attributes:
        verdict: Whether its sensitivity is as good; ``undecided`` if there were too few
            photographs to tell.
        reason: In one sentence.
        reference_digest: Of the fp32 artifact.
        images: How many photographs both models graded.
        margin: Largest acceptable loss of sensitivity, as a share.
    """

    verdict: Literal["accepted", "refused", "undecided"]
    reason: str
    reference_digest: str
    images: int
    margin: float


class ModelManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a server must know about a model; no code branches on its name.

    Attributes:
        schema_version: Of this format.
        name: What the user calls the model, for example ``mobilenet``.
        architecture: The network, for example ``MobileNet``.
        model_format: ``saved_model`` (a folder) or ``onnx`` (a file).
        entry: That folder or file, relative to the manifest.
        weights: Where the weights come from.  The answers of ``random`` weights mean nothing.
        precision: Number format of the weights.
        classes: Class names in output order.  The five ICDR grades make it a grader of diabetic
            retinopathy.  Empty if they are unknown; the outputs are then called ``class_0`` and
            so on.
        output: Whether the model's outputs are probabilities or logits.
        transform: How a photograph becomes the model's input.
        gradability: Limits beyond which a photograph is not graded; None checks nothing.
        clinical: How probabilities become grades and decisions; only of an ICDR grader.
        quantization: Whether sensitivity survived, of a model whose weights were made smaller.
        files: Every file but the manifest, with its digest.
        provenance: Where the model comes from.
    """

    schema_version: Literal[1] = 1
    name: str
    architecture: str
    model_format: ModelFormat
    entry: str
    weights: Weights
    precision: Precision = "fp32"
    classes: tuple[str, ...] = ICDR_CLASSES
    output: Literal["probabilities", "logits"] = "probabilities"
    transform: FundusTransform = FundusTransform()
    gradability: GradabilityLimits | None = None
    clinical: Clinical | None = None
    quantization: Quantization | None = None
    files: tuple[FileDigest, ...] = ()
    provenance: Provenance = Provenance()

    @property
    def grade_thresholds(self) -> tuple[float, ...] | None:
        """The thresholds that :class:`drdeploy.grader.grading.Prediction` takes, if any."""
        return None if self.clinical is None else self.clinical.grade_thresholds

    @property
    def is_icdr(self) -> bool:
        """Whether the classes are the five ICDR grades."""
        return self.classes == ICDR_CLASSES


class _Version(msgspec.Struct):
    schema_version: int = SCHEMA_VERSION


def encode_manifest(manifest: ModelManifest) -> bytes:
    """Write a manifest as indented JSON.

    Defaults are written out: a later version may have others, and the file must still mean the
    same.
    """
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def decode_manifest(data: bytes) -> ModelManifest:
    """Read and check a manifest.

    Raises:
        ManifestError: It is not JSON, comes from a newer version, or a field is wrong; the
            message names the field.
    """
    try:
        # The version first: for a newer manifest the message must not be about unknown fields.
        version = msgspec.json.decode(data, type=_Version).schema_version
        if version <= SCHEMA_VERSION:
            manifest = msgspec.json.decode(data, type=ModelManifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise _unreadable(str(err)) from err
    if version > SCHEMA_VERSION:
        raise ManifestError(
            f"The manifest has schema version {version}; this drdeploy reads up to "
            f"{SCHEMA_VERSION}",
            where=MANIFEST_NAME,
            remedy="Upgrade drdeploy",
        )
    check_manifest(manifest)
    return manifest


def _unreadable(message: str) -> ManifestError:
    """Turn msgspec's message into an error whose ``where`` names the field.

    msgspec says "Expected `int`, got `str` - at `$.transform.width_px`".
    """
    what, _, field = message.partition(" - at `$")
    place = field.rstrip("`").lstrip(".")
    return ManifestError(
        what.replace("`", "'"),
        where=f"{MANIFEST_NAME}: {place}" if place else MANIFEST_NAME,
        remedy="Write the manifest with `drdeploy artifact pack`",
    )


def check_manifest(manifest: ModelManifest) -> None:
    """Check what the types of the fields cannot express.

    Raises:
        ManifestError: A field is wrong; the message names it.
    """
    _require("name", bool(manifest.name.strip()), "A model needs a name")
    distinct = len(set(manifest.classes)) == len(manifest.classes)
    _require("classes", distinct, "Two classes have the same name")
    _require("classes", all(manifest.classes), "A class has an empty name")
    _check_transform(manifest.transform)
    _check_clinical(manifest)
    _check_files(manifest)


def _check_transform(transform: FundusTransform) -> None:
    for field in ("height_px", "width_px"):
        side_px = getattr(transform, field)
        _require(
            f"transform.{field}",
            1 <= side_px <= MAX_SIDE_PX,
            f"A side of {side_px} pixels is not within 1 to {MAX_SIDE_PX}",
        )
    for field in ("value_range", "mean", "std"):
        finite = all(map(math.isfinite, getattr(transform, field)))
        _require(f"transform.{field}", finite, "A value is not a finite number")
    low, high = transform.value_range
    _require("transform.value_range", low != high, f"Black and white both become {low:g}")
    _require("transform.std", all(transform.std), "A standard deviation is zero")


def _check_clinical(manifest: ModelManifest) -> None:
    clinical = manifest.clinical
    if clinical is None:
        return
    _require("clinical", manifest.is_icdr, "Only an ICDR grader has decisions at its grades")
    for threshold in clinical.grade_thresholds or ():
        _require("clinical.grade_thresholds", 0 < threshold < 1, f"{threshold:g} is not in (0, 1)")
    points = [(point.name, point.at_or_above) for point in clinical.operating_points]
    _require("clinical.operating_points", len(set(points)) == len(points), "One is named twice")
    for index, point in enumerate(clinical.operating_points):
        place = f"clinical.operating_points[{index}].threshold"
        _require(place, 0 <= point.threshold <= 1, f"{point.threshold:g} is not in [0, 1]")


def _check_files(manifest: ModelManifest) -> None:
    paths = [file.path for file in manifest.files]
    _require("entry", is_safe_path(manifest.entry), f"'{manifest.entry}' leads out of the artifact")
    for index, file in enumerate(manifest.files):
        place = f"files[{index}]"
        _require(
            f"{place}.path", is_safe_path(file.path), f"'{file.path}' leads out of the artifact"
        )
        is_digest = re.fullmatch(r"[0-9a-f]{64}", file.sha256) is not None
        _require(f"{place}.sha256", is_digest, "It is not a SHA-256 in hexadecimal")
    _require("files", len(set(paths)) == len(paths), "A file is named twice")
    entry = PurePosixPath(manifest.entry)
    holds_entry = any(PurePosixPath(path).is_relative_to(entry) for path in paths)
    _require("files", holds_entry, f"No file belongs to the entry '{manifest.entry}'")


def is_safe_path(path: str) -> bool:
    """Whether a path is normalised and stays inside its folder."""
    parts = path.split("/")
    return "\0" not in path and not any(part in {"", ".", ".."} for part in parts)


def _require(field: str, is_right: bool, what: str) -> None:
    if not is_right:
        raise ManifestError(what, where=f"{MANIFEST_NAME}: {field}")
