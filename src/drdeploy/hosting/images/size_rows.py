"""Write the sizes of container images as a CSV file, or return them as a JSON document."""

from __future__ import annotations

import csv
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING, Any

from drdeploy.files import escape_formula_in_csv_cell
from drdeploy.units import GB, MB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from drdeploy.hosting.images.reference import ReferenceImage
    from drdeploy.hosting.images.sizes import ImageSize

COLUMNS = (
    *("image", "image_id", "level", "kind", "name", "owner", "size_bytes", "compressed_bytes"),
)
"""The columns of the CSV file. ``level`` is ``image``, ``layer``, ``part``, ``library`` or
``published``. The sizes of an image's layers add up to the size of the image, and so do the sizes
of its parts. A library is a file of a part, so its bytes are counted in the part's size, too."""


def write_image_sizes_csv(
    sizes: Iterable[ImageSize], path: Path, *, references: Iterable[ReferenceImage] = ()
) -> None:
    """Write a CSV file with a row for each image, layer, part, library and reference image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        rows = chain(
            *map(_generate_csv_rows_of_image, sizes),
            _generate_csv_rows_of_published_images(references),
        )
        writer.writerows(
            {name: escape_formula_in_csv_cell(cell) for name, cell in row.items()} for row in rows
        )


def make_image_size_document(size: ImageSize) -> dict[str, Any]:
    """Return the sizes of one image as a document for JSON."""
    return {
        "image": size.image,
        "id": size.id,
        "size_bytes": size.size_bytes,
        "compressed_bytes": size.compressed_bytes,
        "layers": [
            {
                "created_by": instruction,
                "size_bytes": layer.size_bytes,
                "compressed_bytes": layer.compressed_bytes,
            }
            for instruction, layer in zip(size.instructions, size.layers, strict=True)
        ],
        "parts": [asdict(part) for part in size.contents.parts],
        "libraries": [asdict(library) for library in size.contents.libraries],
    }


def _generate_csv_rows_of_image(size: ImageSize) -> Iterator[dict[str, Any]]:
    document = make_image_size_document(size)
    of_image = {"image": size.image, "image_id": size.id}
    sizes = {name: document[name] for name in ("size_bytes", "compressed_bytes")}
    yield {**of_image, "level": "image", **sizes}
    for layer in document["layers"]:
        yield {**of_image, "level": "layer", "name": layer.pop("created_by"), **layer}
    for part in document["parts"]:
        yield {**of_image, "level": "part", **part}
    for library in document["libraries"]:
        yield {**of_image, "level": "library", "name": library.pop("path"), **library}


def _generate_csv_rows_of_published_images(
    references: Iterable[ReferenceImage],
) -> Iterator[dict[str, Any]]:
    for image in references:
        yield {
            "image": image.name,
            "level": "published",
            "name": image.source,
            "size_bytes": round(image.on_disk_gb * GB),
            "compressed_bytes": image.compressed_mb * MB,
        }
