"""Prepare Terraform for a deployment: its own copy of the ``.tf`` files, provider, credentials.

The provider is HashiCorp's, on AWS and on the local service alike.  Terraform gets the user's
environment: ``TF_CLI_CONFIG_FILE``, ``TF_PLUGIN_CACHE_DIR`` and the like work as they always do.
"""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

from drdeploy.errors import InvalidInput, TerraformFailed, TerraformUnavailable
from drdeploy.files import shipped
from drdeploy.hosting.deployment.terraform import Terraform, check_terraform

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from drdeploy.hosting.deployment.account import Account
    from drdeploy.hosting.deployment.variables import Environment
    from drdeploy.hosting.deployment.workspace import Workspace

LOCAL_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
"""What the local service is given: it asks for credentials, as AWS does, and takes any."""

_NO_PROVIDER = re.compile(r"(?:query|resolve|install) .{0,10}provider|provider registry host")
"""Titles of the errors with which ``terraform init`` says that a provider cannot be had."""
MIRROR_REMEDY = (
    "Give this machine access to the Terraform registry, or set TF_CLI_CONFIG_FILE to a Terraform "
    "CLI configuration file whose provider_installation block names a mirror of hashicorp/aws"
)


def prepare_terraform(
    environment: Environment,
    workspace: Workspace,
    account: Account,
    report: Callable[[str], None] = lambda _: None,
) -> Terraform:
    """Copy a Terraform environment into the workspace and initialise Terraform there.

    Args:
        environment: Name of a folder in ``infrastructure/environments``.
        workspace: Folder of the deployment.
        account: Where the deployment goes.
        report: Called with each line of progress when Terraform creates or deletes.

    Raises:
        TerraformUnavailable: Terraform is not installed or too old, or HashiCorp's AWS provider
            cannot be installed.
        TerraformFailed: The configuration is refused.
    """
    check_terraform()
    configuration = _copy_configuration(environment, workspace)
    environ: Mapping[str, str] = os.environ
    if account.platform == "local":
        # The local service takes the place of the user's AWS account.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environ = {**kept, **LOCAL_CREDENTIALS, "AWS_ENDPOINT_URL": str(account.endpoint_url)}
    terraform = Terraform(configuration, workspace, environ, report)
    try:
        terraform.init()
    except TerraformFailed as err:
        # Nothing was deployed from a new folder, so nothing needs it.
        if not workspace.exists:
            workspace.delete()
        if _NO_PROVIDER.search(err.what):
            raise TerraformUnavailable(
                f"HashiCorp's AWS provider could not be installed: {err.what}",
                where="hashicorp/aws",
                remedy=MIRROR_REMEDY,
            ) from err
        raise
    return terraform


def _copy_configuration(environment: Environment, workspace: Workspace) -> Path:
    """Copy the environment and its modules; return the folder of the environment.

    Terraform writes the versions and checksums of its providers beside the configuration
    (``.terraform.lock.hcl``).  In a copy they belong to this deployment: another one may have been
    created with another provider, and the original may lie where nobody may write.
    """
    source = shipped("infrastructure")
    if not (source / "environments" / environment).is_dir():
        raise InvalidInput(
            f"The Terraform environment {environment!r} is missing",
            where=str(source / "environments"),
            remedy="Install drdeploy from its wheel, or with `pip install -e .` in a clone",
        )
    # Not .terraform*: a lock file from somebody's work in the original is not this deployment's.
    ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*", "tests", "README.md")
    # Terraform reads every .tf file in a folder, so one of an older version must not stay.
    for outdated in workspace.configuration.rglob("*.tf"):
        outdated.unlink()
    for folder in ("modules", f"environments/{environment}"):
        target = workspace.configuration / folder
        shutil.copytree(source / folder, target, ignore=ignored, dirs_exist_ok=True)
    return workspace.configuration / "environments" / environment
