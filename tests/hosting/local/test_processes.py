"""Instances as processes: their environment, and that nothing outlives them."""

import json
import re
import shutil
import sys
import tempfile
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import psutil
import pytest
from botocore.exceptions import ClientError
from local_aws import FAKE_SERVER, ROLE, Aws, until
from photographs import photograph
from required import require
from tiny_models import onnx_artifact

from drdeploy.errors import InvalidInput
from drdeploy.hosting.local import LocalService, ServiceOptions
from drdeploy.hosting.local.instances import processes
from drdeploy.hosting.local.instances.instance import InstanceSpec, PinnedImage
from drdeploy.hosting.local.instances.process_environment import (
    OWN_VARIABLES,
    RUNTIME_VARIABLES,
    explain_refused_variables,
)
from drdeploy.hosting.local.instances.processes import (
    IMAGE_VARIABLES,
    ProcessBackend,
    find_unshare_command,
)
from drdeploy.hosting.serving.settings import list_setting_facts

CONTAINERS = Path(__file__).parents[3] / "containers"
LEAVES_A_CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], process_group=0)
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def start(tmp_path):
    def start_script(script, tag="drdeploy:lean", **environment):
        backend = ProcessBackend(tmp_path / "service", None, (sys.executable, "-c", script))
        spec = InstanceSpec(
            "one-1", PinnedImage(tag), tmp_path, environment, memory_mb=64, cpus=None
        )
        return backend.start_instance(spec)

    return start_script


def first_word(instance):
    until(instance.read_log_tail)
    return instance.read_log_tail().split()[0]


@pytest.mark.parametrize("is_killed_before", [False, True])
def test_stopping_a_server_also_kills_what_it_started_in_other_process_groups(
    start, is_killed_before
):
    instance = start(LEAVES_A_CHILD)
    child = psutil.Process(int(first_word(instance)))
    if is_killed_before:
        instance.process.kill()
    instance.stop(0)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_process_in_another_folder_is_not_killed(start):
    instance = start("import os; os.chdir('/'); " + LEAVES_A_CHILD)
    child = psutil.Process(int(first_word(instance)))
    instance.process.kill()
    instance.stop(0)
    assert child.is_running()
    child.kill()


@pytest.mark.parametrize("name", ["reduced", "lean", "minimal"])
def test_a_process_gets_the_memory_and_thread_settings_of_its_image(name):
    text = (CONTAINERS / f"{name}.Dockerfile").read_text()
    of_image = dict(re.findall(r"((?:MALLOC|OPENBLAS|GLIBC)\w+)=(\S+)", text))
    assert of_image == IMAGE_VARIABLES


def test_a_models_own_settings_win_and_credentials_are_not_passed_on(start, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    script = "import os; print(os.environ['OPENBLAS_NUM_THREADS'], *os.environ, flush=True)"
    instance = start(script, OPENBLAS_NUM_THREADS="2")
    try:
        assert first_word(instance) == "2"
        assert "AWS_SECRET_ACCESS_KEY" not in instance.read_log_tail()
        assert "MALLOC_TOP_PAD_" in instance.read_log_tail()
    finally:
        instance.stop(0)


HARMFUL = (
    "BASH_ENV",
    "DRDEPLOY_STATE_DIR",
    "ENV",
    "GCONV_PATH",
    "HOME",
    "LD_AUDIT",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "OMP_TOOL_LIBRARIES",
    "OPENSSL_CONF",
    "PATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "TF_XLA_FLAGS",
    "TMPDIR",
    "XLA_FLAGS",
)


@pytest.mark.parametrize("name", HARMFUL)
def test_a_model_may_not_set_what_changes_the_code_that_runs_as_this_user(aws, name):
    model = {"Image": "drdeploy:lean", "Environment": {"DRDEPLOY_THREADS": "1", name: "/tmp/evil"}}
    with pytest.raises(ClientError) as caught:
        aws.sagemaker.create_model(
            ModelName=aws.name(), ExecutionRoleArn=ROLE, PrimaryContainer=model
        )
    error = caught.value.response["Error"]
    assert error["Code"] == "ValidationException"
    assert error["Message"].startswith(f"Environment sets {name}, ")


@pytest.mark.parametrize(
    "setting", list(list_setting_facts()), ids=lambda setting: setting.variable
)
def test_every_setting_of_the_server_takes_effect_or_is_refused(setting):
    is_refused = explain_refused_variables([setting.variable]) is not None
    assert is_refused == (setting.variable in OWN_VARIABLES)


def test_the_how_to_names_every_variable_that_a_model_may_set():
    text = (CONTAINERS.parent / "docs" / "how-to.md").read_text("utf-8")
    assert [name for name in sorted(RUNTIME_VARIABLES) if f"`{name}`" not in text] == []


def test_what_a_model_may_set_reaches_its_process(aws):
    variables = {
        "DRDEPLOY_CONTAINER_ID": "mine",
        "DRDEPLOY_PROFILE": "classic",
        "MODEL_SERVER_WORKERS": "2",
        "OMP_NUM_THREADS": "3",
        "SAGEMAKER_PROGRAM": "inference.py",
    }
    found = aws.invoke(aws.endpoint(environment=variables))["environment"]
    assert variables.items() <= found.items()


@pytest.mark.parametrize("value", ["a\0b", "half a pair: \ud800"])
def test_a_value_that_no_process_could_have_is_refused(aws, value):
    model = {
        "ModelName": aws.name(),
        "ExecutionRoleArn": ROLE,
        "PrimaryContainer": {"Image": "drdeploy:lean", "Environment": {"SAGEMAKER_A": value}},
    }
    request = urllib.request.Request(aws.url, json.dumps(model).encode())
    request.add_header("X-Amz-Target", "SageMaker.CreateModel")
    with pytest.raises(HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == 400
    assert b"environment.SAGEMAKER_A" in caught.value.read()


def test_an_isolated_process_reaches_no_network(aws, service):
    require(bool(find_unshare_command()), "the right to make network namespaces")
    name = aws.name()
    aws.sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=ROLE,
        PrimaryContainer={"Image": "drdeploy:lean"},
        EnableNetworkIsolation=True,
    )
    aws.config(name, InstanceType="ml.m5.large", InitialInstanceCount=1)
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    aws.wait(name)
    pid = aws.invoke(name)["pid"]
    interfaces = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    assert Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()
    aws.delete(name)


def test_where_it_cannot_be_had_isolation_is_refused_by_its_name(aws, monkeypatch):
    monkeypatch.setattr(processes, "find_unshare_command", lambda: ())
    with pytest.raises(ClientError, match="EnableNetworkIsolation is not possible"):
        aws.sagemaker.create_model(
            ModelName=aws.name(),
            ExecutionRoleArn=ROLE,
            PrimaryContainer={"Image": "drdeploy:lean"},
            EnableNetworkIsolation=True,
        )


ODD = "a b;c{d}$e\"f'g:h,i#é\\"


def test_a_state_folder_may_have_a_longer_path_than_a_socket(monkeypatch, tmp_path):
    monkeypatch.setenv("DRDEPLOY_LOCAL_HOME", str(tmp_path / ("x" * 120)))
    options = ServiceOptions(trial_start=False)
    with LocalService(isolation="process", options=options, server_command=FAKE_SERVER) as service:
        aws = Aws.at(service.url)
        assert aws.invoke(aws.endpoint())["invocation"] == 1


@pytest.mark.parametrize("image", ["lean", pytest.param("reduced", marks=pytest.mark.nginx)])
def test_a_state_folder_with_odd_characters_works(monkeypatch, tmp_path_factory, image, request):
    if image == "reduced":
        request.getfixturevalue("nginx")
    home = Path(tempfile.mkdtemp(prefix="dr-")) / ODD
    monkeypatch.setenv("DRDEPLOY_LOCAL_HOME", str(home))
    with LocalService(isolation="process", options=ServiceOptions(trial_start=False)) as service:
        aws = Aws.at(service.url)
        folder = tmp_path_factory.mktemp("tiny")
        onnx_artifact(folder)
        url = aws.put_archive((folder / "model.tar.gz").read_bytes(), "tiny.tar.gz")
        name = aws.endpoint(image=f"drdeploy:{image}", url=url)
        assert aws.invoke(name, photograph())["container"]["invocation"] == 1
        assert all(path.stat().st_mode & 0o077 == 0 for path in home.glob("*"))
    shutil.rmtree(home.parent)


@pytest.mark.parametrize("problem", ["line\nbreak", "link", "writable"])
def test_a_state_folder_that_is_not_safe_is_refused(monkeypatch, tmp_path, problem):
    home = tmp_path / problem
    if problem == "link":
        home.symlink_to(tmp_path)
    elif problem == "writable":
        home.mkdir()
        home.chmod(0o770)
    monkeypatch.setenv("DRDEPLOY_LOCAL_HOME", str(home))
    with pytest.raises(InvalidInput, match="DRDEPLOY_LOCAL_HOME"):
        LocalService(isolation="process")
