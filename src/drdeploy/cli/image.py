"""``drdeploy image``: build, list, measure, describe, time, check and push container images."""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from drdeploy.cli import image_cold_start, image_conform, image_sbom, image_sizes, push
from drdeploy.cli.console import Column, Table, err, print_json, print_line, print_note
from drdeploy.cli.container_engine import find_container_engine_and_print_name
from drdeploy.cli.options import JsonOption
from drdeploy.units import MB

app = typer.Typer(no_args_is_help=True)
app.command()(image_conform.conform)
app.command()(image_sizes.sizes)
app.command()(image_sbom.sbom)
app.command()(image_cold_start.cold_start)
app.command("push")(push.push_image_to_ecr)

WhichImage = Literal["ladder", "baseline", "two-step", "reduced", "lean", "minimal", "cuda"]
PlatformChoice = Literal["linux/amd64", "linux/arm64"]


@app.command()
def build(  # noqa: PLR0917 - typer passes by name
    which: Annotated[
        WhichImage,
        typer.Argument(
            help="The name of a container image, or `ladder` for all five that run on CPUs."
        ),
    ],
    platform: Annotated[
        PlatformChoice | None,
        typer.Option(
            help="Platform of the image; a platform other than this machine's is emulated."
        ),
    ] = None,
    network: Annotated[
        str, typer.Option(help="Network of the build, as for `docker build --network`.")
    ] = "host",
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Do not show the log of the build.")
    ] = False,
    locked: Annotated[
        bool,
        typer.Option(
            "--locked",
            help="Fail if the locked base image cannot be used, or if a Debian package in the new "
            "image differs from its locked version.",
        ),
    ] = False,
    attestations: Annotated[
        Path | None,
        typer.Option(
            help="Write each image's bill of materials and its provenance to this folder.",
            file_okay=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Build one of drdeploy's container images, or all of them.

    The name `ladder` stands for all images that run on CPUs. The image `cuda` is for GPUs; building
    it downloads 1.8 GB of packages.

    The base image is locked by its digest. Of Debian's packages, the newest versions are installed,
    and a note lists those that differ from the locked versions.
    """
    from drdeploy.hosting.images import (
        IMAGE_NAMES,
        build_image,
        describe_difference_from_debian_lock,
        refuse_image_unlike_lock,
        refuse_platform_without_lock,
        write_sbom_and_provenance,
    )

    if locked:
        refuse_platform_without_lock(platform)
    engine = find_container_engine_and_print_name()
    log = None if quiet else partial(err.print, markup=False, highlight=False, soft_wrap=True)
    built = []
    notes: dict[str, None] = {}
    for name in IMAGE_NAMES if which == "ladder" else (which,):
        started = time.monotonic()
        image = build_image(
            engine, name, platform=platform, network=network, log=log, require_locked_base=locked
        )
        build_s = round(time.monotonic() - started, 1)
        difference = describe_difference_from_debian_lock(engine, image)
        if locked:
            refuse_image_unlike_lock(engine, image, difference)
        notes.update(dict.fromkeys(filter(None, (image.note, difference))))
        if attestations:
            write_sbom_and_provenance(engine, name, image, attestations)
        built.append({**asdict(image), "build_s": build_s})
    for note in notes:
        print_note(note)
    if as_json:
        print_json(built)
        return
    for row in built:
        print_line(f"{row['tag']}  {row['id'][:19]}  built in {row['build_s']} s")


@app.command("list")
def list_images(as_json: JsonOption = False) -> None:
    """List drdeploy's images in the container engine, with sizes."""
    images = [
        image
        for image in find_container_engine_and_print_name().list_images()
        if any(tag.rpartition("/")[2].startswith("drdeploy:") for tag in image.tags)
    ]
    if as_json:
        print_json([asdict(image) for image in images])
        return
    if not images:
        print_line(
            "There are no images yet. Build the images with `drdeploy image build ladder`.", to=err
        )
        return
    table = Table(
        [Column.of_names("image"), Column("id"), Column.of_numbers("MB"), Column("created")]
    )
    for image in images:
        size = f"{image.size_bytes / MB:.0f}"
        table.add_row(" ".join(image.tags), image.id[:19], size, image.created_at[:19])
    table.print()
