"""Keep the list of an archive's photographs and the rows of the finished shards on disk.

This folder beside the table holds both, until the table is complete::

    eyes.parquet.parts/
        lock             held by the process that writes
        listing.jsonl    the photographs, one per line
        job.json         the settings and the totals; written when the list is complete
        00000000.parquet the rows of the first shard

Each file of rows is written under a temporary name and then renamed. If a file of a shard exists,
all rows of the shard are therefore in it, even after the process was killed.
"""

from __future__ import annotations

import fcntl
import json
import random
import secrets
import shutil
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from drdeploy.clinic.archive_grading.sources import ArchivedPhotograph
from drdeploy.clinic.archive_grading.table import ArchiveTable
from drdeploy.errors import InvalidInput
from drdeploy.files import (
    delete_abandoned_temporary_files,
    open_for_atomic_write,
    parse_json,
    write_json_file,
)
from drdeploy.grader.photograph_files import LeftOutSummary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from drdeploy.clinic.archive_grading.sources import ArchiveSource
    from drdeploy.clinic.graded_rows import GradedRow, RowColumns

MOST_IN_SHARD = 64
"""The largest number of photographs in a shard. After a crash, each worker grades at most this many
photographs again. A million photographs need 15,625 files until the table is complete.
"""
LEAST_SHARDS = 64
"""The smallest number of shards. In a small archive, the shards are smaller instead, so that all
workers have work until the end.
"""
PARTS_SUFFIX = ".parts"
_SAMPLE_SEED = 1
_JOB, _LISTING, _TRANSFORM = "job.json", "listing.jsonl", "transform.json"


@dataclass(frozen=True)
class ArchiveSettings:
    """The settings that must stay the same while a table is written.

    Attributes:
        source: The folder, S3 prefix or manifest.
        model_digest: The digest of the model.
        runtime: The library that runs the model; empty for the default of the model's format.
        names: How photographs are named in the table. For keyed hashes, this text also says which
            key is used, without revealing it.
    """

    source: str
    model_digest: str
    runtime: str
    names: str


_SETTINGS_IN_WORDS = {
    "source": "source of the photographs",
    "model_digest": "digest of the model",
    "runtime": "runtime",
    "names": "names of the photographs",
}


@dataclass(frozen=True)
class ArchiveJob:
    """The task of grading an archive. It is created as soon as all photographs are listed.

    Attributes:
        id: A random name, which is also in the metadata of the table.
        settings: The settings that must stay the same during the job.
        photographs: The number of photographs.
        size_bytes: The total size of the photographs whose size is known.
        sized_photographs: The number of photographs whose size is known.
        notes: Sentences that say which files of the archive are not graded.
        may_miss_photographs: Whether one of the files that are not graded may be a photograph.
        shard_photographs: The number of photographs in a shard; the last shard may have fewer.
    """

    id: str
    settings: ArchiveSettings
    photographs: int
    size_bytes: int
    sized_photographs: int
    shard_photographs: int
    notes: tuple[str, ...] = ()
    may_miss_photographs: bool = False

    @property
    def shard_count(self) -> int:
        """The number of shards."""
        return -(-self.photographs // self.shard_photographs)


@dataclass(frozen=True)
class Shard:
    """Consecutive photographs of an archive's list; their rows are saved in one file."""

    number: int
    photographs: tuple[ArchivedPhotograph, ...] = field(repr=False)


class ArchiveCheckpoint:
    """The folder beside the table, with the list of photographs and the finished rows."""

    def __init__(self, table: Path) -> None:
        self.table = table
        self.folder = table.with_name(table.name + PARTS_SUFFIX)

    @classmethod
    @contextmanager
    def open(cls, table: Path) -> Iterator[ArchiveCheckpoint]:
        """Lock the folder for this process.

        Raises:
            InvalidInput: Another process is writing the table, or the folder does not support file
                locks.
        """
        checkpoint = cls(table)
        checkpoint.folder.mkdir(parents=True, exist_ok=True)
        with (checkpoint.folder / "lock").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                what = (
                    "Another process is writing this table"
                    if isinstance(error, BlockingIOError)
                    else f"The folder of the table does not support file locks: {error.strerror}"
                )
                raise InvalidInput(
                    what,
                    where=str(table),
                    remedy="Wait for the other process to end, or give another file with --out"
                    if isinstance(error, BlockingIOError)
                    else "Write the table on a local disk, with --out",
                ) from error
            delete_abandoned_temporary_files(checkpoint.folder)
            try:
                yield checkpoint
            finally:
                with suppress(OSError):  # delete the folder of a run that listed nothing
                    if not (checkpoint.folder / _JOB).exists():
                        checkpoint.delete_checkpoint_folder()

    def discard_earlier_run(self) -> None:
        """Delete the table, and the files that an earlier run left behind."""
        self.table.unlink(missing_ok=True)
        (self.folder / _JOB).unlink(missing_ok=True)
        for path in (*self.folder.glob("*.parquet"), self.folder / _LISTING):
            path.unlink(missing_ok=True)

    @property
    def pending_transform_file(self) -> Path:
        """The path of the file about the current Batch Transform job.

        The file exists only while there is such a job.
        """
        return self.folder / _TRANSFORM

    def prepare_job(
        self, source: ArchiveSource, settings: ArchiveSettings, *, show_paths: bool
    ) -> ArchiveJob:
        """Return the unfinished job of an earlier run, or list the photographs and start a new job.

        Raises:
            InvalidInput: The table exists already, the earlier run had other settings, or the
                source holds no photograph.
        """
        job = self.load_job()
        if job is None and self.table.exists():
            raise InvalidInput(
                "The table exists already",
                where=str(self.table),
                remedy="Choose another file with --out, or delete the table with --fresh",
            )
        if job is None:
            return self.write_listing(source, settings, show_paths=show_paths)
        before, now = asdict(job.settings), asdict(settings)
        differing = [name for name in before if before[name] != now[name]]
        if differing:
            raise InvalidInput(
                "An unfinished run with other settings has written parts of the result "
                f"({_SETTINGS_IN_WORDS[differing[0]]}: {before[differing[0]] or 'default'} before, "
                f"{now[differing[0]] or 'default'} now)",
                where=str(self.folder),
                remedy="Finish that run with its own settings, or delete its parts with --fresh",
            )
        return job

    def load_job(self) -> ArchiveJob | None:
        """Return the unfinished job of an earlier run; None if it did not list all photographs."""
        try:
            document: dict[str, Any] = parse_json((self.folder / _JOB).read_text("utf-8"))
        except FileNotFoundError:
            return None
        settings = ArchiveSettings(**document.pop("settings"))
        return ArchiveJob(settings=settings, **document | {"notes": tuple(document["notes"])})

    def write_listing(
        self, source: ArchiveSource, settings: ArchiveSettings, *, show_paths: bool
    ) -> ArchiveJob:
        """Write the list of a source's photographs, and return the new job.

        Raises:
            InvalidInput: The source holds no photograph.
        """
        left_out = LeftOutSummary()
        photographs = size_bytes = sized = 0
        with open_for_atomic_write(self.folder / _LISTING) as file:
            for one in source.iterate_photographs(left_out.add_left_out_file):
                file.write(json.dumps(one).encode("ascii") + b"\n")
                photographs += 1
                size_bytes += one.size_bytes or 0
                sized += one.size_bytes is not None
            notes = left_out.write_sentences(show_paths=show_paths)
            if not photographs:
                raise InvalidInput(
                    "There is no JPEG, PNG, TIFF or DICOM file"
                    + "".join(f"; {note}" for note in notes),
                    where=source.location,
                    remedy="Give a folder, an S3 prefix or a manifest of photographs",
                )
        job = ArchiveJob(
            id=secrets.token_hex(8),
            settings=settings,
            photographs=photographs,
            size_bytes=size_bytes,
            sized_photographs=sized,
            shard_photographs=max(1, min(MOST_IN_SHARD, photographs // LEAST_SHARDS)),
            notes=tuple(notes),
            may_miss_photographs=left_out.may_miss_photographs,
        )
        write_json_file(self.folder / _JOB, asdict(job))
        return job

    def count_finished_photographs(self, job: ArchiveJob) -> int:
        """Return how many photographs have their rows on disk."""
        finished = [
            number for number in range(job.shard_count) if self._path_of_shard_rows(number).exists()
        ]
        last = job.shard_count - 1
        short = job.shard_count * job.shard_photographs - job.photographs if last in finished else 0
        return len(finished) * job.shard_photographs - short

    def iterate_photographs(self) -> Iterator[ArchivedPhotograph]:
        """Yield all photographs of the list."""
        with (self.folder / _LISTING).open("rb") as file:
            for line in file:
                yield ArchivedPhotograph(*parse_json(line))

    def sample_photographs(self, job: ArchiveJob, most: int) -> list[ArchivedPhotograph]:
        """Return photographs drawn at random from the whole list, in a random order.

        The first photographs of the list would be a poor sample, because they come from one folder.
        The same list gives the same sample.

        Args:
            job: The job whose list this is.
            most: The number of photographs; a shorter list is returned completely.
        """
        drawn = random.Random(_SAMPLE_SEED).sample(
            range(job.photographs), min(most, job.photographs)
        )
        wanted, found = set(drawn), {}
        with (self.folder / _LISTING).open("rb") as file:
            for number, line in enumerate(file):
                if number in wanted:
                    found[number] = ArchivedPhotograph(*parse_json(line))
        return [found[number] for number in drawn]

    def iterate_ungraded_shards(self, job: ArchiveJob) -> Iterator[Shard]:
        """Yield the shards that have no rows yet.

        The list of photographs is read shard by shard, because it may not fit into memory.
        """
        with (self.folder / _LISTING).open("rb") as file:
            for number in range(job.shard_count):
                lines = list(islice(file, job.shard_photographs))
                if not self._path_of_shard_rows(number).exists():
                    listed = tuple(ArchivedPhotograph(*parse_json(line)) for line in lines)
                    yield Shard(number, listed)

    def write_rows(self, number: int, rows: Sequence[GradedRow], columns: RowColumns) -> None:
        """Save the rows of a shard."""
        with open_for_atomic_write(self._path_of_shard_rows(number)) as file:
            ArchiveTable(columns).write_rows_of_shard(file, [rows])

    def join_rows(self, job: ArchiveJob, columns: RowColumns) -> dict[str, int]:
        """Write the table from the rows of all shards, in the order of the list.

        Returns:
            Four counts: all rows, graded rows, rows whose photographs a human must look at, and
            failed rows.
        """
        with open_for_atomic_write(self.table) as file:
            return ArchiveTable(columns, {"drdeploy.job": job.id}).join_shards(
                file, (self._path_of_shard_rows(number) for number in range(job.shard_count))
            )

    def delete_checkpoint_folder(self) -> None:
        """Delete the folder, ``job.json`` first.

        Without ``job.json``, the next run starts from the beginning, even if this process is killed
        before it has deleted the other files.
        """
        (self.folder / _JOB).unlink(missing_ok=True)
        shutil.rmtree(self.folder)

    def _path_of_shard_rows(self, number: int) -> Path:
        return self.folder / f"{number:08d}.parquet"
