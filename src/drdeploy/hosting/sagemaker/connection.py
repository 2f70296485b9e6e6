"""Make the boto3 clients for AWS or the local service, with settings that keep latencies exact."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from drdeploy.errors import InvalidInput, turn_import_error_into_missing_extra
from drdeploy.hosting.sagemaker.api_limits import DEFAULT_REGION, INVOCATION_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker_runtime import SageMakerRuntimeClient

READ_TIMEOUT_S = INVOCATION_TIMEOUT_S + 15
"""The read timeout of the client. It is longer than SageMaker's limit. The caller of a slow model
therefore sees SageMaker's error, which explains what happened, and not a timeout of the client.
"""

ENDPOINT_VARIABLE = "AWS_ENDPOINT_URL"
"""The variable with the address of all AWS services. The address of one service is in the variable
that also has the service's name, for example ``AWS_ENDPOINT_URL_SAGEMAKER``."""

_NAMES_IN_SETTINGS = {
    "application-autoscaling": "application-auto-scaling",
    "logs": "cloudwatch-logs",
}
"""The names of services in AWS's settings, if boto3 has another name for the service."""

LOCAL_KEY_PREFIX = "LKIA"
"""The beginning of the key ids that ``drdeploy local up --shared`` prints. The key ids of AWS begin
with ``AKIA`` or ``ASIA``."""


@dataclass(frozen=True)
class Clients:
    """The boto3 clients of the four AWS services that hosting an endpoint needs."""

    sagemaker: SageMakerClient
    runtime: SageMakerRuntimeClient
    cloudwatch: CloudWatchClient
    s3: S3Client


def make_hosting_clients(
    endpoint_url: str | None = None, *, region: str | None = None, max_connections: int = 10
) -> Clients:
    """Make the boto3 clients for :class:`Hosting`.

    :meth:`Hosting.connect` explains the arguments.
    """
    client = _make_client_factory(endpoint_url, region)
    return Clients(
        sagemaker=client("sagemaker"),
        # No retries: they would hide failures, and their waits would count as latency.
        runtime=client(
            "sagemaker-runtime",
            retries={"total_max_attempts": 1},
            read_timeout=READ_TIMEOUT_S,
            max_pool_connections=max_connections,
            tcp_keepalive=True,
        ),
        cloudwatch=client("cloudwatch"),
        s3=client("s3"),
    )


def make_boto3_client(
    service: str, endpoint_url: str | None = None, *, region: str | None = None
) -> Any:
    """Make the boto3 client of any AWS service, for example of ECR or STS.

    Raises:
        InvalidInput: No region is set for AWS.
        MissingExtra: The extra ``cloud`` is not installed.
    """
    return _make_client_factory(endpoint_url, region)(service)


def is_loopback_url(endpoint_url: str | None) -> bool:
    """Return whether the host of a URL is ``localhost`` or a loopback address."""
    host = urlsplit(endpoint_url or "").hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def find_hosting_url(endpoint_url: str | None = None) -> str | None:
    """Return the address of the local service that hosts endpoints; None means AWS.

    Args:
        endpoint_url: The address that the user gave, which is returned unchanged. If it is None,
            the settings with which users send boto3 and the AWS CLI to another address are read:
            environment variables, and then the user's AWS profile. An address on another machine in
            these settings does not count: it is, for example, that of a VPC endpoint of AWS.

    Raises:
        InvalidInput: The address is not one of HTTP or HTTPS.
    """
    if endpoint_url:
        return _check_http_url(endpoint_url)
    url = _read_configured_url("sagemaker")
    return url if is_loopback_url(url) else None


def find_endpoint_url(service: str, endpoint_url: str | None = None) -> str | None:
    """Return the address of an AWS service; None means AWS's own address.

    boto3 reads the same settings. By itself, however, it sends the user's AWS credentials also to
    a service on this machine, and reaches it through a proxy.

    Args:
        service: The name of the service, as boto3 spells it.
        endpoint_url: The address that the user gave, which is returned unchanged. If it is None,
            AWS's variables and the user's AWS profile are read. If only SageMaker has an address,
            and this address is on this machine, a local service takes the place of all services.

    Raises:
        InvalidInput: The address is not one of HTTP or HTTPS.
    """
    if endpoint_url:
        return _check_http_url(endpoint_url)
    return _read_configured_url(service) or find_hosting_url()


def _check_http_url(url: str) -> str:
    """Return a service's address, if it is one of HTTP or HTTPS.

    An address without ``http://`` would count as one of AWS: :func:`is_loopback_url` finds no host
    in it.

    Raises:
        InvalidInput: The address has another form.
    """
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
        is_usable = is_usable and parts.port != 0  # reading a port that is no number raises
    except ValueError:
        is_usable = False
    if not is_usable:
        raise InvalidInput(
            f"{url} is not the address of a service",
            where="--endpoint-url, AWS_ENDPOINT_URL, endpoint_url in the AWS profile",
            remedy="Give the whole address, for example http://127.0.0.1:8765",
        )
    return url


def _read_configured_url(service: str) -> str | None:
    """Return the address of an AWS service in the environment or the user's AWS profile."""
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    words = _NAMES_IN_SETTINGS.get(service, service).replace("-", "_")
    by_variable = os.environ.get(f"{ENDPOINT_VARIABLE}_{words.upper()}") or os.environ.get(
        ENDPOINT_VARIABLE
    )
    url = by_variable or _read_url_in_profile(words)
    return url and _check_http_url(url)


def _read_url_in_profile(words: str) -> str | None:
    """Return the address of a service in the user's AWS profile; None without a usable profile."""
    try:
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session
    except ImportError:  # without the extra `cloud`, nothing is sent to AWS
        return None
    session = Session()
    try:
        profile, all_settings = session.get_scoped_config(), session.full_config
    except BotoCoreError:  # boto3 refuses the same profile, and says why
        return None
    if profile.get("ignore_configured_endpoint_urls", "").lower() == "true":
        return None
    services = all_settings.get("services", {}).get(profile.get("services"), {})
    of_service = services.get(words)
    url: str | None = (of_service or {}).get("endpoint_url") or profile.get("endpoint_url")
    return url


def choose_local_credentials(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return a local service's credentials, keyed by the names of AWS's environment variables.

    A local service that several users share prints a key, which each user sets in the environment.
    If the environment holds the key of a local service, this key is returned. Otherwise, made-up
    credentials are returned, because a service that is not shared accepts any key. The user's AWS
    credentials are never sent to a local service, because any program that listens on the port
    would learn the user's key id.
    """
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    if environ.get(names[0], "").startswith(LOCAL_KEY_PREFIX):
        return {name: environ.get(name, "") for name in names}
    return dict.fromkeys(names, "local")


def _find_region_in_environment() -> str | None:
    """Return the AWS region in ``AWS_REGION``; None if the variable is not set.

    AWS's other SDKs, the AWS CLI and Terraform read ``AWS_REGION``, and prefer it to
    ``AWS_DEFAULT_REGION``. boto3 reads only ``AWS_DEFAULT_REGION``.
    """
    return os.environ.get("AWS_REGION") or None


def _make_client_factory(endpoint_url: str | None, region: str | None) -> Callable[..., Any]:
    with turn_import_error_into_missing_extra("cloud", "A connection to AWS or the local service"):
        import boto3
        from botocore.config import Config

    @cache
    def make_session(*, is_local: bool) -> Any:
        if is_local:
            credentials = choose_local_credentials()
            return boto3.Session(
                aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
                region_name=region or DEFAULT_REGION,
            )
        session = boto3.Session(region_name=region or _find_region_in_environment())
        if not session.region_name:
            raise InvalidInput(
                "No AWS region is set",
                where="region",
                remedy="Set AWS_REGION, or set a region in your AWS profile with `aws configure`",
            )
        return session

    def make_boto3_client_of_service(service: str, **options: Any) -> Any:
        url = find_endpoint_url(service, endpoint_url)
        is_local = is_loopback_url(url)
        settings: dict[str, Any] = {"retries": {"mode": "standard", "total_max_attempts": 5}}
        if is_local:
            # Requests to this machine must not go through a proxy that the environment names.
            settings["proxies"] = {}
        if is_local and service == "s3":
            # By default the bucket becomes part of the host name, which does not resolve here.
            settings["s3"] = {"addressing_style": "path"}
        config = Config(**(settings | options))
        made = make_session(is_local=is_local).client(service, endpoint_url=url, config=config)
        made.meta.events.register("after-call", _refuse_answer_not_from_aws)
        return made

    return make_boto3_client_of_service


def _refuse_answer_not_from_aws(http_response: Any, parsed: Any, model: Any, **_: Any) -> None:
    """Raise an error if an answer with a success status does not come from AWS.

    A network with a login page answers every request with the login page and status 200. A broken
    connection may cut off an answer. To botocore, a login page and a cut-off answer look like empty
    answers.

    Raises:
        ResponseParserError: The answer lacks a field that AWS always sends.
    """
    from botocore.parsers import ResponseParserError

    shape = model.output_shape
    if http_response.status_code >= HTTPStatus.MULTIPLE_CHOICES or shape is None:
        return
    if not shape.members or model.service_model.service_name == "s3":  # may be headers alone
        return
    needed = shape.required_members or shape.members
    found = [name for name in needed if name in parsed]
    if not found or (shape.required_members and len(found) < len(needed)):
        raise ResponseParserError(f"the answer to {model.name} does not come from AWS")
