"""Refuse request members that moto would ignore.

For some AWS services, such as IAM, KMS and S3, moto gives almost all answers. moto reads most
request members of these services, and ignores the rest without an error. For example, moto would
really carry out a request that asks only for a dry run. It would also store an object without the
encryption that the client asked for, and create a user without the permissions boundary. A test
compares the tables of this module with moto's code and botocore's models.

The module ``served_operations`` does the same for SageMaker, CloudWatch, CloudWatch Logs and
Application Auto Scaling. It lists the members that are served, instead of those that are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from drdeploy.files import parse_json
from drdeploy.hosting.local.api.unserved_actions import find_name_of_action, read_query_and_form
from drdeploy.hosting.local.api_errors import ApiError, make_not_served_error
from drdeploy.hosting.local.resource_store import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.local.http_server import ServiceRequest

_SESSION = frozenset(
    {
        *("MinimumSessionTokenSize", "Policy", "PolicyArns", "ProvidedContexts", "SerialNumber"),
        *("SourceIdentity", "Tags", "TokenCode", "TransitiveTagKeys"),
    }
)
"""Members of STS requests that limit the rights of a session, or prove who begins the session. The
local service does not check the rights of a session."""

OVERLOOKED: Mapping[str, Mapping[str, frozenset[str]]] = {
    "budgets": {
        "CreateBudget": frozenset({"ResourceTags"}),
        "DescribeBudget": frozenset({"ShowFilterExpression"}),
        "DescribeBudgets": frozenset({"ShowFilterExpression"}),
    },
    "ecr": {"DescribeImages": frozenset({"filter"})},
    "iam": {
        "CreateUser": frozenset({"PermissionsBoundary"}),
        "ListGroups": frozenset({"PathPrefix"}),
        "ListInstanceProfiles": frozenset({"PathPrefix"}),
        "ListPolicies": frozenset({"PolicyUsageFilter"}),
        "ListServerCertificates": frozenset({"PathPrefix"}),
        "UploadServerCertificate": frozenset({"Tags"}),
    },
    "kms": {
        "CreateGrant": frozenset({"DryRun", "GranteeServicePrincipal", "RetiringServicePrincipal"}),
        "CreateKey": frozenset({"CustomKeyStoreId", "XksKeyId"}),
        "Decrypt": frozenset({"DryRun", "DryRunModifiers", "Recipient"}),
        "EnableKeyRotation": frozenset({"RotationPeriodInDays"}),
        "Encrypt": frozenset({"DryRun"}),
        "GenerateDataKey": frozenset({"DryRun", "Recipient"}),
        "GenerateDataKeyWithoutPlaintext": frozenset({"DryRun"}),
        "GenerateRandom": frozenset({"CustomKeyStoreId", "Recipient"}),
        "ListGrants": frozenset({"GranteePrincipal", "GranteeServicePrincipal"}),
        "ListKeyRotations": frozenset({"IncludeKeyMaterial"}),
        "ListKeys": frozenset({"ResourceOwners"}),
        "ListRetirableGrants": frozenset({"RetiringServicePrincipal"}),
        "ReEncrypt": frozenset({"DryRun", "DryRunModifiers"}),
        "ReplicateKey": frozenset({"Description", "Tags"}),
        "RetireGrant": frozenset({"DryRun"}),
        "RevokeGrant": frozenset({"DryRun"}),
        "Sign": frozenset({"DryRun"}),
        "Verify": frozenset({"DryRun"}),
    },
    "scheduler": {},
    "sns": {"CreateTopic": frozenset({"DataProtectionPolicy"})},
    "sqs": {"GetQueueUrl": frozenset({"QueueOwnerAWSAccountId"})},
    "sts": {
        "AssumeRole": _SESSION,
        "AssumeRoleWithSAML": _SESSION | {"DurationSeconds"},
        "AssumeRoleWithWebIdentity": _SESSION | {"ProviderId"},
        "GetFederationToken": _SESSION,
        "GetSessionToken": _SESSION,
    },
}
"""The members that moto overlooks in each operation, by the signing name of the service."""

OVERLOOKED_HEADERS = frozenset(
    {
        "x-amz-bucket-object-lock-token",
        "x-amz-copy-source-if-match",
        "x-amz-copy-source-if-modified-since",
        "x-amz-copy-source-if-unmodified-since",
        "x-amz-if-match-initiated-time",
        "x-amz-if-match-last-modified-time",
        "x-amz-if-match-size",
        "x-amz-mfa",
        "x-amz-object-lock-event-hold",
        "x-amz-write-offset-bytes",
        *(
            f"x-amz-{of}server-side-encryption-customer-{part}"
            for of in ("", "copy-source-")
            for part in ("algorithm", "key", "key-md5")
        ),
    }
)
"""The headers of S3 that moto overlooks."""
REMEDIES: Mapping[str, str] = {
    "sts": (
        "Leave this value out. The value would have no effect, because the local service does not "
        "check the rights of a session. To test what a tag or a policy allows, use "
        "iam:SimulateCustomPolicy"
    )
}
"""The advice in an error message that refuses a member, by the signing name of the service. For
services that are not listed, the advice is to leave the member out.
"""
OWNER_MEMBERS = frozenset({"QueueOwnerAWSAccountId"})
"""Members that name an account. Such a member is accepted if it names the service's only account.
"""
OWNER_HEADERS = ("x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner")


def refuse_overlooked_members(service: str, request: ServiceRequest) -> None:
    """Refuse a request that sets a member which moto would ignore.

    Args:
        service: The signing name of the service.
        request: The request.

    Raises:
        ApiError: The request sets such a member; the message names the member.
    """
    if service == "s3":
        _refuse_overlooked_headers(request)
        return
    overlooked = OVERLOOKED.get(service, {}).get(
        operation := find_name_of_action(request), frozenset()
    )
    members = list_members_with_effect(request) if overlooked else {}
    for name in sorted(overlooked & members.keys()):
        if name not in OWNER_MEMBERS or members[name] != ACCOUNT:
            remedy = REMEDIES.get(service, f"Leave {name} out")
            raise make_not_served_error(f"{name} of {operation}. {remedy}")


def _refuse_overlooked_headers(request: ServiceRequest) -> None:
    for name in OWNER_HEADERS:
        if request.headers.get(name, ACCOUNT) != ACCOUNT:
            raise ApiError("AccessDeniedException", f"The bucket's owner is {ACCOUNT}.", status=403)
    for name in sorted(OVERLOOKED_HEADERS):
        if name in request.headers:
            raise make_not_served_error(f"the header {name}")


def list_members_with_effect(request: ServiceRequest) -> Mapping[str, Any]:
    """Return the members that a request sets to a value other than null, false or empty.

    The members are in the query string, in a form, or in a JSON document.
    """
    form = parse_qs(read_query_and_form(request))
    members = {name.partition(".")[0]: values[-1] for name, values in form.items()}
    request.body.seek(0)
    try:
        document = parse_json(request.body.read() or b"{}")
    except ValueError:
        document = None  # moto refuses it
    finally:
        request.body.seek(0)
    # A member that is false, null or empty has no effect.
    given = document.items() if isinstance(document, dict) else ()
    return members | {name: value for name, value in given if value}
