"""Models, endpoint configurations, endpoints, tags: stored, described, listed, refused."""

import pytest
from botocore.exceptions import ClientError
from local_aws import ROLE, client

ARN = "arn:aws:sagemaker:us-east-1:123456789012"
SERVERLESS = {"MemorySizeInMB": 1024, "MaxConcurrency": 1}


def refused(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


@pytest.fixture
def model(aws):
    name = aws.name()
    aws.model(name)
    return name


def test_a_model_is_described_as_it_was_created(aws):
    name = aws.name()
    aws.model(name, image="registry.example/drdeploy:lean", url="s3://models/a.tar.gz", A="1")
    described = aws.sagemaker.describe_model(ModelName=name)
    assert described["ModelArn"] == f"{ARN}:model/{name}"
    assert described["ExecutionRoleArn"] == ROLE
    assert described["PrimaryContainer"] == {
        "Image": "registry.example/drdeploy:lean",
        "ModelDataUrl": "s3://models/a.tar.gz",
        "Environment": {"A": "1"},
    }


def test_a_configuration_is_described_as_it_was_created(aws, model):
    aws.config(model, ServerlessConfig=SERVERLESS)
    described = aws.sagemaker.describe_endpoint_config(EndpointConfigName=model)
    assert described["EndpointConfigArn"] == f"{ARN}:endpoint-config/{model}"
    assert described["ProductionVariants"][0]["ServerlessConfig"] == SERVERLESS


def test_deleted_resources_are_gone(aws, model):
    aws.config(model)
    aws.sagemaker.delete_endpoint_config(EndpointConfigName=model)
    aws.sagemaker.delete_model(ModelName=model)
    code, message = refused(aws.sagemaker.describe_model, ModelName=model)
    assert (code, message) == (
        "ValidationException",
        f'Could not find model "{ARN}:model/{model}".',
    )
    code, message = refused(aws.sagemaker.describe_endpoint_config, EndpointConfigName=model)
    assert code == "ValidationException"
    assert "Could not find endpoint configuration" in message


@pytest.mark.parametrize("operation", ["describe_endpoint", "delete_endpoint"])
def test_an_unknown_endpoint_is_not_found(aws, operation):
    code, message = refused(getattr(aws.sagemaker, operation), EndpointName="absent")
    assert code == "ValidationException"
    assert message == f'Could not find endpoint "{ARN}:endpoint/absent".'


def test_a_taken_name_is_refused_whatever_its_case(aws, model):
    code, message = refused(
        aws.sagemaker.create_model,
        ModelName=model.upper(),
        ExecutionRoleArn=ROLE,
        PrimaryContainer={"Image": "drdeploy:lean"},
    )
    assert code == "ValidationException"
    assert message.startswith("Cannot create already existing model")


def test_a_configuration_of_an_unknown_model_is_refused(aws):
    variant = {"VariantName": "v", "ModelName": "absent", "ServerlessConfig": SERVERLESS}
    code, message = refused(
        aws.sagemaker.create_endpoint_config,
        EndpointConfigName=aws.name(),
        ProductionVariants=[variant],
    )
    assert code == "ValidationException"
    assert "Could not find model" in message


def test_an_endpoint_of_an_unknown_configuration_is_refused(aws):
    code, message = refused(
        aws.sagemaker.create_endpoint, EndpointName=aws.name(), EndpointConfigName="absent"
    )
    assert code == "ValidationException"
    assert "Could not find endpoint configuration" in message


def config_refusal(aws, model, **request):
    variant = request.pop("variant", {"ServerlessConfig": SERVERLESS})
    variants = request.pop(
        "variants", [{"VariantName": "AllTraffic", "ModelName": model} | variant]
    )
    return refused(
        aws.sagemaker.create_endpoint_config,
        EndpointConfigName=aws.name(),
        ProductionVariants=variants,
        **request,
    )


def test_memory_between_the_steps_is_refused(aws, model):
    serverless = {"MemorySizeInMB": 1500, "MaxConcurrency": 1}
    code, message = config_refusal(aws, model, variant={"ServerlessConfig": serverless})
    assert code == "ValidationError"
    assert "'1500' at 'productionVariants.1.member.serverlessConfig.memorySizeInMB'" in message
    assert "[1024, 2048, 3072, 4096, 5120, 6144]" in message


def test_concurrency_beyond_the_limit_is_refused(aws, model):
    serverless = {"MemorySizeInMB": 1024, "MaxConcurrency": 5000}
    code, message = config_refusal(aws, model, variant={"ServerlessConfig": serverless})
    assert code == "ValidationError"
    assert "less than or equal to 200" in message


def test_more_provisioned_than_permitted_concurrency_is_refused(aws, model):
    serverless = SERVERLESS | {"ProvisionedConcurrency": 2}
    code, message = config_refusal(aws, model, variant={"ServerlessConfig": serverless})
    assert code == "ValidationError"
    assert "provisionedConcurrency" in message


@pytest.mark.parametrize(
    "request_part",
    [
        {"EnableNetworkIsolation": True},
        {"VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}},
        {
            "DataCaptureConfig": {
                "EnableCapture": True,
                "InitialSamplingPercentage": 50,
                "DestinationS3Uri": "s3://b/c",
                "CaptureOptions": [{"CaptureMode": "Input"}],
            }
        },
    ],
    ids=lambda part: next(iter(part)),
)
def test_serverless_excludes_network_settings_and_data_capture(aws, model, request_part):
    code, message = config_refusal(aws, model, **request_part)
    assert code == "ValidationError"
    assert "Serverless endpoints do not support" in message


def test_serverless_excludes_a_second_variant(aws, model):
    variants = [
        {"VariantName": name, "ModelName": model, "ServerlessConfig": SERVERLESS} for name in "ab"
    ]
    code, message = config_refusal(aws, model, variants=variants)
    assert (code, message) == (
        "ValidationError",
        "A serverless endpoint can have one production variant only.",
    )


def test_serverless_excludes_an_instance_type(aws, model):
    variant = {"ServerlessConfig": SERVERLESS, "InstanceType": "ml.m5.large"}
    code, message = config_refusal(aws, model, variant=variant)
    assert code == "ValidationError"
    assert "InstanceType cannot be set" in message


def test_serverless_excludes_a_model_in_network_isolation(aws):
    name = aws.name()
    aws.sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=ROLE,
        PrimaryContainer={"Image": "drdeploy:lean"},
        EnableNetworkIsolation=True,
    )
    code, message = config_refusal(aws, name)
    assert code == "ValidationError"
    assert "network isolation" in message


def test_a_variant_neither_serverless_nor_real_time_is_refused(aws, model):
    code, message = config_refusal(aws, model, variant={"InitialVariantWeight": 1.0})
    assert code == "ValidationError"
    assert "InstanceType and InitialInstanceCount must be set" in message


@pytest.mark.parametrize(
    "containers",
    [
        {"Containers": [{"Image": "a"}, {"Image": "b"}]},
        {"PrimaryContainer": {"Image": "a", "Mode": "MultiModel"}},
        {"PrimaryContainer": {"ModelDataUrl": "s3://b/k"}},
    ],
    ids=["pipeline", "multi-model", "no image"],
)
def test_models_that_cannot_be_hosted_are_refused(aws, containers):
    code, _ = refused(
        aws.sagemaker.create_model, ModelName=aws.name(), ExecutionRoleArn=ROLE, **containers
    )
    assert code == "ValidationError"


def test_the_regions_serverless_concurrency_is_limited(aws):
    northern = client("sagemaker", aws.url, "eu-north-1")
    northern.create_model(
        ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": "drdeploy:lean"}
    )
    serverless = {"MemorySizeInMB": 1024, "MaxConcurrency": 200}
    northern.create_endpoint_config(
        EndpointConfigName="c",
        ProductionVariants=[{"VariantName": "v", "ModelName": "m", "ServerlessConfig": serverless}],
    )
    for number in range(5):
        northern.create_endpoint(EndpointName=f"e{number}", EndpointConfigName="c")
    code, message = refused(northern.create_endpoint, EndpointName="e5", EndpointConfigName="c")
    assert code == "ResourceLimitExceeded"
    assert "is 1000, with current utilization of 1000 and a request delta of 200" in message
    assert northern.list_endpoints()["Endpoints"][0]["EndpointName"] == "e4"


def test_regions_do_not_see_each_other(aws, model):
    west = client("sagemaker", aws.url, "us-west-2")
    assert west.list_models()["Models"] == []


def test_lists_are_paged_newest_first(aws):
    names = [f"{aws.name()}-paged" for _ in range(3)]
    for name in names:
        aws.model(name)
    pages = aws.sagemaker.get_paginator("list_models").paginate(
        NameContains="-PAGED", PaginationConfig={"PageSize": 2}
    )
    found = [[model["ModelName"] for model in page["Models"]] for page in pages]
    assert found == [[names[2], names[1]], [names[0]]]


def test_lists_can_be_sorted_by_name(aws):
    for prefix in "bca":
        aws.model(f"{prefix}-{aws.name()}-sorted")
    found = aws.sagemaker.list_models(NameContains="-sorted", SortBy="Name", SortOrder="Ascending")
    assert [model["ModelName"][0] for model in found["Models"]] == ["a", "b", "c"]


def test_a_made_up_token_is_refused(aws):
    assert refused(aws.sagemaker.list_models, NextToken="made-up")[0] == "ValidationException"


def test_tags_are_stored_changed_and_removed(aws, model):
    arn = aws.sagemaker.describe_model(ModelName=model)["ModelArn"]
    aws.sagemaker.add_tags(
        ResourceArn=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    )
    aws.sagemaker.delete_tags(ResourceArn=arn, TagKeys=["a"])
    assert aws.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": "2"}]


def test_tags_of_an_unknown_resource_are_refused(aws):
    arn = f"{ARN}:model/absent"
    assert refused(aws.sagemaker.list_tags, ResourceArn=arn)[0] == "ValidationException"


def test_an_endpoint_is_tagged_with_its_isolation(aws, service):
    arn = aws.sagemaker.describe_endpoint(EndpointName=aws.endpoint())["EndpointArn"]
    tags = aws.sagemaker.list_tags(ResourceArn=arn)["Tags"]
    assert tags == [{"Key": "drdeploy:isolation", "Value": service.isolation}]


def test_an_operation_that_is_not_served_is_an_error_that_says_so(aws):
    code, message = refused(aws.sagemaker.list_training_jobs)
    assert code == "UnknownOperationException"
    assert "ListTrainingJobs" in message
