"""Push images to a registry and pull them, with Docker or Podman.

A registry on this machine speaks plain HTTP. Docker assumes plain HTTP for addresses in 127.0.0.0/8
(documentation of ``insecure-registries``). Podman uses plain HTTP only if the request asks for it.
In Podman's Docker-compatible API, a request to pull an image cannot ask for plain HTTP. Podman's
own API is therefore used to pull images from a registry on this machine.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from drdeploy.errors import EngineError
from drdeploy.files import parse_json
from drdeploy.hosting.container_engine.failures import translate_engine_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

TRANSFER_TIMEOUT_S = 1800
LIBPOD = "/v4.0.0/libpod"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_AUTH_HEADER = "X-Registry-Auth"


def push_image(
    api: Any, repository: str, tag: str, credentials: Mapping[str, str] | None = None
) -> None:
    """Push the image ``REPOSITORY:TAG`` from the engine to its registry.

    The repository's name begins with the registry's host. The credentials, ``username`` and
    ``password``, are sent to the engine and not stored. The method ``push_image`` of the Docker SDK
    is not used, because it has no parameter for plain HTTP.

    Raises:
        EngineError: The registry or the engine refuses the request; the message quotes the reason.
    """
    where = f"{repository}:{tag}"
    url = api._url("/images/{0}/push", repository)  # noqa: SLF001 - see above
    params = {"tag": tag, **_make_plain_http_option(repository)}
    _transfer_image(api, url, params, "The image cannot be pushed", where, **(credentials or {}))


def pull_image(
    api: Any,
    repository: str,
    reference: str,
    credentials: Mapping[str, str] | None = None,
    *,
    is_podman: bool,
) -> str:
    """Pull ``REPOSITORY@DIGEST`` or ``REPOSITORY:TAG``, and return its name.

    Raises:
        EngineError: The registry or the engine refuses the request.
    """
    separator = "@" if reference.startswith("sha256:") else ":"
    where = f"{repository}{separator}{reference}"
    # Only Podman's own API accepts `tlsVerify` for a pull; see the module's docstring.
    if is_podman and _make_plain_http_option(repository):
        url = f"{api.base_url}{LIBPOD}/images/pull"
        params = {"reference": where, "policy": "always", **_make_plain_http_option(repository)}
    else:
        url = api._url("/images/create")  # noqa: SLF001 - see push
        params = {"fromImage": repository, "tag": reference}
    _transfer_image(api, url, params, "The image cannot be pulled", where, **(credentials or {}))
    return where


def _transfer_image(
    api: Any, url: str, params: Mapping[str, str], what: str, where: str, **credentials: str
) -> None:
    """Tell the engine to push or pull an image; raise an error if that fails."""
    headers = {_AUTH_HEADER: _encode_credentials(credentials)}
    with translate_engine_errors(what, where=where):
        answer = api._post(  # noqa: SLF001 - see push
            url, params=params, headers=headers, stream=True, timeout=TRANSFER_TIMEOUT_S
        )
        answer.encoding = "utf-8"
        for line in answer.iter_lines(decode_unicode=True):
            try:
                event = parse_json(line)
            except ValueError:
                continue
            refusal = isinstance(event, dict) and (event.get("error") or event.get("message"))
            if refusal:
                raise EngineError(f"{what}: the engine refused ({refusal})", where=where)
        if not answer.ok:
            raise EngineError(
                f"{what}: the engine answered with status {answer.status_code}", where=where
            )


def find_manifest_type(api: Any, described: Mapping[str, Any], *, is_podman: bool) -> str:
    """Return the media type of the manifest that the engine would push for an image.

    Args:
        api: The low-level client of the Docker SDK.
        described: The image as ``docker inspect`` prints it.
        is_podman: Whether the engine is Podman, which states the manifest's type only in its own
            API.

    Raises:
        EngineError: The engine does not answer.
    """
    descriptor = described.get("Descriptor") or {}  # set by Docker with containerd's image store
    if descriptor.get("mediaType"):
        return str(descriptor["mediaType"])
    if not is_podman:
        return DOCKER_MANIFEST  # the only kind that Docker's own image store pushes
    where = str(described["Id"])
    with translate_engine_errors("The image cannot be inspected", where=where):
        answer = api.get(f"{api.base_url}{LIBPOD}/images/{where}/json", timeout=api.timeout)
        answer.raise_for_status()
    return str(answer.json().get("ManifestType") or DOCKER_MANIFEST)


def is_on_loopback(repository: str) -> bool:
    """Return whether a repository's registry has a loopback address, such as 127.0.0.1."""
    host = repository.partition("/")[0].rpartition(":")[0] or repository.partition("/")[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _make_plain_http_option(repository: str) -> dict[str, str]:
    return {"tlsVerify": "false"} if is_on_loopback(repository) else {}


def _encode_credentials(credentials: Mapping[str, str]) -> str:
    from docker.auth import encode_header

    header = encode_header(dict(credentials))
    return header.decode() if isinstance(header, bytes) else str(header)
