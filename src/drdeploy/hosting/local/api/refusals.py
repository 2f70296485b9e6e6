"""Write errors in the form of each AWS protocol.

The protocols have different error codes for the same problem, and a client knows only the codes of
its protocol. SageMaker and ECR use JSON, and SageMaker's runtime uses REST-JSON. IAM and STS use
the query protocol with XML, CloudFront uses REST-XML, and S3 uses an XML format of its own.
CloudWatch's clients choose CBOR, JSON or the query protocol.  Sources: "Common Errors" in the API
references of SageMaker and IAM; "Error responses" in the API reference of Amazon S3; the Smithy
specifications of the protocols; and answers that AWS has given.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, Literal
from xml.sax.saxutils import escape

from drdeploy.hosting.local.http_server import ServiceRequest, ServiceResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.local.api.signatures import Problem, SignatureRefused
    from drdeploy.hosting.local.api_errors import ApiError

Protocol = Literal["json", "cbor", "rest-json", "query", "rest-xml", "s3"]
FAMILIES: dict[Protocol, Protocol] = {"cbor": "json", "rest-xml": "query"}
"""For each protocol without error codes of its own, the protocol whose error codes it uses."""
REST_XML_SERVICES = frozenset({"cloudfront", "route53"})
"""The signing names of the services, apart from S3, that use REST-XML."""
CBOR_PROTOCOL = "rpc-v2-cbor"
UNKNOWN_OPERATION = "UnknownOperationException"

_INVALID_SIGNATURE = "InvalidSignatureException"
_SPELLINGS: dict[Problem, dict[Protocol, tuple[int, str]]] = {
    "missing": {
        "json": (400, "MissingAuthenticationTokenException"),
        "rest-json": (403, "MissingAuthenticationTokenException"),
        "query": (403, "MissingAuthenticationToken"),
        "s3": (403, "AccessDenied"),
    },
    "incomplete": {
        "json": (400, "IncompleteSignatureException"),
        "rest-json": (403, "IncompleteSignatureException"),
        "query": (400, "IncompleteSignature"),
        "s3": (400, "AuthorizationHeaderMalformed"),
    },
    "unknown key": {
        "json": (400, "UnrecognizedClientException"),
        "rest-json": (403, "UnrecognizedClientException"),
        "query": (403, "InvalidClientTokenId"),
        "s3": (403, "InvalidAccessKeyId"),
    },
    "expired": {
        "json": (400, _INVALID_SIGNATURE),
        "rest-json": (403, _INVALID_SIGNATURE),
        "query": (403, "SignatureDoesNotMatch"),
        "s3": (403, "RequestTimeTooSkewed"),
    },
    "mismatch": {
        "json": (400, _INVALID_SIGNATURE),
        "rest-json": (403, _INVALID_SIGNATURE),
        "query": (403, "SignatureDoesNotMatch"),
        "s3": (403, "SignatureDoesNotMatch"),
    },
    "other body": {
        "json": (400, _INVALID_SIGNATURE),
        "rest-json": (403, _INVALID_SIGNATURE),
        "query": (403, "SignatureDoesNotMatch"),
        "s3": (400, "XAmzContentSHA256Mismatch"),
    },
}

_CODES: dict[str, dict[Protocol, tuple[int, str]]] = {
    UNKNOWN_OPERATION: {
        "rest-json": (404, UNKNOWN_OPERATION),
        "query": (400, "InvalidAction"),
        "s3": (405, "MethodNotAllowed"),
    },
    "AccessDeniedException": {"query": (403, "AccessDenied"), "s3": (403, "AccessDenied")},
    "InternalFailure": {"s3": (500, "InternalError")},
    "ValidationException": {
        "query": (400, "ValidationError"),
        "s3": (400, "InvalidRequest"),
    },
    "RequestEntityTooLargeException": {"s3": (413, "EntityTooLarge")},
}
"""The errors whose code differs between protocols. Each error is named by its code in the JSON
protocols. For every protocol with a different code, the table has the HTTP status and that code.
"""


def make_signature_refusal_response(
    refused: SignatureRefused, request: ServiceRequest, service: str, *, is_invocation: bool
) -> ServiceResponse:
    """Return the response to a request that is not signed with the service's key.

    Args:
        refused: The error that says what is wrong.
        request: The request.
        service: The service's signing name in the request's signature, even if the signature is
            wrong; empty if the request has no signature.
        is_invocation: Whether the request is for SageMaker's runtime.
    """
    protocol = find_protocol_of_request(request, service, is_invocation=is_invocation)
    status, code = _SPELLINGS[refused.problem][FAMILIES.get(protocol, protocol)]
    return _make_response(protocol, request, (status, code), refused.message)


def make_error_response(
    err: ApiError, request: ServiceRequest, service: str, *, is_invocation: bool
) -> ServiceResponse:
    """Return the response for an error, in the form that the client of the request understands.

    Args:
        err: The error, with the code of the JSON protocols.
        request: The request.
        service: The service's signing name in the request's signature, even if the signature is
            wrong; empty if the request has no signature.
        is_invocation: Whether the request is for SageMaker's runtime.
    """
    protocol = find_protocol_of_request(request, service, is_invocation=is_invocation)
    spellings = _CODES.get(err.code, {})
    spelling = spellings.get(FAMILIES.get(protocol, protocol), (err.status, err.code))
    return _make_response(protocol, request, spelling, err.message, err.details)


def _make_response(
    protocol: Protocol,
    request: ServiceRequest,
    spelling: tuple[int, str],
    message: str,
    details: Mapping[str, Any] | None = None,
) -> ServiceResponse:
    status, code = spelling
    request_id = str(uuid.uuid4())
    headers = {"x-amzn-RequestId": request_id}
    if protocol == "cbor":
        headers |= {"Content-Type": "application/cbor", "smithy-protocol": CBOR_PROTOCOL}
        return ServiceResponse(
            status, headers, _encode_texts_as_cbor({"__type": code, "message": message})
        )
    if protocol in {"json", "rest-json"}:
        stated = request.headers.get("Content-Type") or ""
        version = "1.0" if protocol == "json" and stated.endswith("json-1.0") else "1.1"
        # boto3 reads the code from __type in JSON 1.1, and from the header in REST-JSON. It reads
        # the message under either spelling.
        headers |= {"Content-Type": f"application/x-amz-json-{version}", "x-amzn-ErrorType": code}
        body = json.dumps(
            {"__type": code, "message": message, "Message": message, **(details or {})}
        )
    else:
        headers["Content-Type"] = "application/xml"
        inner = f"<Code>{code}</Code><Message>{escape(message)}</Message>"
        if protocol == "s3":
            body = f"<Error>{inner}<RequestId>{request_id}</RequestId></Error>"
        else:
            error = f"<Error><Type>Sender</Type>{inner}</Error>"
            body = f"<ErrorResponse>{error}<RequestId>{request_id}</RequestId></ErrorResponse>"
    return ServiceResponse(status, headers, body.encode())


def find_protocol_of_request(
    request: ServiceRequest, service: str, *, is_invocation: bool
) -> Protocol:
    """Return the protocol in which a request is written."""
    if "X-Amz-Target" in request.headers:
        return "json"
    if request.headers.get("smithy-protocol") == CBOR_PROTOCOL:
        return "cbor"
    if is_invocation:
        return "rest-json"
    is_form = "x-www-form-urlencoded" in (request.headers.get("Content-Type") or "")
    if service == "s3" or not (service or is_form):
        return "s3"
    if service in REST_XML_SERVICES:
        return "rest-xml"
    return "query" if is_form or "Action=" in request.target else "rest-json"


def _encode_texts_as_cbor(texts: Mapping[str, str]) -> bytes:
    """Encode a map of strings as CBOR (RFC 8949, 3.1)."""
    encoded = bytearray([0xA0 + len(texts)])
    for text in (part for pair in texts.items() for part in pair):
        data = text.encode()
        encoded += b"\x7a" + len(data).to_bytes(4, "big") + data
    return bytes(encoded)
