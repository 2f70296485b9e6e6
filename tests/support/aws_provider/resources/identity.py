"""Data sources: the account, the partition and the region."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_provider.aws import Aws
    from aws_provider.values import State


def _caller_identity(aws: Aws) -> State:
    identity = aws.client("sts").get_caller_identity()
    return {
        "id": identity["Account"],
        "account_id": identity["Account"],
        "arn": identity["Arn"],
        "user_id": identity["UserId"],
    }


def _partition(aws: Aws) -> State:
    del aws
    return {
        "id": "aws",
        "partition": "aws",
        "dns_suffix": "amazonaws.com",
        "reverse_dns_prefix": "com.amazonaws",
    }


def _region(aws: Aws) -> State:
    return {
        "id": aws.region,
        "name": aws.region,
        "region": aws.region,
        "description": aws.region,
        "endpoint": f"ec2.{aws.region}.amazonaws.com",
    }


DATA_SOURCES: dict[str, Callable[[Aws], State]] = {
    "aws_caller_identity": _caller_identity,
    "aws_partition": _partition,
    "aws_region": _region,
}
