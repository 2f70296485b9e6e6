"""Draw sample photographs of each grade, and the class distribution, as the 2023 study did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from drdeploy.errors import turn_import_error_into_missing_extra
from drdeploy.grader.fundus.decode import decode_image
from drdeploy.grader.fundus.limits import LOCAL_FILE_LIMITS
from drdeploy.grader.grading import Grade
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.pages.style import BLUE, GREEN, GREY, ORANGE, PURPLE, STYLE

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from drdeploy.grader.datasets.dataset import Dataset, LabelledPhotograph

SAMPLES_PER_GRADE = 6
THUMBNAIL_PX = 220
DOTS_PER_INCH = 160

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, GREY)
"""Colours of the splits."""
HATCHES = ("", "///", "...", "xx", "\\\\\\")
"""Hatch patterns by which the splits can be told apart in a black-and-white print."""


def write_dataset_pictures(dataset: Dataset, folder: Path, *, seed: int = 0) -> tuple[Path, ...]:
    """Write the sample sheet and the class distribution as PNG and SVG.

    Raises:
        MissingExtra: Matplotlib is not installed.
    """
    with turn_import_error_into_missing_extra("study", "Drawing pictures"):
        import matplotlib as mpl
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        return (
            *_save_png_and_svg(draw_sample_sheet(dataset, seed=seed), folder / "samples"),
            *_save_png_and_svg(draw_class_distribution(dataset), folder / "class_distribution"),
        )


def draw_sample_sheet(dataset: Dataset, *, seed: int = 0) -> Figure:
    """Draw a row of up to six photographs for each grade; the seed decides which photographs."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    counts = dataset.count_per_grade()
    columns = min(SAMPLES_PER_GRADE, max(3, *counts.values()))
    size_in = THUMBNAIL_PX / DOTS_PER_INCH
    figure = Figure(
        figsize=(columns * size_in + 0.4, len(Grade) * size_in + 0.5),
        layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0),
    )
    grid = figure.subplots(len(Grade), columns)
    for grade, row in zip(Grade, grid, strict=True):
        for axes, sample in zip(row, _choose_samples_of_grade(dataset, grade, seed), strict=False):
            axes.imshow(_decode_thumbnail(sample))
        for axes in row:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        row[0].set_ylabel(f"{grade:d}  {grade.label}\nn = {counts[grade]:,}")
    _write_title_and_notice(figure, f"{dataset.name}: samples of each grade")
    return figure


def draw_class_distribution(dataset: Dataset) -> Figure:
    """Draw a bar for each grade, with its count and share. The parts of a bar are the splits."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(6.4, 3.8))
    axes = figure.add_subplot()
    _draw_bars_stacked_by_split(axes, dataset)
    for grade, count in dataset.count_per_grade().items():
        axes.annotate(
            f"{count:,}\n{count / len(dataset):.1%}",
            (int(grade), count),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
        )
    axes.set_xticks(range(len(Grade)), [f"{grade:d}\n{grade.label}" for grade in Grade])
    axes.set_ylabel("photographs")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(y=0.18)
    _write_title_and_notice(figure, f"{dataset.name}: photographs by grade, n = {len(dataset):,}")
    return figure


def _draw_bars_stacked_by_split(axes: Axes, dataset: Dataset) -> None:
    """Draw the parts of each bar, the training split at the bottom."""
    splits = sorted(dataset.splits, key=lambda name: name != "train")
    parts = [(split, dataset.select_split(split)) for split in splits]
    of_none = [at for at, one in enumerate(dataset.photographs) if one.split is None]
    if of_none:
        parts.append(("no split", dataset.select_by_index(of_none)))
    base = np.zeros(len(Grade))
    for at, (name, part) in enumerate(parts):
        heights = np.array(list(part.count_per_grade().values()))
        style = at % len(COLOURS)
        axes.bar(
            range(len(Grade)),
            heights,
            bottom=base,
            width=0.62,
            color=COLOURS[style],
            hatch=HATCHES[style],
            edgecolor="white",
            label=f"{name}, n = {len(part):,}",
        )
        base += heights
    if len(parts) > 1:
        axes.legend(frameon=False)


def _choose_samples_of_grade(dataset: Dataset, grade: Grade, seed: int) -> list[LabelledPhotograph]:
    """Choose photographs of one grade at random. The other grades do not affect the choice."""
    having = np.flatnonzero(dataset.grades == grade)
    random = np.random.default_rng([seed, int(grade)])
    count = min(SAMPLES_PER_GRADE, len(having))
    chosen = np.sort(random.choice(having, count, replace=False)) if count else having
    return [dataset.photographs[index] for index in chosen]


def _decode_thumbnail(photograph: LabelledPhotograph) -> NDArray[np.uint8]:
    """Decode a photograph to a square of ``THUMBNAIL_PX`` pixels with black borders."""
    pixels = decode_image(
        photograph.read_file_bytes(), limits=LOCAL_FILE_LIMITS, min_side_px=THUMBNAIL_PX
    )
    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    return np.asarray(ImageOps.pad(Image.fromarray(pixels), size, Image.Resampling.LANCZOS))


def _write_title_and_notice(figure: Figure, text: str) -> None:
    figure.suptitle(text, fontsize=11, fontweight="bold")
    figure.supxlabel(RESEARCH_USE_NOTICE, fontsize=7, color="#555555", x=0.99, ha="right")


def _save_png_and_svg(figure: Figure, stem: Path) -> tuple[Path, Path]:
    png, svg = stem.with_suffix(".png"), stem.with_suffix(".svg")
    figure.savefig(png, dpi=DOTS_PER_INCH)
    figure.savefig(svg, dpi=DOTS_PER_INCH, metadata={"Date": None})
    return png, svg
