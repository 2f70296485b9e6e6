"""The one program that creates and deletes: Terraform, on one configuration and one state."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any

from drdeploy.errors import TerraformFailed, TerraformUnavailable
from drdeploy.hosting.deployment.changes import Changes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from drdeploy.hosting.deployment.workspace import Workspace

PROGRAM = "terraform"
OLDEST = (1, 9)
"""Variables' conditions that name other variables came with it."""
INSTALL = "Install Terraform 1.9 or newer (developer.hashicorp.com/terraform/install)"
ERROR_LINES = 12

_ERROR = re.compile(r"^(?:│ )?Error: (.*)$", re.MULTILINE)
_PROGRESS = re.compile(r"[^\s:]+: (?:Creat|Modif|Destr|Still|Destruct)")
_FRAME = re.compile(r"^[╷╵│]\s?", re.MULTILINE)


def check_terraform(program: str = PROGRAM) -> str:
    """The version of the Terraform on the path.

    Raises:
        TerraformUnavailable: There is none, or it is too old.
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
            f"Terraform does not tell its version: {err}", where=path, remedy=INSTALL
        ) from err
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST:
        raise TerraformUnavailable(f"Terraform {version} is too old", where=path, remedy=INSTALL)
    return version


class Terraform:
    """Plans, applies and tells.

    Args:
        configuration: Folder of the environment's ``.tf`` files; nothing is written there.
        workspace: Variables, state and Terraform's own data.
        environ: Of the child process: credentials, and how the provider is found.
        tell: Told each line of what Terraform prints while it works.
        program: To run.
    """

    def __init__(
        self,
        configuration: Path,
        workspace: Workspace,
        environ: Mapping[str, str],
        tell: Callable[[str], None] = lambda _: None,
        program: str = PROGRAM,
    ) -> None:
        self.workspace = workspace
        self._configuration = configuration
        self._environ = {
            **environ,
            "TF_DATA_DIR": str(workspace.data),
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
        }
        self._tell = tell
        self._program = program

    def init(self) -> None:
        """Find providers and modules.

        Raises:
            TerraformFailed: The provider cannot be had, or the configuration is wrong.
        """
        self.workspace.folder.mkdir(parents=True, exist_ok=True)
        self._run(["init", "-input=false"], quiet=True)

    def plan(self, *, destroy: bool = False) -> Changes:
        """What would be done; kept in the workspace for :meth:`apply`.

        Raises:
            TerraformFailed: The variables are refused, or AWS does not answer.
        """
        options = ["-destroy"] if destroy else []
        variables = f"-var-file={self.workspace.variables}"
        place = f"-out={self.workspace.plan}"
        self._run(["plan", "-input=false", self._state, variables, place, *options], quiet=True)
        shown = self._run(["show", "-json", str(self.workspace.plan)], quiet=True)
        return Changes.read(_json(shown))

    def apply(self) -> None:
        """Do what was planned last.

        Raises:
            TerraformFailed: Something of it could not be done; the message says what, and what
                there is now.
        """
        try:
            self._run(["apply", "-input=false", self._state, str(self.workspace.plan)])
        finally:
            self.workspace.plan.unlink(missing_ok=True)

    def outputs(self) -> dict[str, Any]:
        """What the configuration tells of what there is; empty before anything was applied."""
        told = _json(self._run(["output", "-json", self._state], quiet=True))
        return {name: value["value"] for name, value in told.items()}

    @property
    def _state(self) -> str:
        return f"-state={self.workspace.state}"

    def _run(self, arguments: Sequence[str], *, quiet: bool = False) -> str:
        verb = arguments[0]
        colour = [] if verb in {"show", "output"} else ["-no-color"]
        command = [self._program, f"-chdir={self._configuration}", *arguments[:1], *colour]
        lines: list[str] = []
        # In a session of its own: Ctrl-C reaches us alone, and we pass it on once.  Terraform
        # takes a second one for an order to drop everything, its state included.
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
                        self._tell(f"  {line}")
                status = child.wait()
            except BaseException:
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
    """What Terraform calls its errors, with the sentences behind them, on one line each."""
    text = _FRAME.sub("", "\n".join(lines))
    found = list(_ERROR.finditer(text))
    if not found:
        return " ".join(line.strip() for line in lines[-ERROR_LINES:] if line.strip())
    ends = [*(one.start() for one in found[1:]), len(text)]
    return "; ".join(_flat(text[one.start(1) : end]) for one, end in zip(found, ends, strict=True))


def _flat(paragraphs: str) -> str:
    lines = [line.strip() for line in paragraphs.splitlines()]
    return " ".join([line for line in lines if line][:ERROR_LINES])


def _json(text: str) -> dict[str, Any]:
    """The JSON document in what was printed, after warnings about the user's settings."""
    for line in text.splitlines():
        if line.startswith("{"):
            found: dict[str, Any] = json.loads(text[text.index(line) :])
            return found
    raise TerraformFailed("Terraform printed no JSON where it was asked for")
