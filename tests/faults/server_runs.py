"""Servers that are struck while they are used: the local service and the model server."""

from __future__ import annotations

import contextlib
import itertools
import signal
import socket
import subprocess
import threading
import time
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import httpx
import local_aws
from botocore.exceptions import BotoCoreError, ClientError
from injection import Typical
from photographs import photograph
from proxy import Proxy
from runs import ENDS_WITHIN_S, LONGEST_S, POLL_S, Broken, Run, allow_for_load, wait_ready

from drdeploy.hosting.container_engine import find_free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from injection import Fault
    from place import Started

REFUSALS = (BotoCoreError, ClientError, OSError, ValueError, httpx.HTTPError)
"""What a client sees of a server that is struck."""


@dataclass
class UsedRun(Run):
    """A command that serves until it is told to stop, and is used meanwhile.

    Attributes:
        steps: How many steps of its use are done.
        is_late: Whether the fault strikes only what stops.
        has_served: Whether it served again once the fault was over, and then stopped.
    """

    steps: int = 0
    is_late: bool = False
    has_served: bool = False

    def prepare(self) -> None:
        self.port = find_free_port()

    @abstractmethod
    def start(self, **variables: str) -> Started:
        """Give the command."""

    @abstractmethod
    def use_carelessly(self, port: int) -> None:
        """Use it while the fault strikes: it may refuse, and it may be gone."""

    @abstractmethod
    def use(self, started: Started) -> None:
        """Use it, and see that every answer is right."""

    @abstractmethod
    def check(self, status: int, started: Started, fault: Fault) -> None:
        """See what it said and left when it ended."""

    def attempt(self, fault: Fault) -> None:
        with contextlib.ExitStack() as stack:
            port = self.port
            if fault.card.kind in {"network", "client"}:
                proxy = stack.enter_context(Proxy(self.port))
                fault.spoil_at(proxy)
                port = proxy.port
            started = self.start(**fault.variables)
            user = threading.Thread(target=self._use_until_it_refuses, args=(port,))
            user.start()
            status = self._watch_use(started, fault, user)
            user.join(allow_for_load(LONGEST_S))
            self.is_late = fault.card.kind == "kill" and self.random.random() < 0.3
            if not self.is_late:
                fault.undo()
        if status is None:
            status = self._use_and_stop(started, fault)
        fault.undo()  # it may have ended before it was used again
        self.notes.append(f"exit {status}, {self.steps} steps")
        self.check(status, started, fault)

    def again(self) -> None:
        if self.has_served:
            return  # it was never gone
        started = self.start()
        self.use(started)
        status = self._stop(started)
        if status:
            raise Broken(f"stopped with {status}: {started.errors[-1500:]}")
        self.check_nothing_left()

    def _use_until_it_refuses(self, port: int) -> None:
        deadline = time.monotonic() + allow_for_load(15.0)
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                break
            time.sleep(POLL_S)
        with contextlib.suppress(*REFUSALS):
            self.use_carelessly(port)

    def _watch_use(self, started: Started, fault: Fault, user: threading.Thread) -> int | None:
        """Strike while it is used; return its exit status if it ends of it."""
        begin = time.monotonic()
        while started.process.poll() is None:
            elapsed = time.monotonic() - begin
            if elapsed > allow_for_load(LONGEST_S):
                raise Broken(f"hangs: {started.errors[-500:]!r}")
            fault.meanwhile(elapsed, self.steps)
            self.place.look()
            if not user.is_alive() and not fault.is_pending:
                # A signal that was sent a moment ago may still be on its way.
                is_fatal = fault.card.kind in {"kill", "term", "int"} and fault.has_struck
                is_own = self.place.role_of(started) == fault.card.where
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return started.process.wait(
                        allow_for_load(30.0 if is_fatal and is_own else 0.3)
                    )
                return None
            time.sleep(POLL_S)
        self.place.look()
        return started.process.returncode

    def _use_and_stop(self, started: Started, fault: Fault) -> int:
        """See that what runs still serves, and stop it; return its exit status."""
        if not self.is_late:
            try:
                self.use(started)
            except Broken:
                # It may be ending: what it said is checked by whoever called.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return started.process.wait(allow_for_load(5.0))
                raise
        status = self._stop(started)
        fault.undo()
        is_struck = status < 0 and f"{signal.Signals(-status).name} at" in self.place.struck
        if status and not is_struck:
            raise Broken(f"stopped with {status}: {started.errors[-1500:]}")
        self.has_served = not status and not self.is_late
        return status

    def _stop(self, started: Started) -> int:
        started.process.send_signal(self.random.choice((signal.SIGTERM, signal.SIGINT)))
        try:
            return started.process.wait(allow_for_load(ENDS_WITHIN_S))
        except subprocess.TimeoutExpired:
            raise Broken(f"does not stop: {started.errors[-800:]}") from None


@dataclass
class LocalUpRun(UsedRun):
    """``local up``, used by boto3."""

    typical = Typical(
        seconds=6.0,
        progress=9,
        requests=15,
        events={"service": 90, "server": 11, "worker": 2},
        storing={"service": 50},
    )

    def start(self, **variables: str) -> Started:
        words = ("local", "up", "--port", str(self.port), "--isolation", "process")
        return self.place.start(*words, "--no-trial-start", "--idle-s", "1", **variables)

    def check(self, status: int, started: Started, fault: Fault) -> None:
        self.check_message(status, started)
        # What it started outlives it if it is killed; the next one removes it.
        if not (fault.is_death and fault.card.where in {"service", "server"}):
            self.check_nothing_left()

    def use(self, started: Started) -> None:
        wait_ready(started)
        try:
            for _ in self._steps(self.port, "again"):
                pass
        except (BotoCoreError, ClientError, OSError) as err:
            raise Broken(f"does not serve any more: {err}; {started.errors[-1500:]}") from err

    def use_carelessly(self, port: int) -> None:
        for _ in self._steps(port, "first"):
            self.steps += 1

    def _steps(self, port: int, name: str) -> Iterator[None]:
        """Host a model, invoke it, and delete it: nine steps."""
        url = f"http://127.0.0.1:{port}"
        aws = local_aws.Aws(
            url,
            *(
                local_aws.client(service, url, read_timeout=20, connect_timeout=5)
                for service in ("sagemaker", "sagemaker-runtime", "cloudwatch", "s3")
            ),
            itertools.count(),
        )
        archive = aws.put_archive(self.supply.archive.read_bytes())
        yield
        aws.model(name, url=archive)
        yield
        aws.config(name)
        yield
        aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        yield
        _wait_settled(aws, name)
        yield
        for seed in range(3):
            answer = aws.invoke(name, photograph(seed=seed), ContentType="image/jpeg")
            if name == "again" and "grade" not in answer:
                raise Broken(f"no grade: {answer}")
            yield
        aws.sagemaker.delete_endpoint(EndpointName=name)
        aws.sagemaker.delete_endpoint_config(EndpointConfigName=name)
        aws.sagemaker.delete_model(ModelName=name)
        aws.wait(name, "Deleted")


def _wait_settled(aws: local_aws.Aws, name: str) -> None:
    deadline = time.monotonic() + allow_for_load(60.0)
    while (status := aws.status(name)) == "Creating" and time.monotonic() < deadline:
        time.sleep(0.1)
    if status != "InService" and name == "again":
        raise Broken(f"the endpoint is {status}: {aws.failure_reason(name)}")


@dataclass
class ServeRun(UsedRun):
    """``drdeploy serve``, asked by a client."""

    typical = Typical(
        seconds=2.5,
        progress=6,
        requests=7,
        events={"server": 14, "worker": 2},
        storing={"server": 6},
    )
    profile: ClassVar[str] = "lean"

    def prepare(self) -> None:
        super().prepare()
        self.workers = self.random.choice((1, 2))

    def start(self, **variables: str) -> Started:
        settings = {
            "DRDEPLOY_PROFILE": self.profile,
            "DRDEPLOY_BIND_HOST": "127.0.0.1",
            "DRDEPLOY_MODEL_DIR": str(self.supply.archive.parent / "model"),
            "SAGEMAKER_BIND_TO_PORT": str(self.port),
            "MODEL_SERVER_WORKERS": str(self.workers),
        }
        return self.place.start("serve", **settings, **variables)

    def check(self, status: int, started: Started, fault: Fault) -> None:
        del fault
        text = started.errors + started.output
        if "Traceback (most" in text and '"traceback"' not in text:
            raise Broken(f"a traceback, exit {status}: {text[-2500:]}")
        if status > 0 and "cannot serve" not in text and '"stopped"' not in text:
            raise Broken(f"exit {status} without a reason: {text[-1500:]}")
        self.wait_quiet()  # workers end with a supervisor that was killed

    def use(self, started: Started) -> None:
        try:
            self._wait_pings(60.0)
            answers = [_invoke(self.port, seed) for seed in (1, 2, 1)]
        except httpx.HTTPError as err:
            raise Broken(f"does not serve any more: {err!r}; {started.errors[-1500:]}") from err
        statuses = [one.status_code for one in answers]
        if statuses != [200, 200, 200]:
            raise Broken(f"answers {statuses}: {answers[0].text[:300]}")
        first, second, third = (one.json() for one in answers)
        if first["probabilities"] != third["probabilities"]:
            raise Broken("the same photograph is graded differently")
        numbers = [one["container"]["invocation"] for one in (first, second, third)]
        if len(set(numbers)) != len(numbers):
            raise Broken(f"invocations are counted twice: {numbers}")

    def use_carelessly(self, port: int) -> None:
        self._wait_pings(15.0)
        for step in range(6):
            with contextlib.suppress(httpx.HTTPError):
                _invoke(port, step)
            self.steps += 1

    def _wait_pings(self, within_s: float) -> None:
        deadline = time.monotonic() + allow_for_load(within_s)
        while True:
            try:
                url = f"http://127.0.0.1:{self.port}/ping"
                if httpx.get(url, timeout=10, verify=False).is_success:
                    return
            except httpx.HTTPError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.05)


@dataclass
class ServeClassicRun(ServeRun):
    """``drdeploy serve`` as the study's own server: NGINX and Gunicorn."""

    profile = "classic"
    typical = Typical(seconds=5.0, progress=6, requests=7, events={"server": 20})


def _invoke(port: int, seed: int) -> httpx.Response:
    return httpx.post(
        f"http://127.0.0.1:{port}/invocations",
        content=photograph(seed=seed),
        headers={"content-type": "image/jpeg"},
        timeout=20,
        verify=False,
    )
