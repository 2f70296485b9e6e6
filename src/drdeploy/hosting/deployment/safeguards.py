"""Find a deployment's safeguards: an encryption key, and a permissions boundary for its role.

The key and the boundary come from two Terraform modules that an administrator applies,
``infrastructure/modules/encryption-key`` and ``infrastructure/modules/deployer-policy``. The
permissions of ``deployer-policy`` allow creating a role only with this boundary. This module looks
up the boundary, so that the user need not name it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drdeploy.hosting.deployment.account import call_aws_or_return_none_if_absent
from drdeploy.hosting.sagemaker import translate_aws_errors

if TYPE_CHECKING:
    from drdeploy.hosting.deployment.account import AwsAccount


@dataclass(frozen=True)
class Safeguards:
    """The encryption key and the permissions boundary of a deployment.

    Attributes:
        kms_key_arn: The key that encrypts all stored data. None means that each AWS service uses
            its own key.
        permissions_boundary_arn: The policy that limits the rights of the execution role.
    """

    kms_key_arn: str | None = None
    permissions_boundary_arn: str | None = None

    def fill_missing_from(self, other: Safeguards) -> Safeguards:
        """Return a copy of these safeguards, with each missing one taken from ``other``."""
        return Safeguards(
            self.kms_key_arn or other.kms_key_arn,
            self.permissions_boundary_arn or other.permissions_boundary_arn,
        )

    def to_terraform_variables(self) -> dict[str, Any]:
        """Return the safeguards as Terraform variables; missing safeguards are left out."""
        named = {
            "kms_key_arn": self.kms_key_arn,
            "permissions_boundary_arn": self.permissions_boundary_arn,
        }
        return {name: arn for name, arn in named.items() if arn is not None}


NO_SAFEGUARDS = Safeguards()


def find_permissions_boundary_arn(account: AwsAccount, prefix: str, region: str) -> str | None:
    """Return the ARN of the permissions boundary that ``deployer-policy`` made for a prefix.

    The result is None if the boundary does not exist, or if the user may not look it up.
    """
    with translate_aws_errors("look for the permissions boundary", account.endpoint_url or "AWS"):
        caller = account.boto3_client("sts").get_caller_identity()
        partition = caller["Arn"].split(":")[1]
        arn = f"arn:{partition}:iam::{caller['Account']}:policy/{prefix}-boundary-{region}"
        found = call_aws_or_return_none_if_absent(
            lambda: account.boto3_client("iam").get_policy(PolicyArn=arn),
            "NoSuchEntity",
            "AccessDenied",
        )
    return None if found is None else arn
