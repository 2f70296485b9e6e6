"""The Terraform configuration of a deployment, initialised and ready to run for one account.

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

MADE_UP = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
"""For the child process alone, and only where it speaks to this machine."""

_NO_PROVIDER = re.compile(r"(?:query|resolve|install|find).{0,20} provider|provider registry host")
MIRROR = (
    "Give this machine access to the Terraform registry, or set TF_CLI_CONFIG_FILE to a Terraform "
    "CLI configuration file whose provider_installation block names a mirror of hashicorp/aws"
)


def ready_terraform(
    environment: Environment,
    workspace: Workspace,
    account: Account,
    report: Callable[[str], None] = lambda _: None,
) -> Terraform:
    """Copy the configuration of an environment into the workspace, and initialise Terraform there.

    Raises:
        TerraformUnavailable: It is not installed or too old, or its AWS provider cannot be had.
        TerraformFailed: The configuration is refused.
    """
    check_terraform()
    configuration = _copy_configuration(environment, workspace)
    environ: Mapping[str, str] = os.environ
    if account.platform == "local":
        environ = _local_environ(str(account.endpoint_url))
    terraform = Terraform(configuration, workspace, environ, report)
    try:
        terraform.init()
    except TerraformFailed as err:
        if not workspace.exists:
            workspace.forget()
        if _NO_PROVIDER.search(err.what):
            raise TerraformUnavailable(
                f"HashiCorp's AWS provider could not be installed: {err.what}",
                where="hashicorp/aws",
                remedy=MIRROR,
            ) from err
        raise
    return terraform


def _copy_configuration(environment: Environment, workspace: Workspace) -> Path:
    """Copy the environment and its modules; return the folder of the environment.

    Terraform writes the versions and checksums of its providers beside the configuration
    (``.terraform.lock.hcl``).  In a copy they belong to this deployment: another one may have been
    created with another provider, and the original may lie where nobody may write.

    Raises:
        InvalidInput: The package was installed without its infrastructure.
    """
    source = shipped("infrastructure")
    if not (source / "environments" / environment).is_dir():
        raise InvalidInput(
            f"The Terraform environment {environment!r} is missing",
            where=str(source / "environments"),
            remedy="Install drdeploy from its wheel, or with `pip install -e .` in a clone",
        )
    root = workspace.configuration / "environments" / environment
    for folder in ("modules", f"environments/{environment}"):
        target = workspace.configuration / folder
        for outdated in target.rglob("*.tf"):
            outdated.unlink()
        ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*", "tests", "README.md")
        shutil.copytree(source / folder, target, ignore=ignored, dirs_exist_ok=True)
    return root


def _local_environ(endpoint_url: str) -> Mapping[str, str]:
    """The environment without the user's AWS credentials and settings: AWS is not spoken to."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**kept, **MADE_UP, "AWS_ENDPOINT_URL": endpoint_url}
