"""Signatures are verified for real: what botocore signs passes, and whatever differs does not."""

import io
import string
from datetime import UTC, datetime, timedelta
from email.message import Message
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from drdeploy.hosting.local.access_key import AccessKey
from drdeploy.hosting.local.api.signatures import SignatureRefused, SignatureVerifier
from drdeploy.hosting.local.http_server import ServiceRequest
from drdeploy.hosting.sagemaker import Clock

KEY = AccessKey.generate()
HOST = "http://127.0.0.1:8765"
SIGNERS = {"s3": S3SigV4Auth, "sagemaker": SigV4Auth, "iam": SigV4Auth}
PRESIGNERS = {"s3": S3SigV4QueryAuth, "sts": SigV4QueryAuth}


def arrived(signed: AWSRequest, **changes) -> ServiceRequest:
    """The request as the service gets it, with something changed on the way."""
    headers = Message()
    for name, value in {**dict(signed.headers.items()), **changes.get("headers", {})}.items():
        if value is not None:
            headers[name] = value
    if "Host" not in headers:
        headers["Host"] = HOST.removeprefix("http://")
    body = changes.get("body", signed.body or b"")
    return ServiceRequest(
        changes.get("method", signed.method),
        changes.get("target", signed.url.removeprefix(HOST)),
        headers,
        io.BytesIO(body),
        len(body),
    )


def sign(service="sagemaker", *, key=KEY, target="/", method="POST", body=b"{}", **headers):
    request = AWSRequest(method, f"{HOST}{target}", headers, body)
    credentials = Credentials(key.id, key.secret)
    SIGNERS[service](credentials, service, "us-east-1").add_auth(request)
    return request


def presign(service, target, *, expires=60):
    request = AWSRequest("GET", f"{HOST}{target}", {}, b"")
    signer = PRESIGNERS[service](Credentials(KEY.id, KEY.secret), service, "us-east-1", expires)
    signer.add_auth(request)
    return request


def verify(request, *, later=timedelta()):
    verifier = SignatureVerifier(KEY, Clock(now=lambda: datetime.now(UTC) + later))
    claim = verifier.check_head(request)
    verifier.check_body(claim, request)
    return claim


def problem(request, **options):
    with pytest.raises(SignatureRefused) as caught:
        verify(request, **options)
    return caught.value.problem


TEXTS = st.text(string.printable + "é€", max_size=20)
SEGMENTS = st.lists(TEXTS.map(lambda text: quote(text, safe="~-_.!*'()")), max_size=4)
QUERIES = st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=4).map(
    lambda pairs: "&".join(f"{quote(key, safe='')}={quote(pairs[key], safe='')}" for key in pairs)
)


@settings(max_examples=200, deadline=None)
@given(
    service=st.sampled_from(list(SIGNERS)),
    segments=SEGMENTS,
    query=QUERIES,
    body=st.binary(max_size=100),
    value=st.text(string.ascii_letters + "  ;,=/", max_size=20).map(str.strip),
)
def test_whatever_botocore_signs_is_accepted(service, segments, query, body, value):
    target = f"/{'/'.join(segments)}" + (f"?{query}" if query else "")
    signed = sign(service, target=target, body=body, **{"X-Amz-Meta-Value": value})
    claim = verify(arrived(signed))
    assert (claim.service, claim.region, claim.key_id) == (service, "us-east-1", KEY.id)


@settings(max_examples=100, deadline=None)
@given(service=st.sampled_from(list(PRESIGNERS)), segments=SEGMENTS, query=QUERIES)
def test_whatever_botocore_presigns_is_accepted(service, segments, query):
    target = f"/{'/'.join(segments)}" + (f"?{query}" if query else "")
    assert verify(arrived(presign(service, target))).service == service


def test_the_body_can_be_read_after_it_was_verified():
    request = arrived(sign(body=b"photograph"))
    verify(request)
    assert request.body.read() == b"photograph"


@pytest.mark.parametrize("service", SIGNERS)
@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"target": "/other?a=1"},
        {"target": "/path?a=2"},
        {"target": "/path"},
        {"body": b"another body"},
        {"headers": {"X-Amz-Meta-Value": "2"}},
        {"headers": {"Host": "127.0.0.1:9999"}},
    ],
    ids=str,
)
def test_whatever_is_changed_on_the_way_is_refused(service, change):
    signed = sign(service, target="/path?a=1", body=b"body", **{"X-Amz-Meta-Value": "1"})
    assert verify(arrived(signed))
    is_s3_body = service == "s3" and "body" in change
    assert problem(arrived(signed, **change)) == ("other body" if is_s3_body else "mismatch")


def test_a_signature_for_another_service_or_region_is_refused():
    signed = sign("sagemaker")
    for ours, theirs in (("sagemaker", "iam"), ("us-east-1", "eu-west-1")):
        header = signed.headers["Authorization"].replace(f"/{ours}/", f"/{theirs}/")
        assert problem(arrived(signed, headers={"Authorization": header})) == "mismatch"


def test_another_secret_and_another_id_are_refused():
    wrong_secret, wrong_id = AccessKey(KEY.id, "guess"), AccessKey("LKIAGUESS", KEY.secret)
    assert problem(arrived(sign(key=wrong_secret))) == "mismatch"
    assert problem(arrived(sign(key=wrong_id))) == "unknown key"
    with_token = arrived(sign(**{"X-Amz-Security-Token": "made up"}))
    assert problem(with_token) == "unknown key"


@pytest.mark.parametrize(
    ("service", "minutes"), [("sagemaker", 6), ("sagemaker", -6), ("s3", 16), ("s3", -16)]
)
def test_a_signature_made_at_another_time_is_refused(service, minutes):
    within = timedelta(minutes=minutes * 0.8)
    assert verify(arrived(sign(service)), later=within)
    assert problem(arrived(sign(service)), later=timedelta(minutes=minutes)) == "expired"


def test_a_presigned_url_expires_and_covers_its_query():
    signed = presign("s3", "/bucket/key?versionId=1", expires=60)
    assert problem(arrived(signed), later=timedelta(seconds=62)) == "expired"
    target = signed.url.removeprefix(HOST)
    assert problem(arrived(signed, target=target.replace("key", "kez"))) == "mismatch"
    assert problem(arrived(signed, target=target + "&acl=")) == "mismatch"
    longer = target.replace("X-Amz-Expires=60", "X-Amz-Expires=604800")
    assert problem(arrived(signed, target=longer)) == "mismatch"
    eternal = target.replace("X-Amz-Expires=60", "X-Amz-Expires=604801")
    assert problem(arrived(signed, target=eternal)) == "incomplete"


OF_2024 = f"AWS4-HMAC-SHA256 Credential={KEY.id}/20240101/us-east-1/s3/aws4_request, "


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer x",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=" + "0" * 64,
        OF_2024 + "SignedHeaders=host, Signature=" + "0" * 63,
        OF_2024 + "SignedHeaders=host, Signature=" + "0" * 64,
        "AWS4-HMAC-SHA256 " + "Credential=" * 5000,
    ],
)
def test_a_malformed_header_is_incomplete(header):
    assert problem(arrived(sign(), headers={"Authorization": header})) == "incomplete"


@pytest.mark.parametrize(
    "change",
    [
        {"headers": {"X-Amz-Date": None}},
        {"headers": {"X-Amz-Date": "yesterday"}},
        {"headers": {"X-Amz-Target": "SageMaker.DeleteEndpoint"}},  # present, but not signed
        {"target": "/path#fragment"},
        {"target": "/pa th"},
        {"target": "http://127.0.0.1/"},
        {"target": "/?X-Amz-Signature=" + "0" * 64},  # a second signature
    ],
    ids=str,
)
def test_what_a_signature_does_not_cover_is_refused(change):
    assert problem(arrived(sign(), **change)) == "incomplete"


def test_a_body_may_stay_unsigned_with_s3_alone():
    unsigned = {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
    assert problem(arrived(sign("sagemaker", **unsigned))) == "incomplete"
    in_chunks = {"X-Amz-Content-SHA256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}
    assert problem(arrived(sign("s3"), headers=in_chunks)) == "incomplete"


def test_nothing_signed_is_missing():
    request = arrived(AWSRequest("GET", f"{HOST}/", {}, b""))
    assert problem(request) == "missing"


def test_signature_version_2_is_refused():
    target = f"/bucket/key?AWSAccessKeyId={KEY.id}&Signature=x&Expires=99999999999"
    assert problem(arrived(AWSRequest("GET", f"{HOST}{target}", {}, b""))) == "incomplete"


def test_the_secret_does_not_show():
    assert KEY.secret not in repr(KEY)


def test_a_registry_password_expires_and_cannot_be_made_up():
    password = KEY.make_registry_password(1000.0)
    assert KEY.accepts_registry_password(password, 1000.0)
    assert not KEY.accepts_registry_password(password, 1000.0 + 12 * 3600)
    assert not AccessKey.generate().accepts_registry_password(password, 1000.0)
    expires, _, mac = password.partition(".")
    assert not KEY.accepts_registry_password(f"{int(expires) + 1}.{mac}", 1000.0)
    assert not KEY.accepts_registry_password("123456789012-auth-token", 1000.0)
