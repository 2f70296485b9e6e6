"""No member of a request is accepted without effect: each is honoured, or refused by its name."""

import pytest
from botocore.exceptions import ClientError
from local_aws import ROLE

from drdeploy.hosting.local.api.policy_simulator import SIMULATIONS
from drdeploy.hosting.local.api.request_validation import load_service_model
from drdeploy.hosting.local.api_errors import ApiError
from drdeploy.hosting.local.served_members import SERVED_MEMBERS, refuse_unserved_members

HONOURED = {
    # path: what it has an effect on
    "CreateModel": {
        "ModelName": "the name",
        "ExecutionRoleArn": "test_iam_policies",
        "Tags.Key": "ListTags",
        "Tags.Value": "ListTags",
        "EnableNetworkIsolation": "test_networks",
        "InferenceExecutionConfig.Mode": "Serial is how one container is called",
        **{
            f"{which}.{member}": effect
            for which in ("PrimaryContainer", "Containers")
            for member, effect in {
                "ContainerHostname": "DescribeModel; nothing else on AWS, with one container",
                "Environment": "test_processes, test_containers",
                "Image": "test_containers",
                "ImageConfig.RepositoryAccessMode": "Platform is where images come from",
                "Mode": "SingleModel is what is served",
                "ModelDataUrl": "test_lifecycle",
                "ModelDataSource.S3DataSource.S3Uri": "test_lifecycle",
                "ModelDataSource.S3DataSource.S3DataType": "test_lifecycle",
                "ModelDataSource.S3DataSource.CompressionType": "test_lifecycle",
            }.items()
        },
    },
    "CreateEndpointConfig": {
        "EndpointConfigName": "the name",
        "EnableNetworkIsolation": "test_networks",
        "KmsKeyId": "DescribeEndpointConfig",
        **{
            f"DataCaptureConfig.{member}": "test_data_capture"
            for member in (
                "CaptureContentTypeHeader.CsvContentTypes",
                "CaptureContentTypeHeader.JsonContentTypes",
                "CaptureOptions.CaptureMode",
                "DestinationS3Uri",
                "EnableCapture",
                "InitialSamplingPercentage",
                "KmsKeyId",
            )
        },
        **{
            f"AsyncInferenceConfig.{member}": "test_asynchronous"
            for member in (
                "ClientConfig.MaxConcurrentInvocationsPerInstance",
                "OutputConfig.KmsKeyId",
                "OutputConfig.NotificationConfig.ErrorTopic",
                "OutputConfig.NotificationConfig.IncludeInferenceResponseIn",
                "OutputConfig.NotificationConfig.SuccessTopic",
                "OutputConfig.S3FailurePath",
                "OutputConfig.S3OutputPath",
            )
        },
        "Tags.Key": "ListTags",
        "Tags.Value": "ListTags",
        "ProductionVariants.VariantName": "DescribeEndpoint, InvokeEndpoint",
        "ProductionVariants.ModelName": "what is served",
        "ProductionVariants.InitialInstanceCount": "test_lifecycle",
        "ProductionVariants.InstanceType": "memory and CPU",
        "ProductionVariants.InferenceAmiVersion": "test_gpu",
        "ProductionVariants.InitialVariantWeight": "test_invocations",
        "ProductionVariants.ContainerStartupHealthCheckTimeoutInSeconds": "test_lifecycle",
        "ProductionVariants.RoutingConfig.RoutingStrategy": "test_invocations",
        "ExecutionRoleArn": "test_inference_components",
        **{
            f"ShadowProductionVariants.{member}": "test_shadow_variants"
            for member in (
                *("ContainerStartupHealthCheckTimeoutInSeconds", "InitialInstanceCount"),
                *("InferenceAmiVersion", "InitialVariantWeight", "InstanceType", "ModelName"),
                "VariantName",
                "RoutingConfig.RoutingStrategy",
            )
        },
        **{
            f"ProductionVariants.ManagedInstanceScaling.{member}": "test_inference_components"
            for member in (
                *("MaxInstanceCount", "MinInstanceCount", "Status"),
                "ScaleInPolicy.Strategy",
            )
        },
        "ProductionVariants.ServerlessConfig.MemorySizeInMB": "memory and CPU",
        "ProductionVariants.ServerlessConfig.MaxConcurrency": "test_invocations",
        "ProductionVariants.ServerlessConfig.ProvisionedConcurrency": "test_lifecycle",
    },
    "UpdateEndpointWeightsAndCapacities": {
        "EndpointName": "the name",
        "DesiredWeightsAndCapacities.VariantName": "which variant",
        "DesiredWeightsAndCapacities.DesiredWeight": "test_lifecycle",
        "DesiredWeightsAndCapacities.DesiredInstanceCount": "test_lifecycle",
        "DesiredWeightsAndCapacities.ServerlessUpdateConfig.MaxConcurrency": "test_lifecycle",
        "DesiredWeightsAndCapacities.ServerlessUpdateConfig.ProvisionedConcurrency": (
            "test_lifecycle"
        ),
    },
}
SPECIFICATION = dict.fromkeys(
    (
        *("RuntimeConfig.CopyCount", "InferenceComponentName"),
        *(
            f"Specification.{member}"
            for member in (
                "ComputeResourceRequirements.MaxMemoryRequiredInMb",
                "ComputeResourceRequirements.MinMemoryRequiredInMb",
                "ComputeResourceRequirements.NumberOfCpuCoresRequired",
                "Container.ArtifactUrl",
                "Container.Environment",
                "Container.Image",
                "DataCacheConfig.EnableCaching",
                "ModelName",
                "SchedulingConfig.PlacementStrategy",
                "StartupParameters.ContainerStartupHealthCheckTimeoutInSeconds",
                "StartupParameters.ModelDataDownloadTimeoutInSeconds",
            )
        ),
    ),
    "test_inference_components",
)
HONOURED["UpdateInferenceComponent"] = SPECIFICATION
HONOURED["CreateInferenceComponent"] = SPECIFICATION | dict.fromkeys(
    ("EndpointName", "VariantName", "Tags.Key", "Tags.Value"), "test_inference_components"
)
GUARDRAILS = {
    f"DeploymentConfig.{path}": "test_guardrails"
    for path in (
        "BlueGreenUpdatePolicy.TrafficRoutingConfiguration.Type",
        *(
            f"BlueGreenUpdatePolicy.TrafficRoutingConfiguration.{size}.{member}"
            for size in ("CanarySize", "LinearStepSize")
            for member in ("Type", "Value")
        ),
        *(
            f"RollingUpdatePolicy.{size}.{member}"
            for size in ("MaximumBatchSize", "RollbackMaximumBatchSize")
            for member in ("Type", "Value")
        ),
        "RollingUpdatePolicy.WaitIntervalInSeconds",
        "RollingUpdatePolicy.MaximumExecutionTimeoutInSeconds",
        "BlueGreenUpdatePolicy.TrafficRoutingConfiguration.WaitIntervalInSeconds",
        "BlueGreenUpdatePolicy.TerminationWaitInSeconds",
        "BlueGreenUpdatePolicy.MaximumExecutionTimeoutInSeconds",
        "AutoRollbackConfiguration.Alarms.AlarmName",
    )
}
NAMED = {"EndpointName": "the name", "EndpointConfigName": "what is served"}
HONOURED["CreateEndpoint"] = NAMED | GUARDRAILS | {"Tags.Key": "tags", "Tags.Value": "tags"}
HONOURED_SCALING = {
    operation: dict.fromkeys(
        (
            *("ResourceId", "ScalableDimension", "ServiceNamespace", "MinCapacity", "MaxCapacity"),
            *("PolicyName", "PolicyType", "RoleARN", "Tags"),
            *("Schedule", "ScheduledActionName", "StartTime", "EndTime", "Timezone"),
        ),
        "test_scaling",
    )
    for operation in ("PutScalingPolicy", "PutScheduledAction", "RegisterScalableTarget")
}
"""What Application Auto Scaling carries out, in ``test_scaling_acts``."""
SCALING_STRUCTURES = (
    "ScalableTargetAction.",
    "StepScalingPolicyConfiguration.",
    "SuspendedState.",
    "TargetTrackingScalingPolicyConfiguration.",
)
LABEL = "TargetTrackingScalingPolicyConfiguration.PredefinedMetricSpecification.ResourceLabel"
"""SageMaker's metrics have no label."""
RETAINED = {
    "ExcludeRetainedVariantProperties.VariantPropertyType": "test_guardrails",
    "RetainAllVariantProperties": "test_guardrails",
    "RetainDeploymentConfig": "test_guardrails",
}
HONOURED["CreateTransformJob"] = dict.fromkeys(
    (
        *("BatchStrategy", "Environment", "MaxConcurrentTransforms", "MaxPayloadInMB"),
        *("ModelName", "TransformJobName", "Tags.Key", "Tags.Value"),
        *(f"DataProcessing.{one}" for one in ("InputFilter", "JoinSource", "OutputFilter")),
        *("ModelClientConfig.InvocationsMaxRetries", "TransformResources.InstanceCount"),
        *("ModelClientConfig.InvocationsTimeoutInSeconds", "TransformResources.InstanceType"),
        *(f"TransformInput.{one}" for one in ("CompressionType", "ContentType", "SplitType")),
        *(f"TransformInput.DataSource.S3DataSource.{one}" for one in ("S3DataType", "S3Uri")),
        *(f"TransformOutput.{one}" for one in ("Accept", "AssembleWith", "KmsKeyId")),
        "TransformOutput.S3OutputPath",
    ),
    "test_transform_jobs, test_transform_parts",
)
HONOURED["UpdateEndpoint"] = NAMED | GUARDRAILS | RETAINED
SCALING = ("PutScalingPolicy", "PutScheduledAction", "RegisterScalableTarget")
SERVICE_OF = dict.fromkeys(SIMULATIONS, "iam") | dict.fromkeys(SCALING, "application-autoscaling")
"""The service of each operation that is not SageMaker's."""
HONOURED["SimulateCustomPolicy"] = dict.fromkeys(
    (
        *("ActionNames", "Marker", "MaxItems", "PermissionsBoundaryPolicyInputList"),
        *("PolicyInputList", "ResourceArns"),
        *(f"ContextEntries.ContextKey{end}" for end in ("Name", "Type", "Values")),
    ),
    "test_policy_simulator",
)
HONOURED["SimulatePrincipalPolicy"] = HONOURED["SimulateCustomPolicy"] | {
    "PolicySourceArn": "test_policy_simulator"
}

HONOURED["GetContextKeysForCustomPolicy"] = {"PolicyInputList": "test_policy_simulator"}
HONOURED["GetContextKeysForPrincipalPolicy"] = HONOURED["GetContextKeysForCustomPolicy"] | {
    "PolicySourceArn": "test_policy_simulator"
}

ONE_VALUE = {
    "InferenceExecutionConfig.Mode": "Serial",
    "PrimaryContainer.Mode": "SingleModel",
    "Containers.Mode": "SingleModel",
    "RepositoryAccessMode": "Platform",
    "TransformInput.DataSource.S3DataSource.S3DataType": "S3Prefix",
    "RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS",
    "ScaleInPolicy.Strategy": "IDLE_RELEASE",
}
"""Ends of the paths of members of which one value alone is honoured."""


def leaves(shape, path=""):
    """Every member of a shape that holds a value, with botocore's description of it."""
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            yield from leaves(member, f"{path}.{name}" if path else name)
    elif shape.type_name == "list" and shape.member.type_name == "structure":
        yield from leaves(shape.member, path)
    else:
        yield path, shape


def value_of(path, shape):
    for end, value in ONE_VALUE.items():
        if path.endswith(end):
            return value
    if shape.type_name == "string":
        return shape.enum[0] if shape.enum else "text"
    return {"boolean": True, "list": ["text"], "map": {"name": "text"}}.get(shape.type_name, 1)


def input_shape_of(operation):
    model = load_service_model(SERVICE_OF.get(operation, "sagemaker"))
    return model.operation_model(operation).input_shape


def request_with(operation, path, value):
    """A request that sets nothing but one member, lists and structures around it included."""
    shape = input_shape_of(operation)
    names = path.split(".")
    request = inner = {}
    for name in names[:-1]:
        shape = shape.members[name]
        made = {}
        if shape.type_name == "list":
            inner[name], shape = [made], shape.member
        else:
            inner[name] = made
        if name == "DataCaptureConfig":
            made["EnableCapture"] = True
        inner = made
    inner[names[-1]] = value
    return request


def every_member():
    return [
        pytest.param(operation, path, leaf, id=f"{operation}-{path}")
        for operation in SERVED_MEMBERS
        for path, leaf in leaves(input_shape_of(operation))
    ]


@pytest.mark.parametrize(("operation", "path", "leaf"), every_member())
def test_every_member_of_botocores_model_is_honoured_or_refused_by_its_name(operation, path, leaf):
    request = request_with(operation, path, value_of(path, leaf))
    is_scaling = operation in HONOURED_SCALING and path.startswith(SCALING_STRUCTURES)
    if (is_scaling and path != LABEL) or path in (HONOURED | HONOURED_SCALING)[operation]:
        refuse_unserved_members(operation, request)
        return
    with pytest.raises(ApiError) as caught:
        refuse_unserved_members(operation, request)
    assert caught.value.code == "ValidationException"
    first = path.split(".")[0]
    assert caught.value.message.startswith(f"The local service does not serve {first}")


def test_what_is_said_to_be_honoured_exists():
    for operation, members in HONOURED.items():
        shape = input_shape_of(operation)
        assert members.keys() <= {path for path, _ in leaves(shape)}


LISTED = {
    *("CreationTimeAfter", "CreationTimeBefore", "LastModifiedTimeAfter", "LastModifiedTimeBefore"),
    *("MaxResults", "NameContains", "NextToken", "SortBy", "SortOrder", "StatusEquals"),
}
"""What ``api.listing`` reads, which test_control_plane and test_lifecycle try."""


@pytest.mark.parametrize(
    "operation", ["ListEndpoints", "ListEndpointConfigs", "ListModels", "ListTransformJobs"]
)
def test_every_member_of_a_list_request_has_an_effect(operation):
    assert input_shape_of(operation).members.keys() <= LISTED


def test_a_value_that_is_not_served_is_refused_with_it():
    routing = {"RoutingConfig": {"RoutingStrategy": "KV_AWARE"}}
    with pytest.raises(ApiError) as caught:
        refuse_unserved_members("CreateEndpointConfig", {"ProductionVariants": [{}, routing]})
    assert caught.value.message == (
        "The local service does not serve "
        "ProductionVariants[2].RoutingConfig.RoutingStrategy='KV_AWARE'. "
        "Choose another value, or leave it out."
    )


def test_what_asks_for_nothing_is_no_reason_to_refuse():
    nothing = {
        "KmsKeyId": None,
        "VpcConfig": {},
        "ShadowProductionVariants": [],
        "ProductionVariants": [{"EnableSSMAccess": False}],
        "DataCaptureConfig": {"EnableCapture": False, "DestinationS3Uri": "s3://b"},
    }
    refuse_unserved_members("CreateEndpointConfig", nothing)


CROSS_REGION = {
    "MaxInvocationsPerSecondPerInstance": 1,
    "MaxCrossRegionPercentPerEndpoint": 1,
}


@pytest.mark.parametrize(
    ("operation", "request_part", "named"),
    [
        (
            "create_model",
            {"VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}},
            "VpcConfig",
        ),
        (
            "create_endpoint_config",
            {"CrossRegionTrafficConfig": CROSS_REGION},
            "CrossRegionTrafficConfig",
        ),
    ],
)
def test_a_client_reads_what_is_refused(aws, operation, request_part, named):
    name = aws.name()
    aws.model(name)
    variant = {"VariantName": "v", "ModelName": name, "InstanceType": "ml.m5.large"}
    requests = {
        "create_model": {
            "ModelName": aws.name(),
            "ExecutionRoleArn": ROLE,
            "PrimaryContainer": {"Image": "drdeploy:lean"},
        },
        "create_endpoint_config": {
            "EndpointConfigName": name,
            "ProductionVariants": [variant | {"InitialInstanceCount": 1}],
        },
    }
    with pytest.raises(ClientError) as caught:
        getattr(aws.sagemaker, operation)(**requests[operation], **request_part)
    error = caught.value.response["Error"]
    assert error["Code"] == "ValidationException"
    assert error["Message"] == f"The local service does not serve {named}. Leave it out."


FORWARDED = {
    "ContentType": "content-type",
    "Accept": "accept",
    "CustomAttributes": "x-amzn-sagemaker-custom-attributes",
    "InferenceId": "x-amzn-sagemaker-inference-id",
    "TargetVariant": "x-amzn-sagemaker-target-variant",
}
"""Each member of ``InvokeEndpoint`` with an effect, and the header that the model receives."""


@pytest.fixture(scope="module")
def invoked(aws):
    return aws.endpoint()


def list_optional_members_of_invoke_endpoint():
    shape = load_service_model("sagemaker-runtime").operation_model("InvokeEndpoint").input_shape
    return sorted(shape.members.keys() - {"EndpointName", "Body"})


@pytest.mark.parametrize("argument", list_optional_members_of_invoke_endpoint())
def test_every_member_of_an_invocation_reaches_the_model_or_is_refused_by_its_name(
    aws, invoked, argument
):
    value = "AllTraffic" if argument == "TargetVariant" else "a-1"
    if argument in FORWARDED:
        answer = aws.invoke(invoked, **{argument: value})
        assert answer["headers"][FORWARDED[argument]] == value
        return
    with pytest.raises(ClientError) as caught:
        aws.invoke(invoked, **{argument: value})
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    message = caught.value.response["Error"]["Message"]
    # The words of SageMaker, which does not write this member as one word.
    assert argument in message.replace("Inference Component Name", "InferenceComponentName")


def test_a_target_model_is_refused_as_sagemaker_refuses_it(aws, invoked):
    message = f"Endpoint {invoked} is not a multi-model endpoint and does not support target model"
    with pytest.raises(ClientError, match=message):
        aws.invoke(invoked, TargetModel="other.tar.gz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([{"DesiredInstanceCount": 2}], "DesiredInstanceCount does not apply"),
        ([{}], "must set DesiredWeight, DesiredInstanceCount or"),
        ([{"DesiredWeight": 1.0}, {"DesiredWeight": 2.0}], "AllTraffic occurs 2 times"),
    ],
)
def test_a_change_of_capacity_without_effect_is_refused(aws, invoked, changes, message):
    changes = [{"VariantName": "AllTraffic", **change} for change in changes]
    with pytest.raises(ClientError, match=message):
        aws.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=invoked, DesiredWeightsAndCapacities=changes
        )


def test_a_change_of_capacity_is_made_as_a_whole_or_not(aws, invoked):
    changes = [
        {"VariantName": "AllTraffic", "DesiredWeight": 7.0},
        {"VariantName": "absent", "DesiredWeight": 1.0},
    ]
    with pytest.raises(ClientError, match="Variant absent not found"):
        aws.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=invoked, DesiredWeightsAndCapacities=changes
        )
    variants = aws.sagemaker.describe_endpoint(EndpointName=invoked)["ProductionVariants"]
    assert variants[0]["CurrentWeight"] == 1.0
