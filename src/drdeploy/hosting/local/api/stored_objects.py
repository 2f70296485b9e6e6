"""Keep the contents of the objects of moto's S3 in a file, and only their metadata in memory.

moto keeps the content of every small object in memory, and of every large object in an open file.
moto also keeps a list of all objects it ever made, so that an object that is overwritten or deleted
is never freed. The answers of a Batch Transform job with 50,000 photographs would need 280 MB of
memory.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from functools import cache, lru_cache
from hashlib import md5
from sys import intern
from typing import TYPE_CHECKING, Any, ClassVar

from drdeploy.hosting.local.api.content_file import ContentFile
from drdeploy.hosting.local.instances.service_folders import make_services_folder
from drdeploy.hosting.local.resource_store import ACCOUNT
from drdeploy.hosting.sagemaker import DEFAULT_REGION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.hosting.local.api.content_file import StoredContent


STATES = [(None, "IN_PROGRESS"), ("IN_PROGRESS", "RESTORED")]
"""The states through which an object passes when it is restored from an archive. moto makes a new
list of these states for each object, although the states are always the same."""
SHARED_MAX = 1024
"""How many different sets of metadata are remembered, so that objects can share them."""


class ObjectMetadata(MutableMapping[str, str]):
    """The metadata of an object; names are looked up regardless of case.

    Most objects have the same metadata as many others, for example only a content type. Such
    objects share one tuple here. moto makes two dictionaries and new strings for each object, which
    take 0.4 kB.
    """

    __slots__ = ("_pairs",)

    def __init__(self) -> None:
        self._pairs: tuple[tuple[str, str], ...] = ()

    def __getitem__(self, name: str) -> str:
        return dict(self._pairs)[name.lower()]

    def __setitem__(self, name: str, value: str) -> None:
        self._pairs = _share(tuple((dict(self._pairs) | {name.lower(): value}).items()))

    def __delitem__(self, name: str) -> None:
        pairs = dict(self._pairs)
        del pairs[name.lower()]
        self._pairs = _share(tuple(pairs.items()))

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._pairs))

    def __len__(self) -> int:
        return len(self._pairs)


@lru_cache(SHARED_MAX)
def _share(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return the equal tuple of an earlier call if there was one, so that objects share it."""
    return pairs


def install_stored_objects() -> None:
    """Make moto's S3 keep the content of its objects in a file."""
    from moto.core.common_models import BaseModel
    from moto.s3 import models

    # moto keeps a list of all objects it ever made, for a web page that the service does not have.
    BaseModel.__new__ = lambda cls, *_, **__: object.__new__(cls)  # type: ignore[method-assign]
    # Objects with the same rights share one list. This is safe, because moto replaces a list and
    # never changes it.
    vars(models)["get_canned_acl"] = cache(models.get_canned_acl)
    vars(models)["FakeKey"] = make_object_class(models.FakeKey)
    _compute_checksums_of_copies(models.S3Backend)


def _compute_checksums_of_copies(backend: Any) -> None:
    """Give the copy of a multipart upload the checksum of its content.

    moto gives the copy the checksum of the upload, which is computed from the checksums of the
    parts. Clients refuse this checksum as wrong, because a copy has no parts (Amazon S3 user guide,
    "Checking object integrity").
    """
    from moto.s3.utils import compute_checksum

    copy = backend.copy_object

    def copy_object(
        self: Any, src_key: Any, bucket: str, key: str, *args: Any, **more: Any
    ) -> None:
        copy(self, src_key, bucket, key, *args, **more)
        if src_key.checksum_type == "COMPOSITE" and src_key.checksum_algorithm:
            made = self.get_object(bucket, key)
            if made is None or made.checksum_value != src_key.checksum_value:
                return  # another request has overwritten or deleted the copy already
            made.checksum_value = compute_checksum(made.value, made.checksum_algorithm).decode()

    backend.copy_object = copy_object


class ContentInFile:
    """Those methods of moto's S3 objects that differ because the content is in a file.

    Attributes:
        contents: The file of all contents.
    """

    contents: ClassVar[ContentFile]
    _content: StoredContent
    _etag: str | None

    # moto makes these for each object. All objects can share them or do without them.
    _value_buffer = property(lambda _: None, lambda *_: None)
    _transitions = property(lambda _: STATES, lambda *_: None)
    lock = property(lambda _: None, lambda *_: None)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.bucket_name is not None:
            self.bucket_name: str = intern(self.bucket_name)
        metadata = ObjectMetadata()
        metadata.update(self._metadata)
        self._metadata: Any = metadata

    @property
    def value(self) -> bytes:
        """The whole content."""
        return self._content.read()

    @value.setter
    def value(self, data: bytes | str) -> None:
        if isinstance(data, str):  # what moto itself writes, for example a log of accesses
            data = data.encode()
        self._content = self.contents.store(data)
        self.contentsize = len(data)

    def read_chunks(self) -> Iterator[bytes]:
        """Return the content in pieces."""
        return self._content.read_chunks()

    @property
    def etag(self) -> str:
        """The content's MD5 digest, or moto's tag of a multipart upload, in quotes."""
        if self._etag is None:
            digest = md5(usedforsecurity=False)
            for chunk in self._content.read_chunks():
                digest.update(chunk)
            self._etag = digest.hexdigest()
        return f'"{self._etag}"'

    def dispose(self, garbage: bool = False) -> None:
        """Record that moto has overwritten or deleted the object.

        The content is freed when nothing refers to it any more. moto's own method closes the
        content at once, even while a client reads it, and closes parts of an upload that a copy
        still needs.
        """
        self.disposed = not garbage

    def __deepcopy__(self, memo: object) -> Any:
        """Return a copy that shares the content, which is never changed.

        moto copies all versions of all objects for ListObjectVersions, and marks the copies.
        """
        made = object.__new__(type(self))
        vars(made).update(vars(self))
        for name in type(self).__slots__:  # type: ignore[attr-defined]
            if hasattr(self, name):
                setattr(made, name, getattr(self, name))
        return made

    def __del__(self) -> None:
        """Do nothing, unlike moto's method, which warns that the object was not closed."""


def make_object_class(base: Any) -> Any:
    """Return a class of objects for moto's S3 that keep their content in a file.

    Args:
        base: moto's own class.
    """
    # An instance has 35 attributes, for which a dictionary needs 1.6 kB and slots 0.3 kB.
    attributes = set(vars(base("", b"", ACCOUNT, DEFAULT_REGION))) - set(vars(ContentInFile))
    members = {
        "__slots__": (*sorted(attributes), "_content"),
        "contents": ContentFile(make_services_folder()),
        "__module__": __name__,
    }
    return type(base)("StoredObject", (ContentInFile, base), members)
