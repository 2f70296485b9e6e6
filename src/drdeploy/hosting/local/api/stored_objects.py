"""Keep the contents of moto's S3 objects in a file, and only the objects' metadata in memory.

By itself, moto keeps the content of small objects in memory, and that of each large object in an
open file. moto also keeps a list of all objects it ever made, so an object that is overwritten or
deleted is never freed. With moto alone, the answers of a Batch Transform job with 50,000
photographs would need 280 MB of memory.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from hashlib import md5
from typing import TYPE_CHECKING, Any, ClassVar

from drdeploy.hosting.local.api.content_file import ContentFile
from drdeploy.hosting.local.instances.service_folders import make_services_folder
from drdeploy.hosting.local.resource_store import ACCOUNT
from drdeploy.hosting.sagemaker import DEFAULT_REGION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from drdeploy.hosting.local.api.content_file import StoredContent


STATES = [(None, "IN_PROGRESS"), ("IN_PROGRESS", "RESTORED")]
"""The states through which an object passes when it is restored from an archive. moto makes a new
list of these states for each object, although the states are always the same."""
SHARED_MAX = 4096
"""The largest number of sets of attributes that are cached, so that objects can share them. The
same limit applies to sets of metadata.
"""
OWN_ATTRIBUTES = ("name", "multipart", "checksum_value", "_etag", "_version_id")
"""The attributes of moto's objects that differ from object to object."""


class SharedAttributes:
    """Attributes that many objects have in common.

    Most objects have the same storage class, owner, encryption and so on. Objects for which all of
    these are equal refer to the same instance of this class, instead of having twenty attributes of
    their own.

    Attributes:
        values: The attributes by name; never changed.
    """

    __slots__ = ("values",)

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values


NO_ATTRIBUTES = SharedAttributes({})


def _change_shared(shared: SharedAttributes, name: str, value: Any) -> SharedAttributes:
    """Return a copy of shared attributes with one value changed.

    The function ``_change_shared_again`` does the same with a cache, so that objects with equal
    attributes share one copy.
    """
    return SharedAttributes(shared.values | {name: value})


_change_shared_again = lru_cache(SHARED_MAX, typed=True)(_change_shared)


class SharedAttribute:
    """A descriptor: reads and writes an attribute that is stored in :class:`SharedAttributes`."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, owner: Any, _: type) -> Any:
        return owner.shared.values[self._name]

    def __set__(self, owner: Any, value: Any) -> None:
        change = _change_shared_again if value.__hash__ else _change_shared
        owner.shared = change(owner.shared, self._name, value)


class ObjectMetadata(MutableMapping[str, str]):
    """The metadata of an S3 object, as a mapping whose names are looked up regardless of case.

    Args:
        owner: The object, whose attribute ``metadata_pairs`` holds the metadata as a tuple of names
            and values.  Objects with the same metadata share the tuple.
    """

    __slots__ = ("_owner",)

    def __init__(self, owner: ContentInFile) -> None:
        self._owner = owner

    @property
    def _values(self) -> dict[str, str]:
        return dict(self._owner.metadata_pairs)

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __setitem__(self, name: str, value: str) -> None:
        self._owner.metadata_pairs = _intern_header_pairs(
            (*(self._values | {name.lower(): value}).items(),)
        )

    def __delitem__(self, name: str) -> None:
        values = self._values
        del values[name.lower()]
        self._owner.metadata_pairs = _intern_header_pairs((*values.items(),))

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._owner.metadata_pairs)


@lru_cache(SHARED_MAX)
def _intern_header_pairs(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return ``pairs``, or the equal tuple that an earlier call has returned.

    Objects with equal pairs thus share one tuple.
    """
    return pairs


def make_moto_store_objects_in_file() -> None:
    """Make moto's S3 keep the content of its objects in a file."""
    from moto.core.common_models import BaseModel
    from moto.s3 import models

    # moto keeps a list of all objects it ever made, for a web page that the service does not have.
    BaseModel.__new__ = lambda cls, *_, **__: object.__new__(cls)  # type: ignore[method-assign]
    # Objects with the same rights share one list. This is safe, because moto replaces a list and
    # never changes it.
    vars(models)["get_canned_acl"] = cache(models.get_canned_acl)
    vars(models)["FakeKey"] = make_object_class(models.FakeKey)
    vars(models)["_VersionedKeyStore"] = make_store_class(vars(models)["_VersionedKeyStore"])
    _compute_checksums_of_copies(models.S3Backend)


def _compute_checksums_of_copies(backend: Any) -> None:
    """Make moto compute a copy's checksum from its content if the original was uploaded in parts.

    If an object was uploaded in parts, its checksum is computed from the checksums of the parts. By
    itself, moto gives a copy of the object the same checksum. Clients find that this checksum is
    wrong, because a copy has no parts (Amazon S3 user guide, "Checking object integrity").
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
    """Replaces those methods of moto's S3 objects that expect the content in memory.

    Attributes:
        contents: The file that holds the contents of all objects.
        shared: The attributes that the object has in common with other objects.
        metadata_pairs: The metadata of the object, as pairs of name and value.
    """

    contents: ClassVar[ContentFile]
    shared: SharedAttributes
    metadata_pairs: tuple[tuple[str, str], ...]
    _content: StoredContent
    _modified_s: float
    _etag: str | None

    # moto makes a buffer, a list of states and a lock for each object. Here, all objects share the
    # list, and no object has a buffer or a lock.
    _value_buffer = property(lambda _: None, lambda *_: None)
    _transitions = property(lambda _: STATES, lambda *_: None)
    lock = property(lambda _: None, lambda *_: None)
    # moto uses this time only if the state of an object changes with time. Here, the state changes
    # at once.
    _time_progressed = property(lambda self: self.last_modified, lambda *_: None)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.shared = NO_ATTRIBUTES
        self.metadata_pairs = ()
        super().__init__(*args, **kwargs)

    @property
    def _metadata(self) -> ObjectMetadata:
        return ObjectMetadata(self)

    @_metadata.setter
    def _metadata(self, metadata: Mapping[str, str]) -> None:
        self.metadata_pairs = ()
        self._metadata.update(metadata)

    @property
    def last_modified(self) -> datetime:
        """When the object was written, in UTC; like moto's own value, it has no ``tzinfo``."""
        return datetime.fromtimestamp(self._modified_s, UTC).replace(tzinfo=None)

    @last_modified.setter
    def last_modified(self, moment: datetime) -> None:
        # A number takes less memory than a datetime.
        self._modified_s = moment.replace(tzinfo=UTC).timestamp()

    @property
    def contentsize(self) -> int:
        """The number of bytes of the content."""
        return self._content.length

    @property
    def value(self) -> bytes:
        """The whole content."""
        return self._content.read()

    @value.setter
    def value(self, data: bytes | str) -> None:
        if isinstance(data, str):  # moto itself writes text, such as an access log
            data = data.encode()
        self._content = self.contents.append_content(data)

    def read_chunks(self) -> Iterator[bytes]:
        """Return the content in pieces."""
        return self._content.read_chunks()

    @property
    def etag(self) -> str:
        """The ETag, in quotes: the content's MD5 digest, or moto's tag for an upload in parts."""
        if self._etag is None:
            digest = md5(usedforsecurity=False)
            for chunk in self._content.read_chunks():
                digest.update(chunk)
            self._etag = digest.hexdigest()
        return f'"{self._etag}"'

    def dispose(self, garbage: bool = False) -> None:
        """Record that moto has overwritten or deleted the object.

        Nothing else happens here: the content is freed when nothing refers to it any more. moto's
        own method would close the content at once, even while a client reads it. It would also
        close parts of an upload that a copy of the upload still needs.
        """
        self.disposed = not garbage

    def __deepcopy__(self, memo: object) -> Any:
        """Return a copy of the object that shares its content, because content never changes.

        For ListObjectVersions, moto copies all versions of all objects, and then changes the
        attributes of the copies.
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
    """Return a class that moto uses for S3 objects, and that keeps their content in a file.

    Args:
        base: moto's own class.
    """
    # An instance has 32 attributes, for which a dictionary needs 1.6 kB and slots 0.3 kB.
    attributes = set(vars(base("", b"", ACCOUNT, DEFAULT_REGION))) - set(vars(ContentInFile))
    members = {
        "__slots__": (*OWN_ATTRIBUTES, "_content", "_modified_s", "metadata_pairs", "shared"),
        "contents": ContentFile(make_services_folder()),
        "__module__": __name__,
        **{name: SharedAttribute(name) for name in attributes - set(OWN_ATTRIBUTES)},
    }
    return type(base)("StoredObject", (ContentInFile, base), members)


def make_store_class(base: Any) -> Any:
    """Return a class that moto uses for the objects of a bucket, and that takes less memory.

    If a key has one version, the class stores the object itself. Only a key with several versions
    has a list.

    Args:
        base: moto's own class, which keeps a list for each key.
    """

    class ObjectsByKey(base):  # type: ignore[misc]  # moto's class has no types
        def __sgetitem__(self, key: str) -> list[Any]:
            found: Any = dict.__getitem__(self, key)
            return found if isinstance(found, list) else [found]

        def __setitem__(self, key: str, value: Any) -> None:
            super().__setitem__(key, value)
            self._drop_list_of_one(key)

        def setlist(self, key: str, versions: Any) -> None:
            super().setlist(key, versions)
            self._drop_list_of_one(key)

        def _drop_list_of_one(self, key: str) -> None:
            versions: Any = dict.__getitem__(self, key)
            if len(versions) == 1:
                dict.__setitem__(self, key, versions[0])

    return ObjectsByKey
