"""Archives are extracted once, and no endpoint waits for the archive of another."""

import threading

import pytest
from tiny_models import described, onnx_artifact

from drdeploy.grader.artifacts import pack_archive
from drdeploy.hosting.local.endpoints.artifact_cache import ArtifactCache
from drdeploy.hosting.local.instances.instance import StartFailed

WAIT_S = 60


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    onnx_artifact(folder)
    pack_archive(next(folder.rglob("*.onnx")), folder / "model.tar.gz", described("grader"))
    return (folder / "model.tar.gz").read_bytes()


def test_an_archive_that_takes_long_does_not_hold_up_another(tmp_path, archive):
    cache = ArtifactCache(tmp_path, lambda _: archive)
    started, may_end = threading.Event(), threading.Event()

    def extract_slowly(folder):
        started.set()
        may_end.wait(WAIT_S)
        folder.mkdir()

    slow = threading.Thread(target=cache._get_or_extract, args=("slow", extract_slowly))
    slow.start()
    assert started.wait(WAIT_S)
    other = cache.extract_and_pin_archive("s3://bucket/model.tar.gz")
    assert slow.is_alive()
    assert (other.folder / "manifest.json").is_file()
    cache.release_archive(other)
    may_end.set()
    slow.join(WAIT_S)
    assert (tmp_path / "slow").is_dir()


def test_endpoints_that_ask_at_once_share_one_extraction(tmp_path):
    cache = ArtifactCache(tmp_path, lambda _: b"")
    made = []

    def extract(folder):
        made.append(folder)
        folder.mkdir()

    threads = [
        threading.Thread(target=cache._get_or_extract, args=("key", extract)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert made == [tmp_path / "key"]


def test_the_last_user_takes_the_folder_along(tmp_path, archive):
    cache = ArtifactCache(tmp_path, lambda _: archive)
    first, second = (
        cache.extract_and_pin_archive("s3://b/model.tar.gz"),
        cache.extract_and_pin_archive("s3://b/copy.tar.gz"),
    )
    assert first == second
    cache.release_archive(first)
    assert second.folder.is_dir()
    cache.release_archive(second)
    assert not second.folder.exists()


def test_a_refused_archive_leaves_nothing_and_the_next_one_is_tried(tmp_path, archive):
    bodies = [archive[:100], archive]
    cache = ArtifactCache(tmp_path, lambda _: bodies.pop(0))
    with pytest.raises(StartFailed, match="Failed to extract model data archive"):
        cache.extract_and_pin_archive("s3://bucket/model.tar.gz")
    assert list(tmp_path.iterdir()) == []
    assert cache.extract_and_pin_archive("s3://bucket/model.tar.gz").folder.is_dir()


def test_one_uncompressed_file_lies_under_its_name(tmp_path):
    cache = ArtifactCache(tmp_path, lambda _: b"", lambda _: {"model.onnx": b"weights"})
    artifact = cache.extract_and_pin_archive(
        "s3://b/model.onnx", is_checked=False, is_archive=False
    )
    assert (artifact.folder / "model.onnx").read_bytes() == b"weights"
