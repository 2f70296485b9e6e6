"""Host a grader on this machine, using only boto3: create, invoke, read metrics, delete.

    drdeploy local up --port 8766 &
    python examples/endpoint_with_boto3.py http://127.0.0.1:8766 MODEL PHOTOGRAPH

MODEL is a model.tar.gz, for example src/drdeploy/grader/box/mobilenet-idrid-fp32.tar.gz, and
PHOTOGRAPH is an image file, for example one in examples/photographs.

The same calls work on AWS if you change two things: leave out ``endpoint_url`` and the dummy
credentials, and name a bucket, a role and a container image in ECR of your own. For research use.
Not a medical device.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path

import boto3

if len(sys.argv) != 4:
    sys.exit(__doc__)
endpoint_url, artifact, photograph = sys.argv[1:]
session = boto3.Session(
    aws_access_key_id="local",
    aws_secret_access_key="local",  # noqa: S106 - the local service takes any
    region_name="us-east-1",
)
s3 = session.client("s3", endpoint_url=endpoint_url)
sagemaker = session.client("sagemaker", endpoint_url=endpoint_url)
runtime = session.client("sagemaker-runtime", endpoint_url=endpoint_url)
cloudwatch = session.client("cloudwatch", endpoint_url=endpoint_url)

s3.create_bucket(Bucket="models")
s3.upload_file(artifact, "models", "grader/model.tar.gz")
sagemaker.create_model(
    ModelName="grader",
    ExecutionRoleArn="arn:aws:iam::123456789012:role/grader",
    PrimaryContainer={"Image": "drdeploy:lean", "ModelDataUrl": "s3://models/grader/model.tar.gz"},
)
sagemaker.create_endpoint_config(
    EndpointConfigName="grader",
    ProductionVariants=[
        {
            "VariantName": "AllTraffic",
            "ModelName": "grader",
            "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 2},
        }
    ],
)
sagemaker.create_endpoint(EndpointName="grader", EndpointConfigName="grader")
sagemaker.get_waiter("endpoint_in_service").wait(
    EndpointName="grader", WaiterConfig={"Delay": 1, "MaxAttempts": 120}
)

answer = runtime.invoke_endpoint(
    EndpointName="grader", ContentType="image/jpeg", Body=Path(photograph).read_bytes()
)
print(json.dumps(json.loads(answer["Body"].read()), indent=2))

now = dt.datetime.now(dt.UTC)
setup = cloudwatch.get_metric_statistics(
    Namespace="AWS/SageMaker",
    MetricName="ModelSetupTime",
    Dimensions=[
        {"Name": "EndpointName", "Value": "grader"},
        {"Name": "VariantName", "Value": "AllTraffic"},
    ],
    StartTime=now - dt.timedelta(minutes=10),
    EndTime=now + dt.timedelta(minutes=1),
    Period=60,
    Statistics=["Average", "SampleCount"],
)
for point in setup["Datapoints"]:
    print(f"ModelSetupTime {point['Average'] / 1e6:.3f} s, n = {point['SampleCount']:.0f}")

sagemaker.delete_endpoint(EndpointName="grader")
sagemaker.get_waiter("endpoint_deleted").wait(
    EndpointName="grader", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
)
sagemaker.delete_endpoint_config(EndpointConfigName="grader")
sagemaker.delete_model(ModelName="grader")
