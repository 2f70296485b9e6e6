"""SageMaker: models, endpoint configurations and endpoints."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aws_provider.resources.base import (
    TAGS,
    CreatedButUnusable,
    Resource,
    change_tags,
    found,
    name_of,
    pairs,
)
from drdeploy.errors import EndpointError

if TYPE_CHECKING:
    from aws_provider.aws import Aws
    from aws_provider.values import State

POLL_S = 0.2
WAIT_S = 1800.0
SETTLED = frozenset({"InService", "Failed", "OutOfService", "UpdateRollbackFailed"})


def _retag(aws: Aws, old: State, new: State) -> None:
    client, arn = aws.client("sagemaker"), old["arn"]
    change_tags(
        old,
        new,
        lambda tags: client.add_tags(ResourceArn=arn, Tags=pairs(tags)),
        lambda keys: client.delete_tags(ResourceArn=arn, TagKeys=keys),
    )


class Model(Resource):
    """The handler of ``aws_sagemaker_model``; SageMaker cannot change a model."""

    operation = ("sagemaker", "create_model")
    own_arguments = frozenset({"name", "tags"})

    def create(self, aws: Aws, new: State) -> State:
        name = name_of(new)
        request = {**new, "model_name": name, "tags": new["tags_all"]}
        if new.get("container"):
            request["containers"] = new["container"]
        created = aws.call("sagemaker", "create_model", request)
        return {"id": name, "name": name, "arn": created["ModelArn"]}

    def read(self, aws: Aws, old: State) -> State | None:
        describe = aws.client("sagemaker").describe_model
        return {} if found(lambda: describe(ModelName=old["id"])) else None

    def update(self, aws: Aws, old: State, new: State) -> State:
        _retag(aws, old, new)
        return {}

    def delete(self, aws: Aws, old: State) -> None:
        found(lambda: aws.client("sagemaker").delete_model(ModelName=old["id"]))


class EndpointConfiguration(Resource):
    """The handler of ``aws_sagemaker_endpoint_configuration``, which cannot be changed either."""

    operation = ("sagemaker", "create_endpoint_config")
    own_arguments = frozenset({"kms_key_arn", "name", "name_prefix", "tags"})

    def create(self, aws: Aws, new: State) -> State:
        name = name_of(new)
        request = {
            **new,
            "endpoint_config_name": name,
            "kms_key_id": new.get("kms_key_arn"),
            "tags": new["tags_all"],
        }
        created = aws.call("sagemaker", "create_endpoint_config", request)
        return {"id": name, "name": name, "name_prefix": "", "arn": created["EndpointConfigArn"]}

    def read(self, aws: Aws, old: State) -> State | None:
        describe = aws.client("sagemaker").describe_endpoint_config
        return {} if found(lambda: describe(EndpointConfigName=old["id"])) else None

    def update(self, aws: Aws, old: State, new: State) -> State:
        _retag(aws, old, new)
        return {}

    def delete(self, aws: Aws, old: State) -> None:
        delete = aws.client("sagemaker").delete_endpoint_config
        found(lambda: delete(EndpointConfigName=old["id"]))


class Endpoint(Resource):
    """The handler of ``aws_sagemaker_endpoint``; waits until it is in service or has failed."""

    in_place = TAGS | {"endpoint_config_name", "deployment_config"}
    operation = ("sagemaker", "create_endpoint")
    own_arguments = frozenset({"name", "tags"})

    def create(self, aws: Aws, new: State) -> State:
        name = name_of(new)
        request = {**new, "endpoint_name": name, "tags": new["tags_all"]}
        created = aws.call("sagemaker", "create_endpoint", request)
        values = {"id": name, "name": name, "arn": created["EndpointArn"]}
        try:
            answer = _wait_until_settled(aws, name)
        except EndpointError as err:
            raise CreatedButUnusable(err.what, where=name, values=values) from err
        if answer["EndpointStatus"] != "InService":
            raise CreatedButUnusable(
                f"The endpoint is {answer['EndpointStatus']}: {_reason(answer)}",
                where=name,
                values=values,
            )
        return values

    def read(self, aws: Aws, old: State) -> State | None:
        answer = found(lambda: _describe(aws, old["id"]))
        if answer is None or answer["EndpointStatus"] == "Deleting":
            return None
        return {"endpoint_config_name": answer["EndpointConfigName"]}

    def update(self, aws: Aws, old: State, new: State) -> State:
        _retag(aws, old, new)
        desired = new["endpoint_config_name"]
        if desired == old["endpoint_config_name"]:
            return {}
        request = {**new, "endpoint_name": old["id"], "tags": None}
        aws.call("sagemaker", "update_endpoint", request)
        answer = _wait_until_settled(aws, old["id"])
        if answer["EndpointStatus"] != "InService" or answer["EndpointConfigName"] != desired:
            # SageMaker has rolled back: the endpoint is in service, but not as it was asked for.
            raise EndpointError(
                f"The endpoint goes on with {answer['EndpointConfigName']}; {desired} failed: "
                f"{_reason(answer)}",
                where=old["id"],
            )
        return {}

    def delete(self, aws: Aws, old: State) -> None:
        found(lambda: aws.client("sagemaker").delete_endpoint(EndpointName=old["id"]))
        deadline = time.monotonic() + WAIT_S
        while found(lambda: _describe(aws, old["id"])) is not None:
            _pause(aws, deadline, old["id"])


def _describe(aws: Aws, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = aws.client("sagemaker").describe_endpoint(EndpointName=name)
    return answer


def _reason(answer: dict[str, Any]) -> str:
    return str(answer.get("FailureReason", "no reason was given"))


def _wait_until_settled(aws: Aws, name: str) -> dict[str, Any]:
    deadline = time.monotonic() + WAIT_S
    while (answer := _describe(aws, name))["EndpointStatus"] not in SETTLED:
        _pause(aws, deadline, name)
    return answer


def _pause(aws: Aws, deadline: float, name: str) -> None:
    """Wait a moment.

    Raises:
        EndpointError: It has been too long, or Terraform was interrupted.
    """
    if time.monotonic() >= deadline:
        raise EndpointError(f"The endpoint has not settled after {WAIT_S:g} s", where=name)
    if aws.interrupted.wait(POLL_S):
        raise EndpointError("Interrupted before the endpoint had settled", where=name)


SAGEMAKER: dict[str, Resource] = {
    "aws_sagemaker_model": Model(),
    "aws_sagemaker_endpoint_configuration": EndpointConfiguration(),
    "aws_sagemaker_endpoint": Endpoint(),
}
