"""`drdeploy local`: one line when ready, one port, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import psutil
import pytest
from local_aws import FAKE_SERVER, Aws, until
from typer.testing import CliRunner

from drdeploy.cli import endpoint, local
from drdeploy.errors import EndpointError, InvalidInput

COMMAND = """
from drdeploy.cli.console import print_errors_and_exit
from drdeploy.cli.local import app
with print_errors_and_exit():
    app()
"""
UP_WITH_FAKE_SERVER = f"""
import sys
from drdeploy.hosting.local import service
service.LocalService.__init__.__kwdefaults__["server_command"] = {FAKE_SERVER!r}
{COMMAND}
"""
PROVISIONED = {"MemorySizeInMB": 1024, "MaxConcurrency": 1, "ProvisionedConcurrency": 1}


@pytest.fixture
def up():
    """Start `drdeploy local up`; what still runs at the end is stopped."""
    started = []

    def start(*arguments, stdin=None):
        process = subprocess.Popen(
            [sys.executable, "-c", UP_WITH_FAKE_SERVER, "up", *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        line = process.stdout.readline()
        assert line.startswith("drdeploy local: ready at http://127.0.0.1:"), line
        return process, line.split()[4]

    yield start
    for process in started:
        process.terminate()
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def run(app, *arguments):
    """Run a command in this process, which is faster than starting an interpreter."""
    return CliRunner().invoke(app, arguments)


def groups_of(pid):
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return [line.split(":", 2)[2] for line in lines if "drdeploy-" in line]


def group_folders():
    return {
        str(path)
        for pattern in ("*/drdeploy-*", "*/*/*/drdeploy-*", "drdeploy-*")
        for path in Path("/sys/fs/cgroup").glob(pattern)
    }


def port_of(url):
    return url.rpartition(":")[2]


def test_sigterm_leaves_no_process_group_or_file(up, home):
    process, url = up("--port", "0", "--isolation", "process")
    aws = Aws.at(url)
    pid = aws.invoke(aws.endpoint(ServerlessConfig=PROVISIONED))["pid"]
    own_folders = {name.split("/")[-2] for name in groups_of(pid)}
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert not psutil.pid_exists(pid)
    assert not [path for path in group_folders() if Path(path).name in own_folders]
    assert not [
        note for note in home.glob("*/service.json") if str(process.pid) in note.read_text()
    ]


def test_exactly_one_line_is_printed(up):
    process, _ = up("--port", "0", "--isolation", "process")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert process.stdout.read() == ""


def test_sigterm_stops_an_instance_that_is_still_starting(up):
    process, url = up("--port", "0", "--isolation", "process")
    aws = Aws.at(url)
    name = aws.name()
    aws.model(name, SAGEMAKER_FAKE_START_S="300")
    aws.config(name, ServerlessConfig=PROVISIONED)
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    below = psutil.Process(process.pid)
    until(lambda: below.children(recursive=True))
    instances = below.children(recursive=True)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert not [child for child in instances if child.is_running()]


def test_the_next_service_removes_what_a_killed_one_left(up, home):
    process, url = up("--port", "0", "--isolation", "process")
    aws = Aws.at(url)
    pid = aws.invoke(aws.endpoint(ServerlessConfig=PROVISIONED))["pid"]
    own_folders = {name.split("/")[-2] for name in groups_of(pid)}
    process.kill()
    process.wait()
    assert psutil.pid_exists(pid)
    up("--port", "0", "--isolation", "process")
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie")
    until(lambda: not [path for path in group_folders() if Path(path).name in own_folders])
    assert not [folder for folder in home.iterdir() if folder.name in own_folders]


def test_it_ends_with_the_program_that_started_it_if_asked_to(up):
    process, _ = up(
        "--port", "0", "--isolation", "process", "--until-stdin-closes", stdin=subprocess.PIPE
    )
    process.stdin.close()
    assert process.wait(60) == 0
    process.stdin = None


def test_status_and_down(up):
    process, url = up("--port", "0", "--isolation", "process")
    facts = json.loads(run(local.app, "status", "--port", port_of(url), "--json").stdout)
    assert facts["pid"] == process.pid
    assert facts["isolation"].startswith("process")
    assert run(local.app, "down", "--port", port_of(url)).exit_code == 0
    assert process.wait(60) == 0


def test_a_shared_service_prints_what_a_client_must_set(up, monkeypatch):
    process, url = up("--port", "0", "--isolation", "process", "--shared")
    exports = dict(
        process.stdout.readline().strip().removeprefix("export ").split("=", 1) for _ in range(3)
    )
    assert exports["AWS_ENDPOINT_URL"] == url
    for name, value in exports.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert boto3.client("sagemaker").list_models()["Models"] == []
    facts = json.loads(run(local.app, "status", "--port", port_of(url), "--json").stdout)
    assert facts["shared"] is True
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    notice = process.stderr.read()
    assert "drdeploy local: shared" in notice
    assert exports["AWS_SECRET_ACCESS_KEY"] not in notice


def test_the_status_of_somebody_elses_service_needs_its_key(up, monkeypatch, tmp_path):
    _, url = up("--port", "0", "--isolation", "process", "--shared")
    monkeypatch.setenv("DRDEPLOY_LOCAL_HOME", str(tmp_path / "another user's"))
    error = run(local.app, "status", "--port", port_of(url)).exception
    assert isinstance(error, InvalidInput)
    assert "is shared, and refuses your access key" in str(error)


def test_an_open_service_says_that_it_is_open(up):
    process, _ = up("--port", "0", "--isolation", "process")
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    assert (
        "every program and every user of this machine may use this service" in process.stderr.read()
    )


def test_a_port_in_use_is_an_error_that_says_so(up):
    _, url = up("--port", "0", "--isolation", "process")
    command = [sys.executable, "-c", COMMAND, "up", "--port", port_of(url)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert second.returncode == 2
    assert f"Port {port_of(url)} cannot be used" in second.stderr


def test_a_port_without_a_service_is_an_error_that_says_so():
    error = run(local.app, "status", "--port", "1").exception
    assert isinstance(error, InvalidInput)
    assert "No local service answers on port 1" in str(error)


def test_endpoints_can_be_listed_invoked_and_deleted(up, tmp_path):
    _, url = up("--port", "0", "--isolation", "process")
    aws = Aws.at(url)
    name = aws.endpoint()
    (tmp_path / "eye.jpg").write_bytes(b"photograph")
    listed = run(endpoint.app, "list", "--endpoint-url", url, "--json")
    assert [one["name"] for one in json.loads(listed.stdout)] == [name]
    photograph = str(tmp_path / "eye.jpg")
    invoked = run(endpoint.app, "invoke", name, photograph, "--endpoint-url", url, "--json")
    assert json.loads(invoked.stdout)["headers"]["content-type"] == "image/jpeg"
    assert run(endpoint.app, "delete", name, "--endpoint-url", url).exit_code == 0
    assert aws.sagemaker.list_endpoints()["Endpoints"] == []
    refused = run(endpoint.app, "invoke", name, photograph, "--endpoint-url", url)
    assert isinstance(refused.exception, EndpointError)
    assert "not found" in str(refused.exception)


def test_deleting_an_absent_endpoint_is_an_error(up):
    url = up("--port", "0", "--isolation", "process")[1]
    result = run(endpoint.app, "delete", "misspelt", "--endpoint-url", url)
    assert isinstance(result.exception, EndpointError)
    assert "endpoint does not exist" in str(result.exception)


def test_a_process_that_reuses_a_process_id_is_left_alone(home, up):
    dummy = subprocess.Popen(["sleep", "3600"], start_new_session=True)
    folder = home / "drdeploy-00000000"
    (folder / "1").mkdir(parents=True)
    note = {"name": "drdeploy-00000000", "port": 1, "pid": dummy.pid, "began": "another boot/1"}
    (folder / "service.json").write_text(json.dumps(note))
    (folder / "1" / "pid").write_text(str(dummy.pid))
    up("--port", "0", "--isolation", "process")
    until(lambda: not folder.exists())
    assert dummy.poll() is None
    os.kill(dummy.pid, signal.SIGKILL)
    dummy.wait()
