"""Studies that are struck: alone, at a service behind a network, by Terraform, in containers."""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from injection import Typical
from runs import LONGEST_S, Broken, Run, allow_for_load

from drdeploy.errors import DrdeployError
from drdeploy.study.measurements.journal import read_complete_rows

if TYPE_CHECKING:
    from injection import Fault

    from drdeploy.study.measurements.measurement import Measurement

ADDED_LATER = {"is_warmup", "start", "model_setup_s", "model_latency_s", "overhead_latency_s"}
"""What of a row a later run may change: see ``study/running``."""
IMAGE = "drdeploy-faults:lean"
"""A name of its own for ``drdeploy:lean``, which a study would build anew."""

STUDY = """
title = "A tiny study"
[local]
idle_s = 1.0
[models.tiny]
artifact = "{archive}"
[images.lean]
tag = "{image}"
profile = "lean"
"""
TRIALS = """
[[trials]]
models = ["tiny"]
images = ["lean"]
endpoints = [{endpoint}]
scenarios = [{scenarios}]
"""
SERVERLESS = '{ kind = "serverless", memory_mb = 2048 }'
REAL_TIME = '{ kind = "realtime", instance_type = "ml.c5.large" }'
SHAPES: dict[str, list[tuple[str, str]]] = {
    "real-time": [(REAL_TIME, '{ kind = "real-time", n = 5, interval_s = 0.05 }')],
    "open-loop": [(REAL_TIME, '{ kind = "open-loop", n = 8, rate_per_s = 20 }')],
    "warm": [(SERVERLESS, '{ kind = "warm", n = 4, interval_s = 0.05 }')],
    "cold": [(SERVERLESS, '{ kind = "cold", n = 2, interval_s = 1.6 }')],
    "two": [
        (REAL_TIME, '{ kind = "real-time", n = 3, interval_s = 0.05 }'),
        (SERVERLESS, '{ kind = "warm", n = 3, interval_s = 0.05 }'),
    ],
}


@dataclass
class StudyRun(Run):
    """``study run`` with a local service of its own."""

    typical = Typical(
        seconds=5.0,
        progress=6,
        events={"command": 55, "service": 100, "server": 12, "worker": 2},
        storing={"command": 37, "service": 50},
    )
    isolation: ClassVar[str] = "process"
    image: ClassVar[str] = "drdeploy:lean"
    shape: str = ""
    seen: dict[tuple[Any, ...], Measurement] = field(default_factory=dict)

    def prepare(self) -> None:
        self.shape = self.random.choice(["real-time"] * 4 + ["open-loop"] * 2 + sorted(SHAPES))
        text = STUDY.format(archive=self.supply.archive, image=self.image)
        for endpoint, scenarios in SHAPES[self.shape]:
            text += TRIALS.format(endpoint=endpoint, scenarios=scenarios)
        (self.place.folder / "own.toml").write_text(text)
        self.notes.append(self.shape)

    @property
    def words(self) -> tuple[str, ...]:
        return (
            *("study", "run", str(self.place.folder / "own.toml"), "--out", "results", "--json"),
            *(("--isolation", self.isolation) if self.isolation else ()),
            *("--images", str(self.supply.folder / "photographs")),
        )

    @property
    def variables(self) -> dict[str, str]:
        return {}

    def attempt(self, fault: Fault) -> None:
        started = self.place.start(*self.words, **self.variables, **fault.variables)
        status = self.watch(started, fault, self._look_at_rows)
        fault.undo()
        self._look_at_rows()
        self.check_message(status, started)
        self.wait_quiet()
        self.check_files(is_final=False)
        self.notes.append(f"exit {status}, {len(self.seen)} rows")

    def again(self) -> None:
        started = self.place.start(*self.words, **self.variables)
        try:
            status = started.process.wait(allow_for_load(LONGEST_S))
        except subprocess.TimeoutExpired:
            raise Broken(f"the same command hangs: {started.errors[-800:]}") from None
        self.place.look()
        if status:
            raise Broken(f"the same command ends with {status}: {started.errors[-1500:]}")
        self._look_at_rows()
        self._check_rows()
        self.check_files(is_final=True)
        self.check_nothing_left()

    def _look_at_rows(self) -> int:
        """Note every row that is on disk; a row that was there stays, as it was."""
        path = self.place.work / "results" / "measurements.csv"
        try:
            rows = read_complete_rows(path)
        except (DrdeployError, OSError, ValueError) as err:
            raise Broken(f"the rows cannot be read: {err}") from err
        now = {_key(row): row for row in rows}
        if len(now) != len(rows):
            raise Broken(f"a row stands there twice: {sorted(map(_key, rows))}")
        for key, before in self.seen.items():
            if key not in now:
                raise Broken(f"a row is lost: {key}")
            if differing := _differing(before, now[key]):
                raise Broken(f"a row was changed: {key}: {differing}")
        self.seen = now
        return len(rows)

    def _check_rows(self) -> None:
        text = (self.place.folder / "own.toml").read_text()
        expected = [int(n) for n in re.findall(r"n = (\d+)", text)]
        settled: dict[str, list[int]] = {}
        for row in self.seen.values():
            is_answered = row.status or row.outcome == "timeout"
            if not row.is_warmup and row.outcome != "wrong_start" and is_answered:
                settled.setdefault(row.trial, []).append(row.sequence)
        wrong = {row.sequence for row in self.seen.values() if row.outcome == "wrong_start"}
        for trial, numbers in settled.items():
            if len(set(numbers)) != len(numbers):
                raise Broken(f"measured twice: {trial} {sorted(numbers)}")
        found = sorted(len(set(numbers) | wrong) for numbers in settled.values())
        if not wrong and found != sorted(expected):
            raise Broken(f"rows are missing: {found} of {sorted(expected)}")


def _key(row: Measurement) -> tuple[Any, ...]:
    return (row.trial, row.sequence, row.run_id, row.started_at)


def _differing(before: Measurement, now: Measurement) -> str:
    return ", ".join(
        f"{name}: {getattr(before, name)!r} and now {getattr(now, name)!r}"
        for name in vars(before)
        if name not in ADDED_LATER and getattr(before, name) != getattr(now, name)
    )


@dataclass
class StudyAtServiceRun(StudyRun):
    """``study run`` with a service that runs already, behind a network."""

    typical = Typical(
        seconds=4.0,
        progress=6,
        requests=30,
        events={"command": 50},
        storing={"command": 35},
    )
    isolation = ""  # the service has one
    needs_proxy = True

    def prepare(self) -> None:
        super().prepare()
        self.supply.ensure_service()

    @property
    def words(self) -> tuple[str, ...]:
        return (*super().words, "--endpoint-url", self.supply.proxy.url)

    def again(self) -> None:
        self.supply.ensure_service()
        super().again()
        if left := self.supply.service_contents("drdeploy-own-", "dr-own"):
            raise Broken(f"left in the service: {left}")


@dataclass
class StudyByTerraformRun(StudyAtServiceRun):
    """``study run --target local``: Terraform creates the endpoints."""

    typical = Typical(
        seconds=12.0, progress=6, requests=150, events={"command": 490}, storing={"command": 310}
    )

    @property
    def words(self) -> tuple[str, ...]:
        return (*super().words, "--target", "local", "--yes")

    @property
    def variables(self) -> dict[str, str]:
        return self.supply.provider


@dataclass
class StudyInContainersRun(StudyRun):
    """``study run --isolation container``."""

    typical = Typical(seconds=8.0, progress=6, events={"command": 55, "service": 100})
    isolation = "container"
    image = IMAGE

    def strike_container(self, name: str) -> None:
        """Send a signal to one of the containers, or stop it and let it go on."""
        command = {"SIGKILL": "kill", "SIGSTOP": "pause", "SIGTERM": "stop"}[name]
        for one in self._containers():
            subprocess.run(["docker", command, one], check=False, capture_output=True)
            if command == "pause":
                time.sleep(1.0)
                subprocess.run(["docker", "unpause", one], check=False, capture_output=True)

    def _containers(self) -> list[str]:
        self.place.look()
        found = []
        for service in self.place.services:
            only = f"label=drdeploy.local.service={service}"
            listed = subprocess.run(
                ["docker", "ps", "-q", "--filter", only],
                check=False,
                capture_output=True,
                text=True,
            )
            found += listed.stdout.split()
        return found
