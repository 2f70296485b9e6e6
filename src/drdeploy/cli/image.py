"""``drdeploy image``: build the container images, list them, weigh them."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from drdeploy.cli import image_cold_start, image_conform, image_sizes, push
from drdeploy.cli.console import err, out, print_json
from drdeploy.cli.options import JsonOption
from drdeploy.units import MB

if TYPE_CHECKING:
    from drdeploy.hosting.engine import Engine, ImageSummary
    from drdeploy.hosting.images import ImageName

app = typer.Typer(no_args_is_help=True)
app.command()(image_conform.conform)
app.command()(image_sizes.sizes)
app.command()(image_cold_start.cold_start)
app.command("push")(push.push_image)

WhichImage = Literal["ladder", "baseline", "two-step", "reduced", "lean", "minimal"]
Platform = Literal["linux/amd64", "linux/arm64"]


@app.command()
def build(
    which: Annotated[WhichImage, typer.Argument(help="A rung by its name, or all five: ladder.")],
    platform: Annotated[
        Platform | None,
        typer.Option(help="Of the image, as `docker build --platform`; another one is emulated."),
    ] = None,
    network: Annotated[
        str, typer.Option(help="Network of the build's steps, as `docker build --network`.")
    ] = "host",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not print the log.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Build the ladder of images, or one rung of it, in the container engine."""
    from drdeploy.hosting.engine import Engine
    from drdeploy.hosting.images import build_image

    engine = Engine.require()
    built = []
    for name in _names(which):
        started = time.monotonic()
        log = None if quiet else _log
        image = build_image(engine, name, platform=platform, network=network, log=log)
        built.append({**asdict(image), "build_s": round(time.monotonic() - started, 1)})
    if as_json:
        print_json(built)
        return
    for row in built:
        out.print(f"{row['tag']}  {row['id']}  built in {row['build_s']} s", highlight=False)


@app.command("list")
def list_images(as_json: JsonOption = False) -> None:
    """The images of this project that the engine holds."""
    from drdeploy.hosting.engine import Engine

    images = _ours(Engine.require())
    if as_json:
        print_json([asdict(image) for image in images])
        return
    if not images:
        err.print("No image yet. Build them: drdeploy image build ladder")
    for image in images:
        size_mb = image.size_bytes / MB
        tags = " ".join(image.tags)
        out.print(f"{tags}  {image.id[:19]}  {size_mb:.0f} MB  {image.created_at}", highlight=False)


def _names(which: WhichImage) -> tuple[ImageName, ...]:
    from drdeploy.hosting.images import IMAGE_NAMES

    return IMAGE_NAMES if which == "ladder" else (which,)


def _log(line: str) -> None:
    err.print(line, markup=False, highlight=False, soft_wrap=True)


def _ours(engine: Engine) -> list[ImageSummary]:
    return [
        image
        for image in engine.images()
        if any(tag.rpartition("/")[2].startswith("drdeploy:") for tag in image.tags)
    ]
