"""Add flaws to photographs, and record which flawed photographs the grader refuses or misgrades.

    python scripts/evaluate_gradability.py              # with IDRiD beside the checkout
    python scripts/evaluate_gradability.py --data DIR   # with a downloaded IDRiD

The grader refuses a photograph if a measurement, for example of its sharpness, is beyond a limit.
These limits were chosen on five flaws: darkness, overexposure, Gaussian blur, noise and half an
eye. This script tries eight other flaws, each in four strengths, on the photographs of IDRiD's test
part. It writes one row for each photograph, flaw and strength to ``evidence/gradability``, and the
page ``docs/gradability.md``.

The script also compares the limits with a learnt score. A logistic regression computes the score
from the same measurements. The score estimates the probability that a flaw has changed the decision
whether to refer the patient. To score photographs with one flaw, the regression is fitted on
training photographs without this flaw: those with the other seven flaws, and those with none. For
research use; not a medical device.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from drdeploy.grader.box import box_artifact
from drdeploy.grader.datasets import load_dataset, set_copies_aside
from drdeploy.grader.fundus.appearance import is_unlike_training
from drdeploy.grader.fundus.apply import apply_transform
from drdeploy.grader.fundus.decode import read_and_check_header
from drdeploy.grader.fundus.eye_copies import DETAIL_PX
from drdeploy.grader.fundus.gradability import (
    find_ungradable_reason,
    measure_photograph_quality,
)
from drdeploy.grader.fundus.photograph import decode_photograph
from drdeploy.grader.grading import Grade
from drdeploy.grader.inference import InferenceService
from drdeploy.photograph_names import OWN_NAMES
from drdeploy.statistics.proportions import estimate_grouped_mean, estimate_grouped_proportion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from drdeploy.grader.datasets import Dataset, LabelledPhotograph

    Spoil = Callable[[Image.Image, float, np.random.Generator], Image.Image]

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "gradability.md"
ROWS = ROOT / "evidence" / "gradability" / "spoilt.csv"
SEED = 14
COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)
TRUTHS = ("is_unlike_training", "referred", "is_changed")
FITTED_PHOTOGRAPHS = 100
"""How many photographs of the training part are spoilt to fit the learnt score."""
JPEG_QUALITY = 92
MEASUREMENTS = (
    *("brightness", "clipped_share", "spread", "saturation", "warm_share", "redness"),
    *("hue_spread", "sharpness", "lit_share", "roundness", "stray_share"),
)

HEAD = """\
<!-- Written by scripts/evaluate_gradability.py; do not edit. -->

# Spoilt photographs

How does the packaged grader (int8) treat a photograph with a flaw, for example a blurred one? The
grader refuses photographs beyond certain limits. These limits were chosen on photographs that are
dark, overexposed, blurred or noisy, or that show only half of an eye. For this page, a program
added other flaws to {n} photographs from {sessions} sessions of the data set IDRiD (its test part),
and so made spoilt copies. Each copy is saved as a JPEG of quality 92. The row "none" describes
copies that were only saved in this way, here called unspoilt. A little detail is lost in them, and
more of them are flagged than of the original photographs. There are eight kinds of flaws, each in
four strengths. For {referred} of the {n} unspoilt photographs, the grader's decision is to refer
the eye. Brackets give 95 % intervals. The intervals take into account that photographs of the same
session are alike.

- *Refused*: the grader answers that the photograph cannot be graded.

- *Flagged*: the photograph is graded, and the answer says that it is unlike the photographs that
  the grader was trained on.

- *Decision changed*: the photograph is graded, and the decision whether to refer the eye differs
  from the decision on the unspoilt photograph. The decision is made at the grader's
  high-sensitivity operating point for grade >= 2.

- *Lost unnoticed*: for the unspoilt photograph, the decision is to refer the eye. For the spoilt
  photograph, it is not to refer, and the photograph is neither refused nor flagged. The table gives
  the share among the photographs for whose unspoilt copy the decision is to refer.

For research use. Not a medical device.
"""
SUMMARY = """
The share of spoilt photographs that are refused or flagged is {noticed}. The share of
spoilt photographs whose decision changes although they are neither refused nor flagged is {hidden}.
It is largest with the flaw "{worst}": {share:.2f}.
"""
SCORE = """
## A learnt score beside the limits

Today, fixed limits decide which photographs the grader refuses. Could a score that is learnt from
data choose better? The score is a logistic regression on the measurements to which the limits
apply. It estimates the probability that a flaw has changed the decision. The regression was fitted
on photographs of IDRiD's training part. A photograph with one flaw was scored by a regression that
was fitted without this flaw: on photographs with the other seven flaws, and on unspoilt ones.

The limits let {coverage:.0%} of the spoilt photographs be graded. Among these, flagged or not, the
share of changed decisions is {by_limits:.3f}. If the score decides instead, and as many
photographs are graded, the share is {by_score:.3f}.
The difference is {change:+.3f} ({low:+.3f} to {high:+.3f}).
{verdict}
"""
WORSE = "The score is worse than the limits, so the grader does not use it."
BETTER = "The score is better than the limits at equal coverage."
NO_BETTER = (
    "The grader does not use the score, because it was not shown to be better than the limits."
)
LIMITS = """
## Limits

- The flaws were made by a program. A real cataract, eyelid or reflection looks different, and often
  comes with other flaws.

- Each decision on a spoilt photograph is compared with the decision on the unspoilt photograph, not
  with the label. A decision that stays the same may therefore still be wrong.

- All photographs come from one camera of one clinic.
"""


# -- flaws -------------------------------------------------------------------------------


def move_camera(picture: Image.Image, length_px: float, rng: np.random.Generator) -> Image.Image:
    """Blur a picture along a random direction, as if the camera had moved."""
    angle = rng.uniform(0, np.pi)
    steps = range(int(length_px))
    pixels = np.zeros((picture.height, picture.width, 3), np.float32)
    for step in steps:
        far = step - length_px / 2
        moved = (1, 0, far * np.cos(angle), 0, 1, far * np.sin(angle))
        pixels += np.asarray(picture.transform(picture.size, Image.Transform.AFFINE, moved))
    return Image.fromarray(np.uint8(pixels / len(steps)))


def focus_wrongly(picture: Image.Image, radius_px: float, _: np.random.Generator) -> Image.Image:
    """Replace each pixel by the mean of a disc around it, like a lens that is out of focus."""
    y, x = np.mgrid[-radius_px : radius_px + 1, -radius_px : radius_px + 1]
    pixels = np.zeros((picture.height, picture.width, 3), np.float32)
    places = [(a, b) for a, b in zip(x.flat, y.flat, strict=True) if np.hypot(a, b) <= radius_px]
    for across, down in places:
        moved = (1, 0, float(across), 0, 1, float(down))
        pixels += np.asarray(picture.transform(picture.size, Image.Transform.AFFINE, moved))
    return Image.fromarray(np.uint8(pixels / len(places)))


def lower_eyelid(picture: Image.Image, share: float, _: np.random.Generator) -> Image.Image:
    """Cover the upper part of a picture with the colour of skin, with a soft edge."""
    lid = Image.new("RGB", picture.size, (150, 95, 75))
    mask = Image.new("L", picture.size, 0)
    width, height = picture.size
    ImageDraw.Draw(mask).ellipse((-0.3 * width, -height, 1.3 * width, share * height), fill=255)
    return Image.composite(lid, picture, mask.filter(ImageFilter.GaussianBlur(0.02 * height)))


def cast_shadow(picture: Image.Image, light: float, rng: np.random.Generator) -> Image.Image:
    """Darken a picture gradually towards one side; ``light`` is the share of light left there."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : picture.height * 1j, -1 : 1 : picture.width * 1j]
    side = 1 / (1 + np.exp(-5 * (x * np.cos(angle) + y * np.sin(angle))))
    return Image.fromarray(np.uint8(np.asarray(picture) * (1 - (1 - light) * side)[..., None]))


def cloud_lens(picture: Image.Image, share: float, _: np.random.Generator) -> Image.Image:
    """Mix a picture with a blurred copy of itself, which looks like a cataract."""
    veil = picture.filter(ImageFilter.GaussianBlur(0.12 * picture.width))
    return Image.blend(picture, veil, share)


def reflect_flash(picture: Image.Image, share: float, rng: np.random.Generator) -> Image.Image:
    """Add a white spot, whose diameter is a share of the picture's width."""
    width, height = picture.size
    x, y = rng.uniform(0.3, 0.7, 2) * picture.size
    radius = share * width / 2
    mask = Image.new("L", picture.size, 0)
    ImageDraw.Draw(mask).ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    soft = mask.filter(ImageFilter.GaussianBlur(radius / 3))
    return Image.composite(Image.new("RGB", (width, height), (255, 255, 245)), picture, soft)


def compress(picture: Image.Image, quality: float, _: np.random.Generator) -> Image.Image:
    """Save a picture as a JPEG of low quality, and read it again."""
    return Image.open(io.BytesIO(write_jpeg(picture, int(quality)))).convert("RGB")


def lose_pixels(picture: Image.Image, side_px: float, _: np.random.Generator) -> Image.Image:
    """Shrink a picture to ``side_px`` by ``side_px`` pixels, and scale it up to its old size."""
    side = int(side_px)
    return picture.resize((side, side), Image.Resampling.BOX).resize(
        picture.size, Image.Resampling.BICUBIC
    )


@dataclass(frozen=True)
class Flaw:
    """One way to spoil a photograph, in four strengths from weak to strong."""

    name: str
    unit: str
    strengths: tuple[float, ...]
    spoil: Spoil


FLAWS = (
    Flaw("camera moved", "px of 512", (5, 11, 21, 41), move_camera),
    Flaw("out of focus", "px of 512", (2, 4, 7, 11), focus_wrongly),
    Flaw("eyelid", "share of the height covered", (0.15, 0.3, 0.45, 0.6), lower_eyelid),
    Flaw("shadow", "share of the light left", (0.5, 0.25, 0.12, 0.03), cast_shadow),
    Flaw("cloudy lens", "of a blurred copy mixed in", (0.4, 0.6, 0.8, 0.92), cloud_lens),
    Flaw("flash", "diameter as a share of the frame", (0.1, 0.2, 0.35, 0.5), reflect_flash),
    Flaw("JPEG", "quality", (40, 20, 10, 4), compress),
    Flaw("few pixels", "px a side", (192, 96, 48, 32), lose_pixels),
)
NO_FLAW = Flaw("none", "", (0.0,), lambda picture, _strength, _rng: picture)


# -- rows --------------------------------------------------------------------------------


def main() -> None:
    """Add flaws to the photographs, grade them, and write the rows and the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/idrid_512"))
    options = parser.parse_args()
    once = set_copies_aside(load_dataset(options.data, names=OWN_NAMES))
    train, test = once.select_training_part(), once.select_split("test")
    trained_on = set(train.groups)
    test = test.select_by_index(
        [at for at, group in enumerate(test.groups) if group not in trained_on]
    )
    chosen = np.random.default_rng(SEED).permutation(len(train))[:FITTED_PHOTOGRAPHS]
    service = InferenceService.load(box_artifact("int8"))
    fitted_on = grade_spoilt_photographs(service, train.select_by_index(sorted(chosen)))
    rows = grade_spoilt_photographs(service, test)
    for row, score in zip(rows, score_with_other_flaws(fitted_on, rows), strict=True):
        row["learnt_score"] = round(float(score), 5)
    kept = [name for name in rows[0] if name not in MEASUREMENTS]
    ROWS.parent.mkdir(parents=True, exist_ok=True)
    with ROWS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, kept, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    PAGE.write_text(write_page(read_rows()), "utf-8")
    sys.stderr.write(f"wrote {ROWS} and {PAGE}\n")


def grade_spoilt_photographs(service: InferenceService, dataset: Dataset) -> list[dict[str, Any]]:
    """Grade each photograph as it is, and with each flaw in each strength; return the rows."""
    rows = []
    for number, photograph in enumerate(dataset.photographs):
        picture = Image.open(io.BytesIO(photograph.read_file_bytes())).convert("RGB")
        decision = False
        for kind, flaw in enumerate((NO_FLAW, *FLAWS)):
            for strength in flaw.strengths:
                rng = np.random.default_rng((SEED, number, kind))  # the same place in each strength
                spoilt = write_jpeg(flaw.spoil(picture, strength, rng), JPEG_QUALITY)
                row = describe(photograph, flaw, strength) | grade_picture(service, spoilt)
                if flaw is NO_FLAW:
                    decision = row["referred"]
                rows.append(row | {"is_changed": row["referred"] != decision})
    return rows


def describe(photograph: LabelledPhotograph, flaw: Flaw, strength: float) -> dict[str, Any]:
    """Return the part of a row that names the photograph, the flaw and its strength."""
    return {
        "file": photograph.name,
        "group": photograph.group_name,
        "icdr_grade": int(photograph.grade),
        "flaw": flaw.name,
        "strength": strength,
    }


def grade_picture(service: InferenceService, data: bytes) -> dict[str, Any]:
    """Return why the grader refuses a picture, whether it refers the eye, and the measurements.

    The decision to refer is made for refused pictures, too.
    """
    manifest = service.manifest
    header = read_and_check_header(data, limits=service.limits)
    photograph = decode_photograph(header, manifest.transform, eye_px=DETAIL_PX)
    quality = measure_photograph_quality(photograph)
    refused = find_ungradable_reason(quality, manifest.gradability)
    batch = apply_transform(manifest.transform, photograph)[None]
    [prediction] = service.classifier.predict(batch)
    [point] = [
        point
        for point in manifest.clinical.operating_points
        if (point.name, point.at_or_above) == ("high_sensitivity", Grade.MODERATE)
    ]
    probability = prediction.probability_at_or_above(Grade.MODERATE)
    return {
        "refused": refused or "",
        "is_unlike_training": refused is None
        and is_unlike_training(photograph.eye_copies, manifest.familiarity),
        "referred": bool(point.reaches_threshold(probability)),
        **{name: getattr(quality, name) for name in MEASUREMENTS},
    }


def write_jpeg(picture: Image.Image, quality: int) -> bytes:
    """Return a picture as a JPEG file."""
    target = io.BytesIO()
    picture.save(target, "JPEG", quality=quality)
    return target.getvalue()


def score_with_other_flaws(
    fitted_on: list[dict[str, Any]], rows: list[dict[str, Any]]
) -> NDArray[np.float64]:
    """Return the learnt score of each row: the probability that its flaw changed the decision.

    The regression that scores a flaw is fitted on the rows of all other flaws. The shape of the
    result is ``(n,)``.
    """
    scores = np.zeros(len(rows))
    measured = measure_rows(rows)
    for flaw in (NO_FLAW, *FLAWS):
        others = [row for row in fitted_on if row["flaw"] != flaw.name or flaw is NO_FLAW]
        regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        regression.fit(measure_rows(others), [row["is_changed"] for row in others])
        here = np.array([row["flaw"] == flaw.name for row in rows])
        scores[here] = regression.predict_proba(measured[here])[:, 1]
    return scores


def measure_rows(rows: list[dict[str, Any]]) -> NDArray[np.float64]:
    """Return the inputs of the regression: the measurements of each row, and their squares.

    The shape is ``(n, 2 x measurements)``. For sharpness, the logarithm is used, because blur
    changes sharpness by a factor.
    """
    values = np.array([[row[name] for name in MEASUREMENTS] for row in rows], float)
    at = MEASUREMENTS.index("sharpness")
    values[:, at] = np.log(values[:, at] + 1e-5)
    return np.hstack([values, values**2])


# -- page --------------------------------------------------------------------------------


def read_rows() -> dict[str, NDArray[Any]]:
    """Read the rows in ``evidence/gradability``, and return their columns."""
    with ROWS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    truths = {name: columns[name] == "True" for name in TRUTHS}
    numbers = {name: columns[name].astype(float) for name in ("strength", "learnt_score")}
    return columns | truths | numbers


def write_page(rows: dict[str, NDArray[Any]]) -> str:
    """Return the page."""
    unspoilt = rows["flaw"] == NO_FLAW.name
    before = dict(zip(rows["file"][unspoilt], rows["referred"][unspoilt], strict=True))
    was_referred = np.array([before[name] for name in rows["file"]])
    rows = rows | {"is_lost": was_referred & ~rows["referred"], "was_referred": was_referred}
    sessions = len(set(rows["group"]))
    return "".join(
        (
            HEAD.format(n=len(before), sessions=sessions, referred=sum(before.values())),
            *_write_flaws(rows),
            *_write_score(rows),
            LIMITS,
        )
    )


def _write_flaws(rows: dict[str, NDArray[Any]]) -> Iterator[str]:
    yield "\n| flaw | strength | refused | flagged | decision changed, of those graded | "
    yield "referrals lost unnoticed |\n|---|---|---|---|---|---|\n"
    everything = np.zeros(rows["flaw"].size, bool)
    for flaw in (NO_FLAW, *FLAWS):
        for strength in flaw.strengths:
            here = (rows["flaw"] == flaw.name) & (rows["strength"] == strength)
            name = f"{strength:g} {flaw.unit}" if flaw.unit else ""
            yield f"| {flaw.name} | {name} | {_write_cells(rows, here)} |\n"
            everything |= here & (flaw is not NO_FLAW)
    yield f"| all flaws | | {_write_cells(rows, everything)} |\n"
    yield _write_summary(rows, everything)


def _write_summary(rows: dict[str, NDArray[Any]], spoilt: NDArray[np.bool_]) -> str:
    """Return the page's summary: how many flaws the grader notices, and which one it misses.

    The flaw that is named is the one that changes most decisions unnoticed.
    """
    is_noticed = (rows["refused"] != "") | rows["is_unlike_training"]
    is_hidden = rows["is_changed"] & ~is_noticed
    shares = {
        (flaw, strength): is_hidden[
            (rows["flaw"] == flaw.name) & (rows["strength"] == strength)
        ].mean()
        for flaw in FLAWS
        for strength in flaw.strengths
    }
    flaw, strength = max(shares, key=shares.__getitem__)
    return SUMMARY.format(
        noticed=_write_share(is_noticed[spoilt], rows["group"][spoilt]),
        hidden=_write_share(is_hidden[spoilt], rows["group"][spoilt]),
        worst=f"{flaw.name}, {strength:g} {flaw.unit}",
        share=float(shares[flaw, strength]),
    )


def _write_cells(rows: dict[str, NDArray[Any]], here: NDArray[np.bool_]) -> str:
    is_refused = rows["refused"] != ""
    graded = here & ~is_refused
    referred = here & rows["was_referred"]
    unnoticed = rows["is_lost"] & ~is_refused & ~rows["is_unlike_training"]
    shares = (
        (is_refused, here),
        (rows["is_unlike_training"] & ~is_refused, here),
        (rows["is_changed"], graded),
        (unnoticed, referred),
    )
    return " | ".join(_write_share(values[of], rows["group"][of]) for values, of in shares)


def _write_share(values: NDArray[np.bool_], groups: NDArray[Any]) -> str:
    if not values.size:
        return "none graded"
    found = estimate_grouped_proportion(values, groups)
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def _write_score(rows: dict[str, NDArray[Any]]) -> Iterator[str]:
    spoilt = rows["flaw"] != NO_FLAW.name
    changed, groups = rows["is_changed"][spoilt], rows["group"][spoilt]
    score = rows["learnt_score"][spoilt]
    order = np.argsort(score, kind="stable")
    by_limits = rows["refused"][spoilt] == ""
    count = int(by_limits.sum())
    by_score = np.zeros(score.size, bool)
    by_score[order[:count]] = True
    risks = [float(changed[kept].mean()) for kept in (by_limits, by_score)]
    change = changed * (by_score.astype(float) - by_limits)
    found = estimate_grouped_mean(change, groups)
    scale = score.size / count
    low, high = found.low * scale, found.high * scale
    yield SCORE.format(
        coverage=count / score.size,
        by_limits=risks[0],
        by_score=risks[1],
        change=risks[1] - risks[0],
        low=low,
        high=high,
        verdict=WORSE if low > 0 else BETTER if high < 0 else NO_BETTER,
    )
    yield "\n| coverage | decision changed, by the learnt score |\n|---|---|\n"
    for coverage in COVERAGES:
        kept = order[: round(coverage * score.size)]
        yield f"| {coverage:.2f} | {_write_share(changed[kept], groups[kept])} |\n"


if __name__ == "__main__":
    main()
