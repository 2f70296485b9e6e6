"""What SageMaker would refuse fails at plan, by the variable's name and its limit."""

import re

import pytest
from terraform import DIGEST, asynchronous, model, realtime, serverless

KMS = "arn:aws:kms:us-east-1:123456789012:key/abc"
VPC = {"subnet_ids": ["subnet-1"], "security_group_ids": ["sg-1"]}
ALWAYS_ON = {"allow_always_on": True}
NINE_TO_FIVE = {"schedules": {"clinic": {"schedule": "cron(0/9 9-17 ? * MON-FRI *)"}}}
CLINIC = {
    "schedules": {
        "clinic": {"opens": "cron(50 7 ? * MON-FRI *)", "closes": "cron(0 18 ? * MON-FRI *)"}
    }
}
NEVER_CLOSES = {"closes": "cron(0 8 * * ? *)"}

WRONG = {
    "memory between the steps": (
        {"endpoints": {"e": serverless(1500)}},
        "memory_mb must be 1024 to 6144 MB in steps of 1024, not 1500",
    ),
    "memory above the largest": (
        {"endpoints": {"e": serverless(7168)}},
        "memory_mb must be 1024 to 6144 MB in steps of 1024, not 7168",
    ),
    "no memory": (
        {"endpoints": {"e": serverless(None)}},
        "endpoints of kind serverless must have memory_mb",
    ),
    "concurrency beyond the limit": (
        {"endpoints": {"e": serverless(max_concurrency=201)}},
        "max_concurrency must be 1 to 200, not 201",
    ),
    "no concurrency": (
        {"endpoints": {"e": serverless(max_concurrency=0)}},
        "max_concurrency must be 1 to 200, not 0",
    ),
    "provisioned above max concurrency": (
        ALWAYS_ON | {"endpoints": {"e": serverless(max_concurrency=2, provisioned_concurrency=3)}},
        "provisioned_concurrency must be at most max_concurrency (2), not 3",
    ),
    "provisioned concurrency without permission to be always on": (
        {"endpoints": {"e": serverless(max_concurrency=2, provisioned_concurrency=1)}},
        "allow_always_on must be true: e would be paid around the clock",
    ),
    "an instance without permission to be always on": (
        {"endpoints": {"e": realtime()}},
        "allow_always_on must be true: e would be paid around the clock",
    ),
    "kept warm without permission to be always on": (
        {"endpoints": {"e": serverless(keep_warm=NINE_TO_FIVE)}},
        "allow_always_on must be true: e would be paid around the clock",
    ),
    "a schedule of crontab": (
        ALWAYS_ON
        | {
            "endpoints": {
                "e": serverless(keep_warm={"schedules": {"a": {"schedule": "*/9 * * *"}}})
            }
        },
        "endpoints must have schedules of the form cron(...) or rate(...), not */9 * * *",
    ),
    "kept warm without schedules": (
        ALWAYS_ON | {"endpoints": {"e": serverless(keep_warm={"schedules": {}})}},
        "each with at least 1 of schedules; without schedules: e",
    ),
    "an instance kept warm": (
        ALWAYS_ON | {"endpoints": {"e": realtime(keep_warm=NINE_TO_FIVE)}},
        "endpoints of kind realtime and asynchronous cannot have memory_mb",
    ),
    "opening hours without permission to be always on": (
        {"endpoints": {"e": realtime(guardrails=None, opening_hours=CLINIC)}},
        "allow_always_on must be true: e would be paid around the clock",
    ),
    "opening hours of crontab": (
        ALWAYS_ON
        | {
            "endpoints": {
                "e": realtime(
                    guardrails=None,
                    opening_hours={"schedules": {"a": {"opens": "0 8 * * *", "closes": "x"}}},
                )
            }
        },
        "whose opens and closes have the form cron(...), not 0 8 * * *, x",
    ),
    "an endpoint that closes when it opens": (
        ALWAYS_ON
        | {
            "endpoints": {
                "e": realtime(
                    guardrails=None,
                    opening_hours={
                        "schedules": {"a": {"opens": "cron(0 8 * * ? *)"} | NEVER_CLOSES}
                    },
                )
            }
        },
        "open and close at different times, not cron(0 8 * * ? *)",
    ),
    "opening hours without hours": (
        ALWAYS_ON
        | {"endpoints": {"e": realtime(guardrails=None, opening_hours={"schedules": {}})}},
        "each with at least 1 of schedules; without schedules: e",
    ),
    "opening hours of a serverless endpoint": (
        {"endpoints": {"e": serverless(opening_hours=CLINIC)}},
        "endpoints of kind serverless cannot have instance_type",
    ),
    "opening hours with autoscaling": (
        ALWAYS_ON
        | {
            "endpoints": {
                "e": realtime(
                    guardrails=None,
                    opening_hours=CLINIC,
                    autoscaling={
                        "min_capacity": 1,
                        "max_capacity": 2,
                        "target_invocations_per_minute": 60,
                    },
                )
            }
        },
        "endpoints with opening_hours cannot have autoscaling or guardrails",
    ),
    "serverless in a VPC": (
        {"models": {"mobilenet": model(vpc_config=VPC)}, "endpoints": {"e": serverless()}},
        "serverless endpoints have no VPC (vpc_config)",
    ),
    "serverless, isolated": (
        {"models": {"mobilenet": model(network_isolation=True)}, "endpoints": {"e": serverless()}},
        "no network isolation (network_isolation)",
    ),
    "serverless with a key": (
        {"endpoints": {"e": serverless(kms_key_arn=KMS)}},
        "serverless cannot have instance_type, inference_ami_version, initial_instance_count",
    ),
    "serverless with data capture": (
        {
            "endpoints": {
                "e": serverless(
                    data_capture={"destination_s3_uri": "s3://b/f", "sampling_percentage": 5}
                )
            }
        },
        "endpoints of kind serverless cannot have instance_type",
    ),
    "serverless with instances": (
        {"endpoints": {"e": serverless(instance_type="ml.m5.xlarge")}},
        "endpoints of kind serverless cannot have instance_type",
    ),
    "realtime with memory": (
        ALWAYS_ON | {"endpoints": {"e": realtime(memory_mb=1024)}},
        "endpoints of kind realtime and asynchronous cannot have memory_mb",
    ),
    "unknown instance type": (
        ALWAYS_ON | {"endpoints": {"e": realtime("ml.z9.huge")}},
        'hosting instance types (instance_types.json), not "ml.z9.huge"',
    ),
    "CUDA on a serverless endpoint": (
        {"models": {"mobilenet": model(cuda_version="13.0")}, "endpoints": {"e": serverless()}},
        "cuda_version must be null, not 13.0: serverless endpoints have no GPU",
    ),
    "CUDA on an instance without a GPU": (
        ALWAYS_ON
        | {"models": {"mobilenet": model(cuda_version="13.0")}, "endpoints": {"e": realtime()}},
        "cuda_version 13.0 needs an instance type with a GPU",
    ),
    "CUDA 13 on the driver that SageMaker gives by default": (
        ALWAYS_ON
        | {
            "models": {"mobilenet": model(cuda_version="13.0")},
            "endpoints": {"e": realtime("ml.g5.xlarge")},
        },
        "has driver 470: set inference_ami_version to al2023-ami-sagemaker-inference-gpu-4-1",
    ),
    "CUDA 13 behind a queue, on the driver that SageMaker gives by default": (
        {
            "models": {"mobilenet": model(cuda_version="13.0")},
            "endpoints": {"e": asynchronous("ml.g4dn.xlarge")},
        },
        "has driver 470: set inference_ami_version to al2023-ami-sagemaker-inference-gpu-4-1",
    ),
    "no instance type": (
        ALWAYS_ON | {"endpoints": {"e": realtime(None)}},
        "endpoints of kind realtime and asynchronous must have instance_type; missing in e",
    ),
    "no instance": (
        ALWAYS_ON | {"endpoints": {"e": realtime(initial_instance_count=0)}},
        "initial_instance_count must be at least 1, not 0",
    ),
    "an endpoint of another prefix": (
        {"endpoints": {"e": serverless(name="dr-study2")}},
        "endpoints must have names that are name_prefix (dr-study) or begin with it and a hyphen",
    ),
    "a bucket of another prefix": (
        {"bucket_name": "dr-study2-artifacts"},
        "bucket_name must begin with dr-study-",
    ),
    "a photograph captured where nothing deletes it": (
        ALWAYS_ON
        | {
            "endpoints": {
                "e": realtime(
                    data_capture={"destination_s3_uri": "s3://b/f", "sampling_percentage": 5}
                )
            }
        },
        "in other folders, these modules delete no captured requests",
    ),
    "photographs kept for no day": (
        {"capture_retention_days": 0},
        "capture_retention_days must be a whole number of at least 1, or null",
    ),
    "a boundary by its name": (
        {"permissions_boundary_arn": "dr-study-boundary"},
        "permissions_boundary_arn must be the ARN of a policy",
    ),
    "a key by its alias": (
        {"kms_key_arn": "alias/mine"},
        "kms_key_arn must be the ARN of a KMS key",
    ),
    "begins outside of its capacities": (
        ALWAYS_ON
        | {
            "endpoints": {
                "e": realtime(
                    autoscaling={
                        "min_capacity": 2,
                        "max_capacity": 4,
                        "target_invocations_per_minute": 100,
                    }
                )
            }
        },
        "initial_instance_count (1) must lie between autoscaling.min_capacity and",
    ),
    "a canary of one instance": (
        ALWAYS_ON | {"endpoints": {"e": realtime(guardrails={"traffic": "canary"})}},
        "guardrails.traffic canary needs an initial_instance_count of at least 2, not 1",
    ),
    "a misspelt attribute of an endpoint": (
        {"endpoints": {"e": serverless(max_concurency=2)}},
        "Unknown attributes, which would have no effect: endpoints.e.max_concurency",
    ),
    "a misspelt attribute of a model": (
        {"models": {"mobilenet": model(network_isolated=True)}},
        "Unknown attributes, which would have no effect: models.mobilenet.network_isolated",
    ),
    "a misspelt attribute of guardrails": (
        ALWAYS_ON | {"endpoints": {"e": realtime(guardrails={"max_errors_percent": 1})}},
        "Unknown attributes, which would have no effect: endpoints.e.guardrails.max_errors_percent",
    ),
    "a misspelt time zone": (
        ALWAYS_ON
        | {
            "endpoints": {
                "e": serverless(
                    keep_warm={
                        "schedules": {"a": {"schedule": "rate(9 minutes)", "time_zone": "UTC"}}
                    }
                )
            }
        },
        "which would have no effect: endpoints.e.keep_warm.schedules.a.time_zone",
    ),
    "unknown kind": (
        {"endpoints": {"e": {"model": "mobilenet", "kind": "batch"}}},
        "endpoints must each have the kind serverless, realtime or asynchronous, not batch",
    ),
    "unknown model": (
        {"endpoints": {"e": serverless(model="vgg19")}},
        "endpoints must each name a model of models (mobilenet); unknown: vgg19",
    ),
    "image by tag": (
        {"models": {"mobilenet": model() | {"image_uri": "registry.example/drdeploy:latest"}}},
        "image_uri must name the image by digest (REPOSITORY@sha256: and 64 hexadecimal digits)",
    ),
    "image by half a digest": (
        {"models": {"mobilenet": model(DIGEST[:32])}},
        "image_uri must name the image by digest",
    ),
    "archive without digest": (
        {"models": {"mobilenet": model() | {"model_data_sha256": ""}}},
        "model_data_sha256 must be the archive's SHA-256, 64 hexadecimal digits",
    ),
    "archive under another digest": (
        {"models": {"mobilenet": model() | {"model_data_url": "s3://models/latest/m.tar.gz"}}},
        "model_data_url must contain the folder /cdcdcdcdcdcdcdcd/",
    ),
    "archive of another kind": (
        {"models": {"mobilenet": model() | {"model_data_url": "https://example.org/m.zip"}}},
        "model_data_url must be s3://BUCKET/KEY.tar.gz",
    ),
    "a prefix with capitals": (
        {"name_prefix": "DR"},
        "name_prefix must be 2 to 20 lower-case letters, digits and hyphens",
    ),
    "a name too long": (
        {"endpoints": {"e" * 50: serverless()}},
        "endpoints must have names (NAME_PREFIX-KEY) of at most 43 characters",
    ),
    "a region that does not exist": (
        {"region": "mars"},
        "region must be the name of an AWS region",
    ),
    "a retention that CloudWatch does not offer": (
        {"endpoints": {"e": serverless()}, "log_retention_days": 31},
        "log_retention_days must be a number of days that CloudWatch offers",
    ),
    "a budget without an address": (
        {"endpoints": {"e": serverless()}, "monthly_budget_usd": 20},
        "monthly_budget_usd needs alarm_email",
    ),
    "more serverless endpoints than a region has": (
        {"endpoints": {f"e{number}": serverless() for number in range(51)}},
        "endpoints must be at most 50 of kind serverless",
    ),
}


def said(text: str) -> str:
    """Terraform's message without its frame and line breaks."""
    return re.sub(r"\s+", " ", re.sub(r"[│╷╵]", " ", text))


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_input_fails_at_plan(environment, case):
    values, message = WRONG[case]
    study = environment("study", **{"models": {"mobilenet": model()}, **values})
    done = study.with_values("plan", "-refresh=false", check=False)
    assert done.returncode == 1
    assert message in said(done.stderr)


def test_the_same_without_the_mistake_is_planned(environment):
    endpoints = {"small": serverless(max_concurrency=2), "big": realtime(initial_instance_count=2)}
    study = environment(
        "study", models={"mobilenet": model()}, endpoints=endpoints, allow_always_on=True
    )
    planned = study.planned()
    assert set(planned.values()) == {("create",)}
    assert (
        'module.deployment.module.serverless_endpoint["small"].aws_sagemaker_endpoint.this'
        in planned
    )
    assert (
        'module.deployment.module.realtime_endpoint["big"].aws_sagemaker_endpoint.this' in planned
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"endpoint": {"kind": "serverless", "memory_mb": 1024}}, "endpoint needs a model"),
        (
            {"model": model(), "endpoint": {"kind": "serverless", "memory_mb": 1500}},
            "memory_mb must be 1024 to 6144 MB in steps of 1024, not 1500",
        ),
        (
            {"model": model(), "endpoint": {"kind": "batch"}},
            "serverless, realtime or asynchronous, not batch",
        ),
        (
            {"model": model(), "endpoint": {"kind": "serverless"}},
            "kind serverless must have memory_mb",
        ),
        (
            {"model": model(), "endpoint": {"kind": "realtime"}},
            "kind realtime and asynchronous must have instance_type",
        ),
        (
            {"model": model(), "endpoint": {"kind": "realtime", "instance_type": "ml.m5.xlarge"}},
            "allow_always_on must be true",
        ),
        (
            {
                **ALWAYS_ON,
                "model": model(vpc=VPC),
                "endpoint": {
                    "kind": "serverless",
                    "memory_mb": 1024,
                    "keep_warm": {**NINE_TO_FIVE, "bdy": "x"},
                },
            },
            "would have no effect: model.vpc, endpoint.keep_warm.bdy",
        ),
        (
            {"model": model(), "endpoint": {"kind": "serverless", "kms_key_arn": KMS}},
            "serverless cannot have instance_type, inference_ami_version, initial_instance_count",
        ),
    ],
)
def test_a_single_endpoint_is_checked_alike(environment, values, message):
    single = environment("single-endpoint", **values)
    done = single.with_values("plan", "-refresh=false", check=False)
    assert done.returncode == 1
    assert message in said(done.stderr)
