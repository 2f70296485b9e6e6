"""Yield the photographs of an archive one by one, so that no list of them is held in memory."""

from __future__ import annotations

import importlib
import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from drdeploy.errors import InvalidInput, PayloadTooLarge, UnsupportedImage
from drdeploy.files import CHUNK_BYTES, open_regular_file
from drdeploy.grader.fundus.formats.foreign import ARCHIVE_SUFFIXES, FOREIGN_SUFFIXES
from drdeploy.grader.fundus.limits import LOCAL_FILE_LIMITS
from drdeploy.grader.photograph_files import (
    SUFFIXES,
    SYSTEM_NAMES,
    LeftOut,
    is_dicom_file,
    iterate_photographs_in_folder,
)
from drdeploy.hosting.sagemaker.s3_uris import S3_SCHEME, split_s3_uri
from drdeploy.units import KIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    RecordLeftOut = Callable[[LeftOut], None]
    OpenS3 = Callable[[], Any]

_MANIFEST_SUFFIXES = frozenset({".manifest", ".json"})
_BETWEEN = " \t\r\n,"
_LONGEST_ELEMENT = 16 * KIB
"""The longest element of a manifest, in characters. An S3 key has at most 1024 bytes, and each byte
may be escaped."""


class ArchivedPhotograph(NamedTuple):
    """A photograph of an archive: its absolute path or ``s3://`` URI, and its size."""

    place: str
    size_bytes: int | None


@dataclass(frozen=True)
class FolderSource:
    """The photographs in a folder of this machine, including DICOM files."""

    folder: Path

    @property
    def location(self) -> str:
        """The absolute path of the folder."""
        return os.path.abspath(self.folder)  # noqa: PTH100 - links stay

    def iterate_photographs(self, record_left_out: RecordLeftOut) -> Iterator[ArchivedPhotograph]:
        """Yield the photographs.

        Raises:
            MissingExtra: There is a DICOM file, and the extra that reads it is not installed.
        """
        can_read_dicom = False
        for path in iterate_photographs_in_folder(
            Path(self.location), record_left_out, with_dicom=True
        ):
            if not can_read_dicom and path.suffix.lower() not in SUFFIXES and is_dicom_file(path):
                importlib.import_module("drdeploy.grader.dicom.photographs")
                can_read_dicom = True
            try:
                size_bytes = path.stat().st_size
            except OSError:
                size_bytes = None  # when the file is read, the error says why
            yield ArchivedPhotograph(str(path), size_bytes)


@dataclass(frozen=True)
class S3Source:
    """The photographs below an S3 prefix; ``open_s3`` returns a boto3 client."""

    uri: str
    open_s3: OpenS3

    @property
    def location(self) -> str:
        """The prefix as an ``s3://`` URI."""
        return self.uri

    def iterate_photographs(self, record_left_out: RecordLeftOut) -> Iterator[ArchivedPhotograph]:
        """Yield the objects whose key has the suffix of a photograph or DICOM file, or no suffix.

        Raises:
            EndpointError: S3 refuses to list the objects.
            MissingExtra: There is a DICOM file, and the extra that reads it is not installed.
        """
        from drdeploy.hosting.sagemaker import translate_aws_errors

        bucket, prefix = split_s3_uri(self.uri)
        pages = self.open_s3().get_paginator("list_objects_v2")
        with translate_aws_errors("list the photographs", self.uri):
            for page in pages.paginate(Bucket=bucket, Prefix=prefix):
                for one in page.get("Contents", ()):
                    key = one["Key"]
                    left_out = _find_why_key_is_left_out(key, prefix)
                    if left_out:
                        record_left_out(left_out)
                    elif not key.endswith("/"):  # the console makes empty objects for folders
                        yield ArchivedPhotograph(f"{S3_SCHEME}{bucket}/{key}", one["Size"])


def _find_why_key_is_left_out(key: str, prefix: str) -> LeftOut | None:
    """Return why an object is not graded, or None if it is graded.

    Only the key of the object decides, because reading the object would cost a request.
    """
    path = Path(key)
    below = PurePosixPath(key[len(prefix) :]).parts
    system = next((part for part in below if part.casefold() in SYSTEM_NAMES), "")
    if system:
        return LeftOut(path, "system", system.strip())
    if any(part.startswith(".") for part in below):
        return LeftOut(path, "hidden")
    suffix = path.suffix.lower()
    foreign = FOREIGN_SUFFIXES.get(suffix, "")
    if foreign == "DICOM":
        importlib.import_module("drdeploy.grader.dicom.photographs")
    elif foreign:
        return LeftOut(path, "picture", foreign)
    elif suffix in ARCHIVE_SUFFIXES:
        return LeftOut(path, "archive", suffix)
    elif suffix and suffix not in SUFFIXES:
        return LeftOut(path, "other", suffix)
    return None


@dataclass(frozen=True)
class ManifestSource:
    """The objects that a SageMaker manifest names: ``[{"prefix": "s3://…"}, "name", …]``."""

    path: str
    open_s3: OpenS3

    @property
    def location(self) -> str:
        """The absolute path of the manifest, or its ``s3://`` URI."""
        return self.path if self.path.startswith(S3_SCHEME) else os.path.abspath(self.path)  # noqa: PTH100

    def iterate_photographs(self, record_left_out: RecordLeftOut) -> Iterator[ArchivedPhotograph]:
        """Yield all objects that the manifest names, in the order of the manifest.

        Raises:
            InvalidInput: The manifest is malformed.
            EndpointError: S3 does not allow the manifest to be read.
        """
        del record_left_out
        entries = _iterate_json_list(self._iterate_chunks(), self.path)
        first = next(entries, None)
        if not isinstance(first, dict) or first.keys() != {"prefix"}:
            raise _malformed_manifest_error(self.path)
        prefix = first["prefix"]
        if not isinstance(prefix, str) or not prefix.startswith(S3_SCHEME):
            raise _malformed_manifest_error(self.path)
        for name in entries:
            if not isinstance(name, str) or not name:
                raise _malformed_manifest_error(self.path)
            yield ArchivedPhotograph(prefix + name, None)

    def _iterate_chunks(self) -> Iterator[bytes]:
        if not self.path.startswith(S3_SCHEME):
            with open_regular_file(Path(self.path)) as file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
            return
        from drdeploy.hosting.sagemaker import translate_aws_errors

        bucket, key = split_s3_uri(self.path)
        with translate_aws_errors("read the manifest", self.path):
            body = self.open_s3().get_object(Bucket=bucket, Key=key)["Body"]
            yield from body.iter_chunks(CHUNK_BYTES)


def _iterate_json_list(chunks: Iterator[bytes], where: str) -> Iterator[Any]:
    """Yield the elements of a JSON list of strings and objects, reading it piece by piece."""
    import codecs

    texts = codecs.iterdecode(chunks, "utf-8-sig")  # Notepad writes a byte order mark
    decoder = json.JSONDecoder()
    waiting, begun = "", False
    try:
        for text in texts:
            waiting = (waiting + text).lstrip(_BETWEEN)
            if not begun and waiting:
                if not waiting.startswith("["):
                    raise _malformed_manifest_error(where)
                waiting, begun = waiting[1:].lstrip(_BETWEEN), True
            at = 0
            while at < len(waiting) and waiting[at] != "]":
                try:
                    value, at = decoder.raw_decode(waiting, at)
                except json.JSONDecodeError:
                    break  # the element continues in the next piece
                yield value
                while at < len(waiting) and waiting[at] in _BETWEEN:
                    at += 1
            waiting = waiting[at:]
            if len(waiting) > _LONGEST_ELEMENT:
                raise _malformed_manifest_error(where)
    except (UnicodeDecodeError, RecursionError) as error:
        raise _malformed_manifest_error(where) from error
    if not begun or waiting.strip() != "]":
        raise _malformed_manifest_error(where)


def _malformed_manifest_error(where: str) -> InvalidInput:
    return InvalidInput(
        'A manifest is a JSON list: first {"prefix": "s3://BUCKET/FOLDER/"}, then the names of '
        "objects below this prefix. The file is not such a list",
        where=where,
        remedy="Correct the manifest, or give the s3:// prefix itself",
    )


def read_photograph_from_s3(s3: Any, uri: str) -> bytes:
    """Read a photograph from S3.

    Args:
        s3: A boto3 client of S3.
        uri: The ``s3://`` URI of the photograph.

    Raises:
        FileNotFoundError: There is no such object.
        PayloadTooLarge: The object is larger than a photograph may be.
        UnsupportedImage: The object is in a storage class from which it must first be restored.
        EndpointError: S3 does not answer, or denies access.
    """
    from drdeploy.hosting.sagemaker import translate_aws_errors

    bucket, key = split_s3_uri(uri)
    # The error does not name the key, which may contain a patient's name.
    with translate_aws_errors("read a photograph", f"{S3_SCHEME}{bucket}"):
        try:
            body = s3.get_object(Bucket=bucket, Key=key)["Body"]
        except s3.exceptions.NoSuchKey:
            raise FileNotFoundError(2, "The object does not exist") from None
        except s3.exceptions.InvalidObjectState:
            # It concerns this object only, so it must not stop a whole run.
            raise UnsupportedImage(
                "The object is in an archive storage class of S3, such as Glacier",
                remedy="Restore the object, and grade it again",
            ) from None
        with body:
            data: bytes = body.read(LOCAL_FILE_LIMITS.max_bytes + 1)
    if len(data) > LOCAL_FILE_LIMITS.max_bytes:
        raise PayloadTooLarge(f"The object has more than {LOCAL_FILE_LIMITS.max_bytes} bytes")
    return data


ArchiveSource = FolderSource | S3Source | ManifestSource


def is_address_or_manifest(text: str) -> bool:
    """Return whether a text stands for photographs in S3: by an ``s3://`` address or a manifest."""
    return text.startswith(S3_SCHEME) or (_has_suffix_of_manifest(text) and not Path(text).is_dir())


def _has_suffix_of_manifest(text: str) -> bool:
    return PurePosixPath(text).suffix.lower() in _MANIFEST_SUFFIXES


def open_photograph_source(text: str, open_s3: OpenS3) -> ArchiveSource:
    """Return the source that a user names.

    Args:
        text: A folder, an S3 prefix, or a manifest on this machine or in S3.
        open_s3: Makes a boto3 client of S3.

    Raises:
        InvalidInput: There is no such file or folder, or the file is not a manifest.
    """
    is_manifest = _has_suffix_of_manifest(text)
    if text.startswith(S3_SCHEME):
        if not split_s3_uri(text)[0]:
            raise InvalidInput(
                "The address names no bucket", where=text, remedy="Write s3://BUCKET/FOLDER/"
            )
        return ManifestSource(text, open_s3) if is_manifest else S3Source(text, open_s3)
    path = Path(text)
    if path.is_dir():
        return FolderSource(path)
    if not path.exists():
        raise InvalidInput(
            "There is no such file or folder",
            where=text,
            remedy="Give a folder, an s3:// prefix, or a SageMaker manifest",
        )
    if is_manifest:
        return ManifestSource(text, open_s3)
    raise InvalidInput(
        "The file is not a manifest",
        where=text,
        remedy="Give a folder, an s3:// prefix, or a manifest whose name ends with .manifest or "
        ".json; `drdeploy grade` grades single files",
    )
