"""Every operation and member that botocore knows is served, or refused with its sentence."""

import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import botocore.loaders
import botocore.model
import pytest
from botocore.exceptions import ClientError
from local_aws import ROLE, client

from drdeploy.hosting.local.api.control_plane import ControlPlane
from drdeploy.hosting.local.api.operation_coverage import (
    SERVICES,
    list_operation_answers,
    make_example_value_of_shape,
    make_request_with_member,
)
from drdeploy.hosting.local.api.served_operations import SERVED_OPERATIONS
from drdeploy.hosting.local.resource_store import AccountRegion

PAGE = Path(__file__).parents[3] / "docs/reference/local-service.md"


@cache
def load_model(service):
    description = botocore.loaders.Loader().load_service_model(service, "service-2")
    return botocore.model.ServiceModel(description, service)


def leaves(shape, path=""):
    if shape.type_name == "list" and shape.member.type_name == "structure":
        shape = shape.member
    if shape.type_name != "structure" or not shape.members:
        yield path, shape
        return
    for name, member in shape.members.items():
        yield from leaves(member, f"{path}.{name}" if path else name)


def leaves_of(service, operation):
    shape = load_model(service).operation_model(operation).input_shape
    return dict(leaves(shape)) if shape and shape.members else {}


@pytest.fixture(scope="module")
def sections():
    """The rows of each table of the page, by the table's heading: the answer to each name."""
    parts = re.split(r"^##+ (.+)\n", PAGE.read_text(), flags=re.MULTILINE)[1:]
    return {
        title: dict(re.findall(r"^\| `([\w.]+)` \| (.*) \|$", text, re.MULTILINE))
        for title, text in zip(parts[::2], parts[1::2], strict=True)
    }


@pytest.mark.parametrize("service_name", SERVICES)
def test_every_operation_of_botocores_model_is_on_the_page_with_its_answer(service_name, sections):
    text = PAGE.read_text().partition(f"\n## {service_name}\n")[2].partition("\n### ")[0]
    listed = set(re.findall(r"`(\w+)`", text.partition("is the operation:")[2]))
    rows = sections[service_name]
    assert rows.keys() | listed == set(load_model(service_name).operation_names)
    assert not rows.keys() & listed
    for name, answer in rows.items():
        assert answer.startswith(("served: [", f"The local service does not serve {name}"))
        assert (f"{service_name} {name}" in sections) == answer.startswith("served")


@pytest.mark.parametrize("service_name", SERVICES)
def test_every_member_of_a_served_operation_is_on_the_page_with_its_answer(service_name, sections):
    for answer in list_operation_answers(service_name):
        if answer.refusal:
            continue
        rows = sections[f"{service_name} {answer.name}"]
        assert rows.keys() == leaves_of(service_name, answer.name).keys(), answer.name
        for path, said in rows.items():
            is_told = said == "served" or re.search(r"does not (serve|support)", said)
            assert is_told, f"{answer.name} {path}: {said!r}"
            assert "ignored" not in said


def test_the_tables_have_the_operations_that_sagemakers_control_plane_carries_out():
    plane = ControlPlane(AccountRegion("us-east-1"), SimpleNamespace(clock=None))
    assert set(plane._operations) == set(SERVED_OPERATIONS["sagemaker"])


def list_members(services, *, refused):
    return [
        pytest.param(service, answer.name, member, id=f"{service}-{answer.name}-{member.path}")
        for service in services
        for answer in list_operation_answers(service)
        for member in answer.members
        if bool(member.refusal) == refused
    ]


def send_refused(aws, service_name, operation, request):
    """Send a request that boto3 does not check, and return the error."""
    connection = client(service_name, aws.url, parameter_validation=False)
    with pytest.raises(ClientError) as caught:
        getattr(connection, botocore.xform_name(operation))(**request)
    assert 400 <= caught.value.response["ResponseMetadata"]["HTTPStatusCode"] < 500
    return caught.value.response["Error"]


@pytest.mark.parametrize(
    ("service_name", "operation", "member"), list_members(("cloudwatch", "logs"), refused=True)
)
def test_a_refused_member_of_a_simulated_service_gets_the_sentence_of_the_page(
    aws, sections, service_name, operation, member
):
    shape = leaves_of(service_name, operation)[member.path]
    value = "VALUE" if member.served_values else make_example_value_of_shape(shape)
    error = send_refused(
        aws,
        service_name,
        operation,
        make_request_with_member(service_name, operation, member.path, value),
    )
    assert error["Message"] == member.refusal
    assert sections[f"{service_name} {operation}"][member.path].endswith(error["Message"])
    assert error["Code"] in {"ValidationError", "InvalidParameterException"}


VARIANT = {
    "VariantName": "AllTraffic",
    "ModelName": "m",
    "InstanceType": "ml.m5.large",
    "InitialInstanceCount": 1,
}
MODEL = {"ModelName": "m", "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": "i"}}
CONFIG = {"EndpointConfigName": "c", "ProductionVariants": [VARIANT]}
TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/e/variant/v",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}


@pytest.mark.parametrize(
    ("service_name", "operation", "request_part", "path"),
    [
        ("sagemaker", "CreateModel", MODEL | {"VpcConfig": {
            "SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}}, "VpcConfig.Subnets"),
        ("sagemaker", "CreateModel", MODEL | {"PrimaryContainer": {
            "Image": "i", "MultiModelConfig": {"ModelCacheSetting": "Enabled"}}},
            "PrimaryContainer.MultiModelConfig.ModelCacheSetting"),
        ("sagemaker", "CreateEndpointConfig", CONFIG | {"ProductionVariants": [
            VARIANT | {"VolumeSizeInGB": 8}]}, "ProductionVariants.VolumeSizeInGB"),
        ("sagemaker", "CreateEndpointConfig", CONFIG | {"MetricsConfig": {
            "EnableEnhancedMetrics": True}}, "MetricsConfig.EnableEnhancedMetrics"),
        ("application-autoscaling", "PutScalingPolicy", TARGET | {
            "PolicyName": "p", "PredictiveScalingPolicyConfiguration": {"MetricSpecifications": [
                {"TargetValue": 1.0}]}},
            "PredictiveScalingPolicyConfiguration.MetricSpecifications.TargetValue"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_refused_member_gets_the_sentence_of_the_page(
    aws, sections, service_name, operation, request_part, path
):
    error = send_refused(aws, service_name, operation, request_part)
    assert error == error | {"Message": sections[f"{service_name} {operation}"][path]}
    assert error["Code"] == "ValidationException"


@pytest.fixture(scope="module")
def invoked(aws):
    return aws.endpoint()


@pytest.mark.parametrize(
    ("service_name", "operation", "member"), list_members(("sagemaker-runtime",), refused=True)
)
def test_a_refused_member_of_an_invocation_gets_the_sentence_of_the_page(
    aws, invoked, service_name, operation, member
):
    request = {"EndpointName": invoked, "Body": b"x", member.path: "a"}
    error = send_refused(aws, service_name, operation, request)
    assert error["Message"] == member.refusal.replace("NAME", invoked)


@pytest.mark.parametrize(
    ("service_name", "operation", "arguments"),
    [
        ("sagemaker", "GetEndpointPolicy", {}),
        ("application-autoscaling", "GetPredictiveScalingForecast", {}),
        ("cloudwatch", "PutInsightRule", {"RuleName": "r", "RuleDefinition": "{}"}),
        ("cloudwatch", "PutCompositeAlarm", {"AlarmName": "a", "AlarmRule": "TRUE"}),
        ("logs", "PutMetricFilter", {"logGroupName": "g"}),
        ("logs", "StartQuery", {"logGroupName": "g"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_refused_operation_gets_the_sentence_of_the_page(
    aws, sections, service_name, operation, arguments
):
    error = send_refused(aws, service_name, operation, arguments)
    assert error["Message"] == sections[service_name][operation]
    assert error["Code"] == "UnknownOperationException"
