"""List the request members that have an effect in the local service, and refuse all others.

A request must not succeed if one of its members has no effect. A user could otherwise believe that
an endpoint is isolated from networks, or that its disk is encrypted. Each operation has a table of
the members that have an effect. Every other member in botocore's service model is refused, and the
error names the member. For every member, values that ask for nothing are accepted: ``null``,
``false``, and an empty text, list or structure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.local.api_errors import make_not_served_error

if TYPE_CHECKING:
    from collections.abc import Iterator

CREATE_MODEL = "CreateModel"
ANY = None
"""The entry of a member that may have any value."""

Members = Mapping[str, Any]
"""A table of members. The entry of a member is ``ANY``, the set of values that have an effect, or
another table. If the entry is a table, it lists the members of a structure, or of each structure in
a list."""

_TAGS: Members = {"Key": ANY, "Value": ANY}

_CONTAINER: Members = {
    "ContainerHostname": ANY,  # shown, but unused, as on AWS if there is one container
    "Environment": ANY,
    "Image": ANY,
    "ImageConfig": {"RepositoryAccessMode": {"Platform"}},
    "Mode": {"SingleModel"},
    "ModelDataSource": {"S3DataSource": {"S3Uri": ANY, "S3DataType": ANY, "CompressionType": ANY}},
    "ModelDataUrl": ANY,
}
_CAPACITY: Members = {"Type": ANY, "Value": ANY}
_BLUE_GREEN: Members = {
    "TrafficRoutingConfiguration": {
        "CanarySize": _CAPACITY,
        "LinearStepSize": _CAPACITY,
        "Type": ANY,
        "WaitIntervalInSeconds": ANY,
    },
    "TerminationWaitInSeconds": ANY,
    "MaximumExecutionTimeoutInSeconds": ANY,
}
_CAPTURE: Members = {
    "CaptureContentTypeHeader": {"CsvContentTypes": ANY, "JsonContentTypes": ANY},
    "CaptureOptions": {"CaptureMode": ANY},
    "DestinationS3Uri": ANY,
    "EnableCapture": ANY,
    "InitialSamplingPercentage": ANY,
    "KmsKeyId": ANY,
}
_ASYNCHRONOUS: Members = {
    "ClientConfig": {"MaxConcurrentInvocationsPerInstance": ANY},
    "OutputConfig": {
        "KmsKeyId": ANY,
        "NotificationConfig": {
            "ErrorTopic": ANY,
            "IncludeInferenceResponseIn": ANY,
            "SuccessTopic": ANY,
        },
        "S3FailurePath": ANY,
        "S3OutputPath": ANY,
    },
}
_DEPLOYMENT: Members = {
    "BlueGreenUpdatePolicy": _BLUE_GREEN,
    "RollingUpdatePolicy": {
        "MaximumBatchSize": _CAPACITY,
        "MaximumExecutionTimeoutInSeconds": ANY,
        "RollbackMaximumBatchSize": _CAPACITY,
        "WaitIntervalInSeconds": ANY,
    },
    "AutoRollbackConfiguration": {"Alarms": {"AlarmName": ANY}},
}
_SERVERLESS: Members = {
    "MaxConcurrency": ANY,
    "MemorySizeInMB": ANY,
    "ProvisionedConcurrency": ANY,
}
_VARIANT: Members = {
    "ContainerStartupHealthCheckTimeoutInSeconds": ANY,
    "InferenceAmiVersion": ANY,  # compared with the instance type and the image
    "InitialInstanceCount": ANY,
    "InitialVariantWeight": ANY,
    "InstanceType": ANY,
    "ModelName": ANY,
    "ManagedInstanceScaling": {
        "MaxInstanceCount": ANY,
        "MinInstanceCount": ANY,
        "ScaleInPolicy": {"Strategy": {"IDLE_RELEASE"}},
        "Status": ANY,
    },
    "RoutingConfig": {"RoutingStrategy": {"LEAST_OUTSTANDING_REQUESTS", "RANDOM"}},
    "ServerlessConfig": _SERVERLESS,
    "VariantName": ANY,
}

_TRANSFORM_JOB: Members = {
    "BatchStrategy": ANY,
    "DataProcessing": {"InputFilter": ANY, "JoinSource": ANY, "OutputFilter": ANY},
    "Environment": ANY,
    "MaxConcurrentTransforms": ANY,
    "MaxPayloadInMB": ANY,
    "ModelClientConfig": {"InvocationsMaxRetries": ANY, "InvocationsTimeoutInSeconds": ANY},
    "ModelName": ANY,
    "Tags": _TAGS,
    "TransformInput": {
        "CompressionType": ANY,
        "ContentType": ANY,
        "DataSource": {"S3DataSource": {"S3DataType": {"ManifestFile", "S3Prefix"}, "S3Uri": ANY}},
        "SplitType": ANY,
    },
    "TransformJobName": ANY,
    "TransformOutput": {"Accept": ANY, "AssembleWith": ANY, "KmsKeyId": ANY, "S3OutputPath": ANY},
    "TransformResources": {"InstanceCount": ANY, "InstanceType": ANY},
}

_SHADOW: Members = {
    member: entry
    for member, entry in _VARIANT.items()
    if member not in {"ManagedInstanceScaling", "ServerlessConfig"}
}

_COMPONENT: Members = {
    "ComputeResourceRequirements": {
        "MaxMemoryRequiredInMb": ANY,
        "MinMemoryRequiredInMb": ANY,
        "NumberOfCpuCoresRequired": ANY,
    },
    "Container": {"ArtifactUrl": ANY, "Environment": ANY, "Image": ANY},
    # Caching changes nothing here, because everything that an instance needs is on this machine.
    "DataCacheConfig": {"EnableCaching": ANY},
    "ModelName": ANY,
    "SchedulingConfig": {"PlacementStrategy": ANY},
    "StartupParameters": {
        "ContainerStartupHealthCheckTimeoutInSeconds": ANY,
        "ModelDataDownloadTimeoutInSeconds": ANY,
    },
}

_SIMULATION: Members = {
    "ActionNames": ANY,
    "ContextEntries": {"ContextKeyName": ANY, "ContextKeyType": ANY, "ContextKeyValues": ANY},
    "Marker": ANY,
    "MaxItems": ANY,
    "PermissionsBoundaryPolicyInputList": ANY,
    "PolicyInputList": ANY,
    "ResourceArns": ANY,
}

_SCALED: Members = {"ResourceId": ANY, "ScalableDimension": ANY, "ServiceNamespace": ANY}
_BOUNDS: Members = {"MaxCapacity": ANY, "MinCapacity": ANY}
_TRACKING: Members = {
    "CustomizedMetricSpecification": ANY,
    "DisableScaleIn": ANY,
    "PredefinedMetricSpecification": {"PredefinedMetricType": ANY},
    "ScaleInCooldown": ANY,
    "ScaleOutCooldown": ANY,
    "TargetValue": ANY,
}

SERVED_MEMBERS: Mapping[str, Members] = {
    CREATE_MODEL: {
        "Containers": _CONTAINER,
        "EnableNetworkIsolation": ANY,
        "ExecutionRoleArn": ANY,
        "InferenceExecutionConfig": {"Mode": {"Serial"}},
        "ModelName": ANY,
        "PrimaryContainer": _CONTAINER,
        "Tags": _TAGS,
    },
    "CreateEndpointConfig": {
        "AsyncInferenceConfig": _ASYNCHRONOUS,
        "DataCaptureConfig": _CAPTURE,
        "KmsKeyId": ANY,
        "EnableNetworkIsolation": ANY,
        "EndpointConfigName": ANY,
        "ExecutionRoleArn": ANY,
        "ProductionVariants": _VARIANT,
        "ShadowProductionVariants": _SHADOW,
        "Tags": _TAGS,
    },
    "CreateEndpoint": {
        "DeploymentConfig": _DEPLOYMENT,
        "EndpointConfigName": ANY,
        "EndpointName": ANY,
        "Tags": _TAGS,
    },
    "CreateTransformJob": _TRANSFORM_JOB,
    "UpdateEndpoint": {
        "DeploymentConfig": _DEPLOYMENT,
        "EndpointConfigName": ANY,
        "EndpointName": ANY,
        "ExcludeRetainedVariantProperties": {
            # AWS, too, retains no DataCaptureConfig ("not currently supported").
            "VariantPropertyType": {"DesiredInstanceCount", "DesiredWeight"}
        },
        "RetainAllVariantProperties": ANY,
        "RetainDeploymentConfig": ANY,
    },
    "UpdateEndpointWeightsAndCapacities": {
        "DesiredWeightsAndCapacities": {
            "DesiredInstanceCount": ANY,
            "DesiredWeight": ANY,
            "ServerlessUpdateConfig": {"MaxConcurrency": ANY, "ProvisionedConcurrency": ANY},
            "VariantName": ANY,
        },
        "EndpointName": ANY,
    },
    "CreateInferenceComponent": {
        "EndpointName": ANY,
        "InferenceComponentName": ANY,
        "RuntimeConfig": {"CopyCount": ANY},
        "Specification": _COMPONENT,
        "Tags": _TAGS,
        "VariantName": ANY,
    },
    "UpdateInferenceComponent": {
        "InferenceComponentName": ANY,
        "RuntimeConfig": {"CopyCount": ANY},
        "Specification": _COMPONENT,
    },
    "PutScalingPolicy": {
        **_SCALED,
        "PolicyName": ANY,
        "PolicyType": ANY,
        "StepScalingPolicyConfiguration": ANY,
        "TargetTrackingScalingPolicyConfiguration": _TRACKING,
    },
    "PutScheduledAction": {
        **_SCALED,
        "EndTime": ANY,
        "ScalableTargetAction": _BOUNDS,
        "Schedule": ANY,
        "ScheduledActionName": ANY,
        "StartTime": ANY,
        "Timezone": ANY,
    },
    "RegisterScalableTarget": {
        **_SCALED,
        **_BOUNDS,
        "RoleARN": ANY,
        "SuspendedState": ANY,
        "Tags": ANY,
    },
    "GetContextKeysForCustomPolicy": {"PolicyInputList": ANY},
    "GetContextKeysForPrincipalPolicy": {"PolicyInputList": ANY, "PolicySourceArn": ANY},
    "SimulateCustomPolicy": _SIMULATION,
    "SimulatePrincipalPolicy": {**_SIMULATION, "PolicySourceArn": ANY},
}
"""The table of served members for each operation that sets up a model, an endpoint, a transform job
or scaling, or that simulates IAM policies. The tables of all other operations are in
``served_operations``.
"""


_MULTI_MODEL = (
    "a multi-model endpoint: create a model for each archive, and an endpoint or an inference "
    "component for each model"
)
REMEDIES: Mapping[str, str] = {
    "PrimaryContainer.Mode": _MULTI_MODEL,
    "PrimaryContainer.MultiModelConfig": _MULTI_MODEL,
    "Containers.Mode": _MULTI_MODEL,
    "Containers.MultiModelConfig": _MULTI_MODEL,
    "InferenceExecutionConfig.Mode": (
        "direct invocation of several containers: leave InferenceExecutionConfig out, because the "
        "model has one container"
    ),
}
"""Members of ``CreateModel`` that ask for a kind of endpoint that is not served, each with the name
of that kind, and what to do instead.
"""


def refuse_unserved_members(operation: str, request: Members) -> None:
    """Refuse a request that sets a member without an effect in the local service.

    Raises:
        ApiError: A member is not served; the message names the member and what to do instead.
    """
    for refused in find_unserved_members(SERVED_MEMBERS[operation], request):
        raise make_not_served_error(describe_unserved_member(operation, refused))


def describe_unserved_member(operation: str, refused: str) -> str:
    """Return a text that names an unserved member and what to do instead, without a full stop.

    Args:
        operation: The name of the operation.
        refused: The path of the member, as :func:`find_unserved_members` yields it.
    """
    member = re.sub(r"\[\d+\]|=.*", "", refused)
    remedy = REMEDIES.get(member) if operation == CREATE_MODEL else None
    if remedy:
        return f"{refused}, {remedy}"
    what = "Choose another value, or leave it out" if "=" in refused else "Leave it out"
    return f"{refused}. {what}"


def find_unserved_members(served: Members, value: Any, path: str = "") -> Iterator[str]:
    """Yield the path of each refused member of a request.

    If the member is served, but not with this value, ``=`` and the value follow the path.

    Args:
        served: The table of the members that are served.
        value: A whole request, or a structure in it.
        path: The path of the structure in the request, with a dot at its end.
    """
    if not isinstance(value, Mapping):
        return  # a value of the wrong type is refused elsewhere
    for name, inner in value.items():
        where = f"{path}{name}"
        if not _does_value_ask_for_something(name, inner):
            continue
        if name not in served:
            yield where
            continue
        for number, item in enumerate(inner if isinstance(inner, list) else [inner], start=1):
            position = f"[{number}]" if isinstance(inner, list) else ""
            if isinstance(served[name], Mapping):
                yield from find_unserved_members(served[name], item, f"{where}{position}.")
            elif served[name] is not ANY and item not in tuple(served[name]):
                yield f"{where}{position}={item!r}"


def _does_value_ask_for_something(name: str, value: Any) -> bool:
    if name == "DataCaptureConfig" and value and value.get("EnableCapture") is False:
        return False  # SageMaker requires the other members even if capture is off
    return value is not None and value is not False and value not in ([], {}, "")
