"""Read the header fields of a request, in the same way for both profiles (RFC 9110, section 5)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from drdeploy.errors import HeadersTooLarge, MalformedRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ECHOED = {
    "x-amzn-sagemaker-custom-attributes": ("X-Amzn-SageMaker-Custom-Attributes", 1024),
    "x-amzn-sagemaker-inference-id": ("X-Amzn-SageMaker-Inference-Id", 64),
}
"""The header fields that a response repeats, by lower-case name.

Each name is mapped to its spelling in the response, and to the largest number of ASCII characters
that InvokeEndpoint allows in the field.
"""

SINGLE = frozenset({
    *ECHOED,
    "authorization", "content-encoding", "content-length", "content-range", "content-type",
    "expect", "host", "if-match", "if-modified-since", "if-none-match", "if-range",
    "if-unmodified-since", "transfer-encoding",
})  # fmt: skip
"""The header fields that may occur only once.

NGINX also refuses most of these fields if they are repeated.

If such a field is repeated, a proxy may use the first value and the server behind it the second, so
that they act on different requests. Any other header field may be repeated, and its values form a
list (RFC 9110, section 5.3).
"""


_AUTHORITY = re.compile(
    # A name, an IPv4 address or an IPv6 address, and then a port (RFC 3986, section 3.2.2).
    r"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?"
)


def combine_header_fields(
    fields: Iterable[tuple[bytes, bytes]], *, at_most: int
) -> Mapping[str, str]:
    """Return the values of the header fields by lower-case name; repeated fields are joined.

    Args:
        fields: The names and values as they arrived, without white space around them.
        at_most: The largest number of fields that a request may have.

    Raises:
        HeadersTooLarge: The request has more than ``at_most`` fields.
        MalformedRequest: A field that may occur only once is repeated, or ``Host`` does not name a
            host.
    """
    combined: dict[str, str] = {}
    for number, (raw_name, raw_value) in enumerate(fields):
        if number >= at_most:
            raise HeadersTooLarge(f"The request has more than {at_most} header fields")
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name not in combined:
            combined[name] = value
        elif name in SINGLE:
            raise MalformedRequest(f"The request has the header {name} more than once")
        else:
            combined[name] += f", {value}"
    if "host" in combined and not is_valid_host(combined["host"]):
        raise MalformedRequest("The request has no valid Host header")
    return combined


def is_valid_host(text: str) -> bool:
    """Return whether a string is a valid host, as in a ``Host`` field or in a URL."""
    return bool(_AUTHORITY.fullmatch(text)) and ".." not in text
