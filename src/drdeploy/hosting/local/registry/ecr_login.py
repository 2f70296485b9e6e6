"""Change ECR's answer to ``GetAuthorizationToken`` so that it names this service's registry."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING

from drdeploy.files import parse_json
from drdeploy.hosting.local.access_key import LOGIN_VALID_S
from drdeploy.hosting.local.http_server import ServiceResponse

if TYPE_CHECKING:
    from email.message import Message

    from drdeploy.hosting.local.access_key import AccessKey

LOGIN_OPERATION = ".GetAuthorizationToken"
"""The end of the ``X-Amz-Target`` header in a login request."""
USER = "AWS"
"""The user name with which every client of ECR logs in."""


def replace_registry_in_login(
    response: ServiceResponse, host: str, key: AccessKey | None, now_s: float
) -> ServiceResponse:
    """Return moto's response to ``GetAuthorizationToken``, changed to name this service.

    Args:
        response: The response of moto.
        host: The host and port at which the client reaches this service.
        key: The key of a shared service, from which the registry's password is made. If there is no
            key, moto's own password, which is not secret, is kept.
        now_s: The current time in seconds since 1970.
    """
    content = response.body if isinstance(response.body, bytes) else b"".join(response.body)
    document = parse_json(content)
    for login in document.get("authorizationData", ()):
        login["proxyEndpoint"] = f"http://{host}"
        login["expiresAt"] = round(now_s) + LOGIN_VALID_S
        if key is not None:
            token = f"{USER}:{key.make_registry_password(now_s)}"
            login["authorizationToken"] = base64.b64encode(token.encode()).decode()
    headers = [pair for pair in response.header_items() if pair[0].lower() != "content-length"]
    return ServiceResponse(response.status, headers, json.dumps(document).encode())


def carries_registry_password(headers: Message, key: AccessKey, now_s: float) -> bool:
    """Return whether a request carries a password from :func:`replace_registry_in_login`."""
    scheme, _, encoded = (headers.get("Authorization") or "").partition(" ")
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return False
    return (
        scheme.lower() == "basic"
        and user == USER
        and key.accepts_registry_password(password, now_s)
    )
