"""Archives that strangers made: the same verdict, packed or extracted."""

import io
import lzma
import tarfile
import zipfile

import pytest

from drdeploy.errors import ArtifactError, DigestMismatch, ManifestError, UnsafeArchive
from drdeploy.grader.artifacts import (
    extract_archive,
    open_artifact,
    read_contents,
    read_manifest_in_archive,
    verify_archive,
)

SAVED_MODEL = {"saved_model.pb": b"graph", "variables/variables.index": b"index"}


@pytest.fixture
def packed(archive):
    """The members of an archive that ``pack`` wrote."""
    with tarfile.open(archive) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}


def outcome_of(read, *arguments):
    """What was found, or the error and what it says."""
    try:
        found = read(*arguments)
    except ArtifactError as error:
        return type(error), error.what
    return found.digest, found.unused, found.manifest.entry


@pytest.fixture
def read_both_ways(tmp_path):
    """Read members as an archive and as the folder that somebody extracted; both must agree."""

    def read(members):
        archive, folder = tmp_path / "theirs.tar.gz", tmp_path / "by-tar"
        with tarfile.open(archive, "w:gz") as tar:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        folder.mkdir()
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        outcomes = [
            outcome_of(extract_archive, archive, tmp_path / "by-us"),
            outcome_of(read_contents, archive),
            outcome_of(open_artifact, folder),
        ]
        if (tmp_path / "by-us").exists():
            outcomes.append(outcome_of(open_artifact, tmp_path / "by-us"))
        assert len(set(outcomes)) == 1, outcomes
        return outcomes[0] if isinstance(outcomes[0][0], type) else open_artifact(folder)

    return read


def within(folder, members):
    return {f"{folder}/{name}": content for name, content in members.items()}


@pytest.mark.parametrize("folder", ["mine", "export/mine", "."])
def test_a_wrapping_folder_changes_nothing(read_both_ways, packed, folder):
    found = read_both_ways(within(folder, packed))
    assert found.entry_path.is_file()
    assert found.unused == ()


@pytest.mark.parametrize(
    "extra",
    [
        "._manifest.json",
        "._model.onnx",
        ".DS_Store",
        "__MACOSX/._model.onnx",
        "Thumbs.db",
        "README",
        "readme.md",
        "LICENSE.txt",
        ".ipynb_checkpoints/model-checkpoint.onnx",
        ".ipynb_checkpoints/manifest.json",
        "PaxHeader/model.onnx",
        "PaxHeaders.123/model.onnx",
    ],
)
@pytest.mark.parametrize("wrap", [False, True])
def test_what_systems_and_tools_leave_behind_is_named_and_not_used(
    read_both_ways, packed, extra, wrap
):
    members = within("mine", packed) if wrap else packed
    assert read_both_ways({extra: b"x", **members}).unused == (extra,)


def test_such_files_inside_the_wrapping_folder_are_named_too(read_both_ways, packed):
    members = {"._mine": b"x", **within("mine", {"._model.onnx": b"x", **packed})}
    assert read_both_ways(members).unused == ("._mine", "mine/._model.onnx")


def test_a_bare_saved_model_is_found_beside_them(read_both_ways):
    extras = {".ipynb_checkpoints/saved_model.pb": b"old", "1/._saved_model.pb": b"x"}
    found = read_both_ways({**within("1", SAVED_MODEL), **extras})
    assert found.manifest.entry == "1"
    assert found.unused == tuple(sorted(extras))


@pytest.mark.parametrize("place", ["name/1", "export/Servo/1", "a/b/c"])
def test_folders_of_tensorflow_serving_are_found(read_both_ways, place):
    assert read_both_ways(within(place, SAVED_MODEL)).manifest.entry == place


def test_older_versions_are_named_as_unused(read_both_ways):
    found = read_both_ways({**within("m/1", SAVED_MODEL), **within("m/2", SAVED_MODEL)})
    assert found.manifest.entry == "m/2"
    assert found.unused == ("m/1/saved_model.pb", "m/1/variables/variables.index")


def test_a_manifest_among_a_bare_model_s_assets_is_not_ours(read_both_ways):
    assert read_both_ways({**SAVED_MODEL, "assets/manifest.json": b"{}"}).manifest.entry == "."


@pytest.mark.parametrize("place", ["code", "mine/code"])
@pytest.mark.parametrize("has_manifest", [False, True])
def test_code_is_refused_because_it_is_not_run(read_both_ways, packed, place, has_manifest):
    members = within("mine", packed if has_manifest else SAVED_MODEL)
    code = {f"{place}/inference.py": b"", f"{place}/manifest.json": b"{}"}
    kind, what = read_both_ways({**members, **code})
    assert kind is ManifestError
    assert f"'{place}/inference.py'" in what
    assert "does not run" in what


@pytest.mark.parametrize("extra", ["extra.so", "mine/extra.so", "mine/code/weights.bin"])
def test_whatever_else_is_there_is_refused(read_both_ways, packed, extra):
    kind, _ = read_both_ways({**within("mine", packed), extra: b"x"})
    assert kind is ManifestError


def test_a_changed_file_in_a_wrapping_folder_is_found(read_both_ways, packed):
    kind, _ = read_both_ways(
        within("mine", packed | {"model.onnx": packed["model.onnx"][:-1] + b"x"})
    )
    assert kind is DigestMismatch


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("model.pth", "a PyTorch file, 'model.pth'"),
        ("decision-tree-model.pkl", "a Python pickle"),
        ("model.onnx", "an ONNX file, 'model.onnx'"),
        ("weights.safetensors", "a file of weights"),
        ("notes.xyz", "nor a SavedModel: 'notes.xyz'"),
    ],
)
def test_an_archive_without_a_model_says_what_it_holds(read_both_ways, name, what):
    kind, said = read_both_ways({name: b"x"})
    assert kind is ManifestError
    assert what in said


def test_two_manifests_side_by_side_are_no_model(read_both_ways, packed):
    kind, _ = read_both_ways({**within("left", packed), **within("right", packed)})
    assert kind is ManifestError


def test_many_manifests_take_no_memory(tmp_path):
    path = tmp_path / "many.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for depth in range(14, 0, -1):
            info = tarfile.TarInfo("/".join(["d"] * depth + ["manifest.json"]))
            info.size = 5 * 1024**2
            tar.addfile(info, io.BytesIO(bytes(info.size)))
    with pytest.raises(UnsafeArchive, match="larger than"):
        verify_archive(path)


def plain_tar(packed):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in packed.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def zipped(packed):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in packed.items():
            file.writestr(name, content)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (plain_tar, "a tar file without compression"),
        (zipped, "a zip archive"),
        (lambda packed: lzma.compress(plain_tar(packed)), "compressed with xz"),
        (lambda _: b"BZh91AY&SY", "compressed with bzip2"),
        (lambda _: b"\x28\xb5\x2f\xfd....", "compressed with Zstandard"),
        (lambda _: b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
        (lambda _: b"\xff\xd8\xff\xe0", "a picture"),
        (lambda _: b"\n<!DOCTYPE html>", "a web page"),
        (lambda _: b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
    ],
)
def test_another_kind_of_file_is_called_what_it_is(tmp_path, packed, make, what):
    path = tmp_path / "model.tar.gz"
    path.write_bytes(make(packed))
    for read in (open_artifact, verify_archive, read_manifest_in_archive):
        with pytest.raises(ArtifactError, match=f"The file is {what}, not a model.tar.gz"):
            read(path)


def test_a_model_file_in_place_of_an_archive_is_to_be_packed(tmp_path, onnx_file):
    with pytest.raises(
        ArtifactError, match=r"an ONNX file, not a model\.tar\.gz\. Pack the model first"
    ):
        open_artifact(onnx_file)
