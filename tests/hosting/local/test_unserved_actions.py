"""What nobody serves is refused in the client's own protocol, by its name."""

import io
import logging
import urllib.request
from email.message import Message
from urllib.error import HTTPError

import botocore.parsers
import pytest
from botocore.exceptions import ClientError
from local_aws import client

from drdeploy.hosting.local.api.refusals import REST_XML_SERVICES
from drdeploy.hosting.local.api.request_validation import load_service_model
from drdeploy.hosting.local.api.unserved_actions import (
    S3_SUBRESOURCES_SERVED,
    SERVED_SERVICES,
    _list_subresources_of_s3,
    refuse_unserved_action,
)
from drdeploy.hosting.local.api_errors import ApiError
from drdeploy.hosting.local.http_server import ServiceRequest, ServiceResponse

UNKNOWN = "UnknownOperationException"


def refused(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    assert 400 <= response["ResponseMetadata"]["HTTPStatusCode"] < 500
    return response["Error"]["Code"], response["Error"]["Message"]


@pytest.mark.parametrize(
    ("service_name", "operation", "arguments", "code", "named"),
    [
        ("kms", "describe_custom_key_stores", {}, UNKNOWN, "DescribeCustomKeyStores of KMS"),
        ("iam", "list_delegation_requests", {}, "InvalidAction", "ListDelegationRequests of IAM"),
        ("sts", "get_web_identity_token", {"Audience": ["a"], "SigningAlgorithm": "RS256"}, *(
            "InvalidAction", "GetWebIdentityToken of STS")),
        ("cloudwatch", "describe_anomaly_detectors", {}, UNKNOWN, "DescribeAnomalyDetectors"),
        ("dynamodb", "list_tables", {}, UNKNOWN, "ListTables of dynamodb"),
        ("lambda", "list_functions", {}, UNKNOWN, "of lambda"),
        ("bedrock-runtime", "invoke_model", {"modelId": "m", "body": b"{}"}, UNKNOWN, "of bedrock"),
        ("ec2", "describe_instances", {}, "InvalidAction", "DescribeInstances of ec2"),
        ("cloudformation", "list_stacks", {}, "InvalidAction", "ListStacks of cloudformation"),
        ("cloudfront", "list_distributions", {}, "InvalidAction", "of cloudfront"),
        ("arc-region-switch", "list_plans", {}, UNKNOWN, "ListPlans of arc-region-switch"),
        ("sagemaker", "list_training_jobs", {}, UNKNOWN, "ListTrainingJobs"),
        ("sagemaker-geospatial", "list_raster_data_collections", {}, UNKNOWN, "geospatial"),
        ("s3", "list_bucket_metrics_configurations", {"Bucket": "b"}, "MethodNotAllowed",
            "GET ?metrics of S3"),
        ("s3", "put_bucket_request_payment", {"Bucket": "never",
            "RequestPaymentConfiguration": {"Payer": "Requester"}}, "MethodNotAllowed",
            "PUT ?requestPayment of S3"),
    ],
    ids=lambda value: value if isinstance(value, str) and "_" in value else "",
)  # fmt: skip
def test_an_action_that_nobody_serves_is_refused_by_its_name(
    aws, service_name, operation, arguments, code, named
):
    call = getattr(client(service_name, aws.url), operation)
    found, message = refused(call, **arguments)
    assert found == code
    assert named in message


def test_a_client_that_speaks_cbor_reads_the_refusal(aws):
    scope = "test/20260101/us-east-1/monitoring/aws4_request"
    headers = {
        "smithy-protocol": "rpc-v2-cbor",
        "Content-Type": "application/cbor",
        "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
    }
    path = "/service/GraniteServiceVersion20100801/operation/DescribeAnomalyDetectors"
    request = urllib.request.Request(aws.url + path, b"\xa0", headers, method="POST")
    with pytest.raises(HTTPError) as caught:
        urllib.request.urlopen(request)
    answer = {"status_code": caught.value.code, "body": caught.value.read()}
    answer["headers"] = {name.lower(): value for name, value in caught.value.headers.items()}
    shape = load_service_model("cloudwatch").operation_model("DescribeAnomalyDetectors")
    parser = botocore.parsers.create_parser("smithy-rpc-v2-cbor")
    error = parser.parse(answer, shape.output_shape)["Error"]
    assert (caught.value.code, error["Code"]) == (400, UNKNOWN)
    assert "DescribeAnomalyDetectors of CloudWatch" in error["Message"]


def test_the_version_of_json_in_an_answer_is_that_of_the_request(aws):
    with pytest.raises(ClientError) as caught:
        client("dynamodb", aws.url).list_tables()
    headers = caught.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert headers["content-type"] == "application/x-amz-json-1.0"


def test_every_subresource_of_s3_is_known(aws):
    assert _list_subresources_of_s3() >= S3_SUBRESOURCES_SERVED
    assert "metrics" in _list_subresources_of_s3() - S3_SUBRESOURCES_SERVED


def test_services_with_rest_and_xml_are_listed():
    import botocore.loaders

    loader = botocore.loaders.Loader()
    for name in ("cloudfront", "route53", "s3control", "iam", "lambda", "sagemaker-runtime"):
        metadata = loader.load_service_model(name, "service-2")["metadata"]
        signing_name = metadata.get("signingName", metadata["endpointPrefix"])
        is_rest_xml = metadata["protocol"] == "rest-xml"
        assert is_rest_xml == (signing_name in REST_XML_SERVICES | {"s3"})


def test_a_service_that_is_served_answers(aws):
    assert "Topics" in client("sns", aws.url).list_topics()
    assert {"sns", "iam", "s3"} <= SERVED_SERVICES.keys()


def answered(service, body, answer, content_type="application/x-www-form-urlencoded"):
    headers = Message()
    headers["Content-Type"] = content_type
    request = ServiceRequest("PUT", "/eyes/eye.jpg", headers, io.BytesIO(body), len(body))
    return refuse_unserved_action(service, request, answer)


def test_an_object_is_no_form_although_urllib_and_curl_say_so():
    body = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00%00"
    assert answered("s3", body, lambda: ServiceResponse(200)).status == 200
    with pytest.raises(ApiError, match="cannot hold"):
        answered("iam", body, lambda: ServiceResponse(200))


def test_a_long_value_that_moto_fails_with_is_cut_in_the_answer_and_in_the_log(caplog):
    text = "a" * 100_000
    module = {"__name__": "moto.iam.responses"}
    exec("def answer(text):\n    return {}[text]", module)
    with caplog.at_level(logging.INFO), pytest.raises(ApiError) as refused:
        answered("iam", b"Action=GetUser", lambda: module["answer"](text))
    assert len(refused.value.message) < 500
    assert max(len(record.getMessage()) for record in caplog.records) < 500


def test_a_race_in_moto_is_no_fault_of_the_request():
    module = {"__name__": "moto.iam.responses"}
    exec("def answer():\n    raise RuntimeError('dictionary changed size')", module)
    with pytest.raises(RuntimeError):
        answered("iam", b"Action=ListUsers", module["answer"])
