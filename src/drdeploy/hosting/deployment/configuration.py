"""Prepare Terraform for a deployment: ``.tf`` files, provider and credentials.

A Terraform environment is a folder below ``infrastructure/environments``. The environment names the
version of HashiCorp's AWS provider that Terraform uses, on AWS as well as on the local service. If
the environment has a lock file, Terraform on AWS accepts only a provider with the checksums in this
file. A forged provider could steal the credentials that it is given. For the local service, these
are not real credentials, so the lock file is not used, and Terraform writes one of its own.

Terraform gets the user's environment variables, so ``TF_CLI_CONFIG_FILE``, ``TF_PLUGIN_CACHE_DIR``
and others work as usual.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.errors import DeploymentError, InvalidInput, TerraformFailed, TerraformUnavailable
from drdeploy.files import path_of_shipped_file, write_file_atomically
from drdeploy.hosting.deployment.terraform import Terraform, check_terraform_version
from drdeploy.hosting.sagemaker import choose_local_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from drdeploy.hosting.deployment.account import AwsAccount
    from drdeploy.hosting.deployment.variables import Environment
    from drdeploy.hosting.deployment.workspace import TerraformWorkspace

_NO_PROVIDER = re.compile(r"(?:query|resolve|install) .{0,10}provider|provider registry host")
"""Matches the errors with which ``terraform init`` says that it cannot install a provider."""
LOCK = ".terraform.lock.hcl"
"""The name of the file in which Terraform records the versions and checksums of its providers."""
_VERSION = re.compile(r'^\s*version\s*=\s*"([^"]+)"', re.MULTILINE)
_OTHER_CHECKSUM = re.compile(r"checksum")
CHECKSUM_REMEDY = (
    "The provider that was found has a different checksum than the provider in the lock file of "
    "drdeploy. Install the provider from HashiCorp's registry, or mirror it from there in the "
    "version of the lock file"
)
MIRROR_REMEDY = (
    "Give this machine access to the Terraform registry. Or set TF_CLI_CONFIG_FILE to a Terraform "
    "CLI configuration file that names a mirror of hashicorp/aws in its provider_installation "
    "block"
)


def prepare_terraform_folder(
    environment: Environment,
    workspace: TerraformWorkspace,
    account: AwsAccount,
    report: Callable[[str], None] = lambda _: None,
) -> Terraform:
    """Copy a Terraform environment into the workspace and initialise Terraform there.

    The environment is a folder below ``infrastructure/environments``.  ``report`` is called with
    each line of Terraform's progress.

    Raises:
        TerraformUnavailable: Terraform is not installed or is too old, or HashiCorp's AWS provider
            cannot be installed.
        TerraformFailed: Terraform refuses the configuration.
        InvalidInput: drdeploy was installed without its Terraform files.
        DeploymentError: The Terraform files cannot be copied, for example because the disk is full.
    """
    check_terraform_version()
    is_new = not workspace.folder.exists()
    configuration = _copy_terraform_files(environment, workspace)
    _copy_provider_lock_file(environment, configuration, account)
    environ: Mapping[str, str] = os.environ
    if account.platform == "local":
        # The local service takes the place of the user's AWS account.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environ = {
            **kept,
            **choose_local_credentials(),
            "AWS_ENDPOINT_URL": str(account.endpoint_url),
        }
    terraform = Terraform(configuration, workspace, environ, report)
    try:
        terraform.initialise()
    except TerraformFailed as err:
        # Nothing was deployed from a new folder, so nothing needs it. Any other folder may hold
        # files of the user, or Terraform's state even if `deployment.json` is lost.
        if is_new:
            workspace.delete_folder()
        if _OTHER_CHECKSUM.search(err.what):
            raise TerraformUnavailable(
                f"The AWS provider has a different checksum than expected: {err.what}",
                where="hashicorp/aws",
                remedy=CHECKSUM_REMEDY,
            ) from err
        if _NO_PROVIDER.search(err.what):
            raise TerraformUnavailable(
                f"HashiCorp's AWS provider could not be installed: {err.what}",
                where="hashicorp/aws",
                remedy=MIRROR_REMEDY,
            ) from err
        raise
    return terraform


def _copy_terraform_files(environment: Environment, workspace: TerraformWorkspace) -> Path:
    """Copy the Terraform environment and its modules to the workspace; return the new folder.

    The files are copied because Terraform writes its lock file beside them, and the original folder
    may not be writable.
    """
    source = path_of_shipped_file("infrastructure")
    if not (source / "environments" / environment).is_dir():
        raise InvalidInput(
            f"The Terraform environment {environment!r} is missing",
            where=str(source / "environments"),
            remedy="Install drdeploy from its wheel, or with `pip install -e .` in a clone",
        )
    # .terraform* is left out, because it was downloaded for work in the original folder.
    ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*", "tests", "README.md")
    # Terraform reads every .tf file in a folder, so files of an older version are deleted.
    for copied in workspace.configuration.rglob("*.tf"):
        if not (source / copied.relative_to(workspace.configuration)).is_file():
            copied.unlink()
    for folder in ("modules", f"environments/{environment}"):
        target = workspace.configuration / folder
        try:
            shutil.copytree(
                source / folder,
                target,
                ignore=ignored,
                dirs_exist_ok=True,
                copy_function=_copy_file_if_different,
            )
        except shutil.Error as err:  # a list with each file that was not copied, and why
            _, file, reason = err.args[0][0]
            raise DeploymentError(
                f"The Terraform files cannot be copied: {reason}",
                where=str(file),
                remedy="Make space on the disk, then repeat the command",
            ) from err
    return workspace.configuration / "environments" / environment


def _copy_file_if_different(source: str | Path, target: str | Path) -> None:
    """Copy a file, if the target differs; an interruption never leaves half a file."""
    content, target = Path(source).read_bytes(), Path(target)
    if not target.is_file() or target.read_bytes() != content:
        write_file_atomically(target, content)


def _copy_provider_lock_file(
    environment: Environment, configuration: Path, account: AwsAccount
) -> None:
    """Copy the environment's lock file, which holds the provider's checksums.

    Without this file, Terraform accepts any provider in the first run of a deployment. In later
    runs, it accepts only the provider of the first run.
    """
    lock = configuration / LOCK
    original = path_of_shipped_file("infrastructure") / "environments" / environment / LOCK
    if account.platform == "aws" and original.is_file():
        _copy_file_if_different(original, lock)
    elif lock.is_file() and _read_provider_versions(lock) != _read_provider_versions(
        configuration / "versions.tf"
    ):
        # The lock file of an older drdeploy, which Terraform would refuse.
        lock.unlink()


def _read_provider_versions(file: Path) -> set[str]:
    return set(_VERSION.findall(file.read_text("utf-8")))
