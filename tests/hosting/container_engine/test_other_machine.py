"""An engine behind TCP, TLS or SSH, which runs containers on another machine.

The machine is stood for by the address 127.0.0.2, and the program ``ssh`` by a script that runs its
command here.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
from contextlib import suppress
from dataclasses import replace

import pytest
from required import require
from waiting import until

from drdeploy.errors import EngineError, EngineUnavailable
from drdeploy.hosting.container_engine import ContainerEngine, ContainerSpec, Mount
from drdeploy.hosting.container_engine.client import _find_mount_that_engine_misses

pytestmark = pytest.mark.engine


def test_an_engine_that_speaks_tls_is_used(forward, server_tls, certificates, engine):
    environ = {
        "DOCKER_HOST": forward(server_tls),
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(certificates),
    }
    assert ContainerEngine.find_or_raise(environ).name_and_version == engine.name_and_version


def test_the_engine_is_checked_with_its_own_authority_alone(
    forward, server_tls, certificates, engine, monkeypatch
):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt")
    test_an_engine_that_speaks_tls_is_used(forward, server_tls, certificates, engine)


def test_a_certificate_of_another_authority_is_refused(forward, server_tls, certificates, tmp_path):
    shutil.copytree(certificates, tmp_path / "other")
    shutil.copy(certificates / "cert.pem", tmp_path / "other" / "ca.pem")
    environ = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path / "other")}
    with pytest.raises(EngineUnavailable, match="certificate is not trusted"):
        ContainerEngine.find_or_raise({"DOCKER_HOST": forward(server_tls), **environ})


def test_tls_that_only_one_side_speaks_is_named(forward, server_tls, certificates):
    with pytest.raises(EngineUnavailable, match="DOCKER_TLS_VERIFY=1"):
        ContainerEngine.find_or_raise({"DOCKER_HOST": forward(server_tls)})
    environ = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(certificates)}
    with pytest.raises(EngineUnavailable, match="does not speak TLS"):
        ContainerEngine.find_or_raise({"DOCKER_HOST": forward(), **environ})


def test_a_client_without_a_certificate_is_told_so(forward, server_tls, certificates, tmp_path):
    shutil.copy(certificates / "ca.pem", tmp_path)
    environ = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    with pytest.raises(EngineUnavailable, match=r"(Give|Use) a cert\.pem and key"):
        ContainerEngine.find_or_raise({"DOCKER_HOST": forward(server_tls), **environ})


def test_nothing_listens_at_a_tcp_address():
    with pytest.raises(EngineUnavailable, match="Connection refused"):
        ContainerEngine.find_or_raise({"DOCKER_HOST": "tcp://127.0.0.2:1"})


RELAY = """import os, socket, sys, threading
host, port = sys.argv[1].split(":")
there = socket.create_connection((host, int(port)))
def send():
    while data := os.read(0, 65536):
        there.sendall(data)
    there.shutdown(socket.SHUT_WR)
threading.Thread(target=send, daemon=True).start()
while data := there.recv(65536):
    os.write(1, data)
"""


@pytest.fixture
def ssh(tmp_path, monkeypatch, engine):
    """A program ``ssh`` that runs the command on this machine; the folder it lies in."""
    require(shutil.which("docker") is not None, "Docker's command line")
    program = tmp_path / "ssh"
    program.write_text(
        "#!/bin/sh\n"
        f'echo "$*" >> {tmp_path}/calls\n'
        'case "$*" in\n'
        "*nohost*) echo 'ssh: Could not resolve hostname nohost' >&2; exit 255;;\n"
        "esac\n"
        "for last; do :; done\n"
        "while [ $# -gt 1 ]; do\n"
        f'[ "$1" = -W ] && exec {sys.executable} {tmp_path}/relay.py "$2"\n'
        "shift; done\n"
        f'DOCKER_HOST={engine.host} exec sh -c "$last"\n'
    )
    (tmp_path / "relay.py").write_text(RELAY)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def test_an_engine_is_reached_through_ssh(ssh, engine):
    found = ContainerEngine.find_or_raise({"DOCKER_HOST": "ssh://me@far:2222"})
    assert found.name_and_version == engine.name_and_version
    call = (ssh / "calls").read_text().splitlines()[0]
    assert "-l me -p 2222 -T -- far docker system dial-stdio" in call


def test_the_words_of_ssh_are_quoted_if_it_fails(ssh):
    with pytest.raises(EngineUnavailable, match="Could not resolve hostname nohost"):
        ContainerEngine.find_or_raise({"DOCKER_HOST": "ssh://nohost"})


SERVE = (
    "import http.server; http.server.ThreadingHTTPServer(('', 8080), "
    "http.server.SimpleHTTPRequestHandler).serve_forever()"
)


@pytest.fixture
def spec(tmp_path, lean_image):
    """A container that serves the folder ``/model``, in which lies the file ``a``."""
    folder = tmp_path / "model:1"
    folder.mkdir()
    (folder / "a").write_text("of this machine")
    return ContainerSpec(
        lean_image,
        entrypoint=("python3", "-c", f"import os; os.chdir('/model'); {SERVE}"),
        mounts=(Mount(folder, "/model"),),
        labels={"drdeploy-test": "other-machine"},
    )


def read_from(container):
    answers = []

    def is_answered():
        with suppress(ConnectionError), container.connect(60.0) as connection:
            connection.sendall(b"GET /a HTTP/1.0\r\n\r\n")
            answers.append(b"".join(iter(lambda: connection.recv(65536), b"")))
        return any(answers)

    until(is_answered, 120)
    return answers[-1].partition(b"\r\n\r\n")[2].decode()


def test_a_container_of_another_machine_answers_at_that_machine_with_a_copy_of_the_folder(
    forward, spec
):
    elsewhere = ContainerEngine.find_or_raise({"DOCKER_HOST": forward()})
    container = elsewhere.start_container(spec)
    try:
        assert container.url_of_published_port.startswith("http://127.0.0.2:")
        assert read_from(container) == "of this machine"
        assert len(container.volumes) == 1
        (mount,) = container.api.inspect_container(container.id)["Mounts"]
        assert not mount["RW"]
    finally:
        container.remove()
    assert container.volumes[0] not in [one["Name"] for one in list_volumes(container)]


def test_a_container_behind_ssh_answers_through_ssh(ssh, spec):
    container = ContainerEngine.find_or_raise({"DOCKER_HOST": "ssh://far"}).start_container(spec)
    try:
        assert read_from(container) == "of this machine"
        with pytest.raises(EngineError, match="only through ssh"):
            _ = container.url_of_published_port
    finally:
        container.remove()


def test_a_single_file_cannot_be_copied_into_a_container(forward, spec, tmp_path):
    elsewhere = ContainerEngine.find_or_raise({"DOCKER_HOST": forward()})
    file = Mount(tmp_path / "model:1" / "a", "/a")
    with pytest.raises(EngineError, match="a folder but not a single file") as caught:
        elsewhere.start_container(replace(spec, mounts=(file,)))
    assert caught.value.where == str(file.source)


def test_podman_in_a_virtual_machine_gets_a_copy(engine, spec, monkeypatch):
    # Podman would make the folder that it does not see, and the model would be empty.
    require("podman" in engine.name_and_version.lower(), "Podman")
    monkeypatch.setitem(engine._host_info_of_engine, "Name", "virtual-machine")
    monkeypatch.delitem(engine.__dict__, "_shares_kernel_with_this_machine", raising=False)
    container = engine.start_container(spec)
    engine.__dict__.pop("_shares_kernel_with_this_machine")
    try:
        assert len(container.volumes) == 1
        assert read_from(container) == "of this machine"
    finally:
        container.remove()


@pytest.mark.parametrize(
    "message",
    [
        'invalid mount config for type "bind": bind source path does not exist: {}',
        "Mounts denied: The path {} is not shared from the host and is not known to Docker",
    ],
)
def test_a_folder_that_docker_does_not_see_is_known_by_its_words(tmp_path, message):
    mount = Mount(tmp_path, "/opt/ml/model")
    spec = ContainerSpec("image", mounts=(mount,))
    said = message.format(tmp_path)
    assert _find_mount_that_engine_misses(spec, {}, said) == mount
    assert _find_mount_that_engine_misses(spec, {mount.target: "copy"}, said) is None
    assert _find_mount_that_engine_misses(spec, {}, "no such image") is None


def test_volumes_that_a_killed_run_left_are_removed_with_its_containers(forward, spec):
    elsewhere = ContainerEngine.find_or_raise({"DOCKER_HOST": forward()})
    container = elsewhere.start_container(spec)
    elsewhere.remove_containers_with_label("drdeploy-test=other-machine")
    assert container.volumes[0] not in [one["Name"] for one in list_volumes(container)]


def test_a_registry_of_this_machine_is_out_of_reach(forward):
    elsewhere = ContainerEngine.find_or_raise({"DOCKER_HOST": forward()})
    with pytest.raises(EngineError, match="cannot reach the registry of this machine"):
        elsewhere.push_image("drdeploy:lean", "127.0.0.1:5000/lean", "1")


def list_volumes(container):
    return container.api.volumes()["Volumes"] or []
