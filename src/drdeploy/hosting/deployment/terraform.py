"""Run Terraform on one configuration and one state, and turn its errors into ours."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any

from drdeploy.errors import TerraformFailed, TerraformUnavailable
from drdeploy.hosting.deployment.changes import PlannedChanges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from drdeploy.hosting.deployment.workspace import Workspace

PROGRAM = "terraform"
OLDEST = (1, 9)
"""Since this version the condition of a variable may refer to other variables."""
INSTALL = "Install Terraform 1.9 or newer (developer.hashicorp.com/terraform/install)"
ERROR_LINES = 12
"""How many lines of one of Terraform's errors are shown; a long one lists every alternative."""

_ERROR = re.compile(r"^Error: ", re.MULTILINE)
_FRAME = re.compile(r"^[╷╵│]\s?", re.MULTILINE)
"""Terraform frames an error on its left."""
_PROGRESS = re.compile(r"[^\s:]+: (?:Creat|Modif|Destr|Still)")
"""Lines such as ``aws_s3_bucket.this: Still creating...``."""


def check_terraform(program: str = PROGRAM) -> str:
    """Return the version of the installed Terraform.

    Raises:
        TerraformUnavailable: It is not installed, or too old.
    """
    path = shutil.which(program)
    if path is None:
        raise TerraformUnavailable("Terraform is not installed", where=program, remedy=INSTALL)
    try:
        answer = subprocess.run(
            [path, "version", "-json"],
            capture_output=True,
            check=True,
            text=True,
            timeout=60,
            env={**os.environ, "CHECKPOINT_DISABLE": "1"},
        )
        version = str(json.loads(answer.stdout[answer.stdout.index("{") :])["terraform_version"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as err:
        raise TerraformUnavailable(
            f"Terraform does not report its version: {err}", where=path, remedy=INSTALL
        ) from err
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST:
        raise TerraformUnavailable(f"Terraform {version} is too old", where=path, remedy=INSTALL)
    return version


class Terraform:
    """Terraform on the configuration and the state of one deployment.

    Args:
        configuration: Folder of the environment's ``.tf`` files.
        workspace: The deployment's variables, plan, state and data.
        environ: Environment of the child process, with credentials and the user's settings.
        report: Called with each line of progress while something is created or deleted.
        program: Name or path of the program.
    """

    def __init__(
        self,
        configuration: Path,
        workspace: Workspace,
        environ: Mapping[str, str],
        report: Callable[[str], None] = lambda _: None,
        program: str = PROGRAM,
    ) -> None:
        self.workspace = workspace
        self._state = f"-state={workspace.state}"
        self._configuration = configuration
        self._environ = {
            **environ,
            "TF_DATA_DIR": str(workspace.data),
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
        }
        self._report = report
        self._program = program

    def init(self) -> None:
        """Install the provider and find the modules.

        Raises:
            TerraformFailed: The provider cannot be installed, or the configuration is wrong.
        """
        self.workspace.folder.mkdir(parents=True, exist_ok=True)
        self._run(["init", "-input=false"], quiet=True)

    def plan(self, *, destroy: bool = False) -> PlannedChanges:
        """Return what applying would change; :meth:`apply` does exactly that.

        Args:
            destroy: Plan to delete everything.

        Raises:
            TerraformFailed: The variables are refused, or AWS does not answer.
        """
        options = ["-destroy"] if destroy else []
        variables = f"-var-file={self.workspace.variables}"
        out = f"-out={self.workspace.plan}"
        self._run(["plan", "-input=false", self._state, variables, out, *options], quiet=True)
        plan = self._run(["show", "-json", str(self.workspace.plan)], quiet=True)
        return PlannedChanges.read(_json(plan))

    def apply(self) -> None:
        """Apply the last plan, which is then used up, whether it succeeded or not.

        Raises:
            TerraformFailed: Something could not be done.  What was done before stays, and the
                state knows of it.
        """
        try:
            self._run(["apply", "-input=false", self._state, str(self.workspace.plan)])
        finally:
            self.workspace.plan.unlink(missing_ok=True)

    def outputs(self) -> dict[str, Any]:
        """Return the configuration's outputs by name; none before anything was applied."""
        outputs = _json(self._run(["output", "-json", self._state], quiet=True))
        return {name: output["value"] for name, output in outputs.items()}

    def _run(self, arguments: Sequence[str], *, quiet: bool = False) -> str:
        verb = arguments[0]
        colour = [] if verb in {"show", "output"} else ["-no-color"]
        command = [self._program, f"-chdir={self._configuration}", *arguments[:1], *colour]
        lines: list[str] = []
        # In a session of its own: Ctrl-C in the terminal reaches us alone, and we pass it on once.
        # On the first, Terraform finishes what it is creating and writes its state.  On a second
        # it exits at once, and what it was creating is in no state.
        try:
            child = subprocess.Popen(
                [*command, *arguments[1:]],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                env=self._environ,
                start_new_session=True,
            )
        except OSError as err:
            raise TerraformUnavailable(
                f"Terraform cannot be run: {err.strerror}", where=self._program, remedy=INSTALL
            ) from err
        with child:
            try:
                for line in _lines(child):
                    lines.append(line)
                    if not quiet and _PROGRESS.match(line):
                        self._report(f"  {line}")
                status = child.wait()
            except BaseException:
                # Ours to wait for, however long that takes: the state is written at the very end.
                child.send_signal(signal.SIGINT)
                lines += _lines(child)
                child.wait()
                raise
        if status:
            raise TerraformFailed(
                f"terraform {verb}: {_error_of(lines)}", where=str(self.workspace.folder)
            )
        return "\n".join(lines)


def _lines(child: subprocess.Popen[str]) -> Iterator[str]:
    if child.stdout is not None:
        yield from (line.rstrip("\n") for line in child.stdout)


def _error_of(lines: Sequence[str]) -> str:
    """Return the errors that Terraform printed, each as one line: its title and its text."""
    text = _FRAME.sub("", "\n".join(lines))
    _, *errors = _ERROR.split(text)
    if not errors:
        return " ".join(line.strip() for line in lines[-ERROR_LINES:] if line.strip())
    in_lines = []
    for error in errors:
        title, _, text = error.partition("\n")
        paragraph = [line.strip() for line in text.splitlines() if line.strip()][:ERROR_LINES]
        in_lines.append(": ".join(filter(None, (title.strip(), " ".join(paragraph)))))
    return "; ".join(in_lines)


def _json(text: str) -> dict[str, Any]:
    """Return the JSON document that was printed, behind any warnings about the user's settings."""
    for line in text.splitlines():
        if line.startswith("{"):
            found: dict[str, Any] = json.loads(text[text.index(line) :])
            return found
    raise TerraformFailed("Terraform was asked for JSON and printed none")
