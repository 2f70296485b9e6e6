"""Write a gzip-compressed tar file reproducibly, and read one that may be hostile.

``tarfile`` trusts the headers of an archive, but an attacker may have written them. A member may be
a link to a place outside the folder, expand to a thousand times its compressed size, or have an
extended header of gigabytes. Members are therefore read as a stream and not kept in memory. The
name and type of each member are checked before its content is read.

There is a limit on the bytes of the decompressed archive, and the same limit on the bytes of the
extracted files. Sparse files are refused, because their long runs of zeros take no space in the
archive. Before they were refused, extracting an archive of 162 bytes wrote a file of 200 MB.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import stat
import tarfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, ClassVar

from drdeploy.errors import ArtifactError, TruncatedArchive, UnsafeArchive
from drdeploy.files import CHUNK_BYTES, open_for_atomic_write, open_regular_file
from drdeploy.grader.artifacts.file_kinds import HEAD_BYTES, find_file_kind
from drdeploy.grader.artifacts.manifest import is_path_inside_folder
from drdeploy.units import GIB, KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from typing_extensions import Buffer

COMPRESSION_LEVEL = 6
GZIP_START = b"\x1f\x8b"
HEADER_BYTES_MAX = 64 * KIB
"""The largest extended header that is accepted, in bytes. It holds, for example, a long name, and
tarfile reads the whole header into memory.
"""
NAME_CHARACTERS_MAX = 512
NAME_PARTS_MAX = 16
NAME_PART_BYTES_MAX = 255
"""The longest name of a file or folder that file systems accept."""
_COPY_AGAIN = "Copy or pack the archive again"


@dataclass(frozen=True)
class ArchiveLimits:
    """Limits on the extracted size of an archive.

    Attributes:
        max_files: The largest number of files and folders.
        max_bytes: The largest total size of the files; by default 5 GiB, a little more than the 5
            GB of disk that SageMaker Serverless Inference gives a container.
    """

    max_files: int = 10_000
    max_bytes: int = 5 * GIB


def write_archive(archive: Path, members: Mapping[str, Path | bytes]) -> None:
    """Write files or bytes to an archive under the given names, in the given order.

    Owners, times and modes are fixed, so the same contents always give the same archive.
    """
    with (
        open_for_atomic_write(archive) as raw,
        gzip.GzipFile("", "wb", COMPRESSION_LEVEL, raw, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, content in members.items():
            _add_file_to_tar(tar, name, content)


def _add_file_to_tar(tar: tarfile.TarFile, name: str, content: Path | bytes) -> None:
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
    """Counts the bytes of an archive, and refuses the archive when they exceed a limit."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes
        self._max_bytes = max_bytes

    def spend_bytes(self, count: int) -> None:
        """Subtract a number of bytes from the budget.

        Raises:
            UnsafeArchive: The limit is exceeded.
        """
        self._left -= count
        if self._left < 0:
            raise UnsafeArchive(
                f"The extracted archive would exceed {self._max_bytes} bytes",
                remedy="Pack only the files of the model",
            )


@dataclass(frozen=True)
class ArchiveMember:
    """A regular file or a folder in an archive. Read its content before you take the next member.

    Attributes:
        name: The normalised path in the archive.
        size_bytes: The size that the header claims; reading the content may show another size.
        file: The content as a stream; empty for a folder.
        archive: Path of the archive, for messages.
        budget: How many more bytes all members together may have.
        is_folder: Whether the member is a folder.
        is_executable: Whether the owner of the file may execute it.
    """

    name: str
    size_bytes: int
    file: IO[bytes]
    archive: Path
    budget: ByteBudget
    is_folder: bool = False
    is_executable: bool = False

    def iterate_content_chunks(self) -> Iterator[bytes]:
        """Yield the file's content piece by piece.

        Raises:
            TruncatedArchive: The archive ends in the middle of the file, or is damaged.
            UnsafeArchive: The archive unpacks to more bytes than the limit.
        """
        with _add_archive_path_to_errors(self.archive):
            while chunk := self.file.read(CHUNK_BYTES):
                self.budget.spend_bytes(len(chunk))
                yield chunk


def iterate_archive_members(
    archive: Path, limits: ArchiveLimits, *, with_folders: bool = False
) -> Iterator[ArchiveMember]:
    """Yield an archive's regular files one after the other, without writing anything.

    Args:
        archive: A gzip-compressed tar file.
        limits: The largest extracted size.
        with_folders: Whether the folders that the archive lists are yielded too.

    Raises:
        ArtifactError: The file cannot be opened, or is of another kind, for example a ZIP file.
        UnsafeArchive: A member is a link, a device or a sparse file, leaves the folder, occurs
            twice, or has a malformed header or name. This error is also raised if there are too
            many members, or if the bytes that are read exceed a limit.
        TruncatedArchive: The file ends too early, is damaged, or is not a gzip-compressed tar file.
    """
    try:
        raw = open_regular_file(archive)
    except OSError as err:
        raise ArtifactError(
            f"The archive cannot be read: {err.strerror}",
            where=str(archive),
            remedy="Give the path of a model.tar.gz that you may read",
        ) from err
    with (
        raw,
        gzip.GzipFile(fileobj=raw, mode="rb") as unzipped,
        _add_archive_path_to_errors(archive),
    ):
        _refuse_file_without_gzip_start(archive, raw.read(HEAD_BYTES))
        raw.seek(0)
        for member in _iterate_checked_members(
            _BoundedReader(unzipped, limits.max_bytes), archive, limits
        ):
            if with_folders or not member.is_folder:
                yield member


def _refuse_file_without_gzip_start(archive: Path, head: bytes) -> None:
    """Refuse a file that is not gzip-compressed; the error says what it is, if this is known."""
    if head.startswith(GZIP_START):
        return
    kind = find_file_kind(archive.name, head)
    if kind is None:
        raise gzip.BadGzipFile
    raise ArtifactError(
        f"The file is {kind.noun}, not a model.tar.gz", where=str(archive), remedy=kind.remedy
    )


@contextmanager
def _add_archive_path_to_errors(archive: Path) -> Iterator[None]:
    """Turn errors of the decompressor and of tarfile into errors that name the archive."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError) as err:
        raise TruncatedArchive(
            "The archive ends too early, is damaged, or is not a gzip-compressed tar file",
            where=str(archive),
            remedy=_COPY_AGAIN,
        ) from err
    except (RecursionError, ValueError, OverflowError) as err:
        raise UnsafeArchive(
            "A header of the archive is malformed",
            where=str(archive),
            remedy=_COPY_AGAIN,
        ) from err
    except UnsafeArchive as err:
        raise UnsafeArchive(err.what, where=str(archive), remedy=err.remedy) from err


def _iterate_checked_members(
    stream: _BoundedReader, archive: Path, limits: ArchiveLimits
) -> Iterator[ArchiveMember]:
    names = _AdmittedNames()
    budget = ByteBudget(limits.max_bytes)
    with tarfile.open(
        fileobj=ReaderFailingFarPastEnd(stream), mode="r|", tarinfo=_ArtifactTarInfo
    ) as tar:
        for info in iterate_members_without_keeping_them(tar, max_members=limits.max_files):
            name = names.check_and_register_member(info)
            if name:
                file = tar.extractfile(info) or io.BytesIO()  # a folder has no content
                is_executable = bool(info.mode & stat.S_IXUSR)
                yield ArchiveMember(
                    name, info.size, file, archive, budget, info.isdir(), is_executable
                )
    # Read on after tar's end mark: gzip's checksum follows it, and a damaged file shows there.
    while stream.read(CHUNK_BYTES):
        pass


def iterate_members_without_keeping_them(
    tar: tarfile.TarFile, *, max_members: int
) -> Iterator[tarfile.TarInfo]:
    """Yield the members of a tar file one by one, without keeping them in memory.

    Iterating over ``tar`` would keep all members with their extended headers. An archive of a few
    kilobytes can then take gigabytes of memory.

    Raises:
        UnsafeArchive: There are more members than ``max_members``.
    """
    count = 0
    while (info := tar.next()) is not None:
        count += 1
        if count > max_members:
            raise UnsafeArchive(
                f"The archive holds more than {max_members} files and folders",
                remedy="Pack only the files of the model",
            )
        yield info
        tar.members.clear()  # type: ignore[attr-defined]  # not in typeshed


class _BoundedReader(io.RawIOBase):
    """A stream that refuses the archive when the decompressor gives more bytes than allowed."""

    def __init__(self, source: gzip.GzipFile, max_bytes: int) -> None:
        self._source = source
        self._budget = ByteBudget(max_bytes)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        count = self._source.readinto(memoryview(buffer))
        self._budget.spend_bytes(count)
        return count


class ReaderFailingFarPastEnd(io.RawIOBase):
    """A stream for tarfile that fails when tarfile reads far beyond the end of the content.

    A header may claim that a member has gigabytes that are not in the file. tarfile skips a member
    block by block, so a false header would keep tarfile busy for hours.
    """

    _EMPTY_READS_MAX = 64

    def __init__(self, source: Any) -> None:
        super().__init__()
        self._source = source
        self._empty_reads = 0

    def read(self, size: int = -1) -> bytes:
        """Return at most ``size`` bytes.

        Raises:
            tarfile.ReadError: The reader is far beyond the end of the content.
        """
        data: bytes = self._source.read(size)
        self._empty_reads = 0 if data else self._empty_reads + 1
        if self._empty_reads > self._EMPTY_READS_MAX:
            raise tarfile.ReadError("a tar header announces more bytes than the file contains")
        return data


class BoundedTarInfo(tarfile.TarInfo):
    """A tar header, which is refused if it lets a small archive take much memory, time or disk.

    Headers of three kinds are refused. Long extended headers are refused, because tarfile reads
    each of them as a whole. A second global header is refused, because tarfile keeps its content
    and copies it for each member. Sparse files are refused, because the list of their empty ranges
    may have any length. No archive that this project reads contains a sparse file.
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
    """The largest total size of all extended headers of a tar file, in bytes."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        """Check a header before tarfile uses it; tarfile calls this method."""
        too_long = False
        if self.type in self._EXTENDED:
            extended_bytes = getattr(tar, "extended_bytes", 0) + self.size
            tar.extended_bytes = extended_bytes  # type: ignore[attr-defined]  # ours
            too_long = self.size > HEADER_BYTES_MAX or extended_bytes > self.extended_bytes_max
        too_global = self.type == tarfile.XGLTYPE and (
            self.size > self._GLOBAL_BYTES_MAX or bool(tar.pax_headers)
        )
        if too_long or too_global or self.size < 0:
            raise UnsafeArchive("A header of the archive is malformed", remedy=_COPY_AGAIN)
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise _sparse_file_error()
        found: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]  # not in typeshed
        # A PAX record may have replaced the size that was checked above.
        if found.size < 0:
            raise UnsafeArchive("A header of the archive is malformed", remedy=_COPY_AGAIN)
        if found.issparse():
            raise _sparse_file_error()
        return found

    def _proc_gnusparse_10(self, *_: object) -> None:
        """Refuse a sparse file that keeps the list of its empty ranges (its map) in its content.

        Other sparse files keep this list in their headers, and ``_proc_member`` refuses them.
        """
        raise _sparse_file_error()


class _ArtifactTarInfo(BoundedTarInfo):
    """A :class:`BoundedTarInfo` that also limits the total length of an archive's extended headers.

    tarfile takes about 5 microseconds for a record of 13 bytes. An archive with 64 KiB of records
    before each of 10,000 members would keep tarfile busy for minutes.
    """

    extended_bytes_max = 10 * MIB  # a kilobyte for each of 10,000 files


def _sparse_file_error() -> UnsafeArchive:
    return UnsafeArchive(
        "The archive holds a sparse file", remedy="Pack the archive without `--sparse` or `-S`"
    )


class _AdmittedNames:
    """Refuses members that would be written outside the target folder, and repeated names."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def check_and_register_member(self, info: tarfile.TarInfo) -> str:
        """Return the normalised name of a file or a folder; refuse other members.

        The name of the top folder is empty.
        """
        name = info.name.removeprefix("./")
        if info.isdir() and name in {"", "."}:
            return ""
        parts = name.split("/")
        longest = max(len(os.fsencode(part)) for part in parts)
        if (
            len(name) > NAME_CHARACTERS_MAX
            or len(parts) > NAME_PARTS_MAX
            or longest > NAME_PART_BYTES_MAX
        ):
            raise UnsafeArchive(
                f"The path '{name[:40]}...' is too long or too deeply nested",
                remedy=(
                    f"Use names of at most {NAME_PART_BYTES_MAX} bytes, at most "
                    f"{NAME_PARTS_MAX} nested folders, and paths of at most "
                    f"{NAME_CHARACTERS_MAX} characters"
                ),
            )
        if not is_path_inside_folder(name):
            raise UnsafeArchive(
                f"'{info.name}' would be written outside its folder",
                remedy="Pack the files under relative paths, with `tar -czf model.tar.gz -C FOLDER "
                ".`",
            )
        if info.issym() or info.islnk():
            # SageMaker does not extract an archive with symbolic links either (re:Post, "How do I
            # troubleshoot the creation or update failure of my SageMaker AI endpoint?").
            raise UnsafeArchive(
                f"'{name}' is a link to '{info.linkname[:80]}', and links are not extracted",
                remedy="Pack the file instead, with `tar --dereference --hard-dereference -czf`",
            )
        if not (info.isreg() or info.isdir()):
            raise UnsafeArchive(
                f"'{name}' is not a regular file", remedy="Pack only the files of the model"
            )
        self._register_name(name, info.isdir())
        return name

    def _register_name(self, name: str, is_folder: bool) -> None:
        parts = name.split("/")
        parents = {"/".join(parts[:depth]) for depth in range(1, len(parts))}
        clashes = name in self._files or not parents.isdisjoint(self._files)
        if clashes or (not is_folder and name in self._folders):
            raise UnsafeArchive(
                f"The archive contains '{name}' twice", remedy="Pack each file once"
            )
        self._folders |= parents | ({name} if is_folder else set())
        if not is_folder:
            self._files.add(name)
