"""The life of an endpoint through aioboto3, with many invocations at once."""

import asyncio
import json
import os
import sys

import aioboto3
from botocore.exceptions import ClientError

NAME = "aio-endpoint"


async def go_through_life():
    done = {}
    session = aioboto3.Session()
    async with (
        session.client("sagemaker") as client,
        session.client("sagemaker-runtime") as runtime,
    ):
        await client.create_model(
            ModelName=NAME,
            ExecutionRoleArn=os.environ["ROLE_ARN"],
            PrimaryContainer={
                "Image": "drdeploy:lean",
                "ModelDataUrl": os.environ["MODEL_DATA_URL"],
            },
        )
        for memory_mb in (1024, 2048):
            serverless = {"MemorySizeInMB": memory_mb, "MaxConcurrency": 20}
            variant = {"VariantName": "AllTraffic", "ModelName": NAME}
            await client.create_endpoint_config(
                EndpointConfigName=f"{NAME}-{memory_mb}",
                ProductionVariants=[variant | {"ServerlessConfig": serverless}],
            )
        await client.create_endpoint(EndpointName=NAME, EndpointConfigName=f"{NAME}-1024")
        wait = {"Delay": 1, "MaxAttempts": 300}
        await client.get_waiter("endpoint_in_service").wait(EndpointName=NAME, WaiterConfig=wait)

        async def invoke(body):
            answer = await runtime.invoke_endpoint(
                EndpointName=NAME, Body=body, ContentType="image/jpeg"
            )
            return json.loads(await answer["Body"].read())

        answers = await asyncio.gather(*(invoke(bytes(10 + number)) for number in range(8)))
        done["at once"] = [answer["length"] for answer in answers]
        await client.update_endpoint(EndpointName=NAME, EndpointConfigName=f"{NAME}-2048")
        await client.get_waiter("endpoint_in_service").wait(EndpointName=NAME, WaiterConfig=wait)
        described = await client.describe_endpoint(EndpointName=NAME)
        done["updated to"] = described["EndpointConfigName"]
        pages = client.get_paginator("list_endpoint_configs").paginate(
            NameContains="aio-", PaginationConfig={"PageSize": 1}
        )
        done["pages"] = [len(page["EndpointConfigs"]) async for page in pages]
        try:
            await invoke(b"!status 415")
        except runtime.exceptions.ModelError as err:
            done["model error"] = err.response["OriginalStatusCode"]
        try:
            await client.describe_endpoint(EndpointName="aio-nowhere")
        except ClientError as err:
            done["no endpoint"] = err.response["Error"]["Code"]
        await client.delete_endpoint(EndpointName=NAME)
        await client.get_waiter("endpoint_deleted").wait(EndpointName=NAME, WaiterConfig=wait)
        for memory_mb in (1024, 2048):
            await client.delete_endpoint_config(EndpointConfigName=f"{NAME}-{memory_mb}")
        await client.delete_model(ModelName=NAME)
        done["left"] = len((await client.list_models(NameContains="aio-"))["Models"])
    return done


json.dump(asyncio.run(go_through_life()), sys.stdout)
