"""AWS_ENDPOINT_URL and similar variables may name the local service, as --endpoint-url does."""

import os

import pytest
from botocore.exceptions import ProfileNotFound

from drdeploy.cli.deployment import make_account_from_options
from drdeploy.errors import InvalidInput
from drdeploy.hosting.deployment.account import AwsAccount
from drdeploy.hosting.sagemaker import (
    BatchTransform,
    Hosting,
    make_boto3_client,
    make_hosting_clients,
)
from drdeploy.hosting.sagemaker.price_list_api import make_price_list_client

LOCAL = "http://127.0.0.1:8765"
ELSEWHERE = "https://vpce-1.sagemaker.us-east-1.vpce.amazonaws.com"


@pytest.fixture
def user_of_aws(monkeypatch):
    """A user who has AWS credentials, a region and a proxy, but no configuration files of AWS."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAREAL")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "real")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    return monkeypatch


def facts_of(client):
    """Return the address, key and proxies of a client, and whether it puts buckets into paths."""
    meta = client.meta
    key = client._request_signer._credentials.access_key
    return (
        meta.endpoint_url,
        key,
        meta.config.proxies,
        (meta.config.s3 or {}).get("addressing_style"),
    )


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SAGEMAKER"])
def test_a_local_service_in_awss_variables_is_like_one_in_the_option(user_of_aws, variable):
    by_option = make_hosting_clients(LOCAL)
    assert Hosting.connect().is_local is BatchTransform.connect().is_local is False
    user_of_aws.setenv(variable, LOCAL)
    assert Hosting.connect().is_local is BatchTransform.connect().is_local is True
    clients = make_hosting_clients()
    for name in ("sagemaker", "runtime", "cloudwatch", "s3"):
        found = facts_of(getattr(clients, name))
        assert found == facts_of(getattr(by_option, name))
        assert found[:3] == (LOCAL, "local", {})
        assert getattr(clients, name).meta.region_name == "us-east-1"
    assert facts_of(clients.s3)[3] == "path"
    assert facts_of(make_boto3_client("logs"))[0] == LOCAL


def test_the_variable_of_a_service_counts_before_that_of_all(user_of_aws):
    user_of_aws.setenv("AWS_ENDPOINT_URL", LOCAL)
    user_of_aws.setenv("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "https://logs.example")
    assert facts_of(make_boto3_client("logs"))[:2] == ("https://logs.example", "AKIAREAL")
    assert facts_of(make_boto3_client("s3"))[:2] == (LOCAL, "local")


def test_an_address_on_another_machine_in_awss_variables_is_aws(user_of_aws):
    user_of_aws.setenv("AWS_ENDPOINT_URL_SAGEMAKER", ELSEWHERE)
    assert Hosting.connect().is_local is False
    assert AwsAccount().platform == "aws"
    clients = make_hosting_clients()
    assert facts_of(clients.sagemaker)[:2] == (ELSEWHERE, "AKIAREAL")
    assert facts_of(clients.s3)[0].endswith(".amazonaws.com")


def test_variables_that_are_to_be_ignored_are_ignored(user_of_aws):
    user_of_aws.setenv("AWS_ENDPOINT_URL", LOCAL)
    user_of_aws.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    assert Hosting.connect().is_local is False
    assert facts_of(make_boto3_client("sagemaker"))[:2] == (
        "https://api.sagemaker.eu-west-1.amazonaws.com",
        "AKIAREAL",
    )


def test_what_is_on_aws_is_not_touched_while_awss_variables_name_this_machine(user_of_aws):
    user_of_aws.setenv("AWS_ENDPOINT_URL", LOCAL)
    with pytest.raises(InvalidInput, match=rf"on AWS, but .* {LOCAL}.*Unset these settings"):
        AwsAccount()
    with pytest.raises(InvalidInput, match="Unset these settings"):
        make_account_from_options("aws", None, None)
    for target in (None, "local"):
        assert make_account_from_options(target, None, None).endpoint_url == LOCAL
    assert make_account_from_options(None, "http://127.0.0.1:9", None).endpoint_url.endswith(":9")


def test_prices_are_those_of_aws_and_no_credentials_go_to_the_local_service(user_of_aws):
    url = "https://api.pricing.us-east-1.amazonaws.com"
    assert facts_of(make_price_list_client())[:2] == (url, "AKIAREAL")
    user_of_aws.setenv("AWS_ENDPOINT_URL", LOCAL)
    assert facts_of(make_price_list_client())[:2] == (url, "AKIAREAL")


CONFIG = """
[default]
{line}
[services nearby]
sagemaker =
  endpoint_url = {local}
cloudwatch_logs =
  endpoint_url = https://logs.example
"""


def set_profile(user_of_aws, folder, line):
    file = folder / "config"
    file.write_text(CONFIG.format(line=line, local=LOCAL))
    user_of_aws.setenv("AWS_CONFIG_FILE", str(file))


def test_a_local_service_in_the_users_aws_profile_is_like_one_in_the_variables(
    user_of_aws, tmp_path
):
    set_profile(user_of_aws, tmp_path, f"endpoint_url = {LOCAL}")
    assert Hosting.connect().is_local is BatchTransform.connect().is_local is True
    with pytest.raises(InvalidInput, match="AWS's settings name the local service at"):
        AwsAccount()
    assert facts_of(make_hosting_clients().s3)[:3] == (LOCAL, "local", {})
    user_of_aws.setenv("AWS_ENDPOINT_URL", "https://all.example")
    assert facts_of(make_hosting_clients().s3)[:2] == ("https://all.example", "AKIAREAL")


def test_a_profile_may_name_an_address_for_each_service(user_of_aws, tmp_path):
    set_profile(user_of_aws, tmp_path, "services = nearby")
    assert Hosting.connect().is_local is True
    assert facts_of(make_boto3_client("logs"))[:2] == ("https://logs.example", "AKIAREAL")
    assert facts_of(make_boto3_client("s3"))[:2] == (LOCAL, "local")


@pytest.mark.parametrize(
    "line", [f"endpoint_url = {LOCAL}\nignore_configured_endpoint_urls = true", "", "region = x"]
)
def test_a_profile_without_an_address_to_use_means_aws(user_of_aws, tmp_path, line):
    set_profile(user_of_aws, tmp_path, line)
    assert Hosting.connect().is_local is False


def test_a_profile_that_does_not_exist_is_left_to_boto3_to_explain(user_of_aws):
    user_of_aws.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ProfileNotFound, match="nobody"):
        Hosting.connect()


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:8765", "localhost:8765", "http://", "ftp://localhost", "http://[::1",
        "http://localhost:x", "http://localhost:70000"],
)  # fmt: skip
def test_what_is_no_address_of_http_is_refused_and_does_not_mean_aws(user_of_aws, url):
    for connect in (Hosting.connect, BatchTransform.connect, make_hosting_clients):
        with pytest.raises(InvalidInput, match=r"not the address of a service.*http://127"):
            connect(url)
    with pytest.raises(InvalidInput, match="--endpoint-url, AWS_ENDPOINT_URL"):
        make_account_from_options("local", url, None)
    user_of_aws.setenv("AWS_ENDPOINT_URL", url)
    with pytest.raises(InvalidInput, match="--endpoint-url, AWS_ENDPOINT_URL"):
        make_boto3_client("s3")
