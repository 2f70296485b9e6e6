"""``drdeploy image``: build, list, weigh, time, check and push container images."""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import partial
from typing import Annotated, Literal

import typer

from drdeploy.cli import image_cold_start, image_conform, image_sizes, push
from drdeploy.cli.console import Column, Table, err, print_json, print_line
from drdeploy.cli.options import JsonOption
from drdeploy.units import MB

app = typer.Typer(no_args_is_help=True)
app.command()(image_conform.conform)
app.command()(image_sizes.sizes)
app.command()(image_cold_start.cold_start)
app.command("push")(push.push_image)

WhichImage = Literal["ladder", "baseline", "two-step", "reduced", "lean", "minimal"]
Platform = Literal["linux/amd64", "linux/arm64"]


@app.command()
def build(
    which: Annotated[WhichImage, typer.Argument(help="An image, or `ladder` for all five.")],
    platform: Annotated[
        Platform | None,
        typer.Option(help="Platform of the image; emulated where this machine has another."),
    ] = None,
    network: Annotated[
        str, typer.Option(help="Network of the build, as for `docker build --network`.")
    ] = "host",
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Do not show the log of the build.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Build one or all of the five images in the container engine."""
    from drdeploy.hosting.engine import Engine
    from drdeploy.hosting.images import IMAGE_NAMES, build_image

    engine = Engine.require()
    log = None if quiet else partial(err.print, markup=False, highlight=False, soft_wrap=True)
    built = []
    for name in IMAGE_NAMES if which == "ladder" else (which,):
        started = time.monotonic()
        image = build_image(engine, name, platform=platform, network=network, log=log)
        built.append({**asdict(image), "build_s": round(time.monotonic() - started, 1)})
    if as_json:
        print_json(built)
        return
    for row in built:
        print_line(f"{row['tag']}  {row['id'][:19]}  built in {row['build_s']} s")


@app.command("list")
def list_images(as_json: JsonOption = False) -> None:
    """List the images of this project that the engine holds."""
    from drdeploy.hosting.engine import Engine

    images = [
        image
        for image in Engine.require().images()
        if any(tag.rpartition("/")[2].startswith("drdeploy:") for tag in image.tags)
    ]
    if as_json:
        print_json([asdict(image) for image in images])
        return
    if not images:
        print_line(
            "There are no images yet. Build them with `drdeploy image build ladder`.", to=err
        )
        return
    table = Table([Column.name("image"), Column("id"), Column.number("MB"), Column("created")])
    for image in images:
        size = f"{image.size_bytes / MB:.0f}"
        table.add(" ".join(image.tags), image.id[:19], size, image.created_at[:19])
    table.print()
