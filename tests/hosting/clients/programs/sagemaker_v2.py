"""The life of two endpoints through the SageMaker Python SDK, version 2."""

import json
import os
import sys

import boto3
import numpy as np
from botocore.exceptions import ClientError
from sagemaker import Session
from sagemaker.deserializers import JSONDeserializer
from sagemaker.model import Model
from sagemaker.predictor import Predictor
from sagemaker.serializers import IdentitySerializer, JSONSerializer, NumpySerializer
from sagemaker.serverless import ServerlessInferenceConfig

ROLE = "arn:aws:iam::123456789012:role/drdeploy"
PHOTOGRAPH = b"\xff\xd8\xff photograph"

done = {}
# The SDK would ask AWS's own address for the account's number, to name a bucket by it.
session = Session(boto3.Session(), default_bucket=os.environ["MODELS_BUCKET"])
client = session.sagemaker_client


def make_model(name, **arguments):
    return Model(
        image_uri="drdeploy:lean",
        model_data=os.environ["MODEL_DATA_URL"],
        role=ROLE,
        name=name,
        sagemaker_session=session,
        predictor_cls=Predictor,
        **arguments,
    )


model = make_model("v2-serverless", env={"SAGEMAKER_COLOUR": "blue"})
predictor = model.deploy(
    serverless_inference_config=ServerlessInferenceConfig(
        memory_size_in_mb=1024, max_concurrency=2
    ),
    endpoint_name="v2-serverless",
    serializer=IdentitySerializer("image/jpeg"),
    deserializer=JSONDeserializer(),
    tags=[{"Key": "clinic", "Value": "north"}],
    wait=False,  # deploy() looks every 30 seconds
)
session.wait_for_endpoint("v2-serverless", poll=1)
answer = predictor.predict(PHOTOGRAPH)
done["jpeg"] = [answer["headers"]["content-type"], answer["length"]]
done["colour"] = answer["environment"]["SAGEMAKER_COLOUR"]
predictor.serializer = JSONSerializer()
answer = predictor.predict({"instances": [[0.5]]})
done["json"] = [answer["headers"]["content-type"], answer["headers"]["accept"]]
predictor.serializer = NumpySerializer()
done["numpy"] = predictor.predict(np.zeros((2, 2)))["headers"]["content-type"]
done["described"] = session.describe_endpoint("v2-serverless")["EndpointStatus"]
tags = session.list_tags(session.describe_endpoint("v2-serverless")["EndpointArn"])
done["tagged"] = {"Key": "clinic", "Value": "north"} in tags

real_time = make_model("v2-real-time").deploy(
    initial_instance_count=1,
    instance_type="ml.m5.large",
    endpoint_name="v2-real-time",
    serializer=IdentitySerializer("image/jpeg"),
    deserializer=JSONDeserializer(),
    container_startup_health_check_timeout=60,
    wait=False,
)
session.wait_for_endpoint("v2-real-time", poll=1)
done["real-time"] = real_time.predict(PHOTOGRAPH)["length"]
real_time.update_endpoint(
    initial_instance_count=2, instance_type="ml.m5.large", model_name="v2-real-time", wait=False
)
session.wait_for_endpoint("v2-real-time", poll=1)
variant = session.describe_endpoint("v2-real-time")["ProductionVariants"][0]
done["updated to"] = variant["CurrentInstanceCount"]

pages = client.get_paginator("list_endpoints").paginate(
    NameContains="v2-", PaginationConfig={"PageSize": 1}
)
done["listed"] = [len(page["Endpoints"]) for page in pages]
try:
    session.sagemaker_runtime_client.invoke_endpoint(
        EndpointName="v2-serverless", Body=b"!status 415", ContentType="image/jpeg"
    )
except ClientError as err:
    done["model error"] = [err.response["Error"]["Code"], err.response["OriginalStatusCode"]]
try:
    Predictor("v2-nowhere", sagemaker_session=session).predict(PHOTOGRAPH)
except ClientError as err:
    done["no endpoint"] = err.response["Error"]["Code"]
for one in (real_time, predictor):
    one.delete_model()
    one.delete_endpoint(delete_endpoint_config=True)
client.delete_endpoint_config(EndpointConfigName="v2-real-time")  # that of before the update
waiter = client.get_waiter("endpoint_deleted")
for name in ("v2-real-time", "v2-serverless"):
    waiter.wait(EndpointName=name, WaiterConfig={"Delay": 1})
done["left"] = [
    len(client.list_endpoints(NameContains="v2-")["Endpoints"]),
    len(client.list_endpoint_configs(NameContains="v2-")["EndpointConfigs"]),
    len(client.list_models(NameContains="v2-")["Models"]),
]
json.dump(done, sys.stdout)
