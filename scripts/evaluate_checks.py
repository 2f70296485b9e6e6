"""Measure which photographs the packaged grader refuses, and which it flags.

    python scripts/evaluate_checks.py               # with IDRiD beside the checkout
    python scripts/evaluate_checks.py --shared DIR  # with a folder of data sets
    python scripts/evaluate_checks.py --other-cameras DIR  # measures only other cameras anew

Before grading, a photograph is checked twice: whether it can be graded, and whether it is unlike
the photographs on which the grader was trained. This script applies the first check to photographs
of IDRiD, to altered copies of them, and to pictures of something else. To assess the second check,
it grades altered copies of the test photographs, and it leaves groups of training photographs that
look alike out of the rule. With ``--other-cameras``, it grades the photographs of other data sets:
the folder has one folder of photographs for each key of ``OTHER_CAMERAS``. It writes its rows to
``evidence/checks``, and from them the page ``docs/checks.md``. For research use; not a medical
device.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter
from sklearn.cluster import KMeans
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from drdeploy.grader.box import box_artifact
from drdeploy.grader.datasets import load_dataset, set_copies_aside, split_into_grouped_folds
from drdeploy.grader.fundus.appearance import compute_distance_of_measurements, measure_appearance
from drdeploy.grader.fundus.apply import apply_transform
from drdeploy.grader.fundus.decode import read_and_check_header
from drdeploy.grader.fundus.eye_copies import DETAIL_PX
from drdeploy.grader.fundus.familiarity import COLOUR_MEASUREMENTS, MEASUREMENTS
from drdeploy.grader.fundus.gradability import find_ungradable_reason, measure_photograph_quality
from drdeploy.grader.fundus.photograph import decode_photograph
from drdeploy.grader.grading import Grade
from drdeploy.grader.grading.prediction import grades_from_probabilities
from drdeploy.grader.inference import InferenceService
from drdeploy.grader.training.familiarity import FLAGGED_SHARE, fit_familiarity_rule
from drdeploy.hosting.serving.answer import decide_referral
from drdeploy.photograph_names import OWN_NAMES
from drdeploy.statistics.proportions import estimate_grouped_proportion, estimate_proportion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from drdeploy.grader.datasets import Dataset
    from drdeploy.grader.fundus.photograph import DecodedPhotograph

    Change = Callable[[Image.Image, np.random.Generator], Image.Image]

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "checks.md"
FOLDER = ROOT / "evidence" / "checks"
REFUSALS, COPIES, GROUPS, CAMERAS = (
    FOLDER / f"{name}.csv" for name in ("refusals", "copies", "groups", "other-cameras")
)
OTHER_CAMERAS = {
    "DRIVE": "DRIVE (Staal et al. 2004): Canon CR5, 45°; screening of people with diabetes",
    "CHASE_DB1": "CHASE_DB1 (Fraz et al. 2012): Nidek NM-200-D, 30°; children",
    "EyePACS": "EyePACS (Kaggle 2015), the first ten photographs: several cameras; screening",
}
"""The data sets from other cameras, each with its description on the page."""
OUT_OF_FOLD = ROOT / "evidence" / "mobilenet-idrid" / "oof-int8.csv"
SEED = 14
EVERY = 6
"""Altered copies are made of every sixth photograph, for the check whether it can be graded."""
APPEARANCES = 5
"""The number of groups of training photographs that look alike."""
SHARES_FOR_HUMAN = (0.0, 0.1, 0.3, 0.5)

HEAD = """\
<!-- Written by scripts/evaluate_checks.py; do not edit. -->

# Photographs that are refused or flagged

Before the packaged grader (int8) grades a photograph, it checks whether the photograph [can be
graded](explanation.md#photographs-that-cannot-be-graded), and whether it is [unlike the training
photographs](explanation.md#photographs-unlike-the-training-photographs). This page shows which
photographs are refused or flagged. Brackets give 95 % intervals. The intervals of numbers about
grades take into account that photographs of the same session are alike. Two further pages show
[spoilt photographs](gradability.md) and [photographs framed in other ways](framing.md).

For research use. Not a medical device.

## Refused

| photographs | n | accepted | why the others were refused |
|---|---|---|---|
"""
FLAGGED = """
## Flagged

Each row describes altered copies of the {n} test photographs ({sessions} sessions), whose sessions
were not used in training. The copies only imitate other cameras and other diseases. *Wrong at grade
2* is the share of the graded copies for which the answered grade is on the wrong side of grade 2.
Kappa is weighted quadratically. Both are computed without the refused copies.

| copies | refused | flagged | wrong at grade 2 | kappa |
|---|---|---|---|---|
"""
AFTER = """
Over all altered copies, the answered grade is on the wrong side of grade 2 for {flagged} of the
flagged copies, and for {others} of the others. On the unchanged photographs, the shares are
{own_flagged} and {own_others}.

Two numbers could tell the wrong decisions at grade 2 from the right ones: the distance from the
training photographs, and the grader's doubt, which is how close P(grade >= 2) is to 0.5. Over all
altered copies, the area under the ROC curve is {distance:.2f} for the distance, and {doubt:.2f}
for the doubt. On the unchanged photographs, it is {own_distance:.2f} for the distance, and
{own_doubt:.2f} for the doubt.

Suppose that a human grades a part of the altered copies, and the grader grades the rest. The human
may get the copies that are farthest from the training photographs, or those on which the grader is
most in doubt. The table shows how many of the decisions that are left to the grader are wrong:

| the human grades | farthest copies: wrong decisions | copies with most doubt: wrong decisions |
|---|---|---|
"""
LEFT_OUT = """
## One appearance left out

Would the rule that flags photographs notice an appearance that it does not know? The {n} training
photographs were sorted into {groups} groups by their light, colour and vignetting (k-means). For
each group, the rule was fitted again without this group, and its limit was chosen on the other
photographs. *Wrong* is the share of photographs whose out-of-fold grade is on the wrong side of
grade 2. The networks that gave these grades were trained on photographs of all groups.

| group left out | photographs | flagged by a rule without the group | flagged by the rule with all | wrong, flagged | wrong, others |
|---|---|---|---|---|---|
"""  # noqa: E501  a table's row cannot be wrapped
OTHER = """
## Other cameras

These photographs come from other cameras and other clinics, and no rule was chosen on them. They
are not in this repository. No photograph of DRIVE shows more than mild retinopathy, according to
its authors, and the children of CHASE_DB1 were not chosen for a disease. On these two data sets,
nearly every answer *referable* is therefore wrong. The answer is that of the high-sensitivity
point.

| photographs | n | refused | flagged | referable, of all | referable, of the flagged | referable, of the others |
|---|---|---|---|---|---|---|
"""  # noqa: E501  a table's row cannot be wrapped
AFTER_OTHER = """
None of these photographs is refused. The rule flags most photographs of DRIVE, but only a third of
those of CHASE_DB1, although its camera shows a much smaller part of the eye. On DRIVE, all wrong
answers *referable* are flagged. On CHASE_DB1, the flag does not tell right from wrong answers. So a
photograph that is not flagged may still come from a camera that the grader does not know.
"""
END = """
All groups come from one camera. A group that was left out still looks much like the others, so the
rule flags only a part of it.
"""


# -- copies --------------------------------------------------------------------------------


def scale(*gains: float) -> Change:
    """Return a change that multiplies each channel by a gain."""
    levels = [min(255, int(level * gain)) for gain in gains for level in range(256)]
    return lambda picture, _: picture.point(levels if len(gains) == 3 else levels * 3)


def blur(sigma_px: float) -> Change:
    """Return a change that blurs a picture."""
    return lambda picture, _: picture.filter(ImageFilter.GaussianBlur(sigma_px))


def shrink(side_px: int, *, is_enlarged: bool = False) -> Change:
    """Return a change that makes a picture smaller, and maybe enlarges it again."""

    def change(picture: Image.Image, _: np.random.Generator) -> Image.Image:
        small = picture.resize((side_px, side_px), Image.Resampling.BOX)
        return small.resize(picture.size, Image.Resampling.BICUBIC) if is_enlarged else small

    return change


def save_after(change: Change, quality: int) -> Change:
    """Return a change after which the picture is saved as a JPEG."""

    def changed(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
        target = io.BytesIO()
        change(picture, rng).save(target, "JPEG", quality=quality)
        return Image.open(target).convert("RGB")

    return changed


def hide(is_hidden: Callable[[Any, Any], Any]) -> Change:
    """Return a change that paints a part of a picture black."""

    def change(picture: Image.Image, _: np.random.Generator) -> Image.Image:
        y, x = np.mgrid[-1 : 1 : picture.height * 1j, -1 : 1 : picture.width * 1j]
        return Image.fromarray(np.asarray(picture) * ~is_hidden(y, x)[..., None])

    return change


def crop_within_eye(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Cut out a random square that lies wholly within the eye."""
    side = int(rng.uniform(0.4, 0.55) * picture.width)
    far = 0.4 * picture.width - side * 0.71
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0, max(0.0, far))
    left = int(picture.width / 2 + distance * np.cos(angle) - side / 2)
    top = int(picture.height / 2 + distance * np.sin(angle) - side / 2)
    return picture.crop((left, top, left + side, top + side))


def blend_with(colour: tuple[int, int, int], share: float) -> Change:
    """Return a change that mixes the eye with a colour; the black surround stays black."""

    def change(picture: Image.Image, _: np.random.Generator) -> Image.Image:
        mixed = Image.blend(picture, Image.new("RGB", picture.size, colour), share)
        mask = picture.convert("L").point(lambda level: 255 if level > 18 else 0)
        return Image.composite(mixed, picture, mask)

    return change


def add_noise(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Add noise with a standard deviation of 12 levels to the eye."""
    pixels = np.asarray(picture)
    noisy = (pixels + rng.normal(0, 12, pixels.shape)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(np.where(pixels.max(axis=2, keepdims=True) > 18, noisy, pixels))


def darken_rim(picture: Image.Image, _: np.random.Generator) -> Image.Image:
    """Darken a picture towards its rim."""
    y, x = np.mgrid[-1 : 1 : picture.height * 1j, -1 : 1 : picture.width * 1j]
    return Image.fromarray(
        np.uint8(np.asarray(picture) * (1 - 0.5 * (x * x + y * y)).clip(0.2)[..., None])
    )


def draw_spots(
    count: int, radius_share: float, colour: tuple[int, int, int], within: float = 0.7
) -> Change:
    """Return a change that paints round spots with soft edges at random places of the eye."""

    def change(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
        mask = Image.new("L", picture.size, 0)
        draw, radius = ImageDraw.Draw(mask), radius_share * picture.width / 2
        for _ in range(count):
            angle, distance = rng.uniform(0, 2 * np.pi), within * np.sqrt(rng.uniform())
            x = picture.width / 2 * (1 + distance * np.cos(angle))
            y = picture.height / 2 * (1 + distance * np.sin(angle))
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=200)
        soft = mask.filter(ImageFilter.GaussianBlur(max(0.7, radius / 4)))
        return Image.composite(Image.new("RGB", picture.size, colour), picture, soft)

    return change


FOR_REFUSALS: dict[str, Change] = {
    **{f"IDRiD blurred with sigma {one} pixels": blur(one) for one in (4, 5, 6, 8)},
    **{
        f"IDRiD blurred with sigma 8 pixels, JPEG quality {one}": save_after(blur(8), one)
        for one in (95, 70)
    },
    **{f"IDRiD at {one} of the light": scale(one) for one in (0.5, 0.4, 0.3, 0.2, 0.1)},
    **{f"IDRiD shrunk to {one} pixels": shrink(one) for one in (128, 64)},
    "IDRiD in greyscale": lambda picture, _: picture.convert("L").convert("RGB"),
    "IDRiD with its left half black": hide(lambda _, x: x < 0),
    "IDRiD with its right half black": hide(lambda _, x: x > 0),
    "IDRiD with its upper half black": hide(lambda y, _: y < 0),
    "IDRiD with its lower half black": hide(lambda y, _: y > 0),
    "IDRiD with half of it black along a diagonal": hide(lambda y, x: x > y),
}
FOR_FLAGS: dict[str, Change] = {
    "unchanged": lambda picture, _: picture,
    "warmer": scale(1.1, 0.95, 0.8),
    "cooler": scale(0.9, 1.0, 1.2),
    "less contrast": lambda picture, _: ImageEnhance.Contrast(picture).enhance(0.75),
    "blurred (sigma 2 px)": blur(2),
    "blurred (sigma 3 px)": blur(3),
    "coarser (0.3 of the pixels a side)": shrink(154, is_enlarged=True),
    "field cut to 0.7": hide(lambda y, x: np.hypot(x, y) > 0.7),
    "sharpened": lambda picture, _: picture.filter(ImageFilter.UnsharpMask(3, 120, 0)),
    "pink": blend_with((230, 120, 160), 0.2),
    "dark": scale(0.6),
    "pale": blend_with((220, 190, 160), 0.25),
    "hazy": blend_with((150, 120, 90), 0.35),
    "vignetted": darken_rim,
    "large dark spots": draw_spots(3, 0.12, (60, 25, 15)),
    "noisy": add_noise,
    "painted drusen": draw_spots(60, 0.02, (235, 205, 120)),
    "painted laser scars": draw_spots(120, 0.035, (215, 190, 130), within=0.9),
}


def paint_pictures_of_nothing() -> dict[str, Image.Image]:
    """Return noise, a wall in grey, and a page of text."""
    rng = np.random.default_rng(SEED)
    page = Image.new("RGB", (600, 800), (240, 235, 225))
    for line in range(40):
        ImageDraw.Draw(page).text((40, 20 + 19 * line), "the quick brown fox " * 4, (20, 20, 20))
    grain = np.repeat(rng.normal(128, 20, (400, 400, 1)).clip(0, 255), 3, axis=2)
    return {
        "noise": Image.fromarray(rng.integers(0, 255, (400, 400, 3)).astype(np.uint8)),
        "a wall in grey": Image.fromarray(grain.astype(np.uint8)),
        "a page of text": page,
    }


# -- rows ----------------------------------------------------------------------------------


def decode(service: InferenceService, data: bytes) -> DecodedPhotograph:
    """Decode a photograph as the grader does."""
    header = read_and_check_header(data, limits=service.limits)
    return decode_photograph(header, service.manifest.transform, eye_px=DETAIL_PX)


def write_png(picture: Image.Image) -> bytes:
    """Return a picture as a PNG file."""
    target = io.BytesIO()
    picture.save(target, "PNG", compress_level=1)
    return target.getvalue()


def list_refusals(service: InferenceService, shared: Path) -> Iterator[dict[str, Any]]:
    """Yield why each photograph or copy is refused; an empty reason if it is accepted."""

    def check(kind: str, name: str, data: bytes) -> dict[str, Any]:
        quality = measure_photograph_quality(decode(service, data))
        reason = find_ungradable_reason(quality, service.manifest.gradability)
        return {"kind": kind, "file": name, "refused": reason or ""}

    files = sorted((shared / "idrid_512").glob("*/*.jpg"))
    for file in files:
        yield check("IDRiD at 512 x 512", file.name, file.read_bytes())
    for file in sorted((shared / "full_resolution").glob("*.jpg")):
        yield check("camera resolution", file.name, file.read_bytes())
    for number, file in enumerate(files[::2]):
        picture = Image.open(file).convert("RGB")
        part = crop_within_eye(picture, np.random.default_rng((SEED, number)))
        yield check("parts of IDRiD wholly within the eye", file.name, write_png(part))
    for kind, change in FOR_REFUSALS.items():
        for file in files[::EVERY]:
            altered = change(Image.open(file).convert("RGB"), np.random.default_rng(SEED))
            yield check(kind, file.name, write_png(altered))
    pictures = paint_pictures_of_nothing()
    for file in sorted((shared / "not_fundus").glob("*.*")):
        pictures[f"a {file.stem}"] = Image.open(file).convert("RGB")
    for kind, picture in pictures.items():
        yield check(kind, kind, write_png(picture))


def list_copies(service: InferenceService, test: Dataset) -> Iterator[dict[str, Any]]:
    """Yield the grade, the distance from the training photographs and the flag of each copy."""
    manifest = service.manifest
    for number, photograph in enumerate(test.photographs):
        data = photograph.read_file_bytes()
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        for place, (kind, change) in enumerate(FOR_FLAGS.items()):
            if kind != "unchanged":
                rng = np.random.default_rng((SEED, number, place))
                data = write_png(change(picture, rng))
            decoded = decode(service, data)
            quality = measure_photograph_quality(decoded)
            refused = find_ungradable_reason(quality, manifest.gradability)
            [found] = service.classifier.predict(apply_transform(manifest.transform, decoded)[None])
            distance = compute_distance_of_measurements(
                measure_appearance(decoded.eye_copies), manifest.familiarity
            )
            yield {
                "file": photograph.name,
                "group": photograph.group_name,
                "icdr_grade": int(photograph.grade),
                "kind": kind,
                "refused": refused or "",
                "flagged": int(distance > manifest.familiarity.limit),
                "distance": round(distance, 4),
                "grade": int(found.grade),
                "probability_2_or_worse": round(found.probability_at_or_above(Grade.MODERATE), 4),
            }


def list_other_cameras(service: InferenceService, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the answer to each photograph of the data sets from other cameras."""
    for data_set in OTHER_CAMERAS:
        for file in sorted((folder / data_set).iterdir()):
            [answer] = service.infer([file.read_bytes()])
            found = answer.prediction
            referral = found and decide_referral(found, service.manifest)
            yield {
                "data_set": data_set,
                "file": file.name,
                "group": re.sub("(_left|_right|[LR])$", "", file.stem),  # a person
                "refused": answer.ungradable or "",
                "flagged": int(bool(answer.is_unlike_training)),
                "grade": "" if found is None else int(found.grade),
                "referable": "" if referral is None else int(referral.referable),
            }


def list_groups(service: InferenceService, train: Dataset) -> Iterator[dict[str, Any]]:
    """Yield the group of each training photograph, and its distance without and with the group."""
    measured = np.array([
        measure_appearance(decode(service, one.read_file_bytes()).eye_copies)
        for one in train.photographs
    ])  # fmt: skip
    colour = measured[:, [MEASUREMENTS.index(name) for name in COLOUR_MEASUREMENTS]]
    colour = (colour - colour.mean(axis=0)) / colour.std(axis=0)
    groups = KMeans(APPEARANCES, n_init=10, random_state=SEED).fit_predict(colour)
    whole = service.manifest.familiarity
    graded = read_rows(OUT_OF_FOLD)
    probabilities = np.stack([graded[f"p{grade}"].astype(float) for grade in range(5)], axis=1)
    thresholds = service.manifest.clinical.grade_thresholds
    grades = dict(
        zip(graded["file"], grades_from_probabilities(probabilities, thresholds), strict=True)
    )
    for group in range(APPEARANCES):
        inside = np.flatnonzero(groups == group)
        others = np.flatnonzero(groups != group)
        rule = fit_familiarity_rule(measured[others], limit=1.0, chosen_on="")
        distances = np.empty(len(others))
        for fold in split_into_grouped_folds(train.select_by_index(others), 5, seed=0):
            part = fit_familiarity_rule(measured[others][fold.train], limit=1.0, chosen_on="")
            distances[fold.validation] = [
                compute_distance_of_measurements(row, part)
                for row in measured[others][fold.validation]
            ]
        limit = float(np.quantile(distances, 1 - FLAGGED_SHARE))
        for at in inside:
            apart = compute_distance_of_measurements(measured[at], rule)
            yield {
                "file": train.photographs[at].name,
                "group": train.photographs[at].group_name,
                "appearance": group + 1,
                "icdr_grade": int(train.photographs[at].grade),
                "out_of_fold_grade": int(grades[train.photographs[at].name]),
                "flagged_when_left_out": int(apart > limit),
                "flagged": int(compute_distance_of_measurements(measured[at], whole) > whole.limit),
            }


def write_rows(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    """Write rows as CSV."""
    found = list(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(found[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)


def read_rows(path: Path) -> dict[str, NDArray[Any]]:
    """Return the columns of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


# -- page ----------------------------------------------------------------------------------


def main() -> None:
    """Check and grade the photographs and their copies, and write the rows and the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    parser.add_argument("--other-cameras", type=Path)
    options = parser.parse_args()
    if options.other_cameras is not None:
        service = InferenceService.load(box_artifact("int8"))
        write_rows(CAMERAS, list_other_cameras(service, options.other_cameras))
        PAGE.write_text(write_page(), "utf-8")
        return
    once = set_copies_aside(load_dataset(options.shared / "idrid_512", names=OWN_NAMES))
    train, test = once.select_training_part(), once.select_split("test")
    trained_on = set(train.groups)
    new = [at for at, group in enumerate(test.groups) if group not in trained_on]
    service = InferenceService.load(box_artifact("int8"))
    write_rows(GROUPS, list_groups(service, train))
    write_rows(COPIES, list_copies(service, test.select_by_index(new)))
    write_rows(REFUSALS, list_refusals(service, options.shared))
    PAGE.write_text(write_page(), "utf-8")
    sys.stderr.write(f"wrote {FOLDER} and {PAGE}\n")


def write_page() -> str:
    """Return the page."""
    return "".join((
        HEAD, *_write_refusals(read_rows(REFUSALS)), *_write_flags(read_rows(COPIES)),
        *_write_groups(read_rows(GROUPS)), END, *_write_other_cameras(read_rows(CAMERAS)),
    ))  # fmt: skip


def _write_refusals(rows: dict[str, NDArray[Any]]) -> Iterator[str]:
    for kind in dict.fromkeys(rows["kind"]):
        refused = rows["refused"][rows["kind"] == kind]
        accepted = int((refused == "").sum())
        share = "refused" if accepted == 0 else "accepted"
        if refused.size > 1:
            found = estimate_proportion(accepted, refused.size)
            share = f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%})"
        reasons = sorted(set(refused) - {""})
        why = ", ".join(f"`{one}` {(refused == one).sum()}" for one in reasons)
        yield f"| {kind} | {refused.size} | {share} | {why} |\n"


def _write_flags(rows: dict[str, NDArray[Any]]) -> Iterator[str]:
    yield FLAGGED.format(n=len(set(rows["file"])), sessions=len(set(rows["group"])))
    labels, grades = rows["icdr_grade"].astype(int), rows["grade"].astype(int)
    is_flagged, graded = rows["flagged"] == "1", rows["refused"] == ""
    wrong = (labels >= Grade.MODERATE) != (grades >= Grade.MODERATE)
    distance = rows["distance"].astype(float)
    doubt = -np.abs(rows["probability_2_or_worse"].astype(float) - 0.5)
    own = rows["kind"] == "unchanged"
    for kind in FOR_FLAGS:
        here = rows["kind"] == kind
        kept = here & graded
        kappa = "none graded"
        if kept.any():
            agreement = cohen_kappa_score(labels[kept], grades[kept], weights="quadratic")
            kappa = f"{agreement:z.2f}"  # z: no negative zero
        yield (
            f"| {kind} | {_write_share(~graded, rows, here)} | "
            f"{_write_share(is_flagged & graded, rows, here)} | "
            f"{_write_share(wrong, rows, kept)} | {kappa} |\n"
        )
    altered = graded & ~own
    yield AFTER.format(
        flagged=_write_share(wrong, rows, altered & is_flagged),
        others=_write_share(wrong, rows, altered & ~is_flagged),
        own_flagged=_write_share(wrong, rows, own & is_flagged),
        own_others=_write_share(wrong, rows, own & ~is_flagged),
        distance=roc_auc_score(wrong[altered], distance[altered]),
        doubt=roc_auc_score(wrong[altered], doubt[altered]),
        own_distance=roc_auc_score(wrong[own], distance[own]),
        own_doubt=roc_auc_score(wrong[own], doubt[own]),
    )
    for share in SHARES_FOR_HUMAN:
        cells = []
        for number in (distance, doubt):
            order = np.argsort(number[altered], kind="stable")
            left = order[: round((1 - share) * order.size)]
            cells.append(f"{wrong[altered][left].mean():.0%}")
        yield f"| {share:.0%} of the copies | {' | '.join(cells)} |\n"


def _write_groups(rows: dict[str, NDArray[Any]]) -> Iterator[str]:
    yield LEFT_OUT.format(n=rows["file"].size, groups=len(set(rows["appearance"])))
    labels, grades = (rows[name].astype(int) for name in ("icdr_grade", "out_of_fold_grade"))
    wrong = (labels >= Grade.MODERATE) != (grades >= Grade.MODERATE)
    apart = rows["flagged_when_left_out"] == "1"
    for group in (*sorted(set(rows["appearance"])), "all"):
        here = (rows["appearance"] == group) | (group == "all")
        yield (
            f"| {group} | {here.sum()} | {_write_share(apart, rows, here)} | "
            f"{_write_share(rows['flagged'] == '1', rows, here)} | "
            f"{_write_share(wrong, rows, here & apart)} | "
            f"{_write_share(wrong, rows, here & ~apart)} |\n"
        )


def _write_other_cameras(rows: dict[str, NDArray[Any]]) -> Iterator[str]:
    yield OTHER
    is_refused, is_flagged, is_referable = (
        rows[name] != "" if name == "refused" else rows[name] == "1"
        for name in ("refused", "flagged", "referable")
    )
    for data_set, described in OTHER_CAMERAS.items():
        here = rows["data_set"] == data_set
        cells = [
            _write_share(values, rows, here & among)
            for values, among in (
                (is_refused, here),
                (is_flagged, here),
                (is_referable, here),
                (is_referable, is_flagged),
                (is_referable, ~is_flagged),
            )
        ]
        yield f"| {described} | {here.sum()} | {' | '.join(cells)} |\n"
    yield AFTER_OTHER


def _write_share(
    values: NDArray[np.bool_], rows: dict[str, NDArray[Any]], here: NDArray[np.bool_]
) -> str:
    if not here.any():
        return "none"
    found = estimate_grouped_proportion(values[here], rows["group"][here])
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


if __name__ == "__main__":
    main()
