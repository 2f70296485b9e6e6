"""The access key of a service on a shared machine; the key is valid while the service runs."""

from __future__ import annotations

import hmac
import secrets
import string
from dataclasses import dataclass, field
from typing import Self

from drdeploy.hosting.sagemaker import LOCAL_KEY_PREFIX
from drdeploy.units import SECONDS_PER_HOUR

ID_CHARACTERS = string.ascii_uppercase + "234567"
"""The characters of key ids: base 32, as in the key ids of AWS."""
LOGIN_VALID_S = 12 * SECONDS_PER_HOUR
"""Seconds for which ECR's authorization token is valid (API reference, ``AuthorizationData``)."""


@dataclass(frozen=True)
class AccessKey:
    """An access key in the form that all AWS clients use.

    Attributes:
        id: The access key id.
        secret: The secret access key, which is neither logged nor shown by ``repr``.
    """

    id: str
    secret: str = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """Make a new key; its secret has 240 random bits."""
        name = "".join(secrets.choice(ID_CHARACTERS) for _ in range(16))
        return cls(LOCAL_KEY_PREFIX + name, secrets.token_urlsafe(30))

    def has_id(self, key_id: str) -> bool:
        """Return whether an id is this key's id. The time taken does not reveal the right id."""
        return hmac.compare_digest(key_id.encode(), self.id.encode())

    def make_registry_password(self, now_s: float) -> str:
        """Return a password for the image registry: an expiry time, followed by its HMAC."""
        expires = f"{now_s + LOGIN_VALID_S:.0f}"
        return f"{expires}.{self._sign_expiry_of_registry_login(expires)}"

    def accepts_registry_password(self, password: str, now_s: float) -> bool:
        """Return whether a registry password was made with this key and has not expired."""
        expires, _, mac = password.partition(".")
        is_ours = hmac.compare_digest(
            mac.encode(), self._sign_expiry_of_registry_login(expires).encode()
        )
        return is_ours and float(expires) > now_s

    def _sign_expiry_of_registry_login(self, expires: str) -> str:
        return hmac.new(self.secret.encode(), f"registry {expires}".encode(), "sha256").hexdigest()
