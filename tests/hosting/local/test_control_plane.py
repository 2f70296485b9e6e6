"""Models, endpoint configurations, endpoints, tags: stored, described, listed, refused."""

import json
import urllib.request

import pytest
from local_aws import ROLE, client, refused

ARN = "arn:aws:sagemaker:us-east-1:123456789012"
SERVERLESS = {"MemorySizeInMB": 1024, "MaxConcurrency": 1}


SERIAL, DIRECT = {"Mode": "Serial"}, {"Mode": "Direct"}
CACHED = {"ModelCacheSetting": "Disabled"}


@pytest.fixture
def model(aws):
    name = aws.name()
    aws.model(name)
    return name


def test_a_model_is_described_as_it_was_created(aws):
    name = aws.name()
    url = aws.put_archive(key="a.tar.gz")
    aws.model(name, image="registry.example/drdeploy:lean", url=url, SAGEMAKER_A="1")
    described = aws.sagemaker.describe_model(ModelName=name)
    assert described["ModelArn"] == f"{ARN}:model/{name}"
    assert described["ExecutionRoleArn"] == ROLE
    assert described["PrimaryContainer"] == {
        "Image": "registry.example/drdeploy:lean",
        "ModelDataUrl": "s3://models/a.tar.gz",
        "Environment": {"SAGEMAKER_A": "1"},
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
    assert code == "ValidationException"
    assert "'1500' at 'productionVariants.1.member.serverlessConfig.memorySizeInMB'" in message
    assert "[1024, 2048, 3072, 4096, 5120, 6144]" in message


def test_concurrency_beyond_the_limit_is_refused(aws, model):
    serverless = {"MemorySizeInMB": 1024, "MaxConcurrency": 5000}
    code, message = config_refusal(aws, model, variant={"ServerlessConfig": serverless})
    assert code == "ValidationException"
    assert "less than or equal to 200" in message


def test_more_provisioned_than_permitted_concurrency_is_refused(aws, model):
    serverless = SERVERLESS | {"ProvisionedConcurrency": 2}
    code, message = config_refusal(aws, model, variant={"ServerlessConfig": serverless})
    assert code == "ValidationException"
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
    assert code == "ValidationException"
    assert "Serverless endpoints do not support" in message


def test_serverless_excludes_a_second_variant(aws, model):
    variants = [
        {"VariantName": name, "ModelName": model, "ServerlessConfig": SERVERLESS} for name in "ab"
    ]
    code, message = config_refusal(aws, model, variants=variants)
    assert (code, message) == (
        "ValidationException",
        "A serverless endpoint can have only one production variant.",
    )


def test_serverless_excludes_an_instance_type(aws, model):
    variant = {"ServerlessConfig": SERVERLESS, "InstanceType": "ml.m5.large"}
    code, message = config_refusal(aws, model, variant=variant)
    assert code == "ValidationException"
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
    assert code == "ValidationException"
    assert "network isolation" in message


def test_a_variant_neither_serverless_nor_real_time_is_refused(aws, model):
    code, message = config_refusal(aws, model, variant={"InitialVariantWeight": 1.0})
    assert code == "ValidationException"
    assert "InstanceType and InitialInstanceCount must be set" in message


@pytest.mark.parametrize(
    ("containers", "message"),
    [
        (
            {"Containers": [{"Image": "a"}, {"Image": "b"}]},
            "Containers with 2 containers (an inference pipeline): put all steps into one",
        ),
        (
            {"Containers": [{"Image": "a"}, {"Image": "b"}], "InferenceExecutionConfig": SERIAL},
            "Containers with 2 containers (an inference pipeline): put all steps into one",
        ),
        (
            {"Containers": [{"Image": "a"}, {"Image": "b"}], "InferenceExecutionConfig": DIRECT},
            "a multi-container endpoint with direct invocation): create a model for each container",
        ),
        (
            {"PrimaryContainer": {"Image": "a"}, "InferenceExecutionConfig": DIRECT},
            "Mode='Direct', direct invocation of several containers: leave",
        ),
        *(
            (
                {which: [asked] if which == "Containers" else asked},
                f"{member}, a multi-model endpoint: create a model for each archive",
            )
            for which in ("PrimaryContainer", "Containers")
            for asked, member in (
                ({"Image": "a", "Mode": "MultiModel"}, "Mode='MultiModel'"),
                ({"Image": "a", "MultiModelConfig": CACHED}, "MultiModelConfig"),
                (
                    {"Image": "a", "Mode": "MultiModel", "ModelDataUrl": "s3://b/models/"},
                    "Mode='MultiModel'",
                ),
            )
        ),
        ({"PrimaryContainer": {"ModelDataUrl": "s3://b/k"}}, "names no container image"),
    ],
)
def test_models_that_cannot_be_hosted_are_refused_with_a_remedy_and_not_made(
    aws, containers, message
):
    name = aws.name()
    code, found = refused(
        aws.sagemaker.create_model, ModelName=name, ExecutionRoleArn=ROLE, **containers
    )
    assert code == "ValidationException"
    assert message in found
    assert refused(aws.sagemaker.describe_model, ModelName=name)[0] == "ValidationException"


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


def test_a_change_of_an_endpoint_counts_against_the_regions_serverless_concurrency(aws):
    """Only a new endpoint did, with the limits of its configuration."""
    west = client("sagemaker", aws.url, "ca-central-1")
    west.create_model(
        ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": "drdeploy:lean"}
    )
    for concurrency in (100, 200):
        serverless = {"MemorySizeInMB": 1024, "MaxConcurrency": concurrency}
        variant = {"VariantName": "v", "ModelName": "m", "ServerlessConfig": serverless}
        west.create_endpoint_config(
            EndpointConfigName=f"c{concurrency}", ProductionVariants=[variant]
        )
    for number in range(5):
        west.create_endpoint(EndpointName=f"e{number}", EndpointConfigName="c200")
    for number in range(5):
        west.get_waiter("endpoint_in_service").wait(
            EndpointName=f"e{number}", WaiterConfig={"Delay": 0.1, "MaxAttempts": 3000}
        )

    def change(number, **limits):
        return {
            "EndpointName": f"e{number}",
            "DesiredWeightsAndCapacities": [{"VariantName": "v", "ServerlessUpdateConfig": limits}],
        }

    west.update_endpoint_weights_and_capacities(**change(0, MaxConcurrency=100))
    west.create_endpoint(EndpointName="e5", EndpointConfigName="c100")
    for call, asked in (
        (west.update_endpoint, {"EndpointName": "e0", "EndpointConfigName": "c200"}),
        (west.update_endpoint_weights_and_capacities, change(0, MaxConcurrency=101)),
    ):
        code, message = refused(call, **asked)
        assert code == "ResourceLimitExceeded"
        assert "with current utilization of 900 and a request delta of" in message
    west.update_endpoint_weights_and_capacities(**change(0, MaxConcurrency=99))


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


@pytest.mark.parametrize("order", ["Ascending", "Descending"])
@pytest.mark.parametrize("sorted_by", ["Name", "CreationTime"])
def test_a_client_that_deletes_what_it_lists_misses_nothing(aws, sorted_by, order):
    """The tokens were positions: what moved up into a page that was already read was skipped."""
    part = f"{aws.name()}-deleted"
    names = {f"{letter}-{part}" for letter in "badce"}
    for name in names:
        aws.model(name)
    pages = aws.sagemaker.get_paginator("list_models").paginate(
        NameContains=part, SortBy=sorted_by, SortOrder=order, PaginationConfig={"PageSize": 2}
    )
    found = []
    for page in pages:
        for model in page["Models"]:
            found.append(model["ModelName"])
            aws.sagemaker.delete_model(ModelName=model["ModelName"])
    assert set(found) == names


def test_lists_can_be_sorted_by_name(aws):
    for prefix in "bca":
        aws.model(f"{prefix}-{aws.name()}-sorted")
    found = aws.sagemaker.list_models(NameContains="-sorted", SortBy="Name", SortOrder="Ascending")
    assert [model["ModelName"][0] for model in found["Models"]] == ["a", "b", "c"]


def test_a_made_up_token_is_refused(aws):
    for name in ("x", "y"):
        aws.model(f"{name}-{aws.name()}-tokens")
    asked = {"NameContains": "-tokens", "MaxResults": 1}
    of_another_order = aws.sagemaker.list_models(**asked, SortBy="Name")["NextToken"]
    for token in ("made-up", "MTA=", of_another_order):
        code, _ = refused(aws.sagemaker.list_models, **asked, NextToken=token)
        assert code == "ValidationException"


def test_a_null_within_a_request_counts_as_absent(aws, model):
    """Only a null at the top did; any other was an internal failure."""
    variant = {"VariantName": "v", "ModelName": model, "ServerlessConfig": None}
    variant |= {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    body = {"EndpointConfigName": model, "ProductionVariants": [variant]}
    request = urllib.request.Request(
        aws.url,
        data=json.dumps(body).encode(),
        headers={"X-Amz-Target": "SageMaker.CreateEndpointConfig"},
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200
    described = aws.sagemaker.describe_endpoint_config(EndpointConfigName=model)
    assert "ServerlessConfig" not in described["ProductionVariants"][0]


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


def test_a_resource_has_the_tags_that_its_user_gave_it_and_no_others(aws):
    arn = aws.sagemaker.describe_endpoint(EndpointName=aws.endpoint())["EndpointArn"]
    assert aws.sagemaker.list_tags(ResourceArn=arn)["Tags"] == []


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (["aws:cost"], "begins with aws:"),
        (["a", "a"], "a occurs 2 times"),
        ([f"k{number}" for number in range(50)] + ["one-more"], "at most 50"),
    ],
)
def test_tags_that_aws_does_not_allow_are_refused(aws, model, keys, reason):
    arn = aws.sagemaker.describe_model(ModelName=model)["ModelArn"]
    tags = [{"Key": key, "Value": "1"} for key in keys]
    batches = [tags[:50], tags[50:]] if len(tags) > 50 else [tags]
    *allowed, last = batches
    for batch in allowed:
        aws.sagemaker.add_tags(ResourceArn=arn, Tags=batch)
    code, message = refused(aws.sagemaker.add_tags, ResourceArn=arn, Tags=last)
    assert code == "ValidationException"
    assert reason in message


@pytest.mark.parametrize(
    ("container", "message"),
    [
        (
            {"Image": "drdeploy:lean", "ModelDataUrl": "s3://models/absent.tar.gz"},
            "Could not find model data at s3://models/absent.tar.gz.",
        ),
        (
            {"Image": "drdeploy:lean", "ModelDataUrl": "s3://no-such-bucket/a.tar.gz"},
            "Could not find model data at s3://no-such-bucket/a.tar.gz.",
        ),
        (
            {"Image": "drdeploy:lean", "ModelDataUrl": "https://models/a.tar.gz"},
            "Write it as s3://BUCKET/KEY",
        ),
        ({"Image": "python:3.11"}, "Requested image python:3.11 not found."),
        (
            {"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/absent:1"},
            "Requested image 123456789012.dkr.ecr.us-east-1.amazonaws.com/absent:1 not found.",
        ),
    ],
)
def test_a_model_whose_archive_or_image_does_not_exist_is_refused(aws, container, message):
    code, found = refused(
        aws.sagemaker.create_model,
        ModelName=aws.name(),
        ExecutionRoleArn=ROLE,
        PrimaryContainer=container,
    )
    assert code == "ValidationException"
    assert message in found


def test_a_model_with_two_archives_is_refused(aws):
    url = aws.put_archive()
    source = {"S3Uri": url, "S3DataType": "S3Object", "CompressionType": "Gzip"}
    container = {
        "Image": "drdeploy:lean",
        "ModelDataUrl": url,
        "ModelDataSource": {"S3DataSource": source},
    }
    code, message = refused(
        aws.sagemaker.create_model,
        ModelName=aws.name(),
        ExecutionRoleArn=ROLE,
        PrimaryContainer=container,
    )
    assert (code, message) == (
        "ValidationException",
        "ModelDataUrl and ModelDataSource are mutually exclusive.",
    )


def test_an_operation_that_is_not_served_is_an_error_that_says_so(aws):
    code, message = refused(aws.sagemaker.list_training_jobs)
    assert code == "UnknownOperationException"
    assert "ListTrainingJobs" in message
