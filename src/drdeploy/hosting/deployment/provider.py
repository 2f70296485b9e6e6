"""Terraform with its AWS provider, ready for one account.

On AWS it is HashiCorp's, and credentials come from the ordinary chain.  On the local service it is
HashiCorp's too where their registry can be reached; where it cannot, it is the provider of this
project, which carries the genuine schema and speaks to the local service alone.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Literal

from drdeploy.errors import InvalidInput, TerraformFailed
from drdeploy.hosting.deployment.terraform import Terraform, check_terraform
from drdeploy.hosting.images.build import checkout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from drdeploy.hosting.deployment.account import Account
    from drdeploy.hosting.deployment.variables import Environment
    from drdeploy.hosting.deployment.workspace import Workspace

ProviderChoice = Literal["auto", "hashicorp", "built-in"]

MADE_UP = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
"""For the child process alone, and only where it speaks to this machine."""


def configuration_of(environment: Environment) -> Path:
    """The folder of an environment's ``.tf`` files.

    Raises:
        InvalidInput: The package was installed without its checkout.
    """
    folder = checkout() / "infrastructure" / "environments" / environment
    if not folder.is_dir():
        raise InvalidInput("There is no such environment", where=str(folder))
    return folder


@contextmanager
def ready_terraform(
    environment: Environment,
    workspace: Workspace,
    account: Account,
    *,
    choice: ProviderChoice = "auto",
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Terraform]:
    """Terraform, initialised.

    Raises:
        TerraformUnavailable: It is not installed, or too old.
        TerraformFailed: No provider can be had.
    """
    check_terraform()
    configuration = configuration_of(environment)
    with ExitStack() as stack:

        def made(environ: Mapping[str, str]) -> Terraform:
            terraform = Terraform(configuration, workspace, environ, tell)
            terraform.init()
            return terraform

        if account.platform == "aws":
            yield made(os.environ)
            return
        local = _local_environ(str(account.endpoint_url))
        terraform = None
        if choice != "built-in":
            try:
                terraform = made(local)
            except TerraformFailed:
                if choice == "hashicorp":
                    raise
                tell("HashiCorp's provider cannot be had here: this project's takes its place")
        if terraform is None:
            from aws_provider import provider_of

            attached = stack.enter_context(provider_of(endpoint_url=str(account.endpoint_url)))
            terraform = made({**local, **attached})
        yield terraform


def _local_environ(endpoint_url: str) -> dict[str, str]:
    """Without the user's credentials: nothing of AWS is spoken to."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    kept.pop("TF_REATTACH_PROVIDERS", None)
    return {**kept, **MADE_UP, "AWS_ENDPOINT_URL": endpoint_url}
