"""Strike the commands at random points, and see that nothing is lost: ``make faults RUNS=500``.

A run is a command, a fault and a moment, all drawn from the seed and the run's number.  While the
command runs the fault strikes; then it is undone and the same command is given again.  After each
run: no row lost, changed or doubled; every file parses; nothing left running; the same command has
finished; whatever the user was told was a sentence.

Each run prints a line.  A run that broke something is kept in ``build/faults/SEED-NUMBER``, and
``--seed SEED --only NUMBER`` repeats it.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import logging
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.util import Finalize
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

from deploy_runs import DeployRun  # noqa: E402 - its folder is no package
from injection import Card, Fault  # noqa: E402
from place import Place, clock_library  # noqa: E402
from runs import Broken, Run, Supply  # noqa: E402
from server_runs import LocalUpRun, ServeClassicRun, ServeRun  # noqa: E402
from study_runs import (  # noqa: E402
    IMAGE,
    StudyAtServiceRun,
    StudyByTerraformRun,
    StudyInContainersRun,
    StudyRun,
)

COMMANDS: dict[str, type[Run]] = {
    "study": StudyRun,
    "study-at-service": StudyAtServiceRun,
    "study-terraform": StudyByTerraformRun,
    "study-container": StudyInContainersRun,
    "deploy": DeployRun,
    "local": LocalUpRun,
    "serve": ServeRun,
    "serve-classic": ServeClassicRun,
}

SIGNALLED = ("kill", "term", "int", "stop")
DECK = (
    *(Card("study", kind, role) for kind in SIGNALLED for role in ("command", "service")),
    *(Card("study", kind, role) for kind in ("kill", "stop") for role in ("server", "worker")),
    Card("study", "kill"),
    Card("study", "torn write"),
    *(Card("study", kind, "work") for kind in ("disk full", "disk full", "read-only")),
    *(Card("study", "disk full", folder) for folder in ("home", "tmp")),
    Card("study", "storage error"),
    Card("study", "storage error", "service"),
    *(Card("study", "container answer", "server"),) * 3,
    Card("study", "clock"),
    *(Card("study-at-service", "network"),) * 8,
    *(Card("study-at-service", "answer"),) * 8,
    *(Card("study-at-service", kind) for kind in ("kill", "term", "int", "stop", "torn write")),
    *(Card("study-at-service", "storage error"),) * 2,
    Card("study-at-service", "clock"),
    *(Card("study-terraform", kind) for kind in ("kill", "term", "network")),
    *(Card("study-container", kind, "container") for kind in ("kill", "term", "stop")),
    *(Card("study-container", "kill", role) for role in ("command", "service")),
    *(Card("deploy", kind) for kind in SIGNALLED),
    *(Card("deploy", "kill", role) for role in ("terraform", "service")),
    *(Card("deploy", kind, "work") for kind in ("disk full", "read-only")),
    *(Card("deploy", kind) for kind in ("storage error", "network", "network", "answer", "answer")),
    Card("deploy", "clock"),
    *(Card("local", kind, "service") for kind in SIGNALLED),
    *(Card("local", kind, role) for kind in ("kill", "stop") for role in ("server", "worker")),
    *(Card("local", kind, "home") for kind in ("disk full", "read-only")),
    *(Card("local", "storage error", "service"),) * 2,
    *(Card("local", kind) for kind in ("network", "client", "client", "clock")),
    Card("local", "container answer", "server"),
    *(Card("serve", kind, role) for kind in ("kill", "stop") for role in ("server", "worker")),
    *(Card("serve", kind, "server") for kind in ("term", "int", "storage error")),
    *(Card("serve", kind, role) for kind in ("kill", "stop") for role in ("server", "worker")),
    *(Card("serve", "client", "client"),) * 6,
    Card("serve", "disk full", "tmp"),
    Card("serve", "clock"),
    *(Card("serve-classic", kind, "server") for kind in ("kill", "term")),
    Card("serve-classic", "client", "client"),
)
"""What is dealt: one card a run, all of them before any comes again."""


@dataclass
class Result:
    """How a run went; ``broken`` is empty if all held."""

    card: Card
    said: str
    has_struck: bool
    notes: tuple[str, ...]
    broken: str
    seconds: float
    cpu_s: float

    def line(self, seed: int, number: int) -> str:
        how = "BROKEN" if self.broken else "held" if self.has_struck else "held, not struck"
        notes = ", ".join((self.said, *self.notes))
        text = (
            f"{seed}-{number:<4} {self.card} {self.seconds:5.1f} s {self.cpu_s:5.1f} s of CPU  "
            f"{how}: {notes}"
        )
        return f"{text}\n    {self.broken}" if self.broken else text


def card_of(seed: int, number: int) -> Card:
    """Return the card of a run: each deal is a shuffle of the whole deck."""
    deal, at = divmod(number, len(DECK))
    deck = list(DECK)
    random.Random(f"{seed}/{deal}").shuffle(deck)
    return deck[at]


def strike(card: Card, seed: int, number: int, keep: Path | None = None) -> Result:
    """Do one run."""
    drawn = random.Random(f"{seed}/{number}/{card}")
    folder = Path(tempfile.mkdtemp(prefix="drf-")) / "r"
    place = Place(folder)
    run: Run = COMMANDS[card.command](place, supply(), drawn)
    begin, cpu = time.monotonic(), _cpu_s()
    broken = ""
    fault = None
    try:
        run.prepare()
        fault = Fault(card, place, run.proxy, drawn, run.typical)
        if isinstance(run, StudyInContainersRun):
            fault.containers = run.strike_container
        fault.arm()
        run.attempt(fault)
        run.again()
    except Broken as err:
        broken = str(err)
    except Exception as err:  # noqa: BLE001 - the other runs go on
        broken = f"the harness: {type(err).__name__}: {err}"
    finally:
        if fault is not None:
            with contextlib.suppress(Exception):
                fault.undo()
        if broken and keep is not None:
            why = f"{card}\n{fault and fault.said}\n{broken}\n"
            _keep(place, keep / f"{seed}-{number}", f"{why}\n{supply().service_log}")
        place.close()
        shutil.rmtree(folder.parent, ignore_errors=True)
        if broken and run.needs_proxy:
            # What this run left in the service that is shared would be held against later runs.
            supply().kill_service()
    return Result(
        card,
        fault.said if fault else "not armed",
        bool(fault and fault.has_struck),
        tuple(run.notes),
        broken,
        time.monotonic() - begin,
        _cpu_s() - cpu,
    )


def _keep(place: Place, folder: Path, why: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(shutil.Error, OSError):
        shutil.copytree(
            place.folder, folder, symlinks=True, ignore=shutil.ignore_patterns(".filler", "*.sock")
        )
    folder.mkdir(exist_ok=True)
    (folder / "why").write_text(why)


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def possible(card: Card) -> bool:
    """Return whether this machine has what a card takes."""
    if card.kind == "clock":
        return clock_library() is not None
    if card.kind in {"disk full", "read-only"}:
        return os.getuid() == 0
    if card.command == "study-container":
        return has_image()
    if card.command in {"deploy", "study-terraform"}:
        return shutil.which("terraform") is not None
    if card.command == "serve-classic":
        path = f"{os.environ['PATH']}:/usr/sbin"
        return shutil.which("nginx", path=path) is not None
    return True


def has_image() -> bool:
    """Return whether the engine has the image for the runs in containers; tag the newest one."""
    if not os.environ.get("DOCKER_HOST") or shutil.which("docker") is None:
        return False
    tag = ["docker", "tag", "drdeploy:lean", IMAGE]
    known = ["docker", "image", "inspect", IMAGE]
    return any(
        subprocess.run(words, check=False, capture_output=True).returncode == 0
        for words in (tag, known)  # a tag of earlier runs may be of an older server
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 10**6)
    parser.add_argument("--first", type=int, default=0, help="number of the first run")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of the runs to repeat")
    parser.add_argument("--command", help="runs of this command alone")
    parser.add_argument("--kind", help="runs of this kind of fault alone")
    parser.add_argument("--keep", type=Path, default=Path("build/faults"))
    parser.add_argument(
        "--jobs", type=int, default=2, help="runs at once; most of a run is waiting"
    )
    options = parser.parse_args()
    numbers = options.only or range(options.first, options.first + options.runs)
    chosen = [
        (number, card)
        for number in numbers
        for card in [card_of(options.seed, number)]
        if options.command in {None, card.command} and options.kind in {None, card.kind}
    ]
    is_possible = {card: possible(card) for card in {card for _, card in chosen}}
    for number, card in chosen:
        if not is_possible[card]:
            print(f"{options.seed}-{number:<4} {card} skipped: not on this machine", flush=True)
    chosen = [(number, card) for number, card in chosen if is_possible[card]]
    results = []
    # Processes, because each has a service, a network and a provider of its own.
    with ProcessPoolExecutor(options.jobs, get_context("spawn"), initializer=begin_worker) as pool:
        futures = {
            pool.submit(strike, card, options.seed, number, options.keep): number
            for number, card in chosen
        }
        for future in as_completed(futures):
            result = future.result()
            print(result.line(options.seed, futures[future]), flush=True)
            results.append(result)
    print(summary(results))
    return 1 if any(one.broken for one in results) else 0


SUPPLY: list[Supply] = []
"""Of this process."""


def begin_worker() -> None:
    """Prepare a process that does runs, and nothing else: not one that runs other tests too."""
    logging.disable()  # the provider's: what it cannot do is what is wanted here
    supply()


def supply() -> Supply:
    """Return what the runs of this process share, made when it is first asked for."""
    if not SUPPLY:
        # Whoever starts this in the background ignores Ctrl-C, and children would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        folder = tempfile.mkdtemp(prefix="drf-")
        SUPPLY.append(Supply(Path(folder)).__enter__())
        Finalize(None, SUPPLY[0].__exit__, (None, None, None), exitpriority=10)
        Finalize(None, shutil.rmtree, (folder, True), exitpriority=1)
    return SUPPLY[0]


def summary(results: list[Result]) -> str:
    """Return how many runs there were of each command and kind, and how many held."""
    if not results:
        return "no run"
    counts = collections.Counter((one.card.command, one.card.kind) for one in results)
    lines = [f"  {command:16} {kind:16} {n:4}" for (command, kind), n in sorted(counts.items())]
    broken = sum(bool(one.broken) for one in results)
    struck = sum(one.has_struck for one in results)
    cpu = statistics.median(one.cpu_s for one in results)
    lines.append(
        f"{len(results)} runs, {struck} struck, {broken} broken; median {cpu:.1f} s of CPU a run"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    os.nice(5)
    sys.exit(main())
