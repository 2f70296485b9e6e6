"""``drdeploy image sizes``: what images weigh, by layer, package and library."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from drdeploy.cli.console import Column, Table, err, print_json, print_line
from drdeploy.cli.options import CsvOption, JsonOption, PlotOption
from drdeploy.units import MB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.hosting.images import ImageSize

TITLE_LENGTH = 45


def sizes(
    images: Annotated[
        list[str] | None, typer.Argument(help="Tags of images. By default, those of this project.")
    ] = None,
    top: Annotated[
        int, typer.Option(min=0, help="Largest packages to list, and half as many libraries.")
    ] = 8,
    csv: CsvOption = None,
    plot: PlotOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure what images weigh, by layer, package and library.

    Sizes are given on disk and compressed, as a registry stores and sends them. What was read of
    a layer is kept in the user's cache folder, so the second time is quick.
    """
    from drdeploy.hosting.engine import Engine
    from drdeploy.hosting.images import (
        IMAGE_NAMES,
        document_of,
        image_tag,
        measure_size,
        write_sizes,
    )
    from drdeploy.study.thesis.published_images import PUBLISHED_IMAGES

    engine = Engine.require()
    held = {tag for image in engine.images() for tag in image.tags}
    measured = []
    for tag in images or [tag for tag in map(image_tag, IMAGE_NAMES) if tag in held]:
        with err.status(f"compressing the layers of {tag}"):
            measured.append(measure_size(engine, tag))
    if csv:
        write_sizes(measured, csv, references=PUBLISHED_IMAGES)
    if plot and measured:
        from drdeploy.hosting.images.size_figure import draw_sizes

        plot.parent.mkdir(parents=True, exist_ok=True)
        plot.write_text(draw_sizes(measured, references=PUBLISHED_IMAGES).svg, "utf-8")
    if as_json:
        print_json([document_of(size) for size in measured])
        return
    if not measured:
        print_line("No images yet. Build them with `drdeploy image build ladder`.", to=err)
        return
    _print_summary(measured)
    for size in measured:
        _print_layers(size)
        if top:
            _print_contents(size, top)


def _print_summary(measured: Sequence[ImageSize]) -> None:
    from drdeploy.study.thesis.published_images import PUBLISHED_IMAGES, SOURCE

    largest = max(measured, key=lambda size: size.compressed_bytes)
    table = _table("image", "times smaller")
    for published in PUBLISHED_IMAGES:
        on_disk = f"{published.on_disk_gb * 1000:.0f}"
        table.add(f"the study's {published.name}", on_disk, str(published.compressed_mb), "")
    table.add_line()
    for size in measured:
        table.add(
            size.image,
            _mb(size.size_bytes),
            _mb(size.compressed_bytes),
            f"{largest.compressed_bytes / size.compressed_bytes:.1f}",
        )
    table.print()
    print_line(f"Times smaller than {largest.image}, compressed. The study's own: {SOURCE}.")


def _print_layers(size: ImageSize) -> None:
    print_line("")
    print_line(f"{size.image} {size.id[:19]}", style="bold")
    table = _table("layer")
    for instruction, layer in zip(size.instructions, size.layers, strict=True):
        table.add(_without_shell(instruction), _mb(layer.size_bytes), _mb(layer.compressed_bytes))
    table.print()


def _print_contents(size: ImageSize, top: int) -> None:
    parts, libraries = size.contents.parts, size.contents.libraries[: top // 2]
    table = _table("package or library")
    for part in parts[:top]:
        table.add(f"{part.kind}: {part.name}", _mb(part.size_bytes), _mb(part.compressed_bytes))
    if rest := parts[top:]:
        table.add(
            f"{len(rest)} more",
            _mb(sum(part.size_bytes for part in rest)),
            _mb(sum(part.compressed_bytes for part in rest)),
        )
    table.add_line()
    for library in libraries:
        name = library.path.rpartition("/")[2]
        table.add(name, _mb(library.size_bytes), _mb(library.compressed_bytes))
    table.print()


def _table(first: str, *more: str) -> Table:
    return Table([Column.name(first), *map(Column.number, ("MB on disk", "MB compressed", *more))])


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / MB:.1f}"


def _without_shell(instruction: str) -> str:
    """Return ``RUN apt-get update``, without the shell and digests that Docker records."""
    text = re.sub(r"^(\|\d+ .*?)?/bin/sh -c (?!#)", "RUN ", instruction)
    text = re.sub(r"^/bin/sh -c #\(nop\) *|# buildkit$|\b(file|dir|multi):[0-9a-f]{16,}", "", text)
    text = " ".join(text.split())
    return text if len(text) <= TITLE_LENGTH else f"{text[: TITLE_LENGTH - 1]}…"
