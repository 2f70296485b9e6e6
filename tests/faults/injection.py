"""What goes wrong in a run: drawn by seed, armed before the command starts, struck at a moment.

A moment is one of three.  ``event``: the n-th event of the struck process that changes something
outside it (see ``hooks/sitecustomize.py``); the most exact one, and the only one that a seed
repeats to the line.  ``progress``: when so many rows are on disk, or so many steps are done, and
some tenths of a second more.  ``elapsed``: so many seconds after the start, uniform over how long
the command usually takes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import proxy as network

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from place import Place

Kind = Literal[
    "kill",
    "term",
    "int",
    "stop",
    "torn write",
    "disk full",
    "storage error",
    "read-only",
    "network",
    "answer",
    "container answer",
    "client",
    "clock",
]
SIGNALS = {"kill": "SIGKILL", "term": "SIGTERM", "int": "SIGINT", "stop": "SIGSTOP"}
ERRNOS = ("ENOSPC", "EIO", "EROFS", "EACCES", "EDQUOT", "EMFILE")
CONTAINER_ANSWERS = (
    *("500", "503", "429", "404", "empty", "not-json", "slow"),
    *("garbage", "truncated", "reset", "die"),
)
OFFSETS_S = (-86400 * 400, -3600, -30, -2, 2, 30, 3600, 86400 * 400)


@dataclass(frozen=True)
class Card:
    """What a run is about: which command, what goes wrong, and in which process or folder."""

    command: str
    kind: Kind
    where: str = "command"

    def __str__(self) -> str:
        return f"{self.command:15} {self.kind:16} {self.where:9}"


@dataclass(frozen=True)
class Typical:
    """How much of a command there is to strike.

    Attributes:
        seconds: How long it takes.
        progress: How many rows or steps it has.
        requests: How many requests it sends through the proxy.
        events: How many events each process has.
        storing: How many of those store something.
    """

    seconds: float
    progress: int
    requests: int = 1
    events: dict[str, int] = field(default_factory=dict)
    storing: dict[str, int] = field(default_factory=dict)


@dataclass
class Fault:
    """One fault of one run; a context in which the command is attempted."""

    card: Card
    place: Place
    proxy: network.Proxy | None
    random: random.Random
    typical: Typical
    containers: Callable[[str], None] = lambda _: None
    variables: dict[str, str] = field(default_factory=dict)
    said: str = ""
    has_struck: bool = False
    _due_s: float | None = None
    _due_progress: int | None = None
    _delay_s: float = 0.0
    _reached: float | None = None
    _resume_at: float | None = None

    # -- before ------------------------------------------------------------------------

    def arm(self) -> None:
        """Draw the details, and prepare what has to be prepared before the command starts."""
        draw = self.random
        match self.card.kind:
            case "kill" | "term" | "int" | "stop":
                self._arm_signal()
            case "torn write":
                self._order(draw.randint(1, max(self.typical.progress, 1)), "torn")
            case "storage error":
                storing = self.typical.storing.get(self.card.where, 10)
                self._order(draw.randint(1, storing), draw.choice(ERRNOS))
            case "disk full" | "read-only":
                self._arm_disk()
            case "network" | "answer" | "client":
                hows = {
                    "network": network.NETWORK,
                    "answer": network.ANSWERS,
                    "client": network.CLIENTS,
                }[self.card.kind]
                self._spoil(draw.choice(hows))
            case "container answer":
                how, times = draw.choice(CONTAINER_ANSWERS), draw.choice((1, 2, 6))
                self.said = f"{how} x {times}"
                self.place.order(action=f"answer:{how}", nth=times)
                self.has_struck = True
            case "clock":
                self.variables = self.place.clock_variables()
                self._offset_s = draw.choice(OFFSETS_S)
                self.said = f"{self._offset_s:+d} s"
                self._arm_moment()

    def _arm_signal(self) -> None:
        role = self.card.where
        events = self.typical.events.get(role, 0)
        if events and self.random.random() < 0.6:
            self._order(self.random.randint(1, events), SIGNALS[self.card.kind])
        else:
            self._arm_moment()

    def _order(self, nth: int, action: str) -> None:
        self.said = f"{action} at event {nth}"
        self.place.order(role=self.card.where, nth=nth, action=action)

    def _arm_moment(self) -> None:
        if self.random.random() < 0.5:
            self._due_progress = self.random.randint(0, max(self.typical.progress - 1, 0))
            self._delay_s = self.random.choice((0.0, 0.02, 0.1, 0.3))
            self.said += f" at progress {self._due_progress} + {self._delay_s} s"
        else:
            self._due_s = round(self.random.uniform(0.05, self.typical.seconds), 2)
            self.said += f" after {self._due_s} s"

    def _arm_disk(self) -> None:
        folder = getattr(self.place, self.card.where)
        self.place.small_disk(folder)
        self._folder = folder
        if self.card.kind == "read-only":
            # Later the kernel refuses: something is open for writing.
            self.said = "from the start"
            self.has_struck = self.place.remount(folder, "ro")
            return
        self._left_bytes = self.random.choice((0, 0, 4096, 8192, 16384, 65536, 1 << 20))
        self.said = f"{self._left_bytes} bytes left"
        self._arm_moment()

    def _spoil(self, how: str) -> None:
        first = self.random.randint(1, self.typical.requests)
        times = self.random.choice((1, 1, 2, 3, 12))
        self.said = f"{how}, request {first} x {times}"
        self._spoiling = (how, first, times)
        if self.proxy is not None:
            self.spoil_at(self.proxy)

    def spoil_at(self, proxy: network.Proxy) -> None:
        """Spoil what was drawn at this proxy."""
        how, first, times = self._spoiling
        self.proxy = proxy
        proxy.spoil(how, first=first, times=times)

    # -- meanwhile ---------------------------------------------------------------------

    def meanwhile(self, elapsed_s: float, progress: int) -> None:
        """Strike if it is time; call it often."""
        if not self.has_struck and self._is_due(elapsed_s, progress):
            self.has_struck = self._strike()
        if self.place.struck and not self.has_struck:
            self.has_struck = True
            if self.card.kind == "stop":
                self._resume_at = time.monotonic() + self.random.choice((0.3, 1.5, 4.0))
        if self._resume_at is not None and time.monotonic() >= self._resume_at:
            self._resume_at = None
            self.place.resume_stopped()

    @property
    def is_pending(self) -> bool:
        """Whether something is stopped that is to go on."""
        return self._resume_at is not None

    def _is_due(self, elapsed_s: float, progress: int) -> bool:
        if self._due_s is not None:
            return elapsed_s >= self._due_s
        if self._due_progress is None or progress < self._due_progress:
            return False
        self._reached = self._reached or time.monotonic()
        return time.monotonic() >= self._reached + self._delay_s

    def _strike(self) -> bool:
        if self.card.kind in SIGNALS:
            return self._signal()
        if self.card.kind == "clock":
            self.place.set_clock(self._offset_s)
        if self.card.kind == "disk full":
            self.place.fill(self._folder, self._left_bytes)
        return True

    def _signal(self) -> bool:
        if self.card.where == "container":
            return self.containers(SIGNALS[self.card.kind]) is None
        pids = self.place.pids(self.card.where)
        if not pids:
            return False  # not there yet: try again
        pid = self.random.choice(pids)
        with contextlib.suppress(OSError):
            os.kill(pid, getattr(signal, SIGNALS[self.card.kind]))
        self.said += f" (process {pid})"
        if self.card.kind == "stop":
            self._resume_at = time.monotonic() + self.random.choice((0.3, 1.5, 4.0))
        return True

    # -- after -------------------------------------------------------------------------

    def undo(self) -> None:
        """Make everything well again."""
        if self.proxy is not None:
            self.has_struck |= self.proxy.struck > 0
            self.proxy.heal()
        if self.place.struck and "[" not in self.said:
            self.has_struck = True
            self.said += f" [{self.place.struck.splitlines()[0][:140]}]"
        self.place.resume_stopped()
        self.place.withdraw()
        if self.card.kind == "clock":
            self.place.set_clock(0)
        if self.card.kind == "read-only":
            self.place.remount(self._folder, "rw")
        if self.card.kind == "disk full":
            self.place.make_room(self._folder)

    @property
    def is_death(self) -> bool:
        """Whether a process of ours had no chance to clean up after itself."""
        return self.card.kind in {"kill", "torn write"}
