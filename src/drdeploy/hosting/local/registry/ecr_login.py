"""ECR's ``GetAuthorizationToken``, changed to name this service as the registry."""

from __future__ import annotations

import json

from drdeploy.hosting.local.http_server import ServiceResponse

LOGIN_OPERATION = ".GetAuthorizationToken"
"""End of the operation's ``X-Amz-Target``."""


def with_local_registry(response: ServiceResponse, host: str) -> ServiceResponse:
    """Return moto's response with ``host``, where the client reaches us, as the registry's."""
    content = response.body if isinstance(response.body, bytes) else b"".join(response.body)
    document = json.loads(content)
    for login in document.get("authorizationData", ()):
        login["proxyEndpoint"] = f"http://{host}"
    headers = [pair for pair in response.header_items() if pair[0].lower() != "content-length"]
    return ServiceResponse(response.status, headers, json.dumps(document).encode())
