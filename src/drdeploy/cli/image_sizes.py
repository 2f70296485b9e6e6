"""``drdeploy image sizes``: measure images by layer, package and library."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from drdeploy.cli.console import Column, Table, err, print_json, print_line
from drdeploy.cli.container_engine import find_container_engine_and_print_name
from drdeploy.cli.options import (
    CsvOption,
    JsonOption,
    PlotOption,
    refuse_options_without_effect,
)
from drdeploy.files import write_file_atomically
from drdeploy.units import MB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.hosting.images import ImageSize

TITLE_LENGTH = 45


def sizes(
    context: typer.Context,
    images: Annotated[
        list[str] | None,
        typer.Argument(help="Tags of container images; by default, all images of drdeploy."),
    ] = None,
    *,
    top: Annotated[
        int,
        typer.Option(
            min=0,
            help="Number of packages to list, the largest first. Half as many libraries are "
            "listed.",
        ),
    ] = 8,
    csv: CsvOption = None,
    plot: PlotOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the size of images by layer, package and library.

    Each size is given twice: on disk, and compressed as in a registry. The command keeps a list of
    each layer's contents in your cache folder, so that a second measurement is fast.
    """
    from drdeploy.hosting.images import (
        IMAGE_NAMES,
        make_image_size_document,
        make_image_tag,
        measure_image_size,
        write_image_sizes_csv,
    )
    from drdeploy.study.published_study.printed_figures import list_published_image_sizes

    if as_json:
        refuse_options_without_effect(
            context, ["top"], why="with --json, which lists all packages", remedy="omit --json"
        )
    engine = find_container_engine_and_print_name()
    held = {tag for image in engine.list_images() for tag in image.tags}
    measured = []
    for tag in images or [tag for tag in map(make_image_tag, IMAGE_NAMES) if tag in held]:
        with err.status(f"compressing the layers of {tag}"):
            measured.append(measure_image_size(engine, tag))
    if csv:
        write_image_sizes_csv(measured, csv, references=list_published_image_sizes())
    if plot and measured:
        from drdeploy.hosting.images.size_figure import draw_image_sizes

        write_file_atomically(
            plot, draw_image_sizes(measured, references=list_published_image_sizes()).svg
        )
    if as_json:
        print_json([make_image_size_document(size) for size in measured])
        return
    if not measured:
        print_line(
            "There are no images yet. Build them with `drdeploy image build ladder`.", to=err
        )
        return
    _print_sizes_of_all_images(measured)
    for size in measured:
        _print_sizes_of_layers(size)
        if top:
            _print_sizes_of_packages(size, top)


def _print_sizes_of_all_images(measured: Sequence[ImageSize]) -> None:
    from drdeploy.study.published_study.printed_figures import (
        IMAGES_SOURCE,
        list_published_image_sizes,
    )

    largest = max(measured, key=lambda size: size.compressed_bytes)
    table = _make_size_table("image", "times smaller")
    for published in list_published_image_sizes():
        on_disk = f"{published.on_disk_gb * 1000:.0f}"
        table.add_row(f"the study's {published.name}", on_disk, str(published.compressed_mb), "")
    table.add_separator_line()
    for size in measured:
        table.add_row(
            size.image,
            _format_mb(size.size_bytes),
            _format_mb(size.compressed_bytes),
            f"{largest.compressed_bytes / size.compressed_bytes:.1f}",
        )
    table.print()
    print_line(
        "The column 'times smaller' compares each compressed size with that of "
        f"{largest.image}. The sizes of the study's images are from {IMAGES_SOURCE}."
    )


def _print_sizes_of_layers(size: ImageSize) -> None:
    print_line("")
    print_line(f"{size.image} {size.id[:19]}", style="bold")
    table = _make_size_table("layer")
    for instruction, layer in zip(size.instructions, size.layers, strict=True):
        table.add_row(
            _shorten_instruction(instruction),
            _format_mb(layer.size_bytes),
            _format_mb(layer.compressed_bytes),
        )
    table.print()


def _print_sizes_of_packages(size: ImageSize, top: int) -> None:
    parts, libraries = size.contents.parts, size.contents.libraries[: top // 2]
    table = _make_size_table("package or library")
    for part in parts[:top]:
        table.add_row(
            f"{part.kind}: {part.name}",
            _format_mb(part.size_bytes),
            _format_mb(part.compressed_bytes),
        )
    if rest := parts[top:]:
        table.add_row(
            f"{len(rest)} more",
            _format_mb(sum(part.size_bytes for part in rest)),
            _format_mb(sum(part.compressed_bytes for part in rest)),
        )
    table.add_separator_line()
    for library in libraries:
        name = library.path.rpartition("/")[2]
        table.add_row(name, _format_mb(library.size_bytes), _format_mb(library.compressed_bytes))
    table.print()


def _make_size_table(first: str, *more: str) -> Table:
    return Table(
        [Column.of_names(first), *map(Column.of_numbers, ("MB on disk", "MB compressed", *more))]
    )


def _format_mb(size_bytes: int) -> str:
    return f"{size_bytes / MB:.1f}"


def _shorten_instruction(instruction: str) -> str:
    """Return an instruction like ``RUN apt-get update``, without Docker's shell and digests."""
    text = re.sub(r"^(\|\d+ .*?)?/bin/sh -c (?!#)", "RUN ", instruction)
    text = re.sub(r"^/bin/sh -c #\(nop\) *|# buildkit$|\b(file|dir|multi):[0-9a-f]{16,}", "", text)
    text = " ".join(text.split())
    return text if len(text) <= TITLE_LENGTH else f"{text[: TITLE_LENGTH - 1]}…"
