"""The engine is the one that Docker's command line would use, or the reason why it cannot be used.

Contexts are written by Docker's own command line where it is installed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from drdeploy.errors import EngineMisconfigured, EngineUnavailable
from drdeploy.hosting.container_engine import ContainerEngine, location
from drdeploy.hosting.container_engine.location import list_engine_locations


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder on a machine without ``/var/run/docker.sock``."""
    monkeypatch.setattr(location, "DEFAULT_SOCKET", tmp_path / "none" / "docker.sock")
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    monkeypatch.setattr(
        location,
        "WELL_KNOWN_SOCKETS",
        [known for known in location.WELL_KNOWN_SOCKETS if not known[1].startswith("/")],
    )
    # Not in `tmp_path`, because the path of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def find(home, **environ):
    return list_engine_locations(
        {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run"), **environ}
    )


def write_context(home, name, meta):
    folder = home / ".docker" / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    text = meta if isinstance(meta, str) else json.dumps(meta)
    (folder / "meta.json").write_text(text)
    return folder / "meta.json"


def write_config(home, text):
    (home / ".docker").mkdir(parents=True, exist_ok=True)
    (home / ".docker" / "config.json").write_text(text)


def make_meta(name, host):
    return {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host}}}


def test_the_host_precedes_the_context_and_the_context_precedes_the_current_one(home):
    for name in ("named", "current"):
        write_context(home, name, make_meta(name, f"unix:///{name}.sock"))
    write_config(home, '{"currentContext": "current"}')
    assert find(home)[0].url == "unix:///current.sock"
    (named,) = find(home, DOCKER_CONTEXT="named")
    assert named.url == "unix:///named.sock"
    assert "named, from DOCKER_CONTEXT" in named.source
    (host,) = find(home, DOCKER_CONTEXT="named", DOCKER_HOST="unix:///host.sock")
    assert (host.url, host.source) == ("unix:///host.sock", "DOCKER_HOST")


def test_the_context_default_is_the_default_socket(home, monkeypatch, tmp_path):
    write_config(home, '{"currentContext": "gone"}')
    (tmp_path / "docker.sock").touch()
    monkeypatch.setattr(location, "DEFAULT_SOCKET", tmp_path / "docker.sock")
    (found,) = find(home, DOCKER_CONTEXT="default")
    assert (found.url, found.source) == (f"unix://{tmp_path}/docker.sock", "the default socket")


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        (None, "names the Docker context mine, which does not exist"),
        ("{", "The Docker context mine cannot be read"),
        ("[]", "names no Docker engine"),
        ({"Name": "mine", "Metadata": {}, "Endpoints": {}}, "names no Docker engine"),
        (make_meta("mine", "ftp://x"), "'ftp://x' is not the address of a container engine"),
    ],
)
def test_a_context_that_cannot_be_used_is_refused_with_its_file(home, meta, said):
    write_config(home, '{"currentContext": "mine"}')
    if meta is not None:
        write_context(home, "mine", meta)
    with pytest.raises(EngineMisconfigured, match=said) as caught:
        find(home)
    assert "/.docker/contexts/meta/" in caught.value.where
    assert caught.value.remedy


def test_an_unreadable_configuration_is_ignored_with_a_warning_as_docker_does(home, caplog):
    write_config(home, '{"currentContext": ')
    assert find(home) == ()
    assert "config.json cannot be read and is not used" in caplog.text


@pytest.mark.skipif(not shutil.which("docker"), reason="needs Docker's command line")
def test_a_context_of_docker_itself_is_read_with_its_certificates(home, certificates):
    files = {name: certificates / f"{name}.pem" for name in ("ca", "cert", "key")}
    options = ",".join(f"{name}={path}" for name, path in files.items())
    docker = ["docker", "--config", str(home / "elsewhere"), "context"]
    subprocess.run([*docker, "create", "far", "--docker", f"host=tcp://h:1,{options}"], check=True)
    subprocess.run([*docker, "use", "far"], check=True)
    (found,) = find(home, DOCKER_CONFIG=str(home / "elsewhere"))
    assert found.url == "tcp://h:1"
    assert found.tls.ca.read_bytes() == files["ca"].read_bytes()
    assert found.tls.verify
    found.tls.key.unlink()
    with pytest.raises(EngineMisconfigured, match="certificate cannot be read") as caught:
        find(home, DOCKER_CONFIG=str(home / "elsewhere"))
    assert caught.value.where == str(found.tls.key)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        (" unix:///a.sock ", "unix:///a.sock"),
        ("tcp://10.0.0.5", "tcp://10.0.0.5:2375"),
        ("10.0.0.5", "tcp://10.0.0.5:2375"),
        ("tcp://", "tcp://localhost:2375"),
        ("tcp://[::1]:99", "tcp://[::1]:99"),
        ("ssh://me@far:2222/run/d.sock", "ssh://me@far:2222/run/d.sock"),
    ],
)
def test_an_address_may_be_abbreviated_as_for_docker(home, host, url):
    assert find(home, DOCKER_HOST=host)[0].url == url


def test_an_engine_with_tls_has_another_port(home, certificates):
    found = find(home, DOCKER_HOST="h", DOCKER_TLS_VERIFY="1", DOCKER_CERT_PATH=str(certificates))
    assert found[0].url == "tcp://h:2376"


@pytest.mark.parametrize(
    "host", ["nonsense://", "http://h:1", "fd://", "tcp://h:99999", "tcp://h:1/x", "ssh://u:p@h"]
)
def test_an_address_that_docker_refuses_is_refused(home, host):
    with pytest.raises(EngineMisconfigured, match="is not the address of a container engine"):
        find(home, DOCKER_HOST=host)


def test_certificates_that_are_missing_are_named(home):
    with pytest.raises(EngineMisconfigured, match="cannot be read") as caught:
        find(home, DOCKER_HOST="tcp://h:1", DOCKER_TLS_VERIFY="1")
    assert caught.value.where == str(home / ".docker" / "ca.pem")
    assert "DOCKER_CERT_PATH" in caught.value.remedy


@pytest.mark.parametrize(
    ("path", "environ", "program"),
    [
        (".docker/desktop/docker.sock", {}, "Docker Desktop"),
        (".docker/run/docker.sock", {}, "Docker Desktop"),
        (".colima/default/docker.sock", {}, "Colima"),
        (".config/colima/default/docker.sock", {}, "Colima"),
        (".rd/docker.sock", {}, "Rancher Desktop"),
        (".orbstack/run/docker.sock", {}, "OrbStack"),
        (".local/share/containers/podman/machine/podman.sock", {}, "Podman machine"),
        ("tmp/podman/podman-machine-default-api.sock", {"TMPDIR": "tmp"}, "Podman machine"),
        ("run/docker.sock", {"XDG_RUNTIME_DIR": "run"}, "rootless Docker"),
        ("run/podman/podman.sock", {"XDG_RUNTIME_DIR": "run"}, "rootless Podman"),
    ],
)
def test_without_configuration_the_sockets_of_other_programs_are_found(
    home, path, environ, program
):
    (home / path).parent.mkdir(parents=True)
    (home / path).touch()
    environ = {name: str(home / folder) for name, folder in environ.items()}
    (found,) = find(home, **environ)
    assert str(found) == f"unix://{home}/{path} (the socket of {program})"


@pytest.mark.engine
def test_a_socket_where_nobody_answers_is_passed_over(home, engine):
    for folder in (".colima/default", ".rd"):
        (home / folder).mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(home / ".colima/default/docker.sock"))
    (home / ".rd/docker.sock").symlink_to(engine.location.unix_socket_path)
    found = ContainerEngine.find_or_raise({"HOME": str(home)})
    assert found.version_and_address.endswith(
        f"{home}/.rd/docker.sock (the socket of Rancher Desktop)"
    )


@pytest.mark.engine
def test_a_context_that_is_named_is_not_replaced_by_another_socket(home, engine):
    (home / ".rd").mkdir(parents=True)
    (home / ".rd" / "docker.sock").symlink_to(engine.location.unix_socket_path)
    write_config(home, '{"currentContext": "gone"}')
    with pytest.raises(EngineMisconfigured, match="the Docker context gone, which does not exist"):
        ContainerEngine.find({"HOME": str(home)})


def test_without_any_socket_the_error_lists_where_engines_were_sought(home):
    with pytest.raises(EngineUnavailable, match="No container engine answers") as caught:
        ContainerEngine.find_or_raise({"HOME": str(home), "XDG_RUNTIME_DIR": str(home)})
    assert "Colima" in caught.value.where


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user without permissions")
def test_a_socket_that_may_not_be_opened_is_told_from_one_where_nobody_answers(tmp_path):
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0o600)
        for folder in (tmp_path, *tmp_path.parents[:3]):
            folder.chmod(0o755)
        # In a process of its own, because its user changes.
        program = (
            "import os, sys, docker\n"
            "from drdeploy.hosting.container_engine.connection import connect_to_engine\n"
            "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            f"try: connect_to_engine({{'DOCKER_HOST': 'unix://{path}'}})\n"
            "except Exception as err: print(err)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
    assert "permission denied" in done.stdout
    assert "usermod -aG docker" in done.stdout
