"""Draw cold starts as stacked bars, with a colour and a hatch for each stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from drdeploy.hosting.images.cold_start import MEANING, STAGES
from drdeploy.pages.picture import Picture, picture_from_figure
from drdeploy.pages.style import BLUE, GREEN, GREY, INK, ORANGE, PALE, PURPLE, SKY, STYLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.images.cold_start import ColdStartStage

LOOKS = tuple(
    zip(
        (GREY, BLUE, SKY, ORANGE, GREEN, PALE, PURPLE),
        ("", "///", "", "\\\\\\", "", "...", ""),
        strict=True,
    )
)
PULL = "pull of the image, computed"


def draw_cold_start_stages(
    stages_s: Mapping[str, Mapping[ColdStartStage, float]], pull_s: Mapping[str, float]
) -> Picture:
    """Draw one bar per image with the seconds of each stage of a cold start.

    Args:
        stages_s: The median seconds of each stage, by image.
        pull_s: The seconds that pulling an image takes, by image; drawn before the stages.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 1.7 + 0.42 * len(stages_s)))
        axes = figure.subplots()
        for place, (image, stages) in enumerate(stages_s.items()):
            left = pull_s.get(image, 0.0)
            axes.barh(place, left, height=0.6, facecolor="none", edgecolor=INK, linestyle="--")
            for stage, (colour, hatch) in zip(STAGES, LOOKS, strict=True):
                style: dict[str, Any] = {"facecolor": colour, "hatch": hatch, "edgecolor": "white"}
                axes.barh(place, stages[stage], left=left, height=0.6, linewidth=0.5, **style)
                left += stages[stage]
            axes.annotate(
                *(f"{left:.2f} s", (left, place)),
                xytext=(4, 0), textcoords="offset points", va="center", fontsize=8,
            )  # fmt: skip
        axes.set_yticks(range(len(stages_s)), list(stages_s))
        axes.invert_yaxis()
        axes.set_xlim(right=1.12 * axes.get_xlim()[1])
        axes.set_xlabel("seconds from the request for a container to its first answer")
        axes.grid(visible=False, axis="y")
        handles = [
            Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=MEANING[stage])
            for stage, (colour, hatch) in zip(STAGES, LOOKS, strict=True)
        ]
        if any(pull_s.values()):
            handles.insert(0, Patch(facecolor="none", edgecolor=INK, linestyle="--", label=PULL))
        figure.legend(handles=handles, loc="outside upper left", ncols=2, frameon=False, fontsize=8)
    return picture_from_figure(
        figure,
        "cold-starts",
        "How long each stage of a cold start takes",
        "Stacked bars: seconds of each stage of each image's cold start",
    )
