"""Collect the user's credentials for image registries; a build sends the credentials to the engine.

The credentials are in Docker's ``config.json``, or come from a credential helper. A credential
helper is a program ``docker-credential-NAME`` that ``config.json`` names. If a helper fails, the
build continues, because a public base image needs no credentials. If the registry then refuses to
serve the base image, the error also reports the helper's failure.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from drdeploy.files import parse_json
from drdeploy.hosting.container_engine.location import get_config_folder, read_docker_config

if TYPE_CHECKING:
    from collections.abc import Mapping

HELPER_TIMEOUT_S = 30.0
NOT_FOUND = "credentials not found"
"""The text that a helper prints if it has no credentials for a registry
(docker-credential-helpers)."""
TOKEN_USER = "<token>"  # noqa: S105  the name that stands for a token, not a secret
ALL_REGISTRIES = "every registry"
REFUSALS = ("unauthorized", "denied", "authentication required", "no basic auth", "401", "403")


@dataclass
class RegistryCredentials:
    """The credentials that were found, and the helpers that failed.

    Attributes:
        by_registry: For each registry, the credentials as an ``AuthConfig`` object of Docker's API.
        failures: A sentence, without a full stop, for each helper that failed and each entry of
            ``config.json`` that cannot be read.
    """

    by_registry: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def explain_refusal(self, message: str) -> str:
        """Say which credentials were missing, if ``message`` says that a registry refused access.

        The result is empty if all credentials could be read, or if ``message`` says something else.
        """
        if not self.failures or not any(sign in message.lower() for sign in REFUSALS):
            return ""
        return (
            f"The build did not sign in to the registry: {'; '.join(self.failures)}. "
            "Repair that entry or helper, or remove it from config.json and run `docker login`"
        )


def collect_registry_credentials(
    environ: Mapping[str, str] = os.environ,
) -> RegistryCredentials:
    """Return the credentials in Docker's ``config.json``, and those of the credential helpers."""
    config = read_docker_config(environ)
    found = RegistryCredentials()
    for registry, entry in _get_table_of_config(config, "auths").items():
        _add_credentials_in_config(found, registry, entry, environ)
    if store := config.get("credsStore"):
        listed = _run_credential_helper(
            found, store, ALL_REGISTRIES, environ, action="list", text=""
        )
        for registry in listed or {}:
            _add_credentials_from_helper(found, store, registry, environ)
    for registry, helper in _get_table_of_config(config, "credHelpers").items():
        _add_credentials_from_helper(found, helper, registry, environ)
    return found


def _get_table_of_config(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    members = config.get(name)
    return members if isinstance(members, dict) else {}


def _add_credentials_in_config(
    found: RegistryCredentials, registry: str, entry: Any, environ: Mapping[str, str]
) -> None:
    """Add the credentials that an entry of ``config.json`` holds for a registry."""
    from docker.auth import parse_auth

    try:
        found.by_registry.update(parse_auth({registry: entry}))
    except (ValueError, TypeError):  # no Base64, or no colon in what it encodes
        path = get_config_folder(environ) / "config.json"
        found.failures.append(f"the entry for {registry} in {path} cannot be read")


def _add_credentials_from_helper(
    found: RegistryCredentials, helper: str, registry: str, environ: Mapping[str, str]
) -> None:
    answer = _run_credential_helper(found, helper, registry, environ, action="get", text=registry)
    if not answer or not (answer.get("Username") or answer.get("Secret")):
        return
    secret = answer.get("Secret")
    if answer.get("Username") == TOKEN_USER:
        login = {"IdentityToken": secret}
    else:
        login = {"Username": answer.get("Username"), "Password": secret}
    found.by_registry[registry] = {"ServerAddress": registry, **login}


def _run_credential_helper(
    found: RegistryCredentials,
    helper: str,
    registry: str,
    environ: Mapping[str, str],
    *,
    action: str,
    text: str,
) -> dict[str, Any] | None:
    """Run a credential helper, and return its answer; None if it fails or has no credentials.

    A failure is recorded in ``found.failures``.
    """
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, action],
            input=text.encode(),
            capture_output=True,
            timeout=HELPER_TIMEOUT_S,
            check=False,
            env=dict(environ),
        )
        if done.returncode == 0:
            answer = parse_json(done.stdout)
            if isinstance(answer, dict):
                return answer
            reason = "the helper's answer is not a JSON object"
        else:
            said = " ".join((done.stdout + b" " + done.stderr).decode(errors="replace").split())
            if NOT_FOUND in said.lower():
                return None
            reason = f"the helper ended with status {done.returncode}: {said or 'no message'}"
    except FileNotFoundError:
        reason = "the helper is not installed, or not on PATH"
    except subprocess.TimeoutExpired:
        reason = f"the helper did not answer within {HELPER_TIMEOUT_S:g} s"
    except (OSError, ValueError) as err:
        reason = f"it failed: {err}"
    path = get_config_folder(environ) / "config.json"
    found.failures.append(
        f"the credential helper {program}, which {path} names for {registry}, cannot be used "
        f"({reason})"
    )
    return None
