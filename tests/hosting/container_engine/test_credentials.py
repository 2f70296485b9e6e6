"""A credential helper that is missing or fails does not stop a build that needs no credentials."""

from __future__ import annotations

import json
import os

import pytest

from drdeploy.errors import ImageBuildFailed
from drdeploy.hosting.container_engine import ContainerEngine
from drdeploy.hosting.container_engine.credentials import collect_registry_credentials

pytestmark = pytest.mark.engine

MISSING = [{"credsStore": "desktop"}, {"credHelpers": {"ghcr.io": "nohelper"}}]


@pytest.fixture
def configure(tmp_path, monkeypatch):
    """Write ``config.json`` and programs ``docker-credential-NAME``."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def write(config, **helpers):
        (tmp_path / "config.json").write_text(json.dumps(config))
        for name, script in helpers.items():
            program = tmp_path / f"docker-credential-{name}"
            program.write_text(f"#!/bin/sh\n{script}\n")
            program.chmod(0o755)

    return write


@pytest.mark.parametrize("config", MISSING)
def test_a_build_from_a_local_base_needs_no_helper(configure, config, engine, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY config.json /\n")
    configure(config)
    assert engine.build_image(tmp_path, "Dockerfile", "drdeploy-test:no-helper").startswith(
        "sha256:"
    )
    engine.untag_image("drdeploy-test:no-helper")


def test_a_missing_helper_is_named_if_the_registry_refuses(configure, tmp_path):
    configure(MISSING[1])
    found = collect_registry_credentials()
    assert found.by_registry == {}
    said = found.explain_refusal("unauthorized: authentication required")
    assert "docker-credential-nohelper" in said
    assert f"{tmp_path}/config.json names for ghcr.io" in said
    assert "not installed" in said
    assert found.explain_refusal("RUN false: exit status 1") == ""


def test_a_refused_build_says_which_helper_failed(configure, engine, tmp_path, monkeypatch):
    configure({"credHelpers": {"ghcr.io": "locked"}}, locked="echo keychain is locked; exit 1")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY config.json /\n")
    refusal = [{"error": "unauthorized: access denied"}]
    monkeypatch.setattr(engine._api, "build", lambda **_: refusal)
    with pytest.raises(ImageBuildFailed, match="keychain is locked"):
        engine.build_image(tmp_path, "Dockerfile", "drdeploy-test:refused")


@pytest.mark.parametrize(
    "config", [[], {"auths": {"ghcr.io": {"auth": "%%%"}}}, {"auths": 5}, {"proxies": []}]
)
def test_an_engine_is_used_whatever_its_clients_configuration_holds(configure, config, engine):
    configure(config)
    assert ContainerEngine.find({"DOCKER_HOST": engine.host}) is not None
    assert collect_registry_credentials().by_registry == {}


def test_credentials_come_from_the_file_the_store_and_the_helpers(configure):
    answers = 'echo \'{"ServerURL":"x","Username":"me","Secret":"s"}\''
    configure(
        {
            "auths": {"a.example": {"auth": "bWU6cGFzcw=="}},
            "credsStore": "store",
            "credHelpers": {"c.example": "token", "d.example": "empty"},
        },
        store=f'case $1 in list) echo \'{{"b.example":"me"}}\';; get) {answers};; esac',
        token='echo \'{"Username":"<token>","Secret":"t"}\'',
        empty="echo credentials not found in native keychain; exit 1",
    )
    found = collect_registry_credentials()
    assert found.failures == []
    assert found.by_registry["a.example"]["password"] == "pass"
    assert found.by_registry["b.example"]["Username"] == "me"
    assert found.by_registry["c.example"]["IdentityToken"] == "t"
    assert "d.example" not in found.by_registry
