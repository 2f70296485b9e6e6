"""``drdeploy image sbom``: list the contents of an image as a software bill of materials."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from drdeploy.cli.console import err, print_json, print_line
from drdeploy.cli.container_engine import find_container_engine_and_print_name
from drdeploy.files import write_json_file


def sbom(
    image: Annotated[
        str,
        typer.Argument(
            help="The name of a drdeploy image, for example `lean`, or the tag of any image."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the SBOM to this file.", dir_okay=False),
    ] = None,
) -> None:
    """List the contents of an image as an SBOM in CycloneDX 1.6.

    The command reads the Debian and Python packages from the image itself. Native libraries inside
    Python packages are listed as files. If you list the same image twice, the two lists are
    identical, byte for byte.
    """
    from drdeploy.hosting.images import make_sbom_of_image, resolve_image_tag

    tag = resolve_image_tag(image)
    with err.status(f"reading the files of {tag}"):
        document = make_sbom_of_image(find_container_engine_and_print_name(), tag)
    if output is None:
        print_json(document)
        return
    write_json_file(output, document)
    print_line(f"{output}  {len(document['components'])} components of {tag}")
