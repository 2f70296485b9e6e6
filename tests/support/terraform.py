"""Run the real terraform on a folder of ``infrastructure/``, with state and data elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

INFRASTRUCTURE = Path(__file__).resolve().parents[2] / "infrastructure"
MODULES = sorted(path.name for path in (INFRASTRUCTURE / "modules").iterdir())
ENVIRONMENTS = sorted(path.name for path in (INFRASTRUCTURE / "environments").iterdir())
FOLDERS = [f"modules/{name}" for name in MODULES] + [
    f"environments/{name}" for name in ENVIRONMENTS
]

DIGEST = "ab" * 32
ARCHIVE = "cd" * 32


@dataclass
class Terraform:
    """Runs ``terraform -chdir=FOLDER``; all that it writes goes to another folder.

    Attributes:
        folder: Folder of the configuration.
        work: Folder for state, variables and what ``init`` downloads.
        provider: Environment variables by which Terraform finds the provider: those that
            :func:`aws_provider.provider_of` yields, or ``TF_CLI_CONFIG_FILE`` for a mirror.
        values: Values of the variables.
        data: Folder for what ``init`` downloads; by default it is below ``work``.
    """

    folder: Path
    work: Path
    provider: dict[str, str]
    values: dict[str, Any] = field(default_factory=dict)
    data: Path | None = None

    def init(self) -> Terraform:
        self.run("init", "-input=false")
        return self

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "TF_CLI_CONFIG_FILE": os.devnull,
            **self.provider,
            "TF_DATA_DIR": str(self.data or self.work / "data"),
            "TF_IN_AUTOMATION": "1",
        }

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["terraform", f"-chdir={self.folder}", *arguments, *self._plain(arguments[0])],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr or done.stdout
        return done

    def with_values(self, command: str, *options: str, check: bool = True):
        """Run ``plan``, ``apply`` or ``destroy`` with the values."""
        return self.run(command, *self._values(), *options, check=check)

    def started(self, command: str, *options: str) -> subprocess.Popen[str]:
        """Start what :meth:`with_values` runs, without waiting for its end."""
        # A shell that runs tests in the background ignores Ctrl-C, and children inherit that.
        interruptible = ["env", "--default-signal=INT", "terraform", f"-chdir={self.folder}"]
        return subprocess.Popen(
            [*interruptible, command, *self._values(), *options, "-no-color"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _values(self) -> list[str]:
        self.work.mkdir(parents=True, exist_ok=True)
        variables = self.work / "study.tfvars.json"
        variables.write_text(json.dumps(self.values))
        state = f"-state={self.work / 'terraform.tfstate'}"
        return ["-input=false", "-compact-warnings", f"-var-file={variables}", state]

    def apply(self) -> dict[str, Any]:
        """Apply the values and return the outputs."""
        self.with_values("apply", "-auto-approve")
        state = f"-state={self.work / 'terraform.tfstate'}"
        answer = json.loads(self.run("output", state, "-json").stdout)
        return {name: one["value"] for name, one in answer.items()}

    def destroy(self) -> None:
        self.with_values("destroy", "-auto-approve")

    def has_resources(self) -> bool:
        state = self.work / "terraform.tfstate"
        return state.is_file() and bool(json.loads(state.read_text())["resources"])

    def planned(self) -> dict[str, tuple[str, ...]]:
        """Return the planned actions by address, without those that do nothing."""
        file = self.work / "plan"
        self.with_values("plan", f"-out={file}")
        plan = json.loads(self.run("show", "-json", str(file)).stdout)
        actions = {
            one["address"]: tuple(one["change"]["actions"]) for one in plan["resource_changes"]
        }
        return {
            address: done
            for address, done in actions.items()
            if done not in {("no-op",), ("read",)}
        }

    def _plain(self, command: str) -> list[str]:
        return [] if command in {"fmt", "show", "output"} else ["-no-color"]


def model(digest: str = DIGEST, archive: str = ARCHIVE, **more: Any) -> dict[str, Any]:
    """Return a model in the form of the variables."""
    return {
        "image_uri": f"registry.example/drdeploy:lean@sha256:{digest}",
        "model_data_url": f"s3://models/artifacts/{archive[:16]}/model.tar.gz",
        "model_data_sha256": archive,
        **more,
    }


def serverless(memory_mb: int = 1024, model: str = "mobilenet", **more: Any) -> dict[str, Any]:
    return {"model": model, "kind": "serverless", "memory_mb": memory_mb, **more}


def realtime(instance_type: str = "ml.m5.xlarge", model: str = "mobilenet", **more: Any):
    # An update is watched for ten minutes by default, and the local service does so, too.
    guardrails = {"guardrails": {"wait_s": 0, "termination_wait_s": 0}}
    described = {"model": model, "kind": "realtime", "instance_type": instance_type}
    return described | guardrails | more


def asynchronous(instance_type: str = "ml.m5.xlarge", model: str = "mobilenet", **more: Any):
    return {"model": model, "kind": "asynchronous", "instance_type": instance_type} | more
