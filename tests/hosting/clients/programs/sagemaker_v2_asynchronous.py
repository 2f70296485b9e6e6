"""The life of an asynchronous endpoint through the SageMaker Python SDK, version 2."""

import json
import os
import sys

import boto3
from botocore.exceptions import ClientError
from sagemaker import Session
from sagemaker.async_inference import AsyncInferenceConfig, WaiterConfig
from sagemaker.deserializers import JSONDeserializer
from sagemaker.exceptions import AsyncInferenceModelError
from sagemaker.model import Model
from sagemaker.predictor import Predictor
from sagemaker.serializers import IdentitySerializer

NAME = "v2-asynchronous"
PHOTOGRAPH = b"\xff\xd8\xff photograph"
WAIT = WaiterConfig(max_attempts=30, delay=1)

done = {}
session = Session(boto3.Session(), default_bucket=os.environ["MODELS_BUCKET"])
model = Model(
    image_uri="drdeploy:lean",
    model_data=os.environ["MODEL_DATA_URL"],
    role=os.environ["ROLE_ARN"],
    name=NAME,
    sagemaker_session=session,
    predictor_cls=Predictor,
)
predictor = model.deploy(
    initial_instance_count=1,
    instance_type="ml.m5.large",
    endpoint_name=NAME,
    serializer=IdentitySerializer("image/jpeg"),
    deserializer=JSONDeserializer(),
    async_inference_config=AsyncInferenceConfig(max_concurrent_invocations_per_instance=2),
    wait=False,  # deploy() looks every 30 seconds
)
session.wait_for_endpoint(NAME, poll=1)
done["predictor"] = type(predictor).__name__
done["predicted"] = predictor.predict(PHOTOGRAPH, waiter_config=WAIT)["length"]
later = predictor.predict_async(PHOTOGRAPH, inference_id="exam-7")
answer = later.get_result(WAIT)
done["later"] = [answer["length"], answer["headers"]["x-amzn-sagemaker-inference-id"]]
try:
    predictor.predict(b"!status 415", waiter_config=WAIT)
except AsyncInferenceModelError as err:
    done["failed"] = "UnreadableImage" in str(err)
try:
    Predictor(NAME, sagemaker_session=session).predict(PHOTOGRAPH)
except ClientError as err:
    done["not asynchronous"] = err.response["Error"]["Code"]
predictor.delete_model()
predictor.delete_endpoint(delete_endpoint_config=True)
json.dump(done, sys.stdout)
