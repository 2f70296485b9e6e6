"""Nothing that an archive says about itself is believed."""

import contextlib
import gzip
import io
import json
import random
import tarfile
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import described, tiny_onnx

from drdeploy.errors import (
    ArtifactError,
    DigestMismatch,
    EngineError,
    ManifestError,
    TruncatedArchive,
    UnsafeArchive,
)
from drdeploy.grader.artifacts import (
    ArchiveLimits,
    extract_archive,
    open_artifact,
    pack_archive,
    read_manifest_in_archive,
    unpack_archive,
    verify_archive,
)
from drdeploy.hosting.images.layers import read_layer_tar
from drdeploy.hosting.images.saved_image import read_saved_image

MANIFEST = "manifest.json"


def member(name, content=b"x", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def written(path, members, tar_format=tarfile.PAX_FORMAT):
    with tarfile.open(path, "w:gz", format=tar_format) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return path


def members_of(archive):
    with tarfile.open(archive) as tar:
        return [(info, tar.extractfile(info).read()) for info in tar]


def refused(archive, tmp_path, error, match=None, **kwargs):
    """Extraction and verification both refuse, and nothing is left behind."""
    before = set(tmp_path.rglob("*"))
    with pytest.raises(error, match=match):
        extract_archive(archive, tmp_path / "out", **kwargs)
    assert set(tmp_path.rglob("*")) == before
    if error in {TruncatedArchive, UnsafeArchive}:  # what is not about the manifest
        with pytest.raises(error, match=match):
            unpack_archive(archive, tmp_path / "out", **kwargs)
        assert set(tmp_path.rglob("*")) == before
    with pytest.raises(error, match=match):
        verify_archive(archive, **kwargs)


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/evil", "a/../../evil", "a//b", "..", "a/./b", "./../evil", "a/.."],
)
def test_a_path_out_of_the_folder_is_refused(tmp_path, archive, name):
    path = written(tmp_path / "bad.tar.gz", [member(name), *members_of(archive)])
    refused(path, tmp_path, UnsafeArchive, "outside")


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (tarfile.SYMTYPE, "'weights' is a link to '/etc/passwd'"),
        (tarfile.LNKTYPE, "'weights' is a link to '/etc/passwd'"),
        (tarfile.CHRTYPE, "not a regular file"),
        (tarfile.BLKTYPE, "not a regular file"),
        (tarfile.FIFOTYPE, "not a regular file"),
    ],
)
def test_links_devices_and_pipes_are_refused(tmp_path, archive, kind, what):
    evil = member("weights", b"", type=kind, linkname="/etc/passwd")
    path = written(tmp_path / "bad.tar.gz", [*members_of(archive), evil])
    refused(path, tmp_path, UnsafeArchive, what)


@pytest.mark.parametrize(
    "names",
    [("model.onnx", "model.onnx"), ("a", "a/b"), ("a/b", "a"), ("./a", "a")],
)
def test_a_name_that_comes_twice_is_refused(tmp_path, names):
    path = written(tmp_path / "bad.tar.gz", [member(name) for name in names])
    refused(path, tmp_path, UnsafeArchive, "twice")


def test_too_many_files_are_refused(tmp_path):
    path = written(tmp_path / "bad.tar.gz", [member(f"f{index}") for index in range(30)])
    refused(path, tmp_path, UnsafeArchive, "more than 20 files", limits=ArchiveLimits(max_files=20))


def test_a_bomb_is_refused_while_it_is_read(tmp_path):
    content = bytes(30_000_000)
    path = written(tmp_path / "bomb.tar.gz", [member("model.onnx", content)])
    assert path.stat().st_size < 100_000
    limits = ArchiveLimits(max_bytes=1_000_000)
    refused(path, tmp_path, UnsafeArchive, "would exceed 1000000 bytes", limits=limits)


def test_a_bomb_behind_the_end_of_the_tar_is_refused(tmp_path, archive):
    path = tmp_path / "bomb.tar.gz"
    path.write_bytes(archive.read_bytes() + gzip.compress(bytes(30_000_000)))
    refused(path, tmp_path, UnsafeArchive, limits=ArchiveLimits(max_bytes=1_000_000))


def test_a_long_name_header_is_not_read_into_memory(tmp_path):
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 3 * 1024**3
    path = tmp_path / "bad.tar.gz"
    path.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(10_000_000)))
    refused(path, tmp_path, UnsafeArchive, "malformed")


def test_headers_upon_headers_are_refused(tmp_path):
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1
    link = header.tobuf(tarfile.GNU_FORMAT) + b"a" + bytes(511)
    path = tmp_path / "bad.tar.gz"
    path.write_bytes(gzip.compress(link * 20_000))
    refused(path, tmp_path, UnsafeArchive, "malformed")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_archive_is_refused(tmp_path, archive, share):
    data = archive.read_bytes()
    path = tmp_path / "short.tar.gz"
    path.write_bytes(data[: int(len(data) * share)])
    refused(path, tmp_path, TruncatedArchive)


@pytest.mark.parametrize("share", [0.3, 0.999])
def test_an_archive_cut_inside_a_large_file_is_refused(tmp_path, share):
    large = tiny_onnx(tmp_path, ballast=random.Random(0).randbytes(3_000_000))
    pack_archive(large, tmp_path / "large.tar.gz", described("large"))
    data = (tmp_path / "large.tar.gz").read_bytes()
    path = tmp_path / "short.tar.gz"
    path.write_bytes(data[: int(len(data) * share)])
    refused(path, tmp_path, TruncatedArchive, r"short\.tar\.gz")


def test_damage_inside_a_large_file_is_found(tmp_path):
    large = tiny_onnx(tmp_path, ballast=random.Random(0).randbytes(3_000_000))
    pack_archive(large, tmp_path / "large.tar.gz", described("large"))
    data = bytearray((tmp_path / "large.tar.gz").read_bytes())
    data[1_500_000] ^= 0xFF
    path = tmp_path / "damaged.tar.gz"
    path.write_bytes(data)
    refused(path, tmp_path, ArtifactError)


def test_what_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "photo.tar.gz"
    path.write_bytes(b"not an archive")
    refused(path, tmp_path, TruncatedArchive)


def test_a_missing_archive_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"absent\.tar\.gz: The archive cannot be read"):
        verify_archive(tmp_path / "absent.tar.gz")


def test_a_changed_file_is_refused(tmp_path, archive):
    (manifest, text), (info, content) = members_of(archive)
    changed = bytes([content[0] ^ 1]) + content[1:]
    path = written(tmp_path / "bad.tar.gz", [(manifest, text), (info, changed)])
    refused(path, tmp_path, DigestMismatch, r"model\.onnx")


def test_a_file_that_the_manifest_does_not_name_is_refused(tmp_path, archive):
    path = written(tmp_path / "bad.tar.gz", [*members_of(archive), member("extra.so")])
    refused(path, tmp_path, ManifestError, r"does not list the file 'extra\.so'")


def test_a_file_that_is_not_there_is_named(tmp_path, archive):
    path = written(tmp_path / "bad.tar.gz", members_of(archive)[:1])
    refused(path, tmp_path, ManifestError, r"'model\.onnx', which is missing")


def test_an_archive_made_by_hand_is_as_good(tmp_path, archive):
    """With ``./`` before the names, folders of their own, and the manifest last."""
    folder = member(".", b"", type=tarfile.DIRTYPE)
    files = [member(f"./{info.name}", content) for info, content in reversed(members_of(archive))]
    path = written(tmp_path / "by-hand.tar.gz", [folder, *files])
    assert extract_archive(path, tmp_path / "out").manifest == verify_archive(archive)


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("valid")
    manifest = pack_archive(tiny_onnx(folder), folder / "m.tar.gz", described("grader"))
    return (folder / "m.tar.gz").read_bytes(), manifest


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
def test_a_mutated_archive_is_the_same_model_or_refused(tmp_path, valid, data):
    original, manifest = valid
    content = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "mutated.tar.gz"
    path.write_bytes(content)
    with contextlib.suppress(ArtifactError):
        assert verify_archive(path) == manifest


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
def test_a_mutated_tar_is_the_same_model_or_refused(tmp_path, valid, data):
    """The damage is done inside, where gzip's checksum does not tell."""
    original, manifest = valid
    content = bytearray(gzip.decompress(original))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 4095))] = data.draw(st.integers(0, 255))
    path = tmp_path / "mutated.tar.gz"
    path.write_bytes(gzip.compress(bytes(content), 1))
    try:
        found = verify_archive(path)
    except ArtifactError:
        return
    assert found.files == manifest.files


SPARSE_IN_HEADERS = [
    {"GNU.sparse.map": "0,1,200000000,0", "GNU.sparse.size": "200000000"},  # version 0.1
    {"GNU.sparse.size": "200000000", "GNU.sparse.offset": "0", "GNU.sparse.numbytes": "1"},  # 0.0
]


@pytest.mark.parametrize("headers", SPARSE_IN_HEADERS)
def test_a_sparse_file_writes_none_of_its_holes(tmp_path, headers):
    """162 bytes wrote 200 MB, whatever the limit was."""
    path = written(tmp_path / "bad.tar.gz", [member("saved_model.pb", pax_headers=headers)])
    assert path.stat().st_size < 300
    limits = ArchiveLimits(max_bytes=1_000_000)
    refused(path, tmp_path, UnsafeArchive, "sparse file", limits=limits)


def test_the_map_of_a_sparse_file_is_not_read(tmp_path):
    """Version 1.0 keeps it in the content, where it has no bound."""
    headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.realsize": "0",
    }
    holes = b"9000000\n" + b"0\n0\n" * 9_000_000
    path = written(tmp_path / "bad.tar.gz", [member("saved_model.pb", holes, pax_headers=headers)])
    tracemalloc.start()
    refused(path, tmp_path, UnsafeArchive, "sparse file")
    assert tracemalloc.get_traced_memory()[1] < 3_000_000
    tracemalloc.stop()


def test_a_sparse_file_of_the_old_format_is_refused(tmp_path):
    old = tarfile.TarInfo("saved_model.pb")
    old.type = tarfile.GNUTYPE_SPARSE
    path = tmp_path / "bad.tar.gz"
    path.write_bytes(gzip.compress(old.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))
    refused(path, tmp_path, UnsafeArchive, "sparse file")


@pytest.mark.parametrize("size", ["-1", "-512", "1e3", "9" * 5000])
def test_a_size_that_a_record_replaces_is_checked(tmp_path, size):
    evil = member("model.onnx", pax_headers={"size": size})
    refused(written(tmp_path / "bad.tar.gz", [evil]), tmp_path, ArtifactError)


@pytest.mark.parametrize(
    "name",
    ["v" * 300, "\u00e9" * 200, "/".join("abcdefghijklmnopq"), "/".join(["folder" * 20] * 5)],
)
def test_a_name_that_no_file_can_have_is_refused(tmp_path, archive, name):
    path = written(tmp_path / "bad.tar.gz", [*members_of(archive), member(name)])
    refused(path, tmp_path, UnsafeArchive, "too long or too deeply nested")


@pytest.mark.parametrize("name", ["v" * 300, "/".join(["folder" * 20] * 40)])
def test_a_place_that_no_file_can_have_is_an_artifact_error_everywhere(tmp_path, archive, name):
    place = tmp_path / name
    for attempt in (
        open_artifact,
        verify_archive,
        read_manifest_in_archive,
        lambda at: extract_archive(archive, at),
    ):
        with pytest.raises(ArtifactError, match="File name too long"):
            attempt(place)


def test_a_folder_whose_manifest_lists_a_name_that_no_file_can_have_is_refused(tmp_path, archive):
    folder = extract_archive(archive, tmp_path / "out").folder
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][0]["path"] = "v" * 300
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError):
        open_artifact(folder)


def test_a_deep_folder_makes_the_path_too_long_and_leaves_nothing(tmp_path, archive):
    deep = tmp_path
    while len(str(deep)) < 3900:
        deep /= "d" * 150
    name = "/".join(["f" * 100] * 4)
    path = written(tmp_path / "bad.tar.gz", [*members_of(archive), member(name)])
    with pytest.raises(ArtifactError, match="File name too long"):
        extract_archive(path, deep / "model")
    assert list(deep.iterdir()) == []


def test_a_name_of_the_longest_kind_is_extracted(tmp_path):
    name = "variables/" + "v" * 255
    path = written(tmp_path / "good.tar.gz", [member("saved_model.pb"), member(name)])
    assert (extract_archive(path, tmp_path / "out").folder / name).read_bytes() == b"x"


def an_exbibyte_that_is_not_there():
    """A tar file of one header, which promises 2**60 bytes."""
    info = tarfile.TarInfo("variables/variables.index")
    info.size = 2**60
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.timeout(60)  # without the bound, tarfile skips it block by block for years
def test_a_header_that_promises_what_is_not_there_is_refused_at_once(tmp_path):
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(gzip.compress(an_exbibyte_that_is_not_there()))
    with pytest.raises(TruncatedArchive):
        read_manifest_in_archive(archive)
    refused(archive, tmp_path, TruncatedArchive)
    with pytest.raises(EngineError):
        read_saved_image(iter([an_exbibyte_that_is_not_there()]), is_known_layer=lambda _: True)
    with pytest.raises(tarfile.TarError):
        read_layer_tar(io.BytesIO(an_exbibyte_that_is_not_there()))


def test_extended_headers_are_forgotten_with_their_members(tmp_path):
    """Kept, those of 10,000 members took 4 GB."""
    records = {f"k{n}": "" for n in range(1000)}
    members = [member(f"f{n}", b"", pax_headers=records) for n in range(200)]
    path = written(tmp_path / "headers.tar.gz", members)
    tracemalloc.start()
    refused(path, tmp_path, ManifestError)
    assert tracemalloc.get_traced_memory()[1] < 3_000_000
    tracemalloc.stop()


def test_extended_headers_beyond_ten_megabytes_are_refused(tmp_path):
    records = {f"k{n}": "v" * 10_000 for n in range(6)}
    members = [member(f"f{n}", b"", pax_headers=records) for n in range(180)]
    path = written(tmp_path / "headers.tar.gz", members)
    refused(path, tmp_path, UnsafeArchive, "malformed")


def test_a_second_global_header_is_refused(tmp_path, archive):
    """tarfile keeps what all of them say, and copies it for every member."""
    path = tmp_path / "global.tar.gz"
    commit = tarfile.TarInfo.create_pax_global_header({"comment": "c" * 40})
    tar = gzip.decompress(archive.read_bytes())
    path.write_bytes(gzip.compress(commit + tar))
    assert verify_archive(path) == verify_archive(archive)
    path.write_bytes(gzip.compress(commit + commit + tar))
    refused(path, tmp_path, UnsafeArchive, "malformed")


def test_a_disk_that_refuses_is_an_error_of_the_artifact(tmp_path, archive):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArtifactError, match="cannot be extracted"):
        extract_archive(archive, tmp_path / "file" / "out")
