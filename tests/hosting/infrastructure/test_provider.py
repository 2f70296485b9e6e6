"""The provider of the tests: whom it speaks to, what it reports, and that it ends."""

import json
import os
import shutil
import signal
import subprocess
import sys

import psutil
import pytest
from aws_provider import install_provider, provider_of
from aws_provider.aws import translated
from aws_provider.planning import plan_creation, plan_update, replaced_by
from aws_provider.plugin import COOKIE
from aws_provider.resources import DATA_SOURCES, RESOURCES
from aws_provider.schema import aws_schema
from aws_provider.values import UNKNOWN, decode, encode
from aws_provider.wire import message
from local_aws import Aws, archive, until
from terraform import INFRASTRUCTURE, Terraform, model

from drdeploy.errors import InvalidInput
from drdeploy.hosting.local import LocalService, ServiceOptions


@pytest.mark.parametrize(
    "url",
    [
        "https://sagemaker.us-east-1.amazonaws.com",
        "http://192.168.0.1:8765",
        "http://127.0.0.1.example.org:8765",
        "http://localhost@example.org",
    ],
)
def test_it_speaks_to_this_machine_only(url):
    with (
        pytest.raises(InvalidInput, match="speaks to this machine only"),
        provider_of(endpoint_url=url),
    ):
        pass


def test_terraform_does_not_kill_the_tests_when_the_provider_has_ended(terraform_program, tmp_path):
    """Where no provider answers, Terraform kills the process that is named as the provider's."""
    with provider_of(endpoint_url="http://127.0.0.1:9") as environment:
        (attached,) = json.loads(environment["TF_REATTACH_PROVIDERS"]).values()
        assert attached["Pid"] != os.getpid()
    folder = INFRASTRUCTURE / "modules" / "model"
    late = Terraform(folder, tmp_path / "work", environment)
    assert late.run("init", "-input=false", check=False) is not None
    assert late.run("validate", check=False).returncode != 0
    assert not psutil.pid_exists(attached["Pid"]), "the dummy process has ended"


def test_a_service_that_does_not_answer_is_reported_with_its_url(terraform_program, tmp_path):
    with provider_of(endpoint_url="http://127.0.0.1:9") as environment:
        folder = INFRASTRUCTURE / "environments" / "single-endpoint"
        terraform = Terraform(folder, tmp_path, environment, {"name_prefix": "dr-x"}).init()
        done = terraform.with_values("plan", check=False)
    assert done.returncode == 1
    assert "Could not connect to the endpoint URL" in " ".join(done.stderr.split())


def test_every_resource_that_the_modules_use_has_a_schema_and_a_handler():
    used = {
        line.split('"')[1]
        for file in INFRASTRUCTURE.glob("*/*/*.tf")
        for line in file.read_text().splitlines()
        if line.startswith('resource "')
    }
    schema = aws_schema()
    assert used <= set(schema.resources)
    # The local service has no public gallery: environments make none.
    assert used - set(RESOURCES) == {"aws_ecrpublic_repository"}
    assert set(RESOURCES) <= set(schema.resources)
    assert set(DATA_SOURCES) == set(schema.data_sources)


def test_the_schema_names_its_source_and_licence():
    file = INFRASTRUCTURE.parent / "tests/support/aws_provider/aws_schema.json"
    about = json.loads(file.read_text())["about"]
    assert "hashicorp/aws 6.25.0" in about
    assert "MPL-2.0" in about


def test_values_survive_the_wire():
    value = {"a": None, "b": [1, 2.5, "x", True], "c": {"d": UNKNOWN}}
    sent = message("DynamicValue")(msgpack=encode(value))
    assert decode(sent) == value
    assert decode(message("DynamicValue")(json=b'{"a": 1}')) == {"a": 1}
    assert decode(message("DynamicValue")()) is None


def test_what_is_computed_is_unknown_until_it_is_there():
    block = aws_schema().resources["aws_sagemaker_model"]
    config = dict.fromkeys(block.attributes) | {"name": "m", "primary_container": []}
    planned = plan_creation(block, dict(config), config)
    assert planned["name"] == "m"
    assert planned["arn"] is UNKNOWN
    assert planned["enable_network_isolation"] is None


def test_only_what_can_change_in_place_does():
    block = aws_schema().resources["aws_sagemaker_endpoint"]
    prior = dict.fromkeys(block.attributes) | {"name": "e", "endpoint_config_name": "old"}
    prior |= {"arn": "arn", "deployment_config": []}
    changed = prior | {"endpoint_config_name": "new"}
    in_place = RESOURCES["aws_sagemaker_endpoint"].in_place
    planned = plan_update(block, prior, changed, changed)
    assert planned["arn"] == "arn"
    assert replaced_by(block, prior, planned, in_place) == ()
    renamed = prior | {"name": "other"}
    assert replaced_by(block, prior, plan_update(block, prior, renamed, renamed), in_place) == (
        "name",
    )


def test_names_of_terraform_become_names_of_the_api():
    from drdeploy.hosting.local.api.request_validation import load_service_model

    operation = load_service_model("sagemaker").operation_model("CreateEndpointConfig")
    variant = {
        "variant_name": "AllTraffic",
        "model_name": "m",
        "instance_type": None,
        "serverless_config": [{"memory_size_in_mb": 1024.0, "max_concurrency": 1}],
    }
    values = {
        "endpoint_config_name": "c",
        "production_variants": [variant],
        "tags": {"clinic": "one"},
        "data_capture_config": [],
    }
    assert translated(operation.input_shape, values) == {
        "EndpointConfigName": "c",
        "ProductionVariants": [
            {
                "VariantName": "AllTraffic",
                "ModelName": "m",
                "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1},
            }
        ],
        "Tags": [{"Key": "clinic", "Value": "one"}],
    }


def test_importing_is_refused_in_one_sentence(environment):
    single = environment("single-endpoint", name_prefix="dr-import", model=model())
    done = single.with_values(
        "import",
        'module.deployment.module.model["model"].aws_sagemaker_model.this',
        "m",
        check=False,
    )
    assert done.returncode == 1
    assert "The test provider imports nothing" in " ".join(done.stderr.split())


def test_a_resource_that_the_local_service_lacks_is_reported(provider, tmp_path):
    folder = INFRASTRUCTURE / "modules" / "public-image-registry"
    public = Terraform(folder, tmp_path, provider, {"name": "drdeploy"}).init()
    done = public.with_values("apply", "-auto-approve", check=False)
    assert done.returncode == 1
    message = " ".join(done.stderr.split())
    assert "aws_ecrpublic_repository: The local service has no such resource" in message


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    return install_provider(tmp_path_factory.mktemp("provider"))


def by_itself(mirror, **environment):
    """Run the provider's program as Terraform would, and wait for its end."""
    (program,) = mirror.parent.rglob("terraform-provider-aws_v*")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(
        [program], env=clean | environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_terraform_installs_and_starts_it_from_a_mirror(service, terraform_program, tmp_path):
    configuration = tmp_path / "module"
    shutil.copytree(INFRASTRUCTURE / "modules" / "deployer-policy", configuration)
    environment = {
        "TF_CLI_CONFIG_FILE": str(install_provider(tmp_path / "provider")),
        "AWS_ENDPOINT_URL": service.url,
        "CHECKPOINT_DISABLE": "1",
    }
    values = {"name_prefix": "dr-hand"}
    terraform = Terraform(configuration, tmp_path / "work", environment, values).init()
    assert "dr-hand" in terraform.apply()["policy_json"]["hosting"]
    terraform.destroy()
    assert not terraform.has_resources()


def test_its_program_refuses_to_run_without_terraform(mirror):
    done = by_itself(mirror, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Terraform starts it" in done.stderr


@pytest.mark.parametrize("endpoint", [{}, {"AWS_ENDPOINT_URL": "https://example.org"}])
def test_its_program_refuses_to_speak_to_another_machine(mirror, endpoint):
    done = by_itself(mirror, TF_PLUGIN_MAGIC_COOKIE=COOKIE, **endpoint)
    assert (done.returncode, done.stdout) == (1, "")
    assert "speaks to this machine only" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_ends_when_terraform_was_killed(mirror):
    (program,) = mirror.parent.rglob("terraform-provider-aws_v*")
    environment = {"TF_PLUGIN_MAGIC_COOKIE": COOKIE, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    # A shell that starts it and is killed: its number is the line before the handshake.
    started = ["sh", "-c", f"{program} & echo $!; wait"]
    with subprocess.Popen(started, env=os.environ | environment, stdout=subprocess.PIPE) as shell:
        provider = psutil.Process(int(shell.stdout.readline()))
        assert shell.stdout.readline().startswith(b"1|6|unix|")
        shell.kill()
        until(lambda: not provider.is_running() or provider.status() == psutil.STATUS_ZOMBIE)


def test_ctrl_c_ends_the_wait_and_what_exists_can_be_destroyed(terraform_program, home, tmp_path):
    never_ready = (sys.executable, "-c", "import time; time.sleep(600)")
    options = ServiceOptions(mb_per_vcpu=512, trial_start=True)
    folder = INFRASTRUCTURE / "environments" / "single-endpoint"
    with (
        LocalService(0, isolation="process", options=options, server_command=never_ready) as it,
        provider_of(endpoint_url=it.url) as environment,
    ):
        aws = Aws.at(it.url)
        single = Terraform(
            folder, tmp_path, environment, {"name_prefix": "dr-break", "force_destroy": True}
        ).init()
        bucket = single.apply()["artifact_bucket"]
        key = f"artifacts/{'cd' * 8}/model.tar.gz"
        aws.s3.put_object(Bucket=bucket, Key=key, Body=archive())
        single.values |= {
            "model": model() | {"model_data_url": f"s3://{bucket}/{key}"},
            "endpoint": {"kind": "serverless", "memory_mb": 1024},
        }
        with single.started("apply", "-auto-approve") as process:
            until(lambda: "dr-break" in str(aws.sagemaker.list_endpoints()["Endpoints"]))
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=120)
        assert process.returncode == 1
        assert "Interrupted before the endpoint had settled" in " ".join(output.split())
        single.destroy()
        assert "dr-break" not in str(aws.sagemaker.list_endpoints()["Endpoints"])
