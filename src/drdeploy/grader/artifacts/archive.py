"""Write a gzip-compressed tar file reproducibly, and read one that may be hostile.

``tarfile`` trusts headers: a member may be a link out of the folder, a file a thousand times its
compressed size, or an extended header of gigabytes.  So members are streamed and forgotten, every
name and type is checked before its content is read, and both the bytes that come out of the
decompressor and those that come out of the members are counted.  The two differ in a sparse file,
whose holes are in no archive: 162 bytes wrote 200 MB.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import tarfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, ClassVar

from drdeploy.errors import ArtifactError, TruncatedArchive, UnsafeArchive
from drdeploy.files import CHUNK_BYTES, atomic_writer
from drdeploy.grader.artifacts.manifest import is_safe_path
from drdeploy.units import GIB, KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from typing_extensions import Buffer

COMPRESSION_LEVEL = 6
HEADER_BYTES_MAX = 64 * KIB
"""tarfile reads an extended header (a long name) into memory at once; real ones are far smaller."""
NAME_CHARACTERS_MAX = 512
NAME_PARTS_MAX = 16
NAME_PART_BYTES_MAX = 255
"""What file systems take; the paths of a SavedModel have three parts."""


@dataclass(frozen=True)
class ArchiveLimits:
    """How much an archive may unpack to.

    Attributes:
        max_files: Files and folders.
        max_bytes: Of all of them; by default the disk of SageMaker Serverless Inference (5 GB).
    """

    max_files: int = 10_000
    max_bytes: int = 5 * GIB


def write_archive(archive: Path, members: Mapping[str, Path | bytes]) -> None:
    """Write files or bytes under the given names, in the given order.

    Owner, times and modes are fixed, so that the same contents make the same bytes.
    """
    with (
        atomic_writer(archive) as raw,
        gzip.GzipFile("", "wb", COMPRESSION_LEVEL, raw, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, content in members.items():
            _add(tar, name, content)


def _add(tar: tarfile.TarFile, name: str, content: Path | bytes) -> None:
    info = tarfile.TarInfo(name)
    info.mode = 0o644
    if isinstance(content, bytes):
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
        return
    info.size = content.stat().st_size
    with content.open("rb") as file:
        tar.addfile(info, file)


class ByteBudget:
    """Counts bytes, and refuses an archive once there are more than it may have."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes
        self._max_bytes = max_bytes

    def spend(self, count: int) -> None:
        """Take that many bytes off.

        Raises:
            UnsafeArchive: There are not so many left.
        """
        self._left -= count
        if self._left < 0:
            raise UnsafeArchive(f"It unpacks to more than {self._max_bytes} bytes")


@dataclass(frozen=True)
class Member:
    """A regular file of an archive; read it before asking for the next one.

    Attributes:
        name: Its path in the archive, normalised.
        size_bytes: As its header says; ``chunks`` finds out whether that is true.
        file: Its content.
        archive: The archive's path, for messages.
        budget: How many bytes all members may still give.
    """

    name: str
    size_bytes: int
    file: IO[bytes]
    archive: Path
    budget: ByteBudget

    def chunks(self) -> Iterator[bytes]:
        """Yield its content piece by piece.

        Raises:
            TruncatedArchive: The archive ends before the file does, or is damaged.
            UnsafeArchive: The archive unpacks to more than it may.
        """
        with _named_errors(self.archive):
            while chunk := self.file.read(CHUNK_BYTES):
                self.budget.spend(len(chunk))
                yield chunk


def read_archive(archive: Path, limits: ArchiveLimits) -> Iterator[Member]:
    """Yield an archive's regular files one after the other, without writing anything.

    Raises:
        ArtifactError: The file cannot be opened.
        UnsafeArchive: A member is a link or device, leaves the folder or comes twice, or the
            archive is too large, by what is read and not by what its headers claim.
        TruncatedArchive: It ends too early, is damaged, or is not a gzip-compressed tar file.
    """
    try:
        raw = archive.open("rb")
    except OSError as err:
        raise ArtifactError(f"Cannot read it: {err.strerror}", where=str(archive)) from err
    with raw, gzip.GzipFile(fileobj=raw, mode="rb") as unzipped, _named_errors(archive):
        yield from _members(_BoundedReader(unzipped, limits.max_bytes), archive, limits)


@contextmanager
def _named_errors(archive: Path) -> Iterator[None]:
    """Turn whatever the decompressor and tarfile raise into errors that name the archive."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError) as err:
        raise TruncatedArchive(
            "The archive ends too early, is damaged, or is not a gzip-compressed tar file",
            where=str(archive),
            remedy="Copy or pack it again",
        ) from err
    except (RecursionError, ValueError, OverflowError) as err:
        raise UnsafeArchive("A header of the archive is malformed", where=str(archive)) from err
    except UnsafeArchive as err:
        raise UnsafeArchive(err.what, where=str(archive), remedy=err.remedy) from err


def _members(stream: _BoundedReader, archive: Path, limits: ArchiveLimits) -> Iterator[Member]:
    names = _Names()
    budget = ByteBudget(limits.max_bytes)
    with tarfile.open(fileobj=UntilEnd(stream), mode="r|", tarinfo=_ArtifactTarInfo) as tar:
        for info in members_of(tar, max_members=limits.max_files):
            name = names.admit(info)
            if name is None:
                continue
            file = tar.extractfile(info)
            if file is not None:
                yield Member(name, info.size, file, archive, budget)
    # Read on after tar's end mark: gzip's checksum follows it, and a damaged file shows there.
    while stream.read(CHUNK_BYTES):
        pass


def members_of(tar: tarfile.TarFile, *, max_members: int) -> Iterator[tarfile.TarInfo]:
    """Yield the members of a tar file that is read forward, and forget each.

    Iterating over ``tar`` keeps them all with their extended headers, so that a few kilobytes
    grow to gigabytes.

    Raises:
        UnsafeArchive: There are more than ``max_members``.
    """
    count = 0
    while (info := tar.next()) is not None:
        count += 1
        if count > max_members:
            raise UnsafeArchive(f"It holds more than {max_members} files")
        yield info
        tar.members.clear()  # type: ignore[attr-defined]  # not in typeshed


class _BoundedReader(io.RawIOBase):
    """Stops once the decompressor has given more than allowed, whatever the headers promised."""

    def __init__(self, source: gzip.GzipFile, max_bytes: int) -> None:
        self._source = source
        self._budget = ByteBudget(max_bytes)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        count = self._source.readinto(memoryview(buffer))
        self._budget.spend(count)
        return count


class UntilEnd(io.RawIOBase):
    """A stream for tarfile that fails when it is read on and on after its end.

    tarfile skips a member block by block: a header that promises gigabytes, with nothing behind
    it, would keep it busy for as long as its author likes.
    """

    _EMPTY_READS_MAX = 64

    def __init__(self, source: Any) -> None:
        super().__init__()
        self._source = source
        self._empty_reads = 0

    def read(self, size: int = -1) -> bytes:
        """Return at most that many bytes; raise ``tarfile.ReadError`` long after the end."""
        data: bytes = self._source.read(size)
        self._empty_reads = 0 if data else self._empty_reads + 1
        if self._empty_reads > self._EMPTY_READS_MAX:
            raise tarfile.ReadError("a header promises more than the file contains")
        return data


class BoundedTarInfo(tarfile.TarInfo):
    """Refuses headers by which a small tar file costs its reader much memory, time or disk.

    These are extended headers that tarfile would read as a whole, more than one global header
    (tarfile keeps all they say, and copies it for each member), and sparse files of every kind:
    nothing that this project reads has any, and the map of their holes has no bound.
    """

    _EXTENDED = (
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    )
    _GLOBAL_BYTES_MAX = 1024  # `git archive` writes 52: the commit
    extended_bytes_max: ClassVar[float] = math.inf
    """Of all extended headers of a tar file together."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        """Check a header before tarfile acts on it; the hook that tarfile offers subclasses."""
        too_long = False
        if self.type in self._EXTENDED:
            extended_bytes = getattr(tar, "extended_bytes", 0) + self.size
            tar.extended_bytes = extended_bytes  # type: ignore[attr-defined]  # ours
            too_long = self.size > HEADER_BYTES_MAX or extended_bytes > self.extended_bytes_max
        too_global = self.type == tarfile.XGLTYPE and (
            self.size > self._GLOBAL_BYTES_MAX or bool(tar.pax_headers)
        )
        if too_long or too_global or self.size < 0:
            raise UnsafeArchive("A header of the archive is malformed")
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise _sparse()
        found: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]  # not in typeshed
        # A PAX record may have replaced the size that was checked above.
        if found.size < 0:
            raise UnsafeArchive("A header of the archive is malformed")
        if found.issparse():
            raise _sparse()
        return found

    def _proc_gnusparse_10(self, *_: object) -> None:
        """Refuse a map of holes that stands in the content, before it is read.

        The other kinds of map stand in headers, whose length is bounded.
        """
        raise _sparse()


class _ArtifactTarInfo(BoundedTarInfo):
    """Bounds the extended headers of a model's archive, too, which a layer of an image may need.

    tarfile takes about 5 microseconds for a record of 13 bytes: 64 KiB of them before each of
    10,000 members would keep it busy for minutes.
    """

    extended_bytes_max = 10 * MIB  # a kilobyte for each of 10,000 files


def _sparse() -> UnsafeArchive:
    return UnsafeArchive(
        "The archive holds a sparse file", remedy="Pack it without `--sparse` or `-S`"
    )


class _Names:
    """Refuses members that leave the folder or come twice."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def admit(self, info: tarfile.TarInfo) -> str | None:
        """Return the normalised name of a regular file, None for a folder; refuse all else."""
        name = info.name.removeprefix("./")
        if info.isdir() and name in {"", "."}:
            return None
        parts = name.split("/")
        longest = max(len(os.fsencode(part)) for part in parts)
        if (
            len(name) > NAME_CHARACTERS_MAX
            or len(parts) > NAME_PARTS_MAX
            or longest > NAME_PART_BYTES_MAX
        ):
            raise UnsafeArchive(
                f"The name '{name[:40]}...' is too long for a file",
                remedy=f"Use at most {NAME_PART_BYTES_MAX} bytes for a file or folder, "
                f"{NAME_PARTS_MAX} folders deep and {NAME_CHARACTERS_MAX} characters in all",
            )
        if not is_safe_path(name):
            raise UnsafeArchive(f"'{info.name}' would be written outside its folder")
        if not (info.isreg() or info.isdir()):
            raise UnsafeArchive(f"'{name}' is not a regular file")
        self._record(name, info.isdir())
        return None if info.isdir() else name

    def _record(self, name: str, is_folder: bool) -> None:
        parts = name.split("/")
        parents = {"/".join(parts[:depth]) for depth in range(1, len(parts))}
        clashes = name in self._files or not parents.isdisjoint(self._files)
        if clashes or (not is_folder and name in self._folders):
            raise UnsafeArchive(f"'{name}' comes twice")
        self._folders |= parents | ({name} if is_folder else set())
        if not is_folder:
            self._files.add(name)
