"""Find the photographs that a study sends, or paint synthetic ones."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drdeploy.errors import PayloadTooLarge, RequestRefused, StudyError
from drdeploy.files import (
    explain_unusable_path,
    path_of_shipped_file,
    sha256_of_bytes,
    write_file_atomically,
)
from drdeploy.grader.fundus.decode import decode_image_of_header, read_and_check_header
from drdeploy.grader.fundus.limits import ImageLimits
from drdeploy.grader.grading import Grade
from drdeploy.grader.photograph_files import (
    find_content_type_of_photograph,
    read_photograph_bytes,
    search_folder_for_photographs,
    write_sentences_on_left_out_files,
)
from drdeploy.photograph_names import OWN_NAMES, PhotographNames

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

DECODED_SIDE_PX = 256
"""A JPEG is decoded at a reduced size, at which its shorter side has at least this many pixels.
Decoding still reads every byte of the file, but is faster.
"""

EXAMPLE_PHOTOGRAPHS = "examples/photographs"
"""The folder with the project's eleven real photographs and their licences."""


_GIVE_FOLDER = (
    "Give a folder of photographs, with --images of `drdeploy study run` or --payload of `drdeploy "
    "capacity`"
)


@dataclass(frozen=True)
class Photograph:
    """The content of an image file, which is sent as the body of a request.

    Attributes:
        name: The photograph's name in ``measurements.csv``, usually a hash.
    """

    name: str
    data: bytes
    content_type: str


@dataclass(frozen=True)
class PhotographSet:
    """The photographs of a study.

    Attributes:
        source: ``synthetic``, or the name of the folder.
        left_out: Sentences on the files in the folder that are not sent. A photograph that no
            endpoint could grade is named, with the reason. Files that are not photographs are only
            counted.
        naming: A phrase for ``environment.json`` that says how the rows name photographs.
    """

    photographs: tuple[Photograph, ...]
    source: str
    left_out: tuple[str, ...] = ()
    naming: str = OWN_NAMES.description_of_photograph_names

    def shuffle_photographs_by_seed(self, seed: str) -> tuple[Photograph, ...]:
        """Return the photographs in a random order that depends only on the seed."""
        order = list(self.photographs)
        random.Random(seed).shuffle(order)
        return tuple(order)


def read_or_paint_photographs(
    folder: Path | None,
    *,
    limit_bytes: int,
    seed: int,
    cache: Path,
    synthetic: int = 5,
    names: PhotographNames | None = None,
) -> PhotographSet:
    """Read the photographs that a study sends.

    Args:
        folder: The folder of photographs. Without a folder, the example photographs are used, or
            synthetic photographs if the examples are not installed.
        limit_bytes: The largest photograph that all endpoints of the study accept, in bytes.
        seed: The seed of synthetic photographs.
        cache: The folder in which synthetic photographs are kept for later runs, because painting
            them takes seconds.
        synthetic: The number of synthetic photographs.
        names: How the rows name photographs. If None, they use a keyed hash.

    Raises:
        StudyError: The folder does not exist, or holds no photograph that decodes and is small
            enough, or a photograph cannot be read.
    """
    names = names or PhotographNames.with_user_key()
    examples = path_of_shipped_file(EXAMPLE_PHOTOGRAPHS)
    chosen = folder or (examples if examples.is_dir() else None)
    if chosen is None:
        drawn = [_paint_photograph_into_cache(cache, seed + number) for number in range(synthetic)]
        return _read_photograph_files(drawn, cache, limit_bytes, names, source="synthetic")
    if not chosen.is_dir():
        raise StudyError(
            explain_unusable_path(
                chosen, "The folder of photographs does not exist", wanted="folder"
            ),
            where=str(chosen),
            remedy=_GIVE_FOLDER,
        )
    found = search_folder_for_photographs(chosen)
    # The files beside the example photographs (a table and a licence) are not reported as left out.
    left_out = found.left_out if folder else ()
    counted = write_sentences_on_left_out_files(left_out, show_paths=names.are_file_names)
    return _read_photograph_files(
        found.photographs,
        chosen,
        limit_bytes,
        names,
        source=chosen.resolve().name,
        counted=counted,
    )


def _read_photograph_files(
    files: Iterable[Path],
    folder: Path,
    limit_bytes: int,
    names: PhotographNames,
    *,
    source: str,
    counted: Iterable[str] = (),
) -> PhotographSet:
    fitting, left_out = [], list(counted)
    for path in files:
        own = path.relative_to(folder).as_posix()
        try:
            data = read_photograph_bytes(path)
        except PayloadTooLarge as err:
            left_out.append(f"{names.name_of_photograph(path, own)}: {err.what}")
            continue
        except OSError as err:
            raise StudyError(
                f"A photograph cannot be read: {err.strerror}",
                where=names.name_of_photograph(path, own),
                remedy="`drdeploy names FOLDER` lists which file each name stands for",
            ) from err
        name = names.name_of_photograph(path, own, sha256_of_bytes(data))
        try:
            fitting.append(_decode_before_sending(name, data, limit_bytes))
        except RequestRefused as err:
            left_out.append(f"{name}: {err.what}")
    if not fitting:
        why = f": {left_out[0]}" if left_out else ""
        raise StudyError(
            f"The folder holds no JPEG, PNG or TIFF of at most {limit_bytes} bytes that can be "
            f"graded{why}",
            where=source,
            remedy=_GIVE_FOLDER,
        )
    return PhotographSet(
        tuple(fitting), source, tuple(left_out), names.description_of_photograph_names
    )


def _decode_before_sending(name: str, data: bytes, limit_bytes: int) -> Photograph:
    """Decode a photograph as the server will do, and return it.

    If the server would refuse the photograph, this is found before a request costs time and money.

    Raises:
        RequestRefused: The server would refuse the photograph.
    """
    header = read_and_check_header(data, limits=ImageLimits(max_bytes=limit_bytes))
    decode_image_of_header(header, min_side_px=DECODED_SIDE_PX)
    return Photograph(name, data, find_content_type_of_photograph(data))


def _paint_photograph_into_cache(cache: Path, seed: int) -> Path:
    from drdeploy.grader.synthetic.photograph import paint_synthetic_photograph

    grade: Any = Grade(seed % len(Grade))
    path = cache / f"synthetic-{seed}-grade{int(grade)}.jpg"
    if not path.exists():
        write_file_atomically(path, paint_synthetic_photograph(seed, grade=grade))
    return path
