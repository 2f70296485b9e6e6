"""Where to push, as ECR's ``GetAuthorizationToken`` tells it: to this service's own port."""

from __future__ import annotations

import json

from drdeploy.hosting.local.http_server import ServiceResponse

REGISTRY_LOGIN = ".GetAuthorizationToken"
"""End of the operation's ``X-Amz-Target``."""


def pushing_here(answer: ServiceResponse, host: str) -> ServiceResponse:
    """What moto answers, with this registry in place of one in AWS's domain.

    Args:
        answer: Of ``GetAuthorizationToken``.
        host: Host and port that the client speaks to.
    """
    content = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
    document = json.loads(content)
    for login in document.get("authorizationData", ()):
        login["proxyEndpoint"] = f"http://{host}"
    dropped = {"content-length"}
    headers = [pair for pair in answer.header_items() if pair[0].lower() not in dropped]
    return ServiceResponse(answer.status, headers, json.dumps(document).encode())
