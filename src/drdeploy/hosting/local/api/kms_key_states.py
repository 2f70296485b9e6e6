"""Refuse requests to KMS that the state of a key forbids, for example if the key is disabled.

moto stores the state of a key, but does not check it. For example, it encrypts with a disabled key,
and it allows enabling a key whose deletion is scheduled; KMS refuses both. The states and the
messages are in the developer guide of KMS ("Key states of AWS KMS keys"). The operations that need
an enabled key are those for which botocore's model lists the error ``DisabledException``.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from drdeploy.hosting.local.api.request_validation import load_service_model
from drdeploy.hosting.local.api_errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DISABLED = "DisabledException"
INVALID_STATE = "KMSInvalidStateException"
PENDING_DELETION = "PendingDeletion"
CANCEL_DELETION = "CancelKeyDeletion"
ALLOWED_BEFORE_DELETION = frozenset(
    {
        *("DeleteAlias", "GetKeyPolicy", "GetKeyRotationStatus", "ListGrants", "ListKeyPolicies"),
        *("ListKeyRotations", "PutKeyPolicy", "RetireGrant", "RevokeGrant", CANCEL_DELETION),
    }
)
"""Operations that are allowed for a key whose deletion is scheduled, although botocore lists the
error ``KMSInvalidStateException`` for them."""


CHANGES_OF_STATE = ("cancel_key_deletion", "disable_key", "enable_key", "schedule_key_deletion")
"""The methods with which moto changes the state of a key."""


class KmsKey(NamedTuple):
    """A key of KMS: its ARN and its state, for example ``Enabled``."""

    arn: str
    state: str


def refuse_unusable_keys(operation: str, keys: Iterable[KmsKey]) -> None:
    """Refuse a request if the state of one of its keys forbids the operation.

    Args:
        operation: The name of an operation of KMS, for example ``Encrypt``.
        keys: The keys that the request names, or with which the ciphertext in the request was
            encrypted.

    Raises:
        ApiError: The state forbids the operation. As in KMS, the code is ``DisabledException`` or
            ``KMSInvalidStateException``.
    """
    for key in keys:
        is_pending = key.state == PENDING_DELETION
        if operation == CANCEL_DELETION and not is_pending:
            raise ApiError(INVALID_STATE, f"{key.arn} is not pending deletion.")
        if is_pending and operation in _list_operations_with(INVALID_STATE):
            raise ApiError(INVALID_STATE, f"{key.arn} is pending deletion.")
        if key.state == "Disabled" and operation in _list_operations_with(DISABLED):
            raise ApiError(DISABLED, f"{key.arn} is disabled.")


def replace_operations_in_moto() -> None:
    """Let moto accept a key's ARN, and not only its id, in requests that change a key's state."""
    from moto.kms.models import KmsBackend

    def accept_arn(change: Callable[..., Any]) -> Callable[..., Any]:
        return lambda backend, key_id, *values, **named: change(
            backend, backend.get_key_id(key_id), *values, **named
        )

    for name in CHANGES_OF_STATE:
        setattr(KmsBackend, name, accept_arn(getattr(KmsBackend, name)))


@cache
def _list_operations_with(error: str) -> frozenset[str]:
    """Return the operations for which botocore's service model lists the given error.

    The operations in ``ALLOWED_BEFORE_DELETION`` are left out.
    """
    model = load_service_model("kms")
    return frozenset(
        name
        for name in model.operation_names
        if name not in ALLOWED_BEFORE_DELETION
        and any(shape.name == error for shape in model.operation_model(name).error_shapes)
    )
