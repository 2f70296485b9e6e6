"""Refuse an object whose digest differs from the digest that its sender states, as S3 does.

moto stores the object and reports success. Without this module, an upload that was damaged on its
way would count as complete.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from typing import TYPE_CHECKING

from drdeploy.files import CHUNK_BYTES
from drdeploy.hosting.local.api_errors import ApiError

if TYPE_CHECKING:
    from drdeploy.hosting.local.http_server import ServiceRequest

MD5_HEADER = "Content-MD5"
HASHES = {
    MD5_HEADER: "md5",
    "x-amz-checksum-md5": "md5",
    "x-amz-checksum-sha1": "sha1",
    "x-amz-checksum-sha256": "sha256",
    "x-amz-checksum-sha512": "sha512",
}
DECODED_LENGTH_HEADER = "x-amz-decoded-content-length"
"""The header by which a body that is sent in pieces is recognised."""
CRC32_HEADER = "x-amz-checksum-crc32"
"""The header with the CRC-32 of the body. Like the digests in ``HASHES``, CRC-32 can be computed
with Python's standard library. CRC-32C, CRC-64 and XXHash are stored, but not verified.
"""


def refuse_wrong_digest(request: ServiceRequest) -> None:
    """Refuse a request to S3 if the digest of its body differs from the digest in its headers.

    This function leaves two kinds of checksum to moto. The checksum of a multipart upload is
    computed from the upload's parts. The checksum of a body in pieces (``aws-chunked``) is at the
    end of the body.

    Raises:
        ApiError: The stated digest is wrong (``BadDigest``) or malformed (``InvalidDigest``).
    """
    stated = {name: request.headers[name] for name in HASHES if name in request.headers}
    crc32 = request.headers.get(CRC32_HEADER)
    is_checked = request.method == "PUT" or MD5_HEADER in stated
    if not is_checked or not (stated or crc32) or DECODED_LENGTH_HEADER in request.headers:
        return
    hashes = {name: hashlib.new(HASHES[name], usedforsecurity=False) for name in stated}
    sum_of_crc = 0
    request.body.seek(0)
    while chunk := request.body.read(CHUNK_BYTES):
        for one in hashes.values():
            one.update(chunk)
        if crc32 is not None:
            sum_of_crc = zlib.crc32(chunk, sum_of_crc)
    request.body.seek(0)
    for name, value in stated.items():
        _refuse_different_digest(name, value, hashes[name].digest())
    if crc32 is not None:
        _refuse_different_digest(CRC32_HEADER, crc32, sum_of_crc.to_bytes(4))


def _refuse_different_digest(name: str, stated: str, found: bytes) -> None:
    try:
        digest = base64.b64decode(stated, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != len(found):
        raise ApiError("InvalidDigest", f"The {name} you specified was invalid.")
    if digest != found:
        raise ApiError("BadDigest", f"The {name} you specified did not match what we received.")
