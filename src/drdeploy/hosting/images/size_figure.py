"""Draw the sizes of container images as stacked bars, beside the sizes of published images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from drdeploy.pages.picture import Picture, picture_from_figure
from drdeploy.pages.style import BLUE, GREEN, GREY, INK, ORANGE, SKY, STYLE
from drdeploy.units import MB

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes

    from drdeploy.hosting.images.contents import ImagePart
    from drdeploy.hosting.images.reference import ReferenceImage
    from drdeploy.hosting.images.sizes import ImageSize

SEGMENTS = (
    ("Debian packages", BLUE, "///"),
    ("largest Python distribution", ORANGE, ""),
    ("other Python distributions", SKY, "\\\\\\"),
    ("replaced or removed by a higher layer", GREY, "xx"),
    ("the rest", GREEN, "..."),
)
ZOOMED_BELOW = 0.25
"""Images smaller than this share of the largest image are drawn a second time, enlarged."""
_WIDTH_IN, _BAR_IN, _MARGIN_IN = 7.2, 0.32, 0.62


@dataclass(frozen=True)
class _ImageSizeBar:
    """The bar of one image, with the sizes of its segments in MB."""

    label: str
    segments: tuple[float, ...]
    note: str = ""
    is_published: bool = False

    @property
    def total_mb(self) -> float:
        return sum(self.segments)


def draw_image_sizes(
    sizes: Sequence[ImageSize], *, references: Sequence[ReferenceImage] = ()
) -> Picture:
    """Draw the compressed size of each image as a bar stacked from the image's parts.

    The reference images are published images. They are drawn as hollow bars, because only their
    total size is known.
    """
    published = [
        _ImageSizeBar(
            f"{image.name}, as published", (float(image.compressed_mb),), is_published=True
        )
        for image in references
    ]
    bars = [*published, *(_make_bar_of_image(size) for size in sizes)]
    largest = max(bar.total_mb for bar in bars)
    small = [bar for bar in bars if bar.total_mb < ZOOMED_BELOW * largest]
    panels = [bars, small] if 0 < len(small) < len(bars) else [bars]
    with mpl.rc_context(STYLE):
        figure = Figure(
            figsize=(_WIDTH_IN, 0.7 + sum(_MARGIN_IN + _BAR_IN * len(panel) for panel in panels))
        )
        axes = figure.subplots(
            len(panels), squeeze=False, height_ratios=[1.5 + len(panel) for panel in panels]
        )
        for panel, each in zip(panels, axes[:, 0], strict=True):
            _draw_size_bars(each, panel)
        if len(panels) > 1:
            axes[-1, 0].set_title("the smaller images, enlarged", loc="left", fontsize=8)
        axes[-1, 0].set_xlabel("compressed size, as a registry stores it (MB)")
        handles = [
            Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=name)
            for name, colour, hatch in SEGMENTS
        ]
        if references:
            label = f"published ({', '.join(sorted({image.source for image in references}))})"
            handles.append(Patch(facecolor="none", edgecolor=INK, linestyle="--", label=label))
        figure.legend(handles=handles, loc="outside upper left", ncols=2, frameon=False, fontsize=8)
    return picture_from_figure(
        figure,
        "image-sizes",
        "Compressed size of the images",
        "Stacked bars: the size of each part of each image, in megabytes",
    )


def _make_bar_of_image(size: ImageSize) -> _ImageSizeBar:
    parts = size.contents.parts
    python = [part for part in parts if part.kind == "python"]
    largest = max(python, key=lambda part: part.compressed_bytes, default=None)
    total = size.compressed_bytes / MB
    debian, own, others, hidden = (
        _sum_compressed_megabytes(part for part in parts if part.kind == "debian"),
        _sum_compressed_megabytes([largest] if largest else []),
        _sum_compressed_megabytes(part for part in python if part is not largest),
        _sum_compressed_megabytes(part for part in parts if part.kind == "hidden"),
    )
    rest = max(total - debian - own - others - hidden, 0.0)
    return _ImageSizeBar(
        size.image, (debian, own, others, hidden, rest), largest.name if largest else ""
    )


def _sum_compressed_megabytes(parts: Iterable[ImagePart]) -> float:
    return sum(part.compressed_bytes for part in parts) / MB


def _draw_size_bars(axes: Axes, bars: Sequence[_ImageSizeBar]) -> None:
    positions = range(len(bars))[::-1]
    for position, bar in zip(positions, bars, strict=True):
        left = 0.0
        for (_, colour, hatch), width in zip(SEGMENTS, bar.segments, strict=False):
            style: dict[str, Any] = (
                {"facecolor": "none", "edgecolor": INK, "linestyle": "--", "linewidth": 0.9}
                if bar.is_published
                else {"facecolor": colour, "edgecolor": "white", "hatch": hatch, "linewidth": 0.5}
            )
            axes.barh(position, width, left=left, height=0.62, **style)
            left += width
        label = f"{bar.total_mb:.0f}" if bar.total_mb >= 100 else f"{bar.total_mb:.1f}"
        label += f"  ({bar.note})" if bar.note else ""
        axes.annotate(
            *(label, (left, position)),
            xytext=(4, 0), textcoords="offset points", va="center", fontsize=8,
        )  # fmt: skip
    axes.set_yticks(list(positions), [bar.label for bar in bars])
    axes.set_xlim(0, 1.3 * max(bar.total_mb for bar in bars))
    axes.set_ylim(-0.6, len(bars) - 0.4)
    axes.grid(visible=True, axis="x")
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
