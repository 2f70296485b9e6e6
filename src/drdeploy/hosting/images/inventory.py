"""List the Debian packages, Python packages and bundled libraries in a container image.

The list is made from the files in the image, and not from the lock files that it was built from.
``dpkg`` lists the installed Debian packages in one file, ``status``. An image without a package
manager has one file per package below ``status.d`` instead. Google's distroless images have such
files, and vulnerability scanners read them too. Each Python package has a ``dist-info`` folder.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from base64 import urlsafe_b64encode
from collections import defaultdict
from dataclasses import dataclass, field
from email.parser import HeaderParser
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING

from drdeploy.errors import EngineError, UnsafeArchive
from drdeploy.files import CHUNK_BYTES
from drdeploy.hosting.images.layers import FILES_MAX, LIST_BYTES_MAX
from drdeploy.hosting.images.saved_image import iterate_members_of_tar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from email.message import Message

    from drdeploy.hosting.container_engine import ContainerEngine

WHEELS = "usr/share/drdeploy/wheels.sha256"
"""The file with the names and SHA-256s of the installed wheels, as ``sha256sum`` writes them.

Only the images of this project have this file; ``containers/record_wheels.py`` writes it.
"""

_RELEASE = re.compile(r"(?:etc|usr/lib)/os-release$")
_STATUS = re.compile(r"var/lib/dpkg/status(?:\.d/[^/]+)?$")
_COPYRIGHT = re.compile(r"usr/share/(?:doc|licenses)/([^/]+)/copyright$")
_PYTHON = re.compile(r"(?:.*/)?[^/]+\.dist-info/(?:METADATA|RECORD)$")
_SHARED_LIBRARY = re.compile(r"(.*/)?([^/]+)\.libs/[^/]+\.so[^/]*$")
"""Matches the path at which auditwheel puts a shared library that a wheel contains."""
_LICENCE = re.compile(r"^License:[ \t]*(\S.*)$", re.MULTILINE)
_WHEEL = re.compile(r"([0-9a-f]{64})  (([^-\s]+)-([^-\s]+)-\S+\.whl)")
_NAME_IN_LISTS = re.compile(r"[-_.]+")


@dataclass(frozen=True)
class DebianPackage:
    """An installed package of Debian.

    Attributes:
        name: The package's name, for example ``libc6``.
        version: The version, for example ``2.36-9+deb12u10``.
        architecture: The processor architecture, for example ``amd64``, or ``all``.
        source: Name of the package's source package. Debian's reports of vulnerabilities use this
            name.
        maintainer: The people or the team that maintains the package in Debian.
        licences: Short names of the package's licences. Empty if the package's copyright file is
            not in the machine-readable format (DEP 5).
        files: The paths of the package's files in the image, if the image lacks some of the
            package's files. Empty if the image has all of them.
    """

    name: str
    version: str
    architecture: str
    source: str
    maintainer: str
    licences: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(frozen=True)
class BundledLibrary:
    """A shared library that came in a wheel.

    Attributes:
        path: Path from the root, without the leading slash.
        sha256: SHA-256 of the file in the image.
        is_replaced: Whether the file was replaced after its wheel was installed: its SHA-256
            differs from the one in the wheel's list of files.
    """

    path: str
    sha256: str
    is_replaced: bool


@dataclass(frozen=True)
class PythonPackage:
    """An installed Python distribution.

    Attributes:
        name: The name in the normalized form of package indexes (PEP 503), for example
            ``python-multipart``.
        version: The version, for example ``0.0.20``.
        licence: The licence that the package states: an SPDX expression or any other text; may be
            empty.
        is_spdx: Whether ``licence`` is an SPDX expression.
        wheel: File name of the wheel that the package was installed from; empty if no name is
            recorded.
        wheel_sha256: SHA-256 of that wheel; empty if that is not recorded.
        libraries: The shared libraries that the wheel contained.
    """

    name: str
    version: str
    licence: str
    is_spdx: bool
    wheel: str
    wheel_sha256: str
    libraries: tuple[BundledLibrary, ...]


@dataclass(frozen=True)
class Inventory:
    """The packages and libraries in an image.

    Attributes:
        distribution: The Linux distribution, for example ``debian``; empty if the image does not
            say.
        release: The release of the distribution, for example ``12``; empty if the image does not
            say.
        debian: The packages of Debian, by name.
        python: The Python packages, by name.
    """

    distribution: str
    release: str
    debian: tuple[DebianPackage, ...]
    python: tuple[PythonPackage, ...]


def read_inventory_of_image(engine: ContainerEngine, image: str) -> Inventory:
    """List the packages and libraries in an image, which takes about a second per gigabyte.

    Raises:
        EngineError: The image does not exist, or its files cannot be read.
    """
    return read_inventory_from_tar(engine.export_files_of_image(image))


def read_inventory_from_tar(chunks: Iterator[bytes]) -> Inventory:
    """List the packages and libraries in a file system that comes as a tar file.

    Raises:
        EngineError: The data is not a tar file, or is built so that reading it would take far too
            long.
    """
    files = _PackageFiles()
    try:
        for member, archive in iterate_members_of_tar(chunks, max_members=FILES_MAX):
            files.read_member(member, archive)
    except UnsafeArchive as err:
        raise EngineError(f"The files of the image cannot be read: {err.what}") from err
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as err:
        raise EngineError("The engine exports files in an unknown format") from err
    release = _parse_os_release(
        files.texts.get("etc/os-release") or files.texts.get("usr/lib/os-release", "")
    )
    return Inventory(
        release.get("ID", ""),
        release.get("VERSION_ID", ""),
        tuple(_find_debian_packages(files)),
        tuple(_find_python_packages(files)),
    )


@dataclass
class _PackageFiles:
    """The files of an image that list its installed packages.

    Attributes:
        texts: The texts of the files, by path.
        links: For each package whose folder below ``usr/share/doc`` is a link to another package's
            folder, the name of the other package.
        libraries: SHA-256 of libraries that came in wheels, by path.
    """

    texts: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)

    def read_member(self, member: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        name = member.name.removeprefix("./")
        if member.issym() and name.startswith("usr/share/doc/"):
            self.links[PurePosixPath(name).name] = PurePosixPath(member.linkname).name
        content = archive.extractfile(member) if member.isreg() else None
        if content is None:
            return
        if _SHARED_LIBRARY.match(name):
            self.libraries[name] = _compute_sha256_of_stream(content)
        elif member.size <= LIST_BYTES_MAX and _is_inventory_file(name):
            self.texts[name] = content.read().decode("utf-8", "replace")

    def find_copyright_text(self, package: str) -> str:
        """Return the text of a Debian package's copyright file; empty if there is none."""
        for folder in ("doc", "licenses"):
            for owner in (package, self.links.get(package, "")):
                if text := self.texts.get(f"usr/share/{folder}/{owner}/copyright"):
                    return text
        return ""


def _is_inventory_file(name: str) -> bool:
    expressions = (_RELEASE, _STATUS, _COPYRIGHT, _PYTHON)
    return name == WHEELS or any(expression.match(name) for expression in expressions)


def _compute_sha256_of_stream(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := content.read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _parse_os_release(text: str) -> dict[str, str]:
    """Read the lines ``NAME=value`` of os-release."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {name: value.strip("\"'") for name, _, value in pairs}


def _find_debian_packages(files: _PackageFiles) -> list[DebianPackage]:
    found = []
    for path, text in files.texts.items():
        if not _STATUS.match(path) or path.endswith(".md5sums"):
            continue
        copied = _parse_paths_in_md5sums(files.texts.get(f"{path}.md5sums", ""))
        for stanza in re.split(r"\n\n+", text.strip()):
            fields = HeaderParser().parsestr(stanza)
            # A package that was removed may leave its stanza; `status.d` has no field Status.
            is_installed = str(fields["Status"] or "ok installed").endswith(" installed")
            if fields["Package"] and fields["Version"] and is_installed:
                found.append(_make_debian_package(fields, copied, files))
    return sorted(found, key=lambda package: (package.name, package.architecture))


def _make_debian_package(
    fields: Message, copied: tuple[str, ...], files: _PackageFiles
) -> DebianPackage:
    name = str(fields["Package"])
    return DebianPackage(
        name=name,
        version=str(fields["Version"]),
        architecture=str(fields["Architecture"] or ""),
        # "Source: glibc (2.36-9)" has a version if it differs from the version of the package.
        source=str(fields["Source"] or name).partition(" ")[0],
        maintainer=str(fields["Maintainer"] or ""),
        licences=_find_licences_in_copyright_text(files.find_copyright_text(name)),
        files=copied,
    )


def _find_licences_in_copyright_text(text: str) -> tuple[str, ...]:
    """Return the short names of licences in a copyright file in machine-readable format (DEP 5)."""
    if not text.startswith("Format:"):
        return ()
    return tuple(sorted({name.strip() for name in _LICENCE.findall(text)}))


def _parse_paths_in_md5sums(md5sums: str) -> tuple[str, ...]:
    return tuple(sorted(line.partition("  ")[2] for line in md5sums.splitlines()))


def _find_python_packages(files: _PackageFiles) -> list[PythonPackage]:
    wheels = {
        (_normalize_distribution_name(name), version): (file, sha256)
        for sha256, file, name, version in _WHEEL.findall(files.texts.get(WHEELS, ""))
    }
    libraries = _group_libraries_by_distribution(files)
    found = {}
    for path, text in files.texts.items():
        if not path.endswith(".dist-info/METADATA"):
            continue
        fields = HeaderParser().parsestr(text)
        name, version = _normalize_distribution_name(str(fields["Name"])), str(fields["Version"])
        wheel, sha256 = wheels.get((name, version), ("", ""))
        licence, is_spdx = _find_licence_in_python_metadata(fields)
        found[name, version] = PythonPackage(
            name=name,
            version=version,
            licence=licence,
            is_spdx=is_spdx,
            wheel=wheel,
            wheel_sha256=sha256,
            libraries=tuple(libraries.get(name, ())),
        )
    return [found[key] for key in sorted(found)]


def _find_licence_in_python_metadata(fields: Message) -> tuple[str, bool]:
    """Return the licence in a distribution's metadata, and whether it is an SPDX expression."""
    if expression := fields["License-Expression"]:
        return str(expression), True
    # Some packages put the whole text of the licence there.
    if (text := str(fields["License"] or "").strip()) and "\n" not in text:
        return text, False
    prefix = "License :: "
    names = (str(value) for value in fields.get_all("Classifier", ()))
    return ", ".join(n.rpartition(" :: ")[2] for n in names if n.startswith(prefix)), False


def _group_libraries_by_distribution(
    files: _PackageFiles,
) -> Mapping[str, Iterable[BundledLibrary]]:
    """Return the libraries that came in wheels, by the name of the distribution."""
    recorded = {}
    for path, text in files.texts.items():
        if path.endswith(".dist-info/RECORD"):
            site = path.rpartition("/")[0].rpartition("/")[0]
            for line in text.splitlines():
                name, _, rest = line.partition(",sha256=")
                recorded[f"{site}/{name}"] = rest.partition(",")[0]
    grouped = defaultdict(list)
    for path, sha256 in sorted(files.libraries.items()):
        owner = _SHARED_LIBRARY.sub(r"\2", path)
        listed = recorded.get(path)
        # RECORD has base64 without padding (PEP 376).
        own = urlsafe_b64encode(bytes.fromhex(sha256)).rstrip(b"=").decode()
        is_replaced = listed is not None and listed != own
        grouped[_normalize_distribution_name(owner)].append(
            BundledLibrary(path, sha256, is_replaced)
        )
    return grouped


def _normalize_distribution_name(name: str) -> str:
    """Return a distribution's name as package indexes write it (PEP 503)."""
    return _NAME_IN_LISTS.sub("-", name).lower()
