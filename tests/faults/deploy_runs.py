"""Deployments that are struck: with Terraform, to a service behind a network, and deleted again."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from injection import Typical
from runs import LONGEST_S, Broken, Run, allow_for_load

if TYPE_CHECKING:
    from injection import Fault
    from place import Started


@dataclass
class DeployRun(Run):
    """``endpoint deploy --target local`` with Terraform, and then ``endpoint delete``."""

    typical = Typical(
        seconds=12.0, progress=50, requests=50, events={"command": 325}, storing={"command": 250}
    )
    needs_proxy = True

    def prepare(self) -> None:
        self.supply.ensure_service()
        self.name = f"g{self.random.randrange(10**6)}"

    @property
    def words(self) -> tuple[str, ...]:
        return (
            *("endpoint", "deploy", self.name, "--artifact", str(self.supply.archive)),
            *("--target", "local", "--endpoint-url", self.supply.proxy.url, "--yes", "--json"),
        )

    def attempt(self, fault: Fault) -> None:
        if fault.card.where == "service":
            self.place.pids = lambda _role: [self.supply.service_pid]  # type: ignore[method-assign]
        variables = {**self.supply.provider, **fault.variables}
        started = self.place.start(*self.words, **variables)
        status = self.watch(started, fault, lambda: started.errors.count("\n"))
        fault.undo()
        self.check_message(status, started)
        # Terraform outlives a command that was killed, until it has written its state.
        self.wait_quiet()
        self.check_files(is_final=False)
        self.notes.append(f"exit {status}")

    def again(self) -> None:
        self.supply.ensure_service()
        answer = self._finish(*self.words)
        grading = json.loads(answer.output)["answer"]
        if "grade" not in grading:
            raise Broken(f"no grade: {grading}")
        self.wait_quiet()
        self.check_files(is_final=True)
        self._finish("endpoint", "delete", self.name, "--endpoint-url", self.supply.proxy.url)
        if left := self.supply.service_contents(self.name):
            raise Broken(f"left in the service: {left}")
        files = {path.name for path in self.place.work.rglob("*")}
        if left_files := files - {"deployments"}:
            raise Broken(f"files are left: {sorted(left_files)}")
        self.check_nothing_left()

    def _finish(self, *words: str) -> Started:
        started = self.place.start(*words, **self.supply.provider)
        try:
            status = started.process.wait(allow_for_load(LONGEST_S))
        except subprocess.TimeoutExpired:
            raise Broken(f"{words[1]} hangs: {started.errors[-800:]}") from None
        if status:
            raise Broken(f"{' '.join(words[:2])} ends with {status}: {started.errors[-2500:]}")
        return started
