"""Run Terraform for one deployment, and turn its output into plans, values and errors."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any, BinaryIO

from drdeploy.errors import TerraformFailed, TerraformUnavailable
from drdeploy.files import parse_json
from drdeploy.hosting.deployment.changes import PlannedChanges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from drdeploy.hosting.deployment.workspace import TerraformWorkspace

PROGRAM = "terraform"
OLDEST = (1, 9)
"""The oldest version of Terraform that works. In older versions, the validation of a
variable cannot refer to other variables.
"""
INSTALL = "Install Terraform 1.9 or newer (developer.hashicorp.com/terraform/install)"
LOCK_WAIT = "-lock-timeout=30m"
"""How long to wait for the lock of the state. If drdeploy was killed while Terraform ran, Terraform
keeps the lock until its current step is done."""
FOLLOW_S = 0.1
ERROR_LINES = 12
"""How many lines of each error are shown; some errors of Terraform list very many alternatives."""

_LOG_VARIABLES = ("TF_LOG", "TF_LOG_CORE", "TF_LOG_PROVIDER")

_ERROR = re.compile(r"^Error: ", re.MULTILINE)
_FRAME = re.compile(r"^[╷╵│]\s?", re.MULTILINE)
"""Matches the line that Terraform draws on the left of an error."""
_PROGRESS = re.compile(r"[^\s:]+: (?:Creat|Modif|Destr|Still)")
"""Matches lines of progress, such as ``aws_s3_bucket.this: Still creating...``."""


def check_terraform_version(program: str = PROGRAM) -> str:
    """Check that the installed Terraform is new enough, and return its version.

    Raises:
        TerraformUnavailable: Terraform is not installed, or is too old.
    """
    path = shutil.which(program)
    if path is None:
        what = "Terraform is not installed"
        if shutil.which("tofu"):
            what += "; OpenTofu is installed, but drdeploy cannot use it in place of Terraform"
        raise TerraformUnavailable(what, where=program, remedy=INSTALL)
    try:
        answer = subprocess.run(
            [path, "version", "-json"],
            capture_output=True,
            check=True,
            text=True,
            timeout=60,
            env={**os.environ, "CHECKPOINT_DISABLE": "1"},
        )
        version = str(parse_json(answer.stdout[answer.stdout.index("{") :])["terraform_version"])
    except (OSError, subprocess.SubprocessError) as err:
        raise TerraformUnavailable(
            f"Terraform does not report its version: {err}", where=path, remedy=INSTALL
        ) from err
    except (ValueError, KeyError) as err:
        raise TerraformUnavailable(
            "The output of `terraform version -json` names no version", where=path, remedy=INSTALL
        ) from err
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST:
        raise TerraformUnavailable(f"Terraform {version} is too old", where=path, remedy=INSTALL)
    return version


class Terraform:
    """Runs Terraform with the ``.tf`` files and the state of one deployment.

    Args:
        configuration: The folder of the ``.tf`` files.
        workspace: The folder of the deployment's variables, plan and state.
        environ: The environment variables of the Terraform process.
        report: Called with each line of progress while Terraform creates or deletes resources.
        program: The name or path of the Terraform program.
    """

    def __init__(
        self,
        configuration: Path,
        workspace: TerraformWorkspace,
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
        if any(environ.get(name) for name in _LOG_VARIABLES):
            # Without a file, Terraform would mix its log with the errors on standard error.
            self._environ.setdefault("TF_LOG_PATH", str(workspace.folder / "terraform-debug.log"))
        self._report = report
        self._program = program

    def initialise(self) -> None:
        """Install the provider, and prepare the modules (``terraform init``).

        Raises:
            TerraformFailed: The provider cannot be installed, or the configuration is wrong.
        """
        self.workspace.folder.mkdir(parents=True, exist_ok=True)
        if "TF_LOG_PATH" in self._environ:
            self._report(f"The log of Terraform is in {self._environ['TF_LOG_PATH']}")
        self._run_terraform(["init", "-input=false"], quiet=True)

    def make_plan(self, *, destroy: bool = False, targets: Sequence[str] = ()) -> PlannedChanges:
        """Make a plan, and return the changes that :meth:`apply_last_plan` would make.

        Args:
            destroy: Whether to plan the deletion of resources, instead of their creation or change.
            targets: With ``destroy``, the addresses of the resources to delete. Resources that
                depend on them are deleted too. If ``targets`` is empty, all resources are deleted.

        Raises:
            TerraformFailed: Terraform refuses the variables, or AWS does not answer.
        """
        options = ["-destroy"] if destroy else []
        options += [f"-target={address}" for address in targets]
        variables = f"-var-file={self.workspace.variables}"
        out = f"-out={self.workspace.plan}"
        arguments = ["plan", "-input=false", LOCK_WAIT, self._state, variables, out, *options]
        self._run_terraform(arguments, quiet=True)
        return PlannedChanges.from_terraform_json(self.read_plan_json(self.workspace.plan))

    def read_plan_json(self, plan: Path) -> dict[str, Any]:
        """Return a plan as JSON (documentation of Terraform, "JSON Output Format").

        Raises:
            TerraformFailed: The file ``plan`` is not a Terraform plan.
        """
        return _extract_printed_json(self._run_terraform(["show", "-json", str(plan)], quiet=True))

    def apply_last_plan(self) -> None:
        """Apply the last plan. A plan can be applied only once.

        Raises:
            TerraformFailed: A change failed. Earlier changes stay, and Terraform's state records
                them. A resource that was created but not recorded is named only in the plan
                ``workspace.applying`` (see the module ``orphans``).
        """
        applying = self.workspace.plan.rename(self.workspace.applying)
        # Terraform prints into a file. If it printed into a pipe and this process were killed,
        # Terraform would die when it prints the next line, and would not record what it was
        # creating.
        with self.workspace.log.open("wb") as log:
            self._run_terraform(
                ["apply", "-input=false", LOCK_WAIT, self._state, str(applying)], log=log
            )
        applying.unlink()

    def read_outputs(self) -> dict[str, Any]:
        """Return the Terraform configuration's outputs by name; empty until a plan was applied."""
        outputs = _extract_printed_json(
            self._run_terraform(["output", "-json", self._state], quiet=True)
        )
        return {name: output["value"] for name, output in outputs.items()}

    def _run_terraform(
        self, arguments: Sequence[str], *, quiet: bool = False, log: BinaryIO | None = None
    ) -> str:
        verb = arguments[0]
        colour = [] if verb in {"show", "output"} else ["-no-color"]
        command = [self._program, f"-chdir={self._configuration}", *arguments[:1], *colour]
        lines: list[str] = []
        # Terraform runs in its own session, so Ctrl-C in the terminal reaches only this process,
        # which passes it on once. After the first Ctrl-C, Terraform finishes what it is creating
        # and writes its state. After a second, it exits at once, and does not record what it was
        # creating.
        try:
            child = subprocess.Popen(
                [*command, *arguments[1:]],
                stdout=log or subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                env=self._environ,
                start_new_session=True,
            )
        except OSError as err:
            raise TerraformUnavailable(
                f"Terraform cannot be run: {err.strerror}",
                where=self._program,
                remedy="Mend the cause that the message names, and repeat the command",
            ) from err
        printed = _read_output_lines(child) if log is None else self._follow_log_lines(child)
        with child:
            try:
                for line in printed:
                    lines.append(line)
                    if not quiet and _PROGRESS.match(line):
                        self._report(f"  {line}")
                status = child.wait()
            except BaseException:
                # Wait for Terraform, however long it takes, because it writes the state at its very
                # end.
                child.send_signal(signal.SIGINT)
                lines += _read_output_lines(child)
                child.wait()
                raise
        if status < 0:
            raise TerraformFailed(
                f"terraform {verb} was ended by {signal.Signals(-status).name}",
                where=str(self.workspace.folder),
                remedy="Repeat the command",
            )
        if status:
            raise TerraformFailed(
                f"terraform {verb}: {_extract_printed_errors(lines)}",
                where=str(self.workspace.folder),
            )
        return "\n".join(lines)

    def _follow_log_lines(self, child: subprocess.Popen[str]) -> Iterator[str]:
        """Yield the lines of Terraform's log as they are written, until Terraform has ended."""
        with self.workspace.log.open(encoding="utf-8", errors="replace") as log:
            begun = ""
            has_ended = False
            while True:
                piece = log.readline()
                if piece.endswith("\n"):
                    yield (begun + piece).rstrip("\n")
                    begun = ""
                elif has_ended:
                    break
                else:
                    begun += piece
                    # After Terraform has ended, the loop reads once more what it wrote before.
                    has_ended = child.poll() is not None
                    if not has_ended:
                        time.sleep(FOLLOW_S)
            if begun:
                yield begun


def _read_output_lines(child: subprocess.Popen[str]) -> Iterator[str]:
    if child.stdout is not None:
        yield from (line.rstrip("\n") for line in child.stdout)


def _extract_printed_errors(lines: Sequence[str]) -> str:
    """Return the errors that Terraform printed, each on one line with its title and text."""
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


def _extract_printed_json(text: str) -> dict[str, Any]:
    """Return the JSON document that Terraform printed, without warnings printed before it."""
    for line in text.splitlines():
        if line.startswith("{"):
            found: dict[str, Any] = parse_json(text[text.index(line) :])
            return found
    raise TerraformFailed("Terraform printed no JSON")
