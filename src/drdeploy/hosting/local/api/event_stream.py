"""Write the events of a response stream in the format that AWS's clients read.

Source: the specification ``application/vnd.amazon.eventstream`` (Amazon Transcribe developer guide,
"Event stream encoding"). An event begins with its own length, the length of its headers, and a
checksum of both lengths. Then come the headers and the payload. The last part is a checksum of
everything before it.
"""

from __future__ import annotations

import json
import struct
import zlib

CONTENT_TYPE = "application/vnd.amazon.eventstream"
STRING = 7
"""The type of a header whose value is text."""


def encode_payload_part(data: bytes) -> bytes:
    """Return the event for one part of a model's answer."""
    headers = {
        ":message-type": "event",
        ":event-type": "PayloadPart",
        ":content-type": "application/octet-stream",
    }
    return _encode_event(headers, data)


def encode_model_stream_error(code: str, message: str) -> bytes:
    """Return the event that ends a stream because the model failed."""
    headers = {
        ":message-type": "exception",
        ":exception-type": "ModelStreamError",
        ":content-type": "application/json",
    }
    return _encode_event(headers, json.dumps({"Message": message, "ErrorCode": code}).encode())


def _encode_event(headers: dict[str, str], payload: bytes) -> bytes:
    encoded = b"".join(_encode_header(name, value) for name, value in headers.items())
    # The two lengths and the two checksums take 16 bytes.
    prelude = struct.pack("!II", len(encoded) + len(payload) + 16, len(encoded))
    event = prelude + struct.pack("!I", zlib.crc32(prelude)) + encoded + payload
    return event + struct.pack("!I", zlib.crc32(event))


def _encode_header(name: str, value: str) -> bytes:
    data = value.encode()
    return (
        struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", STRING, len(data)) + data
    )
