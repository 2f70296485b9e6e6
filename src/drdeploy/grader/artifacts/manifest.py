"""The format of ``manifest.json``, which holds all that a server must know about a model."""

from __future__ import annotations

import math
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal, overload

import msgspec

from drdeploy.errors import ManifestError
from drdeploy.grader.fundus.familiarity import MEASUREMENTS, Familiarity
from drdeploy.grader.fundus.gradability_limits import GradabilityLimits  # noqa: TC001 - msgspec reads it
from drdeploy.grader.fundus.transform import FundusTransform
from drdeploy.grader.grading.grade import ICDR_CLASSES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MANIFEST_NAME = "manifest.json"
SCHEMA_VERSION = 1
MAX_SIDE_PX = 4096
"""The largest height or width of a model's input. It suffices for any classifier, and catches
typos."""

SHORT_DIGEST = 12
"""The number of hexadecimal digits of each photograph's SHA-256 that a manifest lists. The
probability that two among a million photographs have the same digits is 0.2 %.
"""

LEAST_FACTOR, MOST_FACTOR = 1e-6, 1e6
"""The allowed range of a recalibration's temperature and weights.

Outside this range, numbers underflow.
"""

ModelFormat = Literal["saved_model", "onnx"]
InputLayout = Literal["nchw", "nhwc"]
Precision = Literal["fp32", "fp16", "bf16", "int8"]
Weights = Literal["trained", "imagenet", "random", "unknown"]


class FileDigest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the artifact.

    Attributes:
        path: Path relative to the manifest, with forward slashes.
        sha256: SHA-256 of the file in hexadecimal.
        size_bytes: Size of the file.
    """

    path: str
    sha256: str
    size_bytes: int


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the model comes from.  All fields are optional, and predictions use none of them.

    Attributes:
        created_at: A text that another program may set, for example the time of packing in ISO
            8601. drdeploy leaves it empty, so that the same input always gives the same archive.
        tool_version: Version of drdeploy that wrote the manifest.
        source: Where the network and its initial weights come from.
        dataset: The photographs that the model was trained on, with their digest.
        trained_on: The first 12 hexadecimal digits of each training photograph's SHA-256; empty if
            unknown. An evaluation recognises copies of the training photographs by these digits.
        licence: Licence of the weights.
        seed: Seed of the random numbers.
        notes: Notes for the user, in sentences.
    """

    created_at: str = ""
    tool_version: str = ""
    source: str = ""
    dataset: str = ""
    trained_on: tuple[str, ...] = ()
    licence: str = ""
    seed: int | None = None
    notes: str = ""


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A proportion of photographs, such as a sensitivity, with its 95 % interval (Wilson 1927).

    Attributes:
        value: The share, from 0 to 1.
        low: Lower limit.
        high: Upper limit.
        n: Number of photographs that the share refers to.
    """

    value: float
    low: float
    high: float
    n: int

    @property
    def with_interval(self) -> str:
        """The share and its interval, for example ``0.87 (0.74 to 0.94)``."""
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


class TestedRates(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The sensitivity and specificity of an operating point in a test on new photographs.

    Neither the network nor a threshold was chosen on these photographs, and no photograph of their
    patients or capture sessions was used in training.

    Attributes:
        on: A description of the photographs, for example ``84 photographs of idrid_512/test``.
        sensitivity: Share of flagged photographs among those at or above the point's grade.
        specificity: Share of unflagged photographs among those below the point's grade.
    """

    __test__ = False  # the name is not pytest's

    on: str
    sensitivity: Rate
    specificity: Rate

    @property
    def description(self) -> str:
        """Both rates with their 95 % intervals, as one sentence."""
        return (
            f"On {self.on}, the sensitivity was {self.sensitivity.with_interval} and the "
            f"specificity {self.specificity.with_interval}."
        )


class OperatingPoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A threshold: an eye is flagged if its probability of disease reaches the threshold.

    Attributes:
        name: How the threshold was chosen on validation photographs: ``high_sensitivity`` misses
            few diseased eyes but flags more healthy eyes; ``balanced`` gives both errors the same
            weight.
        at_or_above: The ICDR grade from which an eye should be flagged (2 or 3).
        threshold: An eye is flagged if P(grade >= ``at_or_above``) reaches this threshold.
        sensitivity: Share of flagged photographs among the validation photographs at or above the
            grade.
        specificity: Share of unflagged photographs among the validation photographs below the
            grade.
        cross_fitted: Whether each photograph was flagged by a threshold that was chosen on other
            photographs. Without cross-fitting, ``sensitivity`` and ``specificity`` are slightly too
            high.
        target_sensitivity: The sensitivity that the threshold was chosen to reach on the validation
            photographs. None if no sensitivity was aimed at, or if it was not recorded.
        tested: Sensitivity and specificity in a test on new photographs; None if there was no test.
    """

    name: Literal["high_sensitivity", "balanced"]
    at_or_above: Literal[2, 3]
    threshold: float
    sensitivity: Rate
    specificity: Rate
    cross_fitted: bool = False
    target_sensitivity: float | None = None
    tested: TestedRates | None = None

    @overload
    def reaches_threshold(self, probability: float) -> bool: ...
    @overload
    def reaches_threshold(self, probability: NDArray[np.floating]) -> NDArray[np.bool_]: ...
    def reaches_threshold(
        self, probability: float | NDArray[np.floating]
    ) -> bool | NDArray[np.bool_]:
        """Return whether P(grade >= ``at_or_above``), a number or array, reaches the threshold."""
        return probability >= self.threshold


class Clinical(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a grader's probabilities become grades and decisions.

    Attributes:
        chosen_on: A description of the photographs on which the thresholds were chosen.
        temperature: The temperature by which the logits were divided to calibrate them (Guo et al.,
            ICML 2017). The network already contains the division, so its outputs are calibrated.
        grade_thresholds: See :class:`drdeploy.grader.grading.Prediction`.
        operating_points: At most one operating point for each pair of name and grade.
    """

    chosen_on: str
    temperature: float = 1.0
    grade_thresholds: tuple[float, float, float, float] | None = None
    operating_points: tuple[OperatingPoint, ...] = ()


class Quantization(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The result of comparing a quantized model with its fp32 original.

    Attributes:
        verdict: ``accepted`` if the comparison shows that the quantized model loses less than
            ``margin`` in every measure, ``refused`` if it loses more in at least one measure, and
            ``undecided`` if there were too few photographs to tell.
        reason: Why the model was accepted, refused or left undecided, in one sentence.
        reference_digest: Digest of the fp32 artifact.
        images: How many photographs both models graded.
        margin: Largest acceptable loss in each measure.
    """

    verdict: Literal["accepted", "refused", "undecided"]
    reason: str
    reference_digest: str
    images: int
    margin: float


class Recalibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a grader's probabilities were adapted to the photographs of a clinic.

    Attributes:
        temperature: The temperature by which the logits are divided, in addition to the division in
            the network.
        grade_weights: For each grade, the factor by which its probability is multiplied. The five
            products are then divided by their sum.
        adapted_on: A description of the clinic's photographs.
        photographs: How many photographs the temperature, the weights and the thresholds were
            chosen on.
        groups: How many patients or capture sessions the photographs come from, or None if this
            number is not known.
        photographs_per_grade: How many of the photographs have each grade.
        prevalence: The share of grade 2 or worse that the adapted probabilities assume. It is the
            share among the clinic's photographs, or a share that the user stated.
        is_prevalence_stated: Whether the user stated the prevalence.
        original_digest: Digest of the artifact before the recalibration.
        adapted_to: The first 12 hexadecimal digits of each photograph's SHA-256; empty in an older
            manifest. An evaluation recognises copies of the photographs by these digits.
    """

    temperature: float
    grade_weights: tuple[float, float, float, float, float]
    adapted_on: str
    photographs: int
    groups: int | None
    photographs_per_grade: tuple[int, int, int, int, int]
    prevalence: float
    is_prevalence_stated: bool
    original_digest: str
    adapted_to: tuple[str, ...] = ()


class AssumedPrevalence(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The share of diseased eyes at the place where a grader is used.

    An answer holds the probabilities at this prevalence beside the grader's own probabilities. The
    grade and the decisions follow from the grader's own probabilities, so the prevalence does not
    change their sensitivity and specificity.

    Attributes:
        prevalence: The share of grade 2 or worse.
        how: ``stated`` by the user, or ``estimated`` from ungraded photographs.
        grade_weights: For each grade, the factor by which the grader's probability is multiplied.
            The five products are then divided by their sum.
        low: Lower limit of the 95 % interval of an estimated prevalence; None if it was stated.
        high: Upper limit.
        estimated_on: A description of the ungraded photographs; empty if the prevalence was stated.
        photographs: How many ungraded photographs the prevalence was estimated from.
        adapted_to: The first 12 hexadecimal digits of the SHA-256 of each of these photographs.
    """

    prevalence: float
    how: Literal["stated", "estimated"]
    grade_weights: tuple[float, float, float, float, float]
    low: float | None = None
    high: float | None = None
    estimated_on: str = ""
    photographs: int = 0
    adapted_to: tuple[str, ...] = ()


class ModelDescription(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The description of a model in its manifest, without the list of files.

    Attributes:
        schema_version: Version of the manifest's format.
        name: The user's name for the model, for example ``mobilenet``.
        architecture: The network, for example ``MobileNet``.
        weights: Where the weights come from.  The answers of a model with ``random`` weights mean
            nothing.
        precision: Number format of the weights.
        classes: Class names in output order. A model whose classes are the five ICDR grades is a
            grader of diabetic retinopathy. ``classes`` is empty if the class names are unknown; the
            outputs are then called ``class_0``, ``class_1`` and so on.
        output: Whether the model's outputs are probabilities or logits.
        output_name: The name of the output with the predictions, if the model has several outputs.
        input_layout: Order of the axes of the model's input, if the model itself does not state it.
            The letters mean images (n), channels (c), height (h) and width (w).
        transform: How a photograph becomes the model's input.
        gradability: Limits beyond which a photograph is not graded. With None, every photograph is
            graded.
        familiarity: The rule that says whether a photograph is unlike the training photographs.
            With None, no photograph is flagged.
        clinical: How the probabilities of an ICDR grader become grades and decisions. None if the
            model is not an ICDR grader, or if it has no such rules.
        quantization: Comparison of a quantized model with its original, or None for an original.
        recalibration: How the probabilities were adapted to a clinic's photographs, or None for a
            grader that was not adapted.
        prevalence: The prevalence for which answers hold adjusted probabilities, or None.
        provenance: Where the model comes from.
    """

    schema_version: Literal[1] = 1
    name: str
    architecture: str
    weights: Weights
    precision: Precision = "fp32"
    classes: tuple[str, ...] = ICDR_CLASSES
    output: Literal["probabilities", "logits"] = "probabilities"
    output_name: str | None = None
    input_layout: InputLayout | None = None
    transform: FundusTransform = FundusTransform()
    gradability: GradabilityLimits | None = None
    familiarity: Familiarity | None = None
    clinical: Clinical | None = None
    quantization: Quantization | None = None
    recalibration: Recalibration | None = None
    prevalence: AssumedPrevalence | None = None
    provenance: Provenance = Provenance()

    @property
    def grade_thresholds(self) -> tuple[float, ...] | None:
        """The thresholds for :class:`drdeploy.grader.grading.Prediction`, if there are any."""
        return None if self.clinical is None else self.clinical.grade_thresholds

    @property
    def is_icdr(self) -> bool:
        """Whether the classes are the five ICDR grades."""
        return self.classes == ICDR_CLASSES


class ModelManifest(ModelDescription, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that a server must know about a model.

    Attributes:
        model_format: ``saved_model`` (a folder) or ``onnx`` (a file).
        entry: Path of the SavedModel folder or ONNX file, relative to the manifest.
        files: Every file of the artifact except the manifest, with its digest.
    """

    model_format: ModelFormat
    entry: str
    files: tuple[FileDigest, ...] = ()


class _Version(msgspec.Struct):
    schema_version: int = SCHEMA_VERSION


def encode_manifest(manifest: ModelManifest) -> bytes:
    """Return a manifest as indented JSON.

    The JSON contains fields with default values too, because a later version of drdeploy may have
    other defaults.
    """
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def decode_manifest(data: bytes) -> ModelManifest:
    """Read and check a manifest.

    Raises:
        ManifestError: The data are not JSON, the manifest has a newer format, or a field is wrong.
            The message names the wrong field.
    """
    try:
        # The version first: for a newer manifest the message must not be about unknown fields.
        version = msgspec.json.decode(data, type=_Version).schema_version
        if version <= SCHEMA_VERSION:
            manifest = msgspec.json.decode(data, type=ModelManifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise _manifest_error_from_msgspec(str(err)) from err
    if version > SCHEMA_VERSION:
        raise ManifestError(
            f"The manifest has schema version {version}; this version of drdeploy reads versions "
            f"up to {SCHEMA_VERSION}",
            where=MANIFEST_NAME,
            remedy="Upgrade drdeploy",
        )
    check_manifest(manifest)
    return manifest


def _manifest_error_from_msgspec(message: str) -> ManifestError:
    """Turn msgspec's message into an error whose ``where`` names the field.

    An example of msgspec's message is "Expected `int`, got `str` - at `$.transform.width_px`".
    """
    what, _, field = message.partition(" - at `$")
    place = field.rstrip("`").lstrip(".")
    remedy = "Write the manifest with `drdeploy artifact pack`"
    if "unknown field" in what:
        remedy = (
            "If a newer drdeploy wrote the manifest, use that version, and rebuild your images "
            f"with it; otherwise {remedy[0].lower()}{remedy[1:]}"
        )
    return ManifestError(
        what.replace("`", "'"),
        where=f"{MANIFEST_NAME}: {place}" if place else MANIFEST_NAME,
        remedy=remedy,
    )


def check_manifest(manifest: ModelManifest) -> None:
    """Check rules that the types of the fields cannot express.

    Raises:
        ManifestError: A field is wrong; the message names the field.
    """
    _require_valid_field("name", bool(manifest.name.strip()), "A model needs a name")
    distinct = len(set(manifest.classes)) == len(manifest.classes)
    _require_valid_field("classes", distinct, "Two classes have the same name")
    _require_valid_field("classes", all(manifest.classes), "A class has an empty name")
    _check_transform(manifest.transform)
    _check_familiarity(manifest.familiarity)
    _check_clinical_thresholds(manifest)
    _check_recalibration(manifest)
    _check_prevalence(manifest)
    _check_list_of_files(manifest)


def _check_transform(transform: FundusTransform) -> None:
    for field in ("height_px", "width_px"):
        side_px = getattr(transform, field)
        _require_valid_field(
            f"transform.{field}",
            1 <= side_px <= MAX_SIDE_PX,
            f"The value is {side_px}, but must be from 1 to {MAX_SIDE_PX} pixels",
        )
    for field in ("value_range", "mean", "std"):
        finite = all(map(math.isfinite, getattr(transform, field)))
        _require_valid_field(f"transform.{field}", finite, "A value is not a finite number")
    low, high = transform.value_range
    what = f"Both values are {low:g}, but black and white pixels need different values"
    _require_valid_field("transform.value_range", low != high, what)
    _require_valid_field("transform.std", all(transform.std), "A standard deviation is zero")


def _check_familiarity(familiarity: Familiarity | None) -> None:
    if familiarity is None:
        return
    known = familiarity.measurements == MEASUREMENTS
    what = "The measurements are not those of this version of drdeploy"
    _require_valid_field("familiarity.measurements", known, what)
    rows = {"means": (familiarity.means,), "directions": familiarity.directions}
    for field, values in rows.items():
        is_right = bool(values) and all(
            len(row) == len(MEASUREMENTS) and all(map(math.isfinite, row)) for row in values
        )
        what = f"A row must have {len(MEASUREMENTS)} finite numbers"
        _require_valid_field(f"familiarity.{field}", is_right, what)
    is_right = math.isfinite(familiarity.limit) and familiarity.limit > 0
    _require_valid_field("familiarity.limit", is_right, "The value is not a finite number above 0")


def _check_clinical_thresholds(manifest: ModelManifest) -> None:
    clinical = manifest.clinical
    if clinical is None:
        return
    _require_valid_field(
        "clinical",
        manifest.is_icdr,
        "Only a model whose classes are the five ICDR grades can have thresholds for grades",
    )
    for threshold in clinical.grade_thresholds or ():
        _require_valid_field(
            "clinical.grade_thresholds", 0 < threshold < 1, f"{threshold:g} is not between 0 and 1"
        )
    points = [(point.name, point.at_or_above) for point in clinical.operating_points]
    _require_valid_field(
        "clinical.operating_points",
        len(set(points)) == len(points),
        "Two operating points have the same name and grade",
    )
    for index, point in enumerate(clinical.operating_points):
        place = f"clinical.operating_points[{index}].threshold"
        _require_valid_field(
            place,
            0 <= point.threshold <= 1,
            f"The threshold {point.threshold:g} is not between 0 and 1",
        )
        target = point.target_sensitivity
        _require_valid_field(
            f"clinical.operating_points[{index}].target_sensitivity",
            target is None or 0 < target <= 1,
            f"The sensitivity {target} is not between 0 and 1",
        )


def _check_recalibration(manifest: ModelManifest) -> None:
    recalibration = manifest.recalibration
    if recalibration is None:
        return
    _require_valid_field(
        "recalibration",
        manifest.is_icdr,
        "Only a model whose classes are the five ICDR grades can be recalibrated",
    )
    _check_factors("recalibration.temperature", (recalibration.temperature,))
    _check_factors("recalibration.grade_weights", recalibration.grade_weights)
    _check_short_digests(
        "recalibration.adapted_to", recalibration.adapted_to, recalibration.photographs
    )


def _check_prevalence(manifest: ModelManifest) -> None:
    assumed = manifest.prevalence
    if assumed is None:
        return
    what = "Only a model whose classes are the five ICDR grades can have a prevalence"
    _require_valid_field("prevalence", manifest.is_icdr, what)
    what = f"The value is {assumed.prevalence:g}, but must be between 0 and 1"
    _require_valid_field("prevalence.prevalence", 0 < assumed.prevalence < 1, what)
    _check_factors("prevalence.grade_weights", assumed.grade_weights)
    _check_short_digests("prevalence.adapted_to", assumed.adapted_to, assumed.photographs)


def _check_factors(field: str, values: tuple[float, ...]) -> None:
    for value in values:
        is_right = LEAST_FACTOR <= value <= MOST_FACTOR
        what = f"The value is {value:g}, but must be from {LEAST_FACTOR:g} to {MOST_FACTOR:g}"
        _require_valid_field(field, is_right, what)


def _check_short_digests(field: str, digests: tuple[str, ...], photographs: int) -> None:
    """Check the digests of photographs, which must not hold anything else, such as a file name."""
    _require_valid_field(
        field,
        len(digests) <= photographs,
        f"{len(digests)} digests are listed, but there were only {photographs} photographs",
    )
    for digest in digests:
        is_digest = re.fullmatch(rf"[0-9a-f]{{{SHORT_DIGEST}}}", digest) is not None
        what = f"The value '{digest}' is not {SHORT_DIGEST} hexadecimal digits of a SHA-256"
        _require_valid_field(field, is_digest, what)


def _check_list_of_files(manifest: ModelManifest) -> None:
    paths = [file.path for file in manifest.files]
    _require_valid_field(
        "entry",
        is_path_inside_folder(manifest.entry),
        f"The path '{manifest.entry}' leads out of the artifact",
    )
    for index, file in enumerate(manifest.files):
        place = f"files[{index}]"
        _require_valid_field(
            f"{place}.path",
            is_path_inside_folder(file.path),
            f"The path '{file.path}' leads out of the artifact",
        )
        is_digest = re.fullmatch(r"[0-9a-f]{64}", file.sha256) is not None
        _require_valid_field(
            f"{place}.sha256", is_digest, "The value is not a SHA-256 in hexadecimal"
        )
    _require_valid_field(
        "files", len(set(paths)) == len(paths), "The list of files has the same path twice"
    )
    entry = PurePosixPath(manifest.entry)
    holds_entry = any(PurePosixPath(path).is_relative_to(entry) for path in paths)
    _require_valid_field("files", holds_entry, f"The list of files lacks '{manifest.entry}'")


def is_path_inside_folder(path: str) -> bool:
    """Whether a path is normalised and stays inside its folder."""
    parts = path.split("/")
    return "\0" not in path and not any(part in {"", ".", ".."} for part in parts)


def _require_valid_field(field: str, is_right: bool, what: str) -> None:
    if not is_right:
        raise ManifestError(
            what,
            where=f"{MANIFEST_NAME}: {field}",
            remedy="Correct the field, or the option of `drdeploy artifact pack` that sets it",
        )
