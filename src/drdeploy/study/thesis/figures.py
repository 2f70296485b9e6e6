"""Figures 6.1 to 6.12 of the study, drawn from its rows by the code that draws any report's.

The study's data do not name the figures.  They are numbered here in the order of its sections:
cold starts by image (6.1.1), warm prediction time and total latency by memory (6.1.2.1), cold
total latency by memory (6.1.2.2), prediction time and total latency by instance (6.2.1); of each,
first VGG19, then MobileNet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.pages.picture import Picture, picture_of
from drdeploy.study.report.boxes import Box, draw_boxes
from drdeploy.study.report.figures import QUANTITIES, boxes_of, colour_of
from drdeploy.study.report.panels import panels_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drdeploy.study.report.panels import By, Panel
    from drdeploy.study.report.summaries import ScenarioSummary
    from drdeploy.study.thesis.verdicts import Recomputed

MODELS = ("VGG19", "MobileNet")
BASE = "1024 MB"
DESCRIPTION = "Box plot per configuration with every row as a dot, mean and standard deviation"


PLAN: tuple[tuple[str, str, By], ...] = (
    ("total_latency_s", "cold", "image"),
    ("prediction_s", "warm", "memory"),
    ("total_latency_s", "warm", "memory"),
    ("total_latency_s", "cold", "memory"),
    ("prediction_s", "warm", "instance"),
    ("total_latency_s", "warm", "instance"),
)
"""What each pair of figures shows, one for each model: column, kind of start, and what differs."""


@dataclass(frozen=True)
class StudyFigure:
    """One figure of the study, drawn again.

    Attributes:
        number: ``6.3``.
        picture: None where there are no rows to draw.
        note: What is missing in the figure, as a sentence.
    """

    number: str
    title: str
    picture: Picture | None
    note: str = ""


def draw_study_figures(
    summaries: Sequence[ScenarioSummary], printed: Sequence[Recomputed]
) -> tuple[StudyFigure, ...]:
    """Draw all twelve figures, in the order of their numbers."""
    panels = panels_of(summaries)
    planned = [(plan, model) for plan in PLAN for model in MODELS]
    return tuple(
        _figure(f"6.{number}", plan, model, panels, printed)
        for number, (plan, model) in enumerate(planned, start=1)
    )


def _figure(
    number: str,
    plan: tuple[str, str, By],
    model: str,
    panels: Sequence[Panel],
    printed: Sequence[Recomputed],
) -> StudyFigure:
    column, start, by = plan
    title = f"Figure {number}: {model}, {start}, {QUANTITIES[column]} by {by}"
    if by == "image":
        boxes, note = tuple(_images(model, panels, printed)), _IMAGE_NOTE
    else:
        panel = _panel(model, start, by, panels)
        boxes, note = boxes_of(panel, column) if panel else (), ""
    if not boxes:
        return StudyFigure(number, title, None, "The raw rows are not there.")
    drawing = draw_boxes(boxes, QUANTITIES[column], colour_of(start))
    return StudyFigure(
        number, title, picture_of(drawing, f"figure-{number}", title, DESCRIPTION), note
    )


_IMAGE_NOTE = (
    "The study published no rows of the larger images. The diamond is the mean that it printed "
    f"for the largest; the box holds the rows at {BASE}, with which the printed speed-ups agree; "
    "of the two-step image nothing was published but its size."
)


def _images(model: str, panels: Sequence[Panel], printed: Sequence[Recomputed]) -> Iterator[Box]:
    """Yield the printed mean of the largest image, and the rows of the smallest at 1024 MB."""
    for figure in printed:
        one = figure.printed
        if one.quantity == "cold-start latency before optimisation" and one.model == model:
            yield Box("1798 MB image", np.empty(0), one.value)
    panel = _panel(model, "cold", "memory", panels)
    for box in boxes_of(panel, "total_latency_s") if panel else ():
        if box.label == BASE:
            yield Box("517 MB image", box.seconds)


def _panel(model: str, start: str, by: By, panels: Sequence[Panel]) -> Panel | None:
    matching = (
        panel for panel in panels if (panel.model, panel.start, panel.by) == (model, start, by)
    )
    return next(matching, None)
