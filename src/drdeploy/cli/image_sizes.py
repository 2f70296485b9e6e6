"""``drdeploy image sizes``: what images weigh, and what inside takes the space."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drdeploy.cli.console import err, out, print_json
from drdeploy.cli.options import JsonOption
from drdeploy.units import MB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from drdeploy.hosting.engine import Engine
    from drdeploy.hosting.images import ImageSize

TITLE_LENGTH = 45


def sizes(
    images: Annotated[
        list[str] | None,
        typer.Argument(help="Tags of any images; none: the ladder's that the engine holds."),
    ] = None,
    top: Annotated[
        int, typer.Option(min=0, help="Packages told of each image, and half as many libraries.")
    ] = 8,
    csv: Annotated[Path | None, typer.Option(help="Write every layer, part and library.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw stacked bars (SVG).")] = None,
    as_json: JsonOption = False,
) -> None:
    """What images weigh compressed and on disk, by layer, package and library.

    What was read of a layer is kept in the user's cache folder, so that a repeat is quick.
    """
    from drdeploy.hosting.engine import Engine
    from drdeploy.hosting.images import document_of, measure_size, write_sizes
    from drdeploy.study.thesis.published_images import PUBLISHED_IMAGES

    engine = Engine.require()
    measured = []
    for tag in images or _ladder(engine):
        with err.status(f"compressing the layers of {tag}"):
            measured.append(measure_size(engine, tag))
    if csv:
        write_sizes(measured, csv, references=PUBLISHED_IMAGES)
    if plot and measured:
        _draw(measured, plot)
    if as_json:
        print_json([document_of(size) for size in measured])
        return
    if not measured:
        err.print("No image yet. Build them: drdeploy image build ladder")
        return
    out.print(_summary(measured))
    for size in measured:
        out.print(_layers(size))
        if top:
            out.print(_inside(size, top))


def _ladder(engine: Engine) -> list[str]:
    from drdeploy.hosting.images import IMAGE_NAMES, image_tag

    there = {tag for image in engine.images() for tag in image.tags}
    return [tag for tag in map(image_tag, IMAGE_NAMES) if tag in there]


def _draw(measured: Sequence[ImageSize], path: Path) -> None:
    from drdeploy.hosting.images.size_figure import draw_sizes
    from drdeploy.study.thesis.published_images import PUBLISHED_IMAGES

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(draw_sizes(measured, references=PUBLISHED_IMAGES).svg, "utf-8")


def _summary(measured: Sequence[ImageSize]) -> Table:
    from drdeploy.study.thesis.published_images import PUBLISHED_IMAGES, SOURCE

    largest = max(measured, key=lambda size: size.compressed_bytes)
    smaller = f"times smaller than {largest.image}"
    table = _table("image", f"the study's own: {SOURCE}", smaller)
    for published in PUBLISHED_IMAGES:
        on_disk = f"{published.on_disk_gb * 1000:.0f}"
        table.add_row(f"the study's {published.name}", on_disk, str(published.compressed_mb), "")
    table.add_section()
    for size in measured:
        table.add_row(
            size.image,
            _mb(size.size_bytes),
            _mb(size.compressed_bytes),
            f"{largest.compressed_bytes / size.compressed_bytes:.1f}",
        )
    return table


def _layers(size: ImageSize) -> Table:
    table = _table("layer", f"{size.image} {size.id[:19]}")
    for instruction, layer in zip(size.instructions, size.layers, strict=True):
        table.add_row(_shorten(instruction), _mb(layer.size_bytes), _mb(layer.compressed_bytes))
    return table


def _inside(size: ImageSize, top: int) -> Table:
    parts, libraries = size.contents.parts, size.contents.libraries[: top // 2]
    table = _table("what takes the space", size.image)
    for part in parts[:top]:
        table.add_row(f"{part.kind}: {part.name}", _mb(part.size_bytes), _mb(part.compressed_bytes))
    if rest := parts[top:]:
        table.add_row(
            f"{len(rest)} more",
            _mb(sum(part.size_bytes for part in rest)),
            _mb(sum(part.compressed_bytes for part in rest)),
        )
    table.add_section()
    for library in libraries:
        name = library.path.rpartition("/")[2]
        table.add_row(name, _mb(library.size_bytes), _mb(library.compressed_bytes))
    return table


def _table(first: str, caption: str, *more: str) -> Table:
    from rich.table import Table

    table = Table(first, caption=caption)
    for column in ("on disk, MB", "compressed, MB", *more):
        table.add_column(column, justify="right")
    return table


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / MB:.1f}"


def _shorten(instruction: str) -> str:
    """``RUN apt-get update…``: without the shell, the arguments and the digests around it."""
    from rich.markup import escape

    text = re.sub(r"^(\|\d+ .*?)?/bin/sh -c (?!#)", "RUN ", instruction)
    text = re.sub(r"^/bin/sh -c #\(nop\) *|# buildkit$|\b(file|dir|multi):[0-9a-f]{16,}", "", text)
    text = " ".join(text.split())
    return escape(text if len(text) <= TITLE_LENGTH else f"{text[: TITLE_LENGTH - 1]}…")
