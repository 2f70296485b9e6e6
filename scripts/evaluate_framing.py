"""Frame photographs in other ways, and record which of them the grader refuses or misgrades.

    python scripts/evaluate_framing.py               # with IDRiD beside the checkout
    python scripts/evaluate_framing.py --shared DIR  # with a folder of IDRiD and a picture of a cat

Every data set frames the eye in its own way. The frame may cut the eye off. The eye may be squashed
or off its frame's centre. Its surround may be grey or white instead of black. This script makes
such copies of the photographs of IDRiD's test part, with one or several of these changes, and
grades them. It writes one row for each photograph and kind of copy to ``evidence/framing``. The
rules of :mod:`drdeploy.grader.fundus.field_of_view` were mended on half of the photographs and on a
part of the kinds. All other photographs and kinds were held back.

The script also tries pictures that show no fundus: parts of a picture of a cat, as they are, in a
disc, tinted like an eye, or in greyscale. From the rows, it writes the page ``docs/framing.md``.
For research use; not a medical device.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from drdeploy.grader.box import box_artifact
from drdeploy.grader.datasets import load_dataset, set_copies_aside
from drdeploy.grader.fundus.appearance import is_unlike_training
from drdeploy.grader.fundus.apply import apply_transform
from drdeploy.grader.fundus.field_of_view import FieldOfView, find_field_of_view
from drdeploy.grader.fundus.gradability import (
    find_ungradable_reason,
    measure_photograph_quality,
)
from drdeploy.grader.fundus.photograph import DecodedPhotograph
from drdeploy.grader.grading import Grade
from drdeploy.grader.inference import InferenceService
from drdeploy.photograph_names import OWN_NAMES
from drdeploy.statistics.proportions import estimate_grouped_proportion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from drdeploy.grader.datasets import Dataset
    from drdeploy.grader.fundus.transform import FundusTransform

    Box = tuple[float, float, float, float]

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "framing.md"
FOLDER = ROOT / "evidence" / "framing"
COPIES, NO_EYES = FOLDER / "copies.csv", FOLDER / "no-fundus.csv"
SEED = 14
EYE_LEVEL = 18
"""In IDRiD's photographs, the surround is darker than this level, and the eye is brighter."""
CHOSEN_EVERY = 8
"""The rules were chosen on every eighth photograph of the test part, without half of the sessions
of these photographs, which were held back.
"""
MOST_REFUSED = 0.04
"""At most this share of the copies of each kind may be refused."""

HEAD = """\
<!-- Written by scripts/evaluate_framing.py; do not edit. -->

# Photographs framed in other ways

Every camera and every data set frames the eye in its own way. How does the packaged grader (int8)
treat a photograph whose frame cuts the eye off, or in which the eye is squashed, off centre, or on
a grey or white surround? A program made such copies of {n} photographs from {sessions} sessions of
the data set IDRiD (its test part), with one or several changes at a time. The rules that find the
eye were improved with the help of {tuned} of these kinds of copies, and of {used} of the sessions.
The other {apart} kinds and the other sessions were held back. There was one exception: while the
rules were being improved, we looked once at results of the held-back kinds, on two photographs from
the {used} sessions.

- *Refused*: the grader answers that the photograph cannot be graded. *Most, of one kind* is the
  largest share that is refused among the copies of one kind.

- *Flagged*: the photograph is graded, and the answer says that it is unlike the photographs that
  the grader was trained on.

- *Difference of the input*: how far the model's input is, on average, from the input that the
  original photograph would give if everything that the new frame does not show were black. It is
  given on the scale of pixel values, 0 to 255, and it is 0 if the eye is found exactly. A smaller
  disc is enlarged, so for photographs that are masked to a smaller disc, a difference is intended.

- *Grade changed*: the photograph is graded, and its grade differs from that of the original. This
  is no measure of the rules alone, because the frame may cut off the lesions on which a grade
  rests.

IDRiD's frames already cut the eye off above and below. A cut is given as a share of the eye's
visible width or height, on each side that is named. "Squashed by 0.77" means that the width,
divided by the height, is multiplied by 0.77. Brackets give 95 % intervals. The intervals take into
account that photographs of the same session are alike.

For research use. Not a medical device.

## Summary

| copies of | kinds | n | refused | most, of one kind | flagged | difference | grade changed |
|---|---|---|---|---|---|---|---|
"""
NO_FUNDUS_HEAD = """
## Pictures that show no fundus

The grader should refuse these pictures. They are {parts} parts of one picture of a cat, and the
whole picture. Their colour is like that of an eye, so most other pictures are refused more
often than these. One of the limits, the largest sharpness of a picture without a surround, was
chosen with the help of other parts of this picture.

| the parts | graded | graded without a flag |
|---|---|---|
"""
END = """
The check looks only at colour, shape and sharpness. It cannot tell an eye from something else that
is as evenly red as an eye, so most tinted pictures pass. A disc on an even surround has the shape
of an eye, so a reddish picture in a disc passes, too. Most of these pictures are flagged.

## Each kind

The kinds that were held back are marked with an asterisk.

| kind | refused | flagged | difference of the input | grade changed |
|---|---|---|---|---|
"""


# -- kinds of copies -----------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """One way to frame an eye: what is cut off, hidden, repainted, padded and squashed.

    Attributes:
        name: What the page calls the kind.
        cut: Shares of the visible eye's width and height that are cut off: left, top, right,
            bottom.
        hide: The part of the frame that the camera masks: ``notch``, ``octagon``, ``disc`` or none.
        surround: The colour of the surround, and how noisy it is, in levels of 255.
        pad: Shares of the width and height that are added: left, top, right, bottom.
        pad_colour: The colour of what is added; None is the colour of the surround.
        squash: The factor by which width divided by height is changed.
        side_px: The side of the square to which the copy is resized, whatever its shape; 0 for
            none.
        is_held_back: Whether no rule was chosen on this kind.
    """

    name: str
    cut: Box = (0.0, 0.0, 0.0, 0.0)
    hide: str = ""
    surround: tuple[int, int] = (0, 0)
    pad: Box = (0.0, 0.0, 0.0, 0.0)
    pad_colour: int | None = None
    squash: float = 1.0
    side_px: int = 0
    is_held_back: bool = False


Parts = dict[str, dict[str, Any]]

CUTS: Parts = {
    "8 % cut left and right": {"cut": (0.08, 0, 0.08, 0)},
    "8 % cut above and below": {"cut": (0, 0.08, 0, 0.08)},
    "8 % cut on all sides": {"cut": (0.08, 0.08, 0.08, 0.08)},
    "20 % cut on the left": {"cut": (0.2, 0, 0, 0)},
}
SQUASHES: Parts = {"squashed by 0.77": {"squash": 0.77}, "squashed by 1.3": {"squash": 1.3}}
PLACES: Parts = {
    "notched": {"hide": "notch"},
    "padded": {"pad": (0.5, 0.5, 0.5, 0.5)},
    "off centre": {"pad": (0.6, 0.0, 0.05, 0.3)},
}
SURROUNDS: Parts = {
    "grey surround": {"surround": (128, 0)},
    "white surround": {"surround": (255, 0)},
    "white padding": {"pad": (0.2, 0.2, 0.2, 0.2), "pad_colour": 255},
}
HELD_BACK_CUTS: Parts = {
    "4 % cut left and right": {"cut": (0.04, 0, 0.04, 0)},
    "6 % cut left and right": {"cut": (0.06, 0, 0.06, 0)},
    "12 % cut left and right": {"cut": (0.12, 0, 0.12, 0)},
    "12 % cut above and below": {"cut": (0, 0.12, 0, 0.12)},
    "4 % cut on all sides": {"cut": (0.04, 0.04, 0.04, 0.04)},
    "12 % cut on all sides": {"cut": (0.12, 0.12, 0.12, 0.12)},
    "15 % cut above": {"cut": (0, 0.15, 0, 0)},
    "10 % cut on the right and below": {"cut": (0, 0, 0.1, 0.1)},
}
HELD_BACK_SQUASHES: Parts = {
    "squashed by 0.7": {"squash": 0.7},
    "squashed by 0.9": {"squash": 0.9},
    "squashed by 1.1": {"squash": 1.1},
    "squashed by 1.4": {"squash": 1.4},
    "resized to 224 x 224": {"side_px": 224},
}
HELD_BACK_PLACES: Parts = {
    "masked to an octagon": {"hide": "octagon"},
    "masked to a smaller disc": {"hide": "disc"},
    "padded left and right": {"pad": (0.8, 0.0, 0.8, 0.0)},
    "off centre, to the right": {"pad": (0.4, 0.3, 0.0, 0.0)},
}
HELD_BACK_SURROUNDS: Parts = {
    "dark grey, noisy surround": {"surround": (30, 5)},
    "grey, noisy surround": {"surround": (60, 4)},
    "light grey surround": {"surround": (200, 0)},
    "grey padding": {"pad": (0.2, 0.2, 0.2, 0.2), "pad_colour": 128},
}


def combine(
    *families: Parts, is_held_back: bool = False, both: tuple[str, ...] = ()
) -> Iterator[Kind]:
    """Yield each combination of one member of each family.

    Two paddings cannot be combined. A padded photograph is not resized to a square, which would
    squash it by more than a half.
    """
    if not families:
        yield Kind(", ".join(both), is_held_back=is_held_back)
        return
    for name, changes in families[0].items():
        for kind in combine(*families[1:], is_held_back=is_held_back, both=(*both, name)):
            if kind.pad != Kind.pad and ("pad" in changes or "side_px" in changes):
                continue
            fields = {field: getattr(kind, field) for field in kind.__dataclass_fields__}
            yield Kind(**(fields | changes))


def list_kinds() -> list[Kind]:
    """Return every kind: those on which the rules were mended, and those that were held back."""
    families = (CUTS, SQUASHES, PLACES, SURROUNDS)
    pairs = [(one, other) for at, one in enumerate(families) for other in families[at + 1 :]]
    held_back = (HELD_BACK_CUTS, HELD_BACK_SQUASHES, HELD_BACK_PLACES, HELD_BACK_SURROUNDS)
    apart = partial(combine, is_held_back=True)
    return [
        *(kind for family in families for kind in combine(family)),
        *(kind for pair in pairs for kind in combine(*pair)),
        *(kind for family in held_back for kind in apart(family)),
        *apart(HELD_BACK_CUTS, HELD_BACK_SQUASHES),
        *apart(HELD_BACK_CUTS, HELD_BACK_SURROUNDS),
        *apart(HELD_BACK_SQUASHES, HELD_BACK_SURROUNDS),
        *apart(HELD_BACK_SQUASHES, HELD_BACK_PLACES),
        *apart(HELD_BACK_PLACES, HELD_BACK_SURROUNDS),
        *apart(CUTS, SQUASHES, SURROUNDS),
    ]


@dataclass(frozen=True)
class Original:
    """An unaltered photograph: its pixels, which of them show the eye, and where the eye is."""

    pixels: NDArray[np.uint8]
    is_eye: NDArray[np.bool_]
    view: FieldOfView

    @classmethod
    def read(cls, data: bytes) -> Original:
        """Decode a photograph of IDRiD and find its eye, whose surround is black."""
        pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        opened = ndimage.binary_opening(pixels.max(axis=2) > EYE_LEVEL, iterations=2)
        is_eye = ndimage.binary_fill_holes(opened)
        return cls(pixels, is_eye, find_field_of_view(Image.fromarray(pixels)))

    def find_box_of_eye(self) -> tuple[int, int, int, int]:
        """Return the edges of the visible part: left, top, right, bottom."""
        rows, columns = (np.flatnonzero(self.is_eye.mean(axis=axis) > 0.02) for axis in (1, 0))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

    def cut_box(self, kind: Kind) -> tuple[int, int, int, int]:
        """Return the edges of what a kind of frame leaves of the eye."""
        left, top, right, bottom = self.find_box_of_eye()
        width, height = right - left, bottom - top
        return (
            left + round(kind.cut[0] * width),
            top + round(kind.cut[1] * height),
            right - round(kind.cut[2] * width),
            bottom - round(kind.cut[3] * height),
        )

    def mask_what_is_shown(self, kind: Kind) -> NDArray[np.bool_]:
        """Return a mask of the pixels of the eye that the camera's own mask leaves."""
        if not kind.hide:
            return self.is_eye
        left, top, right, bottom = self.find_box_of_eye()
        width, height = right - left, bottom - top
        shown = Image.new("L", self.is_eye.shape[::-1], 0 if kind.hide != "notch" else 255)
        draw = ImageDraw.Draw(shown)
        if kind.hide == "notch":
            shape = ((1.0, 0.4), (0.93, 0.45), (0.93, 0.55), (1.0, 0.6))
            draw.polygon([(left + x * width, top + y * height) for x, y in shape], fill=0)
        elif kind.hide == "octagon":
            near, far = 0.29, 0.71
            shape = ((near, 0.0), (far, 0.0), (1.0, near), (1.0, far))
            shape += tuple((1 - x, 1 - y) for x, y in shape)
            draw.polygon([(left + x * width, top + y * height) for x, y in shape], fill=255)
        else:
            x, y, radius = (left + right) / 2, (top + bottom) / 2, min(width, height) / 2
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
        return self.is_eye & (np.asarray(shown) > 0)


def make_copy(original: Original, kind: Kind, rng: np.random.Generator) -> Image.Image:
    """Return a copy of a photograph in another frame."""
    shown = original.mask_what_is_shown(kind)
    level, noise = kind.surround
    pixels = original.pixels
    if kind.hide or level:
        grain = rng.normal(level, noise, (*shown.shape, 1)).clip(0, 255)
        surround = np.repeat(np.uint8(np.rint(grain)), 3, axis=2)
        pixels = np.where(shown[..., None], pixels, surround)
    picture = Image.fromarray(pixels).crop(original.cut_box(kind))
    width, height = picture.size
    if kind.pad != Kind.pad:
        left, top, right, bottom = kind.pad
        size = (round(width * (1 + left + right)), round(height * (1 + top + bottom)))
        colour = level if kind.pad_colour is None else kind.pad_colour
        padded = Image.new("RGB", size, (colour,) * 3)
        padded.paste(picture, (round(width * left), round(height * top)))
        picture = padded
    if kind.side_px:
        return picture.resize((kind.side_px, kind.side_px))
    if kind.squash != 1:
        stretch = kind.squash**0.5
        width, height = picture.size
        return picture.resize((round(width * stretch), round(height / stretch)))
    return picture


def make_ideal_input(
    transform: FundusTransform, original: Original, kind: Kind
) -> NDArray[np.float32]:
    """Return the input that a copy would give if its frame were understood without any error.

    It is the input of the original photograph, in which everything that the frame does not show is
    black.
    """
    left, top, right, bottom = original.cut_box(kind)
    is_shown = np.zeros_like(original.is_eye)
    is_shown[top:bottom, left:right] = True
    if kind.hide:
        is_shown &= original.mask_what_is_shown(kind)
    pixels = np.where(is_shown[..., None], original.pixels, np.uint8(0))
    photograph = DecodedPhotograph(Image.fromarray(pixels), original.view)
    return apply_transform(transform, photograph)


# -- rows ----------------------------------------------------------------------------------


def grade_copies(
    service: InferenceService, dataset: Dataset, kinds: list[Kind]
) -> Iterator[dict[str, Any]]:
    """Yield one row for each photograph as it is, and for each of its copies."""
    used = choose_used_groups(dataset)
    for number, photograph in enumerate(dataset.photographs):
        original = Original.read(photograph.read_file_bytes())
        ideals: dict[tuple[Box, str], NDArray[np.float32]] = {}
        for place, kind in enumerate((None, *kinds)):
            rng = np.random.default_rng((SEED, number, place))
            pixels = original.pixels if kind is None else make_copy(original, kind, rng)
            altered = DecodedPhotograph.from_pixels(np.asarray(pixels))
            seen = apply_transform(service.manifest.transform, altered)
            ideal = seen
            if kind is not None:
                if (kind.cut, kind.hide) not in ideals:
                    ideals[kind.cut, kind.hide] = make_ideal_input(
                        service.manifest.transform, original, kind
                    )
                ideal = ideals[kind.cut, kind.hide]
            yield {
                "file": photograph.name,
                "group": photograph.group_name,
                "is_held_back": int(photograph.group_name not in used),
                "kind": "unaltered" if kind is None else kind.name,
                **grade_photograph(service, altered, seen),
                "input_difference": round(float(np.abs(seen - ideal).mean()) * 127.5, 2),
            }


def put_chosen_photographs_first(dataset: Dataset) -> Dataset:
    """Return the same photographs, but every eighth comes before all others."""
    places = range(len(dataset.photographs))
    chosen = places[::CHOSEN_EVERY]
    return dataset.select_by_index([*chosen, *(at for at in places if at not in chosen)])


def choose_used_groups(dataset: Dataset) -> set[str]:
    """Return the sessions on whose photographs rules were chosen; all others were held back.

    Args:
        dataset: The photographs in the order of :func:`put_chosen_photographs_first`.
    """
    chosen = -(-len(dataset.photographs) // CHOSEN_EVERY)
    groups = sorted(set(dataset.groups[:chosen]))
    order = np.random.default_rng(SEED).permutation(len(groups))
    return {groups[at] for at in order[len(groups) // 2 :]}


def grade_photograph(
    service: InferenceService, photograph: DecodedPhotograph, seen: NDArray[np.float32]
) -> dict[str, Any]:
    """Return why the grader refuses a photograph, or its grade, its decision and its flag."""
    manifest = service.manifest
    quality = measure_photograph_quality(photograph)
    refused = find_ungradable_reason(quality, manifest.gradability)
    if refused is not None:
        return {"refused": refused, "grade": "", "referred": "", "flagged": ""}
    [point] = [
        point
        for point in manifest.clinical.operating_points
        if (point.name, point.at_or_above) == ("high_sensitivity", Grade.MODERATE)
    ]
    [prediction] = service.classifier.predict(seen[None])
    return {
        "refused": "",
        "grade": int(prediction.grade),
        "referred": int(
            point.reaches_threshold(prediction.probability_at_or_above(Grade.MODERATE))
        ),
        "flagged": int(is_unlike_training(photograph.eye_copies, manifest.familiarity)),
    }


# -- pictures that show no fundus ----------------------------------------------------------


def put_in_disc(picture: Image.Image, level: int) -> Image.Image:
    """Mask the middle of a picture to a disc, on a surround of a grey level."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    mask = Image.new("L", square.size, 0)
    ImageDraw.Draw(mask).ellipse((0, 0, side - 1, side - 1), fill=255)
    margin = side // 10
    disc = Image.new("RGB", (side + 2 * margin, side + 2 * margin), (level,) * 3)
    disc.paste(square, (margin, margin), mask=mask)
    return disc


def tint_like_eye(picture: Image.Image) -> Image.Image:
    """Give a picture the red of an eye."""
    gains = ((1.2, 30), (0.6, 0), (0.3, 0))
    levels = [min(255, int(level * gain + add)) for gain, add in gains for level in range(256)]
    return picture.point(levels)


NO_FUNDUS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as it is": lambda picture: picture,
    "in a disc, black surround": partial(put_in_disc, level=0),
    "in a disc, grey surround": partial(put_in_disc, level=128),
    "tinted": tint_like_eye,
    "tinted, in a disc": lambda picture: put_in_disc(tint_like_eye(picture), 0),
    "in greyscale": lambda picture: picture.convert("L").convert("RGB"),
}
CROPS = 60


def make_crops(picture: Image.Image) -> Iterator[tuple[str, Image.Image]]:
    """Yield the whole picture and random parts of it, with a name; parts are enlarged twice."""
    yield "whole", picture
    rng = np.random.default_rng(SEED)
    for number in range(CROPS):
        width = int(rng.uniform(0.3, 0.6) * picture.width)
        height = min(int(width * rng.uniform(0.75, 1.3)), picture.height)
        left = int(rng.uniform(0, picture.width - width))
        top = int(rng.uniform(0, picture.height - height))
        part = picture.crop((left, top, left + width, top + height))
        yield f"part {number + 1}", part.resize((2 * width, 2 * height))


def grade_no_fundus(service: InferenceService, files: list[Path]) -> Iterator[dict[str, Any]]:
    """Yield one row for each picture without a fundus and each of its changed parts."""
    for file in files:
        picture = Image.open(file).convert("RGB")
        for name, part in make_crops(picture):
            for kind, change in NO_FUNDUS.items():
                altered = DecodedPhotograph.from_pixels(np.asarray(change(part)))
                seen = apply_transform(service.manifest.transform, altered)
                found = grade_photograph(service, altered, seen)
                yield {
                    "picture": file.stem,
                    "part": name,
                    "kind": kind,
                    "refused": found["refused"],
                    "flagged": found["flagged"],
                }


# -- page ----------------------------------------------------------------------------------


def main() -> None:
    """Make and grade the copies, and write the rows and the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    once = set_copies_aside(load_dataset(options.shared / "idrid_512", names=OWN_NAMES))
    trained_on, test = set(once.select_training_part().groups), once.select_split("test")
    new = [at for at, group in enumerate(test.groups) if group not in trained_on]
    service = InferenceService.load(box_artifact("int8"))
    cats = sorted((options.shared / "not_fundus").glob("*.*"))
    FOLDER.mkdir(parents=True, exist_ok=True)
    write_rows(NO_EYES, grade_no_fundus(service, cats))
    photographs = put_chosen_photographs_first(test.select_by_index(new))
    write_rows(COPIES, grade_copies(service, photographs, list_kinds()))
    PAGE.write_text(write_page(read_rows(COPIES), read_rows(NO_EYES)), "utf-8")
    sys.stderr.write(f"wrote {COPIES}, {NO_EYES} and {PAGE}\n")


def write_rows(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    """Write rows as CSV."""
    first = next(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(first), lineterminator="\n")
        writer.writeheader()
        writer.writerow(first)
        writer.writerows(rows)


def read_rows(path: Path) -> dict[str, NDArray[Any]]:
    """Return the columns of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def write_page(copies: dict[str, NDArray[Any]], no_eyes: dict[str, NDArray[Any]]) -> str:
    """Return the page."""
    kinds = list_kinds()
    is_original = copies["kind"] == "unaltered"
    grades = dict(zip(copies["file"][is_original], copies["grade"][is_original], strict=True))
    copies = copies | {
        "is_changed": copies["grade"] != np.array([grades[name] for name in copies["file"]]),
        "input_difference": copies["input_difference"].astype(float),
        "is_held_back_kind": np.isin(
            copies["kind"], [kind.name for kind in kinds if kind.is_held_back]
        ),
    }
    apart = sum(kind.is_held_back for kind in kinds)
    head = HEAD.format(
        n=len(grades),
        sessions=len(set(copies["group"])),
        used=len(set(copies["group"][copies["is_held_back"] == "0"])),
        tuned=len(kinds) - apart,
        apart=apart,
    )
    parts = len(set(no_eyes["part"])) - 1
    return "".join((
        head,
        *_write_summary(copies, is_original),
        NO_FUNDUS_HEAD.format(parts=parts),
        *_write_no_fundus(no_eyes),
        END,
        *(_write_kind(copies, kind) for kind in kinds),
    ))  # fmt: skip


def _write_summary(
    copies: dict[str, NDArray[Any]], is_original: NDArray[np.bool_]
) -> Iterator[str]:
    is_refused, is_flagged = copies["refused"] != "", copies["flagged"] == "1"
    yield f"| the original photographs | | {is_original.sum()} | "
    yield f"{_write_share(copies, is_refused, is_original)} | | "
    yield f"{_write_share(copies, is_flagged, is_original)} | | |\n"
    of_kinds = {"used": ~copies["is_held_back_kind"], "held back": copies["is_held_back_kind"]}
    of_photographs = {
        "used": copies["is_held_back"] == "0",
        "held back": copies["is_held_back"] == "1",
    }
    for kinds, of_kind in of_kinds.items():
        for photographs, of_photograph in of_photographs.items():
            here = of_kind & of_photograph & ~is_original
            names = sorted(set(copies["kind"][here]))
            most = max(float(is_refused[here & (copies["kind"] == name)].mean()) for name in names)
            yield f"| kinds {kinds}, photographs {photographs} | {len(names)} | {here.sum()} | "
            yield f"{_write_share(copies, is_refused, here)} | {most:.2f} | "
            yield f"{_write_rest(copies, here)} |\n"


def _write_kind(copies: dict[str, NDArray[Any]], kind: Kind) -> str:
    here = copies["kind"] == kind.name
    refused = float((copies["refused"][here] != "").mean())
    flagged = float((copies["flagged"][here] == "1").mean())
    changed = float(copies["is_changed"][here & (copies["refused"] == "")].mean())
    difference = float(copies["input_difference"][here].mean())
    cells = (f"{refused:.2f}", f"{flagged:.2f}", f"{difference:.1f}", f"{changed:.2f}")
    return f"| {kind.name}{'*' if kind.is_held_back else ''} | {' | '.join(cells)} |\n"


def _write_rest(copies: dict[str, NDArray[Any]], here: NDArray[np.bool_]) -> str:
    graded = here & (copies["refused"] == "")
    return " | ".join((
        _write_share(copies, copies["flagged"] == "1", here),
        f"{copies['input_difference'][here].mean():.1f}",
        _write_share(copies, copies["is_changed"], graded),
    ))  # fmt: skip


def _write_share(
    copies: dict[str, NDArray[Any]], values: NDArray[np.bool_], here: NDArray[np.bool_]
) -> str:
    found = estimate_grouped_proportion(values[here], copies["group"][here])
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def _write_no_fundus(no_eyes: dict[str, NDArray[Any]]) -> Iterator[str]:
    for kind in NO_FUNDUS:
        here = no_eyes["kind"] == kind
        graded = no_eyes["refused"][here] == ""
        unflagged = graded & (no_eyes["flagged"][here] == "0")
        yield f"| {kind} | {graded.sum()} of {here.sum()} | {unflagged.sum()} of {here.sum()} |\n"


if __name__ == "__main__":
    main()
