"""Pushes images to a registry and pulls them, with Docker or Podman.

A registry on this machine speaks plain HTTP.  Docker assumes that of addresses in 127.0.0.0/8
(documentation of ``insecure-registries``).  Podman needs a parameter with each call, which its
Docker-compatible pull does not have, so that the pull goes through Podman's own API.
"""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING, Any

from drdeploy.errors import EngineError
from drdeploy.hosting.engine.failures import engine_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

TRANSFER_TIMEOUT_S = 1800
LIBPOD = "/v4.0.0/libpod"
_AUTH_HEADER = "X-Registry-Auth"


def push(api: Any, repository: str, tag: str, credentials: Mapping[str, str] | None = None) -> None:
    """Push ``REPOSITORY:TAG``, which the engine holds.

    Args:
        api: The SDK's low-level client; its own ``push`` has no parameter for plain HTTP.
        repository: With the registry's host.
        tag: The image's tag.
        credentials: ``username`` and ``password``; sent to the engine, stored nowhere.

    Raises:
        EngineError: The registry or the engine refuses; the message quotes it.
    """
    where = f"{repository}:{tag}"
    url = api._url("/images/{0}/push", repository)  # noqa: SLF001 - see Args
    params = {"tag": tag, **_plain_http(repository)}
    _transfer(api, url, params, "The image cannot be pushed", where, **(credentials or {}))


def pull(api: Any, repository: str, reference: str, *, is_podman: bool) -> None:
    """Pull ``REPOSITORY@DIGEST`` or ``REPOSITORY:TAG``.

    Raises:
        EngineError: The registry or the engine refuses.
    """
    separator = "@" if reference.startswith("sha256:") else ":"
    where = f"{repository}{separator}{reference}"
    # See the module: only Podman's own API takes `tlsVerify` for a pull.
    if is_podman and _plain_http(repository):
        url = f"{api.base_url}{LIBPOD}/images/pull"
        params = {"reference": where, "policy": "always", **_plain_http(repository)}
    else:
        url = api._url("/images/create")  # noqa: SLF001 - see push
        params = {"fromImage": repository, "tag": reference}
    _transfer(api, url, params, "The image cannot be pulled", where)


def _transfer(
    api: Any, url: str, params: Mapping[str, str], what: str, where: str, **credentials: str
) -> None:
    """Have the engine transfer an image; it refuses by an HTTP status or an event in its answer."""
    headers = {_AUTH_HEADER: _encoded(credentials)}
    with engine_errors(what, where=where):
        answer = api._post(  # noqa: SLF001 - see push
            url, params=params, headers=headers, stream=True, timeout=TRANSFER_TIMEOUT_S
        )
        answer.encoding = "utf-8"
        for line in answer.iter_lines(decode_unicode=True):
            try:
                event = json.loads(line)
            except ValueError:
                continue
            refusal = isinstance(event, dict) and (event.get("error") or event.get("message"))
            if refusal:
                raise EngineError(f"{what}: {refusal}", where=where)
        if not answer.ok:
            raise EngineError(f"{what}: the engine answers {answer.status_code}", where=where)


def _plain_http(repository: str) -> dict[str, str]:
    host = repository.partition("/")[0].rpartition(":")[0] or repository.partition("/")[0]
    try:
        is_here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_here = host == "localhost"
    return {"tlsVerify": "false"} if is_here else {}


def _encoded(credentials: Mapping[str, str]) -> str:
    from docker.auth import encode_header

    header = encode_header(dict(credentials))
    return header.decode() if isinstance(header, bytes) else str(header)
