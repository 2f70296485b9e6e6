"""A base image is locked to the registry's digest, and a tag that moves changes no build."""

from __future__ import annotations

import runpy
import tempfile
from pathlib import Path

import pytest
from local_aws import FAKE_SERVER, Aws, client

from drdeploy.errors import ImageBuildFailed
from drdeploy.hosting.images.base_images import LockedBase, choose_base_image, read_locked_bases
from drdeploy.hosting.local import LocalService

ROOT = Path(__file__).resolve().parents[3]
BASE = "FROM scratch\nCOPY Dockerfile /\nLABEL colour={}\n"
UPON_IT = "ARG BASE\nFROM ${BASE}\nLABEL upon=it\n"


@pytest.fixture(scope="module")
def lock_bases():
    return runpy.run_path(str(ROOT / "scripts" / "lock_bases.py"))


@pytest.fixture(scope="module")
def aws():
    """A local service, which has a registry."""
    with (
        tempfile.TemporaryDirectory(prefix="drl-") as home,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("DRDEPLOY_LOCAL_HOME", home)
        with LocalService(0, isolation="process", server_command=FAKE_SERVER) as service:
            yield Aws.at(service.url)


@pytest.fixture
def registry(aws, engine, tmp_path):
    """A repository of the local registry, and how an image is built and pushed to it."""
    name = f"{aws.name()}/base"
    client("ecr", aws.url).create_repository(repositoryName=name)
    repository = f"{aws.url.removeprefix('http://')}/{name}"
    built = []

    def build(dockerfile, **build_args):
        built.append(f"drdeploy-test-base:{len(built)}")
        (tmp_path / "Dockerfile").write_text(dockerfile)
        engine.build_image(tmp_path, "Dockerfile", built[-1], build_args)
        return built[-1]

    def push(colour):
        engine.push_image(build(BASE.format(colour)), repository, "slim")

    yield repository, build, push
    for image in built:
        engine.untag_image(image)


@pytest.mark.engine
def test_a_build_starts_from_the_locked_digest_also_when_the_tag_has_moved(
    engine, registry, lock_bases
):
    repository, build, push = registry
    push("red")
    unlocked = LockedBase(12, f"{repository}:slim", "", "", "", "")
    locked = lock_bases["moved"](unlocked, "2026-01-02")
    base = choose_base_image(engine, locked)
    push("blue")
    assert choose_base_image(engine, locked) == base
    assert (base.reference, base.note) == (f"{repository}@{locked.digest}", "")
    labels = engine.image_config(build(UPON_IT, BASE=base.reference))["Config"]["Labels"]
    assert (labels["colour"], labels["upon"]) == ("red", "it")
    assert lock_bases["moved"](locked, "2026-01-03").digest != locked.digest


@pytest.mark.engine
def test_a_digest_that_the_registry_does_not_have_is_refused_with_the_way_to_move_the_lock(
    engine, registry
):
    repository, _, _ = registry
    base = LockedBase(12, f"{repository}:slim", f"sha256:{'0' * 64}", "", "", "")
    with pytest.raises(ImageBuildFailed, match="make base-lock"):
        choose_base_image(engine, base)


def test_a_moved_lock_is_read_as_it_was_written_and_keeps_what_is_said_above_it(
    lock_bases, tmp_path, monkeypatch
):
    lock = tmp_path / "bases.toml"
    lock.write_text((ROOT / "src/drdeploy/hosting/images/bases.toml").read_text())
    header = lock.read_text().partition("[[base]]")[0]
    digest = f"sha256:{'1' * 64}"
    index = {
        "manifests": [
            {"digest": "sha256:x", "platform": {"os": "linux", "architecture": "amd64"}},
            {"digest": "sha256:y", "platform": {"os": "linux", "architecture": "arm64"}},
        ]
    }
    main = lock_bases["main"]
    monkeypatch.setitem(main.__globals__, "read_manifest", lambda base: (digest, index))
    assert main(lock) == 0
    (base, *_) = read_locked_bases(lock)
    assert (base.digest, base.arm64_digest) == (digest, "sha256:y")
    assert lock.read_text().startswith(header)


def test_an_image_without_a_host_is_one_of_docker_hub(lock_bases):
    def url_of(image):
        return lock_bases["manifest_url"](LockedBase(12, image, "", "", "", ""))[0]

    hub = "https://registry-1.docker.io/v2"
    assert url_of("debian:slim") == f"{hub}/library/debian/manifests/slim"
    assert url_of("arm64v8/debian:slim") == f"{hub}/arm64v8/debian/manifests/slim"
    assert url_of("ghcr.io/a/b:1") == "https://ghcr.io/v2/a/b/manifests/1"
    assert url_of("127.0.0.1:5000/a:1") == "http://127.0.0.1:5000/v2/a/manifests/1"
