"""The photographs that a study sends: real ones where there are some, synthetic ones otherwise."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drdeploy.errors import StudyError
from drdeploy.files import shipped, write_atomically
from drdeploy.grader.grading import Grade

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

EXAMPLE_PHOTOGRAPHS = "examples/photographs"
"""Eleven real ones that ship with the project; a ``README.md`` beside them names the licences."""

CONTENT_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
}


@dataclass(frozen=True)
class Photograph:
    """An image file to send as the body of a request."""

    name: str
    data: bytes
    content_type: str


@dataclass(frozen=True)
class PhotographSet:
    """The photographs of a study.

    Attributes:
        source: ``synthetic``, or the name of the folder.
        left_out: Names of files that are too large for one of the study's endpoints.
    """

    photographs: tuple[Photograph, ...]
    source: str
    left_out: tuple[str, ...] = ()

    def for_trial(self, seed: str) -> TrialPhotographs:
        """Return the order in which a trial sends them; the same for the same seed."""
        order = list(self.photographs)
        random.Random(seed).shuffle(order)
        return TrialPhotographs(tuple(order))


@dataclass(frozen=True)
class TrialPhotographs:
    """The photographs of one trial, in the order in which they are sent.

    The sequence number decides which one is sent, so a run that goes on after an interruption
    sends what an uninterrupted one would have sent.
    """

    order: Sequence[Photograph]

    def at(self, sequence: int) -> Photograph:
        """Return the photograph of a sequence number; after the last comes the first again."""
        return self.order[sequence % len(self.order)]


def find_photographs(
    folder: Path | None, *, limit_bytes: int, seed: int, cache: Path, synthetic: int = 5
) -> PhotographSet:
    """Read the photographs that a study sends.

    Args:
        folder: Holds them.  None takes the example photographs, or makes synthetic ones where
            those did not come along.
        limit_bytes: The smallest payload limit among the endpoints.
        seed: Of synthetic photographs.
        cache: Where synthetic photographs are kept; drawing one takes seconds.
        synthetic: How many of those.

    Raises:
        StudyError: The folder holds no photograph, or none that is small enough.
    """
    examples = shipped(EXAMPLE_PHOTOGRAPHS)
    chosen = folder or (examples if examples.is_dir() else None)
    if chosen is None:
        drawn = [_synthetic(cache, seed + number) for number in range(synthetic)]
        return _read(drawn, "synthetic", limit_bytes)
    if not chosen.is_dir():
        raise StudyError("There is no such folder", where=str(chosen))
    files = sorted(
        path for path in chosen.iterdir() if path.suffix.lower() in CONTENT_TYPES and path.is_file()
    )
    return _read(files, chosen.resolve().name, limit_bytes)


def _read(files: Iterable[Path], source: str, limit_bytes: int) -> PhotographSet:
    fitting, left_out = [], []
    for path in files:
        if path.stat().st_size > limit_bytes:
            left_out.append(path.name)
        else:
            content_type = CONTENT_TYPES[path.suffix.lower()]
            fitting.append(Photograph(path.name, path.read_bytes(), content_type))
    if not fitting:
        raise StudyError(
            f"There is no JPEG, PNG or TIFF of at most {limit_bytes} bytes",
            where=source,
            remedy="Name a folder with photographs by --images",
        )
    return PhotographSet(tuple(fitting), source, tuple(left_out))


def _synthetic(cache: Path, seed: int) -> Path:
    from drdeploy.grader.synthetic.photograph import synthetic_photograph

    grade: Any = Grade(seed % len(Grade))
    path = cache / f"synthetic-{seed}-grade{int(grade)}.jpg"
    if not path.exists():
        write_atomically(path, synthetic_photograph(seed, grade=grade))
    return path
