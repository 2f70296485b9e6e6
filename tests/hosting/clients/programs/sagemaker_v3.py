"""The life of endpoints through the SageMaker Python SDK, version 3: builder and resources."""

import json
import os
import sys

import boto3
from botocore.exceptions import ClientError
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.inference_config import ServerlessInferenceConfig
from sagemaker.core.resources import Endpoint, EndpointConfig, InferenceComponent
from sagemaker.core.resources import Model as ModelResource
from sagemaker.core.shapes import (
    ContainerDefinition,
    InferenceComponentComputeResourceRequirements,
    InferenceComponentRuntimeConfig,
    InferenceComponentSpecification,
    ProductionVariant,
    ProductionVariantManagedInstanceScaling,
)
from sagemaker.serve.model_builder import ModelBuilder

# The builder asks IAM whether this role may do what hosting takes.
ROLE = os.environ["ROLE_ARN"]
PHOTOGRAPH = b"\xff\xd8\xff photograph"

done = {}
boto_session = boto3.Session()
session = Session(boto_session, default_bucket=os.environ["MODELS_BUCKET"])


def read(result):
    body = result.body
    return json.loads(body.read() if hasattr(body, "read") else body)


builder = ModelBuilder(
    image_uri="drdeploy:lean",
    s3_model_data_url=os.environ["MODEL_DATA_URL"],
    model_server=None,
    role_arn=ROLE,
    sagemaker_session=session,
    env_vars={"SAGEMAKER_COLOUR": "blue"},
    content_type="image/jpeg",
)
model = builder.build(model_name="v3-builder")
done["built"] = model.get_name()
endpoint = builder.deploy(
    endpoint_name="v3-builder",
    inference_config=ServerlessInferenceConfig(memory_size_in_mb=1024, max_concurrency=2),
    wait=False,  # the builder looks every 30 seconds
)
endpoint.wait_for_status("InService", poll=1)
endpoint.refresh()
done["deployed"] = endpoint.endpoint_status
answer = read(endpoint.invoke(body=PHOTOGRAPH, content_type="image/jpeg"))
done["jpeg"] = [answer["headers"]["content-type"], answer["length"]]
done["colour"] = answer["environment"].get("SAGEMAKER_COLOUR")
done["model files"] = answer["model_files"]

real_time = ModelBuilder(
    image_uri="drdeploy:lean",
    s3_model_data_url=os.environ["MODEL_DATA_URL"],
    role_arn=ROLE,
    sagemaker_session=session,
    instance_type="ml.m5.large",
)
real_time.build(model_name="v3-real-time")
at = real_time.deploy(endpoint_name="v3-real-time", initial_instance_count=1, wait=False)
at.wait_for_status("InService", poll=1)
done["real-time"] = read(at.invoke(body=PHOTOGRAPH, content_type="image/jpeg"))["length"]

ModelResource.create(
    model_name="v3-resource",
    primary_container=ContainerDefinition(
        image="drdeploy:lean", model_data_url=os.environ["MODEL_DATA_URL"]
    ),
    execution_role_arn=ROLE,
)
EndpointConfig.create(
    endpoint_config_name="v3-resource",
    production_variants=[
        ProductionVariant(
            variant_name="AllTraffic",
            model_name="v3-resource",
            # Not serverless: 3.27 writes MemorySizeInMb there, which its own botocore refuses.
            initial_instance_count=1,
            instance_type="ml.m5.large",
        )
    ],
)
resource = Endpoint.create(endpoint_name="v3-resource", endpoint_config_name="v3-resource")
resource.wait_for_status("InService", poll=1)
body = json.dumps({"instances": [[0.5]]})
done["json"] = read(resource.invoke(body=body, content_type="application/json"))["length"]
resource.endpoint_config_name = "v3-real-time"
resource.update()
resource.wait_for_status("InService", poll=1)
resource.refresh()
done["updated to"] = resource.endpoint_config_name
done["listed"] = sorted(one.endpoint_name for one in Endpoint.get_all(name_contains="v3-"))
try:
    resource.invoke(body=b"!status 415", content_type="image/jpeg")
except ClientError as err:
    done["model error"] = [err.response["Error"]["Code"], err.response["OriginalStatusCode"]]
try:
    Endpoint.get(endpoint_name="v3-nowhere")
except ClientError as err:
    done["no endpoint"] = err.response["Error"]["Code"]

EndpointConfig.create(
    endpoint_config_name="v3-components",
    execution_role_arn=ROLE,
    production_variants=[
        ProductionVariant(
            variant_name="AllTraffic",
            initial_instance_count=1,
            instance_type="ml.m5.large",
            managed_instance_scaling=ProductionVariantManagedInstanceScaling(
                status="ENABLED", min_instance_count=0, max_instance_count=1
            ),
        )
    ],
)
hosting = Endpoint.create(endpoint_name="v3-components", endpoint_config_name="v3-components")
hosting.wait_for_status("InService", poll=1)
component = InferenceComponent.create(
    inference_component_name="v3-component",
    endpoint_name="v3-components",
    variant_name="AllTraffic",
    specification=InferenceComponentSpecification(
        model_name="v3-resource",
        compute_resource_requirements=InferenceComponentComputeResourceRequirements(
            min_memory_required_in_mb=1024
        ),
    ),
    runtime_config=InferenceComponentRuntimeConfig(copy_count=1),
)
component.wait_for_status("InService", poll=1)
# 3.27 leaves a CopyCount of 0 out of its requests, so boto3 sends it.
boto_session.client("sagemaker").update_inference_component_runtime_config(
    InferenceComponentName="v3-component", DesiredRuntimeConfig={"CopyCount": 0}
)
component.wait_for_status("InService", poll=1)
asleep = {"body": PHOTOGRAPH, "inference_component_name": "v3-component"}
try:
    hosting.invoke(**asleep)
except ClientError as err:
    done["asleep"] = [err.response["Error"]["Code"], "no capacity" in str(err)]
component.update_runtime_configs(InferenceComponentRuntimeConfig(copy_count=1))
component.wait_for_status("InService", poll=1)
done["awake"] = read(hosting.invoke(**asleep))["length"]
# 3.27 cannot read the event stream that its own invoke_with_response_stream gets from botocore.
parts = boto_session.client("sagemaker-runtime").invoke_endpoint_with_response_stream(
    EndpointName="v3-components", InferenceComponentName="v3-component", Body=PHOTOGRAPH
)["Body"]
streamed = b"".join(part["PayloadPart"]["Bytes"] for part in parts)
done["streamed"] = json.loads(streamed)["length"]
component.delete()
component.wait_for_delete(poll=1)

for name in ("v3-components", "v3-resource", "v3-real-time", "v3-builder"):
    one = Endpoint.get(endpoint_name=name)
    one.delete()
    one.wait_for_delete(poll=1)
for kind in (EndpointConfig, ModelResource):
    for one in kind.get_all(name_contains="v3-"):
        one.delete()
done["left"] = [
    len(list(kind.get_all(name_contains="v3-")))
    for kind in (Endpoint, EndpointConfig, ModelResource)
]
json.dump(done, sys.stdout)
