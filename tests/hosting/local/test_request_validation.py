"""Requests are validated against botocore's service model, with AWS's messages."""

import pytest

from drdeploy.hosting.local.api import policy_simulator, scaling
from drdeploy.hosting.local.api.request_validation import (
    compile_java_pattern,
    load_service_model,
    refuse_invalid_request,
    refuse_invalid_value,
)
from drdeploy.hosting.local.api_errors import ApiError

VARIANT = "productionVariants.1.member"
OPERATIONS = (
    "CreateModel",
    "CreateEndpointConfig",
    "CreateEndpoint",
    "UpdateEndpoint",
    "UpdateEndpointWeightsAndCapacities",
    "ListEndpoints",
    "AddTags",
)


def refusal(operation, request):
    with pytest.raises(ApiError) as caught:
        refuse_invalid_request(load_service_model("sagemaker").operation_model(operation), request)
    return caught.value


def config(**variant):
    variant = {"VariantName": "v", "ModelName": "m"} | variant
    return {"EndpointConfigName": "c", "ProductionVariants": [variant]}


def test_a_number_over_its_maximum_is_named_with_its_path():
    serverless = {"MemorySizeInMB": 1024, "MaxConcurrency": 5000}
    error = refusal("CreateEndpointConfig", config(ServerlessConfig=serverless))
    assert error.code == "ValidationException"
    assert error.message == (
        f"1 validation error detected: Value '5000' at '{VARIANT}.serverlessConfig.maxConcurrency'"
        " failed to satisfy constraint: Member must have value less than or equal to 200"
    )


def test_a_number_under_its_minimum_is_refused():
    serverless = {"MemorySizeInMB": 512, "MaxConcurrency": 1}
    error = refusal("CreateEndpointConfig", config(ServerlessConfig=serverless))
    assert "greater than or equal to 1024" in error.message


def test_every_violation_is_reported_at_once():
    serverless = {"MemorySizeInMB": 8000, "MaxConcurrency": 0}
    error = refusal("CreateEndpointConfig", config(ServerlessConfig=serverless))
    assert error.message.startswith("2 validation errors detected: ")
    assert "memorySizeInMB" in error.message
    assert "maxConcurrency" in error.message


def test_a_missing_member_must_not_be_null():
    error = refusal("CreateEndpoint", {"EndpointName": "e"})
    assert "Value null at 'endpointConfigName'" in error.message
    assert error.message.endswith("Member must not be null")


def test_null_counts_as_missing():
    error = refusal("CreateEndpoint", {"EndpointName": "e", "EndpointConfigName": None})
    assert "Member must not be null" in error.message


def test_a_name_outside_its_pattern_is_refused():
    error = refusal("CreateEndpoint", {"EndpointName": "no spaces", "EndpointConfigName": "c"})
    assert "Member must satisfy regular expression pattern: [a-zA-Z0-9]" in error.message


def test_the_error_of_an_unknown_instance_type_lists_the_known_ones():
    error = refusal("CreateEndpointConfig", config(InstanceType="ml.x9.huge"))
    values = error.message.rpartition("Member must satisfy enum value set: [")[2].split("]")[0]
    assert "ml.m5.xlarge" in values
    assert values.split(", ") == sorted(values.split(", "))


def test_a_list_over_its_length_is_refused():
    request = config() | {"ProductionVariants": [{"VariantName": f"v{i}"} for i in range(11)]}
    error = refusal("CreateEndpointConfig", request)
    assert "at 'productionVariants' failed" in error.message
    assert "length less than or equal to 10" in error.message


def test_values_within_a_map_are_checked():
    container = {"Image": "i", "Environment": {"NOT-A-NAME": "x"}}
    error = refusal("CreateModel", {"ModelName": "m", "PrimaryContainer": container})
    assert "'NOT-A-NAME' at 'primaryContainer.environment.key'" in error.message


@pytest.mark.parametrize("value", ["1024", 1024.5, True, [1024]])
def test_a_value_of_the_wrong_type_is_a_serialization_error(value):
    serverless = {"MemorySizeInMB": value, "MaxConcurrency": 1}
    error = refusal("CreateEndpointConfig", config(ServerlessConfig=serverless))
    assert error.code == "SerializationException"


def test_a_time_that_is_not_a_number_is_a_serialization_error():
    """A scheduled action with such a StartTime was stored, and broke the scaling of its target."""
    model = load_service_model("application-autoscaling").operation_model("PutScheduledAction")
    asked = {
        "ServiceNamespace": "sagemaker",
        "ScheduledActionName": "a",
        "ResourceId": "r",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        "StartTime": "2026-12-01T10:00:00Z",
    }
    with pytest.raises(ApiError, match="str at 'startTime' can not be converted to timestamp"):
        refuse_invalid_request(model, asked)
    refuse_invalid_request(model, asked | {"StartTime": 1796119200})


def test_a_valid_request_passes():
    serverless = {"MemorySizeInMB": 6144, "MaxConcurrency": 200, "ProvisionedConcurrency": 1}
    operation = load_service_model("sagemaker").operation_model("CreateEndpointConfig")
    refuse_invalid_request(operation, config(ServerlessConfig=serverless))


def test_every_pattern_of_the_served_operations_can_be_compiled():
    seen = set()

    def walk(shape):
        if shape.name in seen:
            return
        seen.add(shape.name)
        if "pattern" in shape.metadata:
            compile_java_pattern(shape.metadata["pattern"])
        for inner in [
            *getattr(shape, "members", {}).values(),
            *(getattr(shape, name) for name in ("member", "key", "value") if hasattr(shape, name)),
        ]:
            walk(inner)

    for name in OPERATIONS:
        walk(load_service_model("sagemaker").operation_model(name).input_shape)
    walk(load_service_model("sagemaker-runtime").operation_model("InvokeEndpoint").input_shape)
    for service, names in (
        ("application-autoscaling", sorted(scaling.CHECKED)),
        ("iam", policy_simulator.SIMULATIONS),
    ):
        for name in names:
            walk(load_service_model(service).operation_model(name).input_shape)
    assert len(seen) > 100


def test_character_classes_that_python_lacks_are_translated():
    assert compile_java_pattern(r"\p{ASCII}*").fullmatch("a b~")
    assert not compile_java_pattern(r"\p{ASCII}*").fullmatch("é")
    assert compile_java_pattern(r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)").fullmatch("grade é 4")
    assert not compile_java_pattern(r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)").fullmatch("a;b")


def test_the_message_of_a_bad_header_names_its_member():
    members = load_service_model("sagemaker-runtime").shape_for("InvokeEndpointInput").members
    with pytest.raises(ApiError, match="at 'customAttributes' failed"):
        refuse_invalid_value(members["CustomAttributes"], "x" * 1025, "CustomAttributes")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_a_serialization_error(value):
    error = refusal("CreateEndpointConfig", config(InitialVariantWeight=value))
    assert (error.code, "not a finite number" in error.message) == ("SerializationException", True)
