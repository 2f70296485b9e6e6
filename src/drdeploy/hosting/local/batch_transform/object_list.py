"""Find the input objects of a transform job, and the keys of the output.

The key of an output has three parts: ``S3OutputPath``, the part of the input's key after the
prefix, and ``.out`` (API reference, ``TransformOutput``). If the request names a manifest, the
prefix is in the manifest; otherwise it is in the request. If the prefix in the request is not a
folder, only the part up to its last slash counts as the prefix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from drdeploy.files import parse_json
from drdeploy.hosting.local.request_constraints import is_encodable_as_utf8
from drdeploy.hosting.sagemaker.s3_uris import S3_SCHEME, split_s3_uri
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OUTPUT_SUFFIX = ".out"
MANIFEST_BYTES_MAX = 64 * MIB
MANIFEST_VALUES_MAX = 2_000_000
"""The largest number of values in a manifest. The limit saves memory: an empty JSON object in the
manifest takes only two bytes there, but 64 bytes of memory.
"""
KEY_BYTES_MAX = 1024
"""The largest number of bytes that a key in S3 may have (S3 user guide, "Naming Amazon S3
objects").
"""


class ObjectStorage(Protocol):
    """The objects of S3; safe to use from several threads."""

    def list_keys(self, bucket: str, prefix: str) -> Sequence[str]:
        """Return the keys with a prefix, in order; raises KeyError if the bucket is absent."""

    def read_chunks(self, bucket: str, key: str) -> Iterator[bytes]:
        """Yield the content of an object; raises KeyError if it is absent."""

    def put_object(
        self, region: str, bucket: str, key: str, body: bytes, kms_key_id: str | None
    ) -> None:
        """Write an object; raises OSError if it cannot be written."""

    def delete_object(self, bucket: str, key: str) -> None:
        """Delete an object, if it exists."""


class NoInput(Exception):
    """A transform job has no input, or the bucket for its output does not exist.

    The message becomes part of the job's ``FailureReason``.
    """


@dataclass(frozen=True)
class InputObject:
    """An input object of a transform job.

    Attributes:
        number: The index of the object in the list of all input objects, from 0.
        bucket: The bucket that holds the object.
        key: The key of the object.
        relative_key: The part of the key that comes after the prefix of the input.
    """

    number: int
    bucket: str
    key: str
    relative_key: str


class ObjectList:
    """The input objects of a transform job, as they were when the job started.

    The list holds only the keys; an :class:`InputObject` is made when it is asked for.

    Args:
        bucket: The bucket of the objects.
        keys: The keys of the objects.
        prefix_length: The number of characters at the start of each item of ``keys`` that belong to
            the prefix. These characters are left out of the output's key.
        prefix: A prefix that each key has in S3, but that is left out of ``keys`` to save memory.
            It is left out of the output's key too.
    """

    def __init__(
        self, bucket: str, keys: Sequence[str], prefix_length: int, prefix: str = ""
    ) -> None:
        self._bucket = bucket
        self._keys = keys
        self._prefix_length = prefix_length
        self._prefix = prefix

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, number: int) -> InputObject:
        key = self._keys[number]
        return InputObject(
            number, self._bucket, self._prefix + key, key[self._prefix_length :].lstrip("/")
        )


def list_input_objects(source: dict[str, Any], storage: ObjectStorage, role: str) -> ObjectList:
    """Return the objects that an ``S3DataSource`` names.

    Raises:
        NoInput: There is no object with the prefix, or the manifest is absent or malformed.
    """
    uri = source["S3Uri"]
    if source["S3DataType"] == "ManifestFile":
        return _read_manifest(uri, storage)
    bucket, prefix = split_s3_uri(uri)
    try:
        # AWS's console makes an empty object for a folder. The key of this object ends with a
        # slash.
        keys = [key for key in storage.list_keys(bucket, prefix) if not key.endswith("/")]
    except KeyError:
        keys = []
    if not keys:
        raise NoInput(
            f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure '
            "that the bucket exists in the selected region, that objects exist under that S3 "
            f'prefix, and that the role "{role}" has s3:ListBucket permissions on the bucket'
        )
    is_folder = all(key.startswith(f"{prefix.rstrip('/')}/") for key in keys) and prefix
    cut = len(prefix.rstrip("/")) + 1 if is_folder else prefix.rfind("/") + 1
    return ObjectList(bucket, keys, cut)


def _read_manifest(uri: str, storage: ObjectStorage) -> ObjectList:
    entries = _read_json_of_manifest(uri, storage)
    first = entries[0] if isinstance(entries, list) and entries else None
    if not isinstance(first, dict) or first.keys() != {"prefix"}:
        raise _make_manifest_error(uri, "")
    prefix_uri, names = first["prefix"], entries[1:]
    if not isinstance(prefix_uri, str) or not prefix_uri.startswith(S3_SCHEME):
        raise _make_manifest_error(uri, f", but the prefix is {prefix_uri!r}")
    bucket, prefix = split_s3_uri(prefix_uri)
    if len(prefix.encode(errors="surrogatepass")) > KEY_BYTES_MAX:
        raise _make_manifest_error(uri, f", but the prefix has more than {KEY_BYTES_MAX} bytes")
    if not is_encodable_as_utf8(prefix_uri):
        raise _make_manifest_error(uri, f", but the prefix {prefix_uri!r} is not UTF-8")
    for number, name in enumerate(names, start=2):
        if not isinstance(name, str) or not name or not is_encodable_as_utf8(name):
            raise _make_manifest_error(uri, f", but entry {number} is {name!r}")
    if not names:
        raise _make_manifest_error(uri, ", but it names no object")
    # The prefix is stored once. Stored in front of each of a million names, it would fill the
    # memory.
    return ObjectList(bucket, names, 0, prefix)


def _read_json_of_manifest(uri: str, storage: ObjectStorage) -> Any:
    data = bytearray()
    try:
        for chunk in storage.read_chunks(*split_s3_uri(uri)):
            data += chunk
            if len(data) > MANIFEST_BYTES_MAX:
                raise NoInput(f"The manifest {uri} has more than {MANIFEST_BYTES_MAX} bytes")
        if data.count(b",") >= MANIFEST_VALUES_MAX:
            raise NoInput(f"The manifest {uri} has more than {MANIFEST_VALUES_MAX} values")
        return parse_json(bytes(data))
    except KeyError as err:
        raise NoInput(f"The manifest {uri} does not exist") from err
    except ValueError as err:
        raise _make_manifest_error(uri, f", but it is not valid JSON: {err}") from err


def _make_manifest_error(uri: str, problem: str) -> NoInput:
    return NoInput(
        f'The manifest {uri} must be a JSON list of {{"prefix": "s3://BUCKET/FOLDER/"}} and the '
        f"names of objects below the prefix{problem}"
    )
