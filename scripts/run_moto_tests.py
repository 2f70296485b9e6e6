"""Run moto's own tests of SageMaker and Application Auto Scaling against the local service.

Of moto's SageMaker tests, only those of models and endpoints are run.

moto and AWS disagree in places, and there the local service follows AWS. ``DISAGREEMENTS`` lists
every test of moto that the local service fails, with the reason. If a test outside the list fails,
or a test in the list passes, the script ends with status 1.

    git clone https://github.com/getmoto/moto
    python scripts/run_moto_tests.py moto
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = {
    "test_sagemaker": ("test_sagemaker_models.py", "test_sagemaker_endpoint.py"),
    "test_applicationautoscaling": (
        "__init__.py",
        "test_applicationautoscaling.py",
        "test_applicationautoscaling_policies.py",
        "test_validation.py",
    ),
    "test_dynamodb": ("__init__.py",),  # test_applicationautoscaling imports it
}
"""The files of moto's tests that are run, by folder."""

FRESH_SAGEMAKER = """
import os

import boto3
import pytest


def clear():
    url = os.environ["TEST_SERVER_MODE_ENDPOINT"]
    client = boto3.client("sagemaker", "us-east-1", endpoint_url=url)
    for one in client.list_endpoints(MaxResults=100)["Endpoints"]:
        client.delete_endpoint(EndpointName=one["EndpointName"])
        client.get_waiter("endpoint_deleted").wait(
            EndpointName=one["EndpointName"], WaiterConfig={"Delay": 1}
        )
    for one in client.list_endpoint_configs(MaxResults=100)["EndpointConfigs"]:
        client.delete_endpoint_config(EndpointConfigName=one["EndpointConfigName"])
    for one in client.list_models(MaxResults=100)["Models"]:
        client.delete_model(ModelName=one["ModelName"])


@pytest.fixture(autouse=True)
def fresh():
    clear()
    yield
"""
"""Code that deletes everything in the local service before each test, because moto's own reset does
not reach the service."""

FRESH_SCALING = """
import os

import boto3
import pytest

WHERE = {
    "region_name": "us-east-1",
    "endpoint_url": os.environ["TEST_SERVER_MODE_ENDPOINT"],
}


@pytest.fixture(autouse=True, scope="session")
def endpoint():
    client = boto3.client("sagemaker", **WHERE)
    client.create_model(
        ModelName="scaled",
        ExecutionRoleArn="arn:aws:iam::123456789012:role/scaled",
        PrimaryContainer={"Image": "drdeploy:lean", "ModelDataUrl": "s3://models/model.tar.gz"},
    )
    variant = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1, "ModelName": "scaled"}
    client.create_endpoint_config(
        EndpointConfigName="scaled",
        ProductionVariants=[{"VariantName": "MyVariant", **variant}],
    )
    client.create_endpoint(EndpointName="MyEndPoint", EndpointConfigName="scaled")
    client.get_waiter("endpoint_in_service").wait(
        EndpointName="MyEndPoint", WaiterConfig={"Delay": 1}
    )


@pytest.fixture(autouse=True)
def fresh(endpoint):
    client = boto3.client("application-autoscaling", **WHERE)
    names = ("ServiceNamespace", "ResourceId", "ScalableDimension")
    for target in client.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]:
        client.deregister_scalable_target(**{name: target[name] for name in names})
"""
"""Code that creates an endpoint before the tests, because moto's tests scale an endpoint but do not
create it. AWS and the local service refuse a target that does not exist."""

FRESH = {"test_sagemaker": FRESH_SAGEMAKER, "test_applicationautoscaling": FRESH_SCALING}

_TARGET = "endpoint/MyEndPoint/variant/MyVariant"
_DIMENSION = "sagemaker:variant:DesiredInstanceCount"

ADAPTATIONS = {
    "test_sagemaker": {
        # botocore's service model: an execution role is a role of IAM.
        "arn:aws:sagemaker:eu-west-1:000000000000:x-x/foobar": (
            "arn:aws:iam::123456789012:role/foobar"
        ),
        # SageMaker writes the name in an ARN in lower case.
        'rf"^arn': 'rf"(?i)^arn',
        # SageMaker refuses a model whose archive or image does not exist.
        "s3://MyBucket/model.tar.gz": "s3://models/model.tar.gz",
        "382416733822.dkr.ecr.us-east-1.amazonaws.com/factorization-machines:1": "drdeploy:lean",
    },
    # Most tests scale a service of ECS or a table of DynamoDB, which the local service does not
    # have. Where the namespace does not matter to what is tested, they scale an endpoint instead.
    "test_applicationautoscaling": {
        "create_service=True):\n    _ =": "create_service=True):\n    return\n    _ =",
        'DEFAULT_SERVICE_NAMESPACE = "ecs"': 'DEFAULT_SERVICE_NAMESPACE = "sagemaker"',
        'f"service/{DEFAULT_ECS_CLUSTER}/{DEFAULT_ECS_SERVICE}"': f'"{_TARGET}"',
        'DEFAULT_SCALABLE_DIMENSION = "ecs:service:DesiredCount"': (
            f'DEFAULT_SCALABLE_DIMENSION = "{_DIMENSION}"'
        ),
        "test:arn": "arn:aws:iam::123456789012:role/scaled",
        "@dynamodb_aws_verified()\n@pytest.mark.aws_verified\n": "@mock_aws\n",
        "            @dynamodb_aws_verified()\n": "",
        "scalable_target_with_dynamodb_table(table_name)": "scalable_target_with_dynamodb_table()",
        'namespace = "dynamodb"': 'namespace = "sagemaker"',
        '"ServiceNamespace"] == "dynamodb"': '"ServiceNamespace"] == "sagemaker"',
        'f"table/{table_name}"': f'"{_TARGET}"',
        "dynamodb/table/{table_name}:": f"sagemaker/{_TARGET}:",
        "dynamodb:table:ReadCapacityUnits": _DIMENSION,
        '["custom-resource", "dynamodb", "ecs"]': '["sagemaker"]',
        'ServiceNamespace="dynamodb"': 'ServiceNamespace="sagemaker"',
        "DynamoDBReadCapacityUtilization": "SageMakerVariantInvocationsPerInstance",
        # A policy of a DynamoDB table has two additional alarms, for sudden changes.
        '"Alarms"]) == 4': '"Alarms"]) == 2',
        "len(alarms) == 4": "len(alarms) == 2",
    },
}
"""Changes to the tests' text.

Each change removes one difference between moto and the local service. Without the change, a test
would fail at this difference, and the rest of the test would not run.
"""

_NO_IMAGE = (
    "moto accepts a model without a container, but SageMaker and the local service refuse such "
    "a model"
)
_NO_ARTIFACT = (
    "the model's archive does not exist. SageMaker and the local service refuse a model without "
    "its archive, and moto accepts it"
)
_NO_TARGET = (
    "moto stores a scheduled action without a schedule, or of a target that is not registered. "
    "AWS and the local service refuse both"
)
_OTHER_NAMESPACE = (
    "the test scales resources of other services than SageMaker. The local service offers only "
    "SageMaker's namespaces, and refuses others"
)
_PATH = "the message names the member's whole path (productionVariants.1.member.…), as SageMaker's"

DISAGREEMENTS = {
    "test_describe_scalable_targets_one_basic_ecs_success": (
        "moto registers a target without MinCapacity and MaxCapacity; AWS requires both (API "
        "reference, `RegisterScalableTarget`)"
    ),
    "test_describe_scalable_targets_only_return_ecs_targets": _OTHER_NAMESPACE,
    "test_describe_scalable_targets_next_token_success": _OTHER_NAMESPACE,
    "test_register_scalable_target_resource_id_variations": _OTHER_NAMESPACE,
    "test_delete_scheduled_action": _NO_TARGET,
    "test_describe_scheduled_actions": _NO_TARGET,
    "test_put_scheduled_action__use_update": _NO_TARGET,
    "test_describe_scaling_policy_with_ecs_alarms": _OTHER_NAMESPACE,
    "test_register_scalable_target_ecs_with_non_existent_service_should_return_"
    "clusternotfound_exception": _OTHER_NAMESPACE,
    "test_delete_tags_endpoint": _NO_ARTIFACT,
    "test_add_tags_endpoint": _NO_ARTIFACT,
    "test_create_endpoint": _NO_ARTIFACT,
    "test_create_endpoint_config": _NO_ARTIFACT,
    "test_create_endpoint_config_serverless": _NO_ARTIFACT,
    "test_delete_endpoint_config": _NO_ARTIFACT,
    "test_delete_endpoint": _NO_ARTIFACT,
    "test_describe_model": _NO_IMAGE,
    "test_create_model": _NO_IMAGE,
    "test_delete_model": _NO_IMAGE,
    "test_list_models": _NO_IMAGE,
    "test_list_models_multiple": _NO_IMAGE,
    "test_add_tags_to_model": _NO_IMAGE,
    "test_delete_tags_from_model": _NO_IMAGE,
    "test_create_endpoint_config_async": _NO_ARTIFACT,
    "test_create_endpoint_invalid_instance_type": _PATH,
    "test_create_endpoint_invalid_memory_size": _PATH,
    "test_list_tags_endpoint": "the test adds more than the 50 tags that botocore allows",
    "test_update_endpoint_weights_and_capacities_one_variant": _NO_ARTIFACT,
    "test_update_endpoint_weights_and_capacities_two_variants": _NO_ARTIFACT,
    "test_update_endpoint_weights_and_capacities_should_throw_clienterror_no_variant": _NO_ARTIFACT,
    "test_update_endpoint_weights_and_capacities_should_throw_clienterror_no_endpoint": (
        "SageMaker writes the name in an ARN in lower case"
    ),
    "test_update_endpoint_weights_and_capacities_should_throw_clienterror_nonunique_variant": (
        _NO_ARTIFACT
    ),
    "test_list_endpoints": "moto lists the oldest first; SageMaker's default order is Descending",
    "test_list_endpoints_filters": "the test sorts by `name`; botocore's service model has `Name`",
    "test_list_endpoint_configs": (
        "moto lists the oldest first; SageMaker's default order is Descending"
    ),
    "test_list_endpoint_configs_filters": (
        "the test sorts by `name`; botocore's service model has `Name`"
    ),
}
"""The tests of moto that the local service fails, each with the reason."""


def main() -> int:
    """Run the tests and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path, help="a checkout of getmoto/moto")
    tests = parser.parse_args().checkout / "tests"
    with tempfile.TemporaryDirectory(prefix="drd-") as folder:
        outcomes = run_tests(tests, Path(folder))
    unexpected = 0
    for name, message in outcomes.items():
        reason = DISAGREEMENTS.get(name)
        is_unexpected = bool(message) != (reason is not None)
        unexpected += is_unexpected
        verdict = "fails" if message else "passes"
        sys.stdout.write(f"{'!' if is_unexpected else ' '} {name} {verdict}: {reason or message}\n")
    failed = sum(bool(message) for message in outcomes.values())
    sys.stdout.write(f"{len(outcomes)} tests, {failed} fail, {unexpected} contradict the list\n")
    return 1 if unexpected or not outcomes else 0


def run_tests(tests: Path, folder: Path) -> dict[str, str]:
    """Run the tests; return each test's failure message, which is empty if the test passes."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from local_aws import FAKE_SERVER, Aws

    from drdeploy.hosting.local import LocalService, ServiceOptions

    for package, names in FILES.items():
        copy_package(tests / package, folder / "tests" / package, names)
        (folder / "tests" / package / "conftest.py").write_text(FRESH.get(package, ""))
    options = ServiceOptions(trial_start=False)
    with LocalService(isolation="process", options=options, server_command=FAKE_SERVER) as service:
        Aws.at(service.url).put_archive()
        environment = os.environ | {
            "TEST_SERVER_MODE": "true",
            "TEST_SERVER_MODE_ENDPOINT": service.url,
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
        }
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--junitxml=report.xml", "tests"],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            check=False,
        )
    return read_outcomes(folder / "report.xml")


def copy_package(source: Path, target: Path, names: tuple[str, ...]) -> None:
    """Copy the test files of one of moto's packages, and adapt them to the local service."""
    target.mkdir(parents=True)
    for init in (target.parent, target):
        (init / "__init__.py").touch()
    for name in names:
        text = (source / name).read_text()
        for before, after in ADAPTATIONS.get(source.name, {}).items():
            text = text.replace(before, after)
        (target / name).write_text(text)


def read_outcomes(report: Path) -> dict[str, str]:
    """Return each test's failure message from the report; it is empty if the test passes."""
    outcomes = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  written just now
        problem = case.find("failure")
        problem = case.find("error") if problem is None else problem
        message = "" if problem is None else (problem.get("message") or "error").splitlines()[0]
        outcomes[case.get("name", "")] = message
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
