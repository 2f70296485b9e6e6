"""Draw pictures 6.1 to 6.12 of the study again from its rows.

The study's data do not say which rows belong to which picture. The pictures are therefore numbered
in the order of the study's sections. Each picture of VGG19 is followed by the same picture of
MobileNet:

- section 6.1.1: cold starts by image
- section 6.1.2.1: warm prediction time and warm total latency by memory
- section 6.1.2.2: cold total latency by memory
- section 6.2.1: prediction time and total latency by instance
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.pages.picture import Picture, picture_from_figure
from drdeploy.study.published_study.printed_figures import load_texts_about_figures
from drdeploy.study.report.figures import (
    QUANTITIES,
    Box,
    choose_colour_of_start,
    draw_box_plot,
    make_boxes_of_panel,
)
from drdeploy.study.report.panels import group_scenarios_into_panels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drdeploy.study.published_study.verdicts import RecomputedFigure
    from drdeploy.study.report.panels import By, ScenarioPanel
    from drdeploy.study.report.summaries import ScenarioSummary

MODELS = ("VGG19", "MobileNet")
BASE = "1024 MB"
DESCRIPTION = "One box plot per configuration: mean, standard deviation, and each row as a dot"

PLAN: tuple[tuple[str, str, By], ...] = (
    ("total_latency_s", "cold", "image"),
    ("prediction_s", "warm", "memory"),
    ("total_latency_s", "warm", "memory"),
    ("total_latency_s", "cold", "memory"),
    ("prediction_s", "warm", "instance"),
    ("total_latency_s", "warm", "instance"),
)
"""For each box plot: the column that is drawn, the kind of start, and what differs between the
boxes (image, memory or instance). Each box plot is drawn once for each of the two models.
"""


@dataclass(frozen=True)
class StudyFigure:
    """One picture of the study, which is drawn again.

    Attributes:
        number: The number of the picture, for example ``6.3``.
        picture: The drawn picture, or None if there are no rows.
        note: A sentence on missing parts of the picture, or an empty text.
    """

    number: str
    title: str
    picture: Picture | None
    note: str = ""


def draw_study_figures(
    summaries: Sequence[ScenarioSummary], printed: Sequence[RecomputedFigure]
) -> tuple[StudyFigure, ...]:
    """Draw all twelve pictures, in the order of their numbers."""
    panels = group_scenarios_into_panels(summaries)
    planned = [(plan, model) for plan in PLAN for model in MODELS]
    return tuple(
        _draw_study_figure(f"6.{number}", plan, model, panels, printed)
        for number, (plan, model) in enumerate(planned, start=1)
    )


def _draw_study_figure(
    number: str,
    plan: tuple[str, str, By],
    model: str,
    panels: Sequence[ScenarioPanel],
    printed: Sequence[RecomputedFigure],
) -> StudyFigure:
    column, start, by = plan
    title = f"Figure {number}: {model}, {start}, {QUANTITIES[column]} by {by}"
    if by == "image":
        boxes, note = (
            tuple(_make_boxes_of_two_images(model, panels, printed)),
            load_texts_about_figures()["notes"]["images"],
        )
    else:
        panel = _find_panel_of_model(model, start, by, panels)
        boxes, note = make_boxes_of_panel(panel, column) if panel else (), ""
    if not boxes:
        return StudyFigure(number, title, None, "The raw rows are missing.")
    drawing = draw_box_plot(boxes, QUANTITIES[column], choose_colour_of_start(start))
    return StudyFigure(
        number, title, picture_from_figure(drawing, f"figure-{number}", title, DESCRIPTION), note
    )


def _make_boxes_of_two_images(
    model: str, panels: Sequence[ScenarioPanel], printed: Sequence[RecomputedFigure]
) -> Iterator[Box]:
    """Yield two boxes: one for the largest container image, and one for the smallest.

    For the largest image, only a printed mean is known. For the smallest image, the rows are known.
    """
    for figure in printed:
        one = figure.printed
        if one.quantity == "cold-start latency before optimisation" and one.model == model:
            yield Box("1798 MB image", np.empty(0), one.value)
    panel = _find_panel_of_model(model, "cold", "memory", panels)
    for box in make_boxes_of_panel(panel, "total_latency_s") if panel else ():
        if box.label == BASE:
            yield Box("517 MB image", box.seconds)


def _find_panel_of_model(
    model: str, start: str, by: By, panels: Sequence[ScenarioPanel]
) -> ScenarioPanel | None:
    matching = (
        panel for panel in panels if (panel.model, panel.start, panel.by) == (model, start, by)
    )
    return next(matching, None)
