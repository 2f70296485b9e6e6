"""Verify Signature Version 4, for a service on a machine that several users share.

A signature covers the method, the path and query, the headers that the client chose, and the body's
SHA-256 (AWS General Reference, "Create a signed AWS API request"). This module signs the received
request again, with botocore's code. It then compares the new signature with the signature in the
request, in constant time.

A request is checked in two steps.  The first step (:meth:`SignatureVerifier.check_head`) checks the
headers before a byte of the body is read, so that a stranger cannot fill the disk with request
bodies. Clients of S3 put the body's SHA-256 into a header, so their signature is checked in the
first step. The second step (:meth:`SignatureVerifier.check_body`) checks the body and, for all
services except S3, the signature.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, unquote

from drdeploy.errors import escape_control_characters
from drdeploy.files import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.local.access_key import AccessKey
    from drdeploy.hosting.local.http_server import ServiceRequest
    from drdeploy.hosting.sagemaker import Clock

ALGORITHM = "AWS4-HMAC-SHA256"
TIMESTAMP = "%Y%m%dT%H%M%SZ"
SKEW = timedelta(minutes=5)
S3_SKEW = timedelta(minutes=15)
"""For requests to S3, how far the time in a signature may differ from the service's time (AWS
General Reference; Amazon S3 API, "Authenticating requests"). A recorded request can be sent again
only within this time.
"""
PRESIGNED_S_MAX = 604_800
"""The longest time in seconds for which a presigned URL is valid: seven days (Amazon S3 API, "Query
string authentication").
"""
UNSIGNED_BODIES = frozenset({"UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"})
"""The values that clients of S3 may sign instead of the hash of the body."""

_HEADER = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=(?P<credential>[^,\s]+)\s*,\s*"
    r"SignedHeaders=(?P<headers>[^,\s]+)\s*,\s*Signature=(?P<signature>[0-9a-f]{64})\s*"
)
_CREDENTIAL = re.compile(
    r"(?P<key>[^/]{1,128})/(?P<date>\d{8})/(?P<region>[\w-]{1,64})/(?P<service>[\w-]{1,64})/"
    r"aws4_request"
)
_HEX_SHA256 = re.compile(r"[0-9a-f]{64}")
_TARGET = re.compile(r"/[\x21\x22\x24-\x7e]*")
"""Matches a valid request target: printable ASCII without ``#``, because a signature covers only
the part before ``#``."""

Problem = Literal["missing", "incomplete", "unknown key", "expired", "mismatch", "other body"]


class SignatureRefused(Exception):
    """A request is not signed with the service's key.

    Attributes:
        problem: The kind of problem; each AWS protocol has its own error code for it.
        message: The message for the client.
    """

    def __init__(self, problem: Problem, message: str) -> None:
        super().__init__(message)
        self.problem = problem
        self.message = message


@dataclass(frozen=True)
class SignedClaim:
    """The parts of a request's signature.

    Trust these parts only after :meth:`SignatureVerifier.check_body` has returned. Before that,
    anybody may have written them.

    Attributes:
        key_id: The access key id.
        region: The region that the request is for.
        service: The signing name of the service that the request is for.
        timestamp: When the request was signed, as the client wrote it.
        signed_headers: The names of the headers that the signature covers, in lower case.
        signature: The signature, 64 hexadecimal digits.
        target: The path and query that the signature covers.
        body_sha256: The SHA-256 of the body, as the client states it. One of ``UNSIGNED_BODIES`` if
            the client did not sign the body; None if no header states the hash.
        expires_s: The seconds for which a presigned URL is valid, or None for a signature in a
            header.
    """

    key_id: str
    region: str
    service: str
    timestamp: str
    signed_headers: frozenset[str]
    signature: str
    target: str
    body_sha256: str | None
    expires_s: int | None = None

    @property
    def leaves_body_unsigned(self) -> bool:
        """Whether the signature leaves out the body, which only S3 allows."""
        return self.service == "s3" and self.body_sha256 in UNSIGNED_BODIES


class SignatureVerifier:
    """Verifies signatures that must be made with one key.

    Args:
        key: The only key of the service.
        clock: The clock by which the age of a signature is measured.
    """

    def __init__(self, key: AccessKey, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    def check_head(self, request: ServiceRequest) -> SignedClaim:
        """Check the signature in the headers of a request, without reading the body.

        Raises:
            SignatureRefused: The request has no signature, or the signature is malformed, too old
                or made with another key. If the headers do not state the body's hash, a wrong
                signature is found only by :meth:`check_body`.
        """
        claim = _read_signed_claim(request)
        if not self._key.has_id(claim.key_id) or "x-amz-security-token" in _list_header_names(
            request
        ):
            # The key has no session token: a request with one was signed with some other key.
            raise SignatureRefused(
                "unknown key", "The security token included in the request is invalid."
            )
        self._refuse_expired_signature(claim)
        _check_signed_headers(claim, request)
        if claim.body_sha256 is not None:
            self._check_signature(claim, request, claim.body_sha256)
        return claim

    def check_body(self, claim: SignedClaim, request: ServiceRequest) -> None:
        """Check that the body has not changed since it was signed.

        Afterwards, the body can be read from its start.

        Raises:
            SignatureRefused: The body has changed since it was signed, or the signature is wrong.
        """
        if claim.leaves_body_unsigned:
            return
        body_sha256 = _compute_body_sha256(request)
        if claim.body_sha256 is None:
            self._check_signature(claim, request, body_sha256)
        elif not hmac.compare_digest(claim.body_sha256, body_sha256):
            raise SignatureRefused(
                "other body",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            )

    def _refuse_expired_signature(self, claim: SignedClaim) -> None:
        now = self._clock.now()
        signed = _parse_timestamp(claim.timestamp)
        skew = S3_SKEW if claim.service == "s3" else SKEW
        valid = timedelta(seconds=claim.expires_s) if claim.expires_s is not None else skew
        ours = now.strftime(TIMESTAMP)
        if signed + valid < now:
            raise SignatureRefused(
                "expired", f"Signature expired: {claim.timestamp} is now earlier than {ours}"
            )
        if signed > now + skew:
            raise SignatureRefused(
                "expired",
                f"Signature not yet current: {claim.timestamp} is still later than {ours}",
            )

    def _check_signature(
        self, claim: SignedClaim, request: ServiceRequest, body_sha256: str
    ) -> None:
        expected = _compute_signature(self._key, claim, request, body_sha256)
        if not hmac.compare_digest(expected, claim.signature):
            raise SignatureRefused(
                "mismatch",
                "The request signature we calculated does not match the signature you provided. "
                "Check your AWS Secret Access Key and signing method. Consult the service "
                "documentation for details.",
            )


def _compute_signature(
    key: AccessKey, claim: SignedClaim, request: ServiceRequest, body_sha256: str
) -> str:
    """Return the signature that botocore would make for the request that arrived."""
    from botocore.auth import S3SigV4Auth, SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.compat import HTTPHeaders
    from botocore.credentials import Credentials

    base: Any = S3SigV4Auth if claim.service == "s3" else SigV4Auth

    class Signer(base):  # type: ignore[misc]  # the class depends on the service
        """Computes the signature again, to compare it with the client's signature."""

        def headers_to_sign(self, request: Any) -> Any:
            return request.headers

        def payload(self, request: Any) -> str:
            del request
            return body_sha256

    headers = HTTPHeaders()
    for name, value in request.headers.items():
        if name.lower() in claim.signed_headers:
            # The HTTP server reads headers as Latin-1, and clients write and sign UTF-8.
            headers[name.lower()] = value.encode("latin-1").decode(errors="replace")
    again = AWSRequest(request.method, f"http://localhost{claim.target}")
    again.headers = headers
    again.context["timestamp"] = claim.timestamp
    signer = Signer(Credentials(key.id, key.secret), claim.service, claim.region)
    signed: str = signer.signature(
        signer.string_to_sign(again, signer.canonical_request(again)), again
    )
    return signed


def _read_signed_claim(request: ServiceRequest) -> SignedClaim:
    """Read a signature from the ``Authorization`` header, or from the query of a presigned URL."""
    if not _TARGET.fullmatch(request.target):
        raise _make_incomplete_error(
            "The request's path holds characters that must be percent-encoded."
        )
    path, _, raw_query = request.target.partition("?")
    query = dict(parse_qsl(raw_query, keep_blank_values=True))
    given = request.headers.get_all("Authorization") or []
    if len(given) + ("X-Amz-Signature" in query) > 1:
        raise _make_incomplete_error(
            "A request must have exactly one signature, in a header or in the query."
        )
    if given:
        return _read_claim_of_header(request, given[0])
    if "X-Amz-Signature" in query:
        rest = [part for part in raw_query.split("&") if not part.startswith("X-Amz-Signature=")]
        return _read_claim_of_query(query, f"{path}?{'&'.join(rest)}")
    if {"AWSAccessKeyId", "Signature"} <= query.keys():
        raise _make_incomplete_error(
            "The authorization mechanism you have provided is not supported. Please use "
            f"{ALGORITHM}."
        )
    raise SignatureRefused("missing", "Request is missing Authentication Token")


def _read_claim_of_header(request: ServiceRequest, given: str) -> SignedClaim:
    found = _HEADER.fullmatch(given)
    if found is None:
        raise _make_incomplete_error(
            "Authorization header requires 'Credential' parameter. Authorization header requires "
            "'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. The "
            f"Authorization header must begin with {ALGORITHM}."
        )
    timestamp = request.headers.get("X-Amz-Date")
    if timestamp is None:
        raise _make_incomplete_error(
            "Authorization header requires existence of an 'X-Amz-Date' header."
        )
    return _make_signed_claim(
        found["credential"],
        timestamp,
        found["headers"],
        found["signature"],
        target=request.target,
        body_sha256=request.headers.get("X-Amz-Content-SHA256"),
    )


def _read_claim_of_query(query: Mapping[str, str], target: str) -> SignedClaim:
    names = ("Credential", "Date", "SignedHeaders", "Signature", "Expires")
    missing = [name for name in names if f"X-Amz-{name}" not in query]
    if missing or query.get("X-Amz-Algorithm") != ALGORITHM:
        raise _make_incomplete_error(
            f"Query-string authentication requires {ALGORITHM} as X-Amz-Algorithm, and the "
            f"parameters {', '.join(f'X-Amz-{name}' for name in names)}."
        )
    expires = query["X-Amz-Expires"]
    if not re.fullmatch(r"[0-9]{1,6}", expires) or int(expires) > PRESIGNED_S_MAX:
        raise _make_incomplete_error(f"X-Amz-Expires must be 0 to {PRESIGNED_S_MAX} seconds.")
    credential = query["X-Amz-Credential"]
    is_s3 = credential.split("/")[3:4] == ["s3"]
    return _make_signed_claim(
        credential,
        query["X-Amz-Date"],
        query["X-Amz-SignedHeaders"],
        query["X-Amz-Signature"],
        target=target,
        body_sha256="UNSIGNED-PAYLOAD" if is_s3 else None,
        expires_s=int(expires),
    )


def _make_signed_claim(
    credential: str,
    timestamp: str,
    headers: str,
    signature: str,
    *,
    target: str,
    body_sha256: str | None,
    expires_s: int | None = None,
) -> SignedClaim:
    found = _CREDENTIAL.fullmatch(unquote(credential))
    if found is None:
        raise _make_incomplete_error(
            "Credential must have the form KEY_ID/YYYYMMDD/REGION/SERVICE/aws4_request."
        )
    _parse_timestamp(timestamp)
    if found["date"] != timestamp[:8]:
        raise _make_incomplete_error(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 date."
        )
    is_hash = body_sha256 is None or bool(_HEX_SHA256.fullmatch(body_sha256))
    if not is_hash and not (found["service"] == "s3" and body_sha256 in UNSIGNED_BODIES):
        raise _make_incomplete_error(
            "x-amz-content-sha256 must be the SHA-256 of the body; for S3, UNSIGNED-PAYLOAD is "
            "possible too. The local service does not support a body that is signed in chunks."
        )
    return SignedClaim(
        key_id=found["key"],
        region=found["region"],
        service=found["service"],
        timestamp=timestamp,
        signed_headers=frozenset(headers.split(";")),
        signature=signature,
        target=target,
        body_sha256=body_sha256,
        expires_s=expires_s,
    )


def _check_signed_headers(claim: SignedClaim, request: ServiceRequest) -> None:
    """Refuse a signature that does not cover the ``Host`` header and all ``X-Amz-`` headers."""
    present = _list_header_names(request)
    required = {"host"} | {name for name in present if name.startswith("x-amz-")}
    missing = sorted(required - claim.signed_headers) + sorted(claim.signed_headers - present)
    if missing:
        raise SignatureRefused(
            "incomplete",
            "'Host', every 'X-Amz-' header and every header in SignedHeaders must be present "
            f"and signed: {escape_control_characters(', '.join(missing)[:200])}",
        )


def _list_header_names(request: ServiceRequest) -> set[str]:
    return {name.lower() for name in request.headers}


def _parse_timestamp(text: str) -> datetime:
    try:
        return datetime.strptime(text, TIMESTAMP).replace(tzinfo=UTC)
    except ValueError as err:
        raise _make_incomplete_error(
            "Date must be in ISO-8601 'basic format', YYYYMMDDTHHMMSSZ."
        ) from err


def _compute_body_sha256(request: ServiceRequest) -> str:
    digest = hashlib.sha256()
    while chunk := request.body.read(CHUNK_BYTES):
        digest.update(chunk)
    request.body.seek(0)
    return digest.hexdigest()


def _make_incomplete_error(message: str) -> SignatureRefused:
    return SignatureRefused("incomplete", message)
