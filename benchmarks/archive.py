"""Measure the speed and memory of ``drdeploy archive grade``, and check its table after kills.

Run ``python benchmarks/archive.py``. The benchmark has four parts: ``rates``, ``nodes``, ``kills``
and ``memory``. Each part writes its own page of results. ``--only PART`` runs one part, and
``--quick`` grades fewer photographs. ``--photographs N`` sets how many photographs the part
``memory`` grades. The targets are:

- The command starts one Ray process for each core. With N cores, it grades photographs at least 0.9
  x N times as fast as one thread without Ray.
- Memory at the end of a long run is at most 10 % more than after a quarter of the photographs.
- Even if the command or a worker is killed at random times, each photograph gets exactly one row in
  the table.
- Two Ray nodes with one processor each need at most 0.6 times as long as one node with one
  processor. The processes of a node run only on the node's own processor. The command runs on the
  processor of the first node.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import psutil
import pyarrow.parquet as pq

from drdeploy.grader.box import box_artifact
from drdeploy.hosting.container_engine.ports import find_free_port
from drdeploy.units import MB
from harness.models import photographs
from harness.options import Options, parser_for, read_options
from harness.page import Page, Target, at_least, at_most, rounded
from harness.rounds import interleaved, ratio, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

K = TypeVar("K")

CORES = os.cpu_count() or 1
PROCESSORS = sorted(os.sched_getaffinity(0))
ROUNDS = {
    "rates": {"full": 12, "quick": 3, "smoke": 1},
    "nodes": {"full": 6, "quick": 3, "smoke": 1},
}
"""The rounds of the parts that compare speeds. The other parts run once."""
RATE_PHOTOGRAPHS = {"full": 3000, "quick": 1500, "smoke": 64}
PLAIN_PHOTOGRAPHS = {"full": 750, "quick": 300, "smoke": 32}
"""How many photographs a process without Ray grades."""
NODES_PHOTOGRAPHS = {"full": 3000, "quick": 600, "smoke": 64}
MEMORY_PHOTOGRAPHS = {"full": 100_000, "quick": 5000, "smoke": 64}
KILLED_PHOTOGRAPHS = {"full": 1000, "quick": 300, "smoke": 64}
KILLED_RUNS = {"full": 20, "quick": 6, "smoke": 1}
EFFICIENCY, GROWTH, TWO_NODES = 0.9, 0.10, 0.6
MOST_FOR_OTHERS = 0.03
"""A round is quiet if other programs use at most this share of the processors."""
SEED = 18
KILLED_AFTER_S = (0.5, 15.0)
MOST_ATTEMPTS = 4
_DONE = re.compile(r"photographs graded: ([\d,]+) of ")

INTRODUCTION = """
The command `drdeploy archive grade` grades links to the example photographs, JPEG files of 512 x
512 pixels, with the packaged MobileNet in int8.  A rate is computed from the time between the first
and the last line of progress, so it excludes the start of Ray and the writing of the table.  *Whole
run* includes everything from the start of the command to its end.
"""

ONE_THREAD = """
import os, sys, time
from pathlib import Path
from drdeploy.clinic.archive_grading.grading import WorkerSettings, grade_photographs_at_places
folder, artifact, number = sys.argv[1:]
places = sorted(map(str, Path(folder).iterdir()))[: int(number)]
settings = WorkerSettings(artifact, None, folder, None, None)
os.nice(15)  # as Ray's workers
grade_photographs_at_places(places[:20], settings)
print("ready", flush=True)
sys.stdin.readline()
began, cpu_began = time.perf_counter(), time.process_time()
grade_photographs_at_places(places, settings)
print(len(places) / (time.perf_counter() - began), time.process_time() - cpu_began)
"""


@dataclass
class GradingRun:
    """What was measured during one run of ``drdeploy archive grade``.

    Attributes:
        status: The exit status.
        times_s: When each line of progress was printed, in seconds after the start of the command.
        photographs: For each line of progress, how many photographs were graded by then.
        whole_s: How many seconds the command took.
        memory: Samples of the memory. A sample has the time in seconds, the MB of the command
            itself, and the MB of the command and all processes below it.
        cpu_s: Samples of the CPU time. A sample has the time in seconds, a dictionary, and the CPU
            seconds of all programs of the machine. The dictionary maps the id of each process of
            the benchmark to the CPU seconds of this process.
        workers: The process ids of the workers.
        errors: The last 2,000 characters that the command wrote to standard error.
        was_killed: Whether the command or a worker was killed.
    """

    status: int = 0
    times_s: list[float] = field(default_factory=list)
    photographs: list[int] = field(default_factory=list)
    whole_s: float = 0.0
    memory: list[tuple[float, float, float]] = field(default_factory=list)
    cpu_s: list[tuple[float, dict[int, float], float]] = field(default_factory=list)
    workers: set[int] = field(default_factory=set)
    errors: str = ""
    was_killed: bool = False

    @property
    def per_s(self) -> float:
        """The photographs per second between the first and the last line of progress."""
        return (self.photographs[-1] - self.photographs[0]) / (self.times_s[-1] - self.times_s[0])

    @property
    def whole_per_s(self) -> float:
        """The photographs per second from the start of the command to its end."""
        return self.photographs[-1] / self.whole_s

    def count_cpu_s_per_thousand(self, *, is_worker: bool) -> float:
        """Return how many CPU seconds the run used per 1,000 photographs.

        Only the CPU time between the first and the last line of progress is counted.
        """
        first, last = self._find_samples_of_first_and_last_line()
        seconds = sum(
            last[1][pid] - first[1].get(pid, 0.0)
            for pid in last[1]
            if (pid in self.workers) == is_worker
        )
        return 1000 * seconds / (self.photographs[-1] - self.photographs[0])

    @property
    def share_of_others(self) -> float:
        """The share of the processors' time that other programs used during the measurement."""
        first, last = self._find_samples_of_first_and_last_line()
        own_s = sum(last[1][pid] - first[1].get(pid, 0.0) for pid in last[1])
        return (last[2] - first[2] - own_s) / (last[0] - first[0]) / CORES

    def _find_samples_of_first_and_last_line(
        self,
    ) -> tuple[tuple[float, dict[int, float], float], tuple[float, dict[int, float], float]]:
        first, last = (
            min(self.cpu_s, key=lambda sample: abs(sample[0] - at))
            for at in (self.times_s[0], self.times_s[-1])
        )
        return first, last


def main() -> int:
    """Run the benchmark, write its pages of results, and print which targets are met."""
    parser = parser_for(__doc__)
    parser.add_argument("--photographs", type=int, help="whose memory is followed [100,000]")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to measure"
    )
    given = read_options(parser)
    size = "smoke" if given.is_smoke else "quick" if given.is_quick else "full"
    status = 0
    with tempfile.TemporaryDirectory() as name:
        for part in given.more.only:
            title, introduction, measure = PARTS[part]
            rounds = ROUNDS[part][size] if part in ROUNDS else 1
            options = replace(given, budget=replace(given.budget, rounds=rounds))
            page = Page(f"archive_{part}", title, INTRODUCTION + introduction, options)
            measure(page, Path(name), options, size)
            status |= page.finish()
    return status


def measure_rates(page: Page, folder: Path, options: Options, size: str) -> None:
    """Compare the command's speed with the speed of one thread times the number of cores."""
    eyes = link_photographs(folder / "rate", RATE_PHOTOGRAPHS[size])
    number = PLAIN_PHOTOGRAPHS[size]
    runs: list[GradingRun] = []

    def grade_with_command() -> tuple[float, float]:
        runs.append(grade_archive(eyes, folder / "rate.parquet"))
        return runs[-1].per_s, runs[-1].share_of_others

    ways: Mapping[str, Callable[[], tuple[float, float]]] = {
        "one thread": lambda: grade_in_plain_processes(eyes, number, 1),
        "plain processes": lambda: grade_in_plain_processes(eyes, number, CORES),
        "archive grade": grade_with_command,
    }
    quiet = measure_quiet_rounds(ways, options.budget.rounds)
    whole = "archive grade, whole run"
    page.rows += quiet.make_rows("rate", {whole: [run.whole_per_s for run in runs]})
    rates, runs = quiet.values, [runs[round_] for round_ in quiet.chosen]
    rates[whole] = [run.whole_per_s for run in runs]
    ideal = [CORES * value for value in rates["one thread"]]
    found = {name: ratio(values, ideal) for name, values in rates.items()}
    page.text("## Share of the rate of all cores")
    page.table(
        ["way", "photographs a second, by round", f"share of {CORES} x one thread"],
        [
            [name, ", ".join(f"{value:.0f}" for value in values), written(found[name])]
            for name, values in rates.items()
            if name != "one thread"
        ]
        + [["one thread", ", ".join(f"{value:.0f}" for value in rates["one thread"]), "—"]],
    )
    page.text(quiet.description)
    first_line_s = ", ".join(f"{run.times_s[0]:.0f}" for run in runs)
    page.text(
        f"Each run graded {RATE_PHOTOGRAPHS[size]:,} photographs.  The first line of progress, "
        f"after a twentieth of the photographs, came after {first_line_s} seconds, by round."
    )
    page.text("## CPU time for 1,000 photographs")
    page.table(
        ["processes", "CPU seconds, by round"],
        [
            [name, ", ".join(
                f"{run.count_cpu_s_per_thousand(is_worker=is_worker):.2f}" for run in runs
            )]
            for name, is_worker in (
                ("workers: decode and predict", True),
                ("the command and Ray's own processes", False),
            )
        ],
    )  # fmt: skip
    page.targets.append(
        at_least(
            f"at least {EFFICIENCY:.0%} of {CORES} x the rate of one thread",
            found["archive grade"], EFFICIENCY,
            f"{written(found['archive grade'])}; plain processes without Ray reach "
            f"{written(found['plain processes'])}",
        )
    )  # fmt: skip


def measure_memory(page: Page, folder: Path, options: Options, size: str) -> None:
    """Measure how the memory of the command and of its processes grows during a long run."""
    number = options.more.photographs or MEMORY_PHOTOGRAPHS[size]
    eyes = link_photographs(folder / "memory", number)
    table = folder / "memory.parquet"
    seen = grade_archive(eyes, table)
    rows = pq.read_metadata(table).num_rows
    page.rows += [
        {"part": "memory", "at_s": rounded(at), "command_mb": rounded(own), "all_mb": rounded(all_)}
        for at, own, all_ in seen.memory
    ]
    graded = [one for one in seen.memory if seen.times_s[0] <= one[0] <= seen.times_s[-1]]
    graded = graded or seen.memory
    quarter = graded[len(graded) // 4]
    page.text("## Memory")
    page.table(
        ["photographs", "rows", "a second", "command: after a quarter, at the end, MB", "all: MB"],
        [[f"{number:,}", f"{rows:,}", f"{seen.per_s:.0f}",
          f"{quarter[1]:.0f}, {graded[-1][1]:.0f}", f"{quarter[2]:.0f}, {graded[-1][2]:.0f}"]],
    )  # fmt: skip
    page.line_plot(
        "memory", f"Memory while {number:,} photographs are graded", ("s", "MB"),
        [
            ("command", [one[0] for one in graded], [one[1] for one in graded]),
            ("with Ray's processes", [one[0] for one in graded], [one[2] for one in graded]),
        ],
    )  # fmt: skip
    page.targets.append(
        Target(
            f"memory at the end within {GROWTH:.0%} of that after a quarter, every photograph has "
            "a row",
            graded[-1][2] <= quarter[2] * (1 + GROWTH) and rows == number,
            f"{quarter[2]:.0f} MB, then {graded[-1][2]:.0f} MB, of {number:,} photographs",
        )
    )


def measure_kills(page: Page, folder: Path, options: Options, size: str) -> None:
    """Kill the command or a worker at random times, run the command again, and check the rows."""
    del options
    number = KILLED_PHOTOGRAPHS[size]
    eyes = link_photographs(folder / "killed", number)
    chance = random.Random(SEED)
    expected = sorted(str(path) for path in eyes.iterdir())
    wrong: list[str] = []
    kills = {"command": 0, "worker": 0}
    for run in range(KILLED_RUNS[size]):
        table = folder / f"killed-{run}.parquet"
        victim = ("command", "worker")[run % 2]
        seen = grade_archive(eyes, table, kill=(victim, chance.uniform(*KILLED_AFTER_S)))
        kills[victim] += seen.was_killed
        attempts = 1
        while seen.status and attempts < MOST_ATTEMPTS:
            seen = grade_archive(eyes, table)
            attempts += 1
        found = pq.read_table(table).to_pylist() if table.exists() else []
        is_right = [row["image"] for row in found] == expected
        failed = sum(bool(row["error"]) for row in found)
        page.rows.append({"part": "kill", "way": victim, "round": run, "value": attempts})
        if not is_right or failed:
            wrong.append(
                f"run {run} ({victim}): {len(found)} rows, {failed} failed; {seen.errors[-300:]}"
            )
    page.text("## Kills")
    page.table(["killed", "times"], list(kills.items()))
    page.targets.append(
        Target(
            "every photograph has exactly one row, whatever was killed",
            not wrong, "; ".join(wrong) or f"{KILLED_RUNS[size]} runs of {number} photographs",
        )
    )  # fmt: skip


def measure_nodes(page: Page, folder: Path, options: Options, size: str) -> None:
    """Compare the speed of one Ray node and of two Ray nodes; each node has one processor."""
    eyes = link_photographs(folder / "nodes", NODES_PHOTOGRAPHS[size])
    runs: dict[int, list[GradingRun]] = {1: [], 2: []}

    def grade_on(nodes: int) -> tuple[float, float]:
        with ray_nodes(nodes) as address:
            run = grade_archive(eyes, folder / "nodes.parquet", cluster=address)
        runs[nodes].append(run)
        return 1 / run.per_s, run.share_of_others

    ways = {nodes: partial(grade_on, nodes) for nodes in (1, 2)}
    quiet = measure_quiet_rounds(ways, options.budget.rounds)
    times = quiet.values
    whole_s = {nodes: [runs[nodes][round_].whole_s for round_ in quiet.chosen] for nodes in ways}
    found = ratio(times[2], times[1])
    page.rows += quiet.make_rows("nodes")
    whole = ratio(whole_s[2], whole_s[1])
    page.text("## Two nodes")
    rates = {nodes: [f"{1 / value:.0f}" for value in values] for nodes, values in times.items()}
    page.table(
        ["nodes of one processor", "photographs a second, by round", "whole run, seconds"],
        [
            [nodes, ", ".join(values), ", ".join(f"{value:.0f}" for value in whole_s[nodes])]
            for nodes, values in rates.items()
        ],
    )
    page.text(
        f"Each run graded {NODES_PHOTOGRAPHS[size]:,} photographs.  Two nodes took "
        f"{written(found)} of the time of one node between the first and the last line of "
        f"progress, and {written(whole)} of its time for the whole run."
    )
    page.text(quiet.description)
    page.targets.append(
        at_most(f"two nodes take at most {TWO_NODES} of the time of one node", whole, TWO_NODES,
                f"{written(whole)} for the whole run")
    )  # fmt: skip


PARTS: dict[str, tuple[str, str, Callable[[Page, Path, Options, str], None]]] = {
    "rates": (
        "An archive on all processors",
        """
*One thread* is the same code in one process without Ray.  *Plain processes* are one such process
for each core, all at the same time; they show what the machine can do.
""",
        measure_rates,
    ),
    "nodes": (
        "An archive on two nodes",
        """
A node is the processes of `ray start --num-cpus=1`, all bound to one processor.  The command is
bound to the processor of the first node.
""",
        measure_nodes,
    ),
    "kills": (
        "An archive whose processes are killed",
        "Processes are killed at random times, which come from a fixed seed.\n",
        measure_kills,
    ),
    "memory": ("The memory of a long run", "", measure_memory),
}


@dataclass(frozen=True)
class QuietRounds(Generic[K]):
    """The results of the rounds in which other programs used the processors least.

    Attributes:
        measured: For each compared function, the values that it measured, for every round. Rounds
            that are left out are included.
        chosen: The numbers of the rounds that are kept, counted from 0.
        shares: The share of the processors that other programs used, for every round.
    """

    measured: dict[K, list[float]]
    chosen: list[int]
    shares: list[float]

    @property
    def values(self) -> dict[K, list[float]]:
        """For each compared function, the values that it measured in the rounds that are kept."""
        return {
            name: [series[round_] for round_ in self.chosen]
            for name, series in self.measured.items()
        }

    def make_rows(
        self, part: str, others: Mapping[str, list[float]] | None = None
    ) -> list[dict[str, object]]:
        """Return the rows of the table of results, with the rounds that are left out.

        Args:
            part: The part of the benchmark.
            others: Further values of every round, by their names.
        """
        series = {**{str(name): values for name, values in self.measured.items()}, **(others or {})}
        return [
            {"part": part, "way": name, "round": round_, "value": rounded(value),
             "share_of_other_programs": rounded(self.shares[round_]),
             "is_left_out": str(round_ not in self.chosen).lower()}
            for name, values in series.items()
            for round_, value in enumerate(values)
        ]  # fmt: skip

    @property
    def description(self) -> str:
        """A text that says how much other programs used the processors."""
        used = ", ".join(f"{self.shares[round_]:.1%}" for round_ in self.chosen)
        left_out = len(self.shares) - len(self.chosen)
        return (
            f"During a measurement, other programs used at most {used} of the processors, by "
            f"round.  Rounds left out, because other programs used more: {left_out}."
        )


def measure_quiet_rounds(
    ways: Mapping[K, Callable[[], tuple[float, float]]], rounds: int
) -> QuietRounds[K]:
    """Call functions in rounds, and keep the rounds in which other programs used the CPUs least.

    A round is quiet if other programs use at most :data:`MOST_FOR_OTHERS` of the processors. The
    function stops after ``rounds`` quiet rounds. If there are too few quiet rounds, it stops after
    twice ``rounds`` rounds.

    Args:
        ways: The functions to compare. Each returns the value that it measured, and the share of
            the processors that other programs used meanwhile.
        rounds: How many rounds to keep.
    """
    measured: dict[K, list[float]] = {name: [] for name in ways}
    shares: list[float] = []
    while sum(share <= MOST_FOR_OTHERS for share in shares) < rounds and len(shares) < 2 * rounds:
        found = interleaved(ways, 1, seed=len(shares))
        shares.append(max(share for ((_, share),) in found.values()))
        for name, ((value, _),) in found.items():
            measured[name].append(value)
        print(f"round {len(shares)}: other programs used {shares[-1]:.1%}", flush=True)
    chosen = sorted(sorted(range(len(shares)), key=shares.__getitem__)[:rounds])
    return QuietRounds(measured, chosen, shares)


def link_photographs(folder: Path, number: int) -> Path:
    """Create a folder with many hard links to a few photographs, and return the folder."""
    originals = folder.with_name("originals")
    if not originals.exists():
        originals.mkdir()
        for place, content in enumerate(photographs()):
            (originals / f"{place}.jpg").write_bytes(content)
    sources = sorted(originals.iterdir())
    folder.mkdir()
    for place in range(number):
        os.link(sources[place % len(sources)], folder / f"{place:06d}.jpg")
    return folder


def grade_in_plain_processes(eyes: Path, number: int, processes: int) -> tuple[float, float]:
    """Grade in ordinary processes without Ray, with the same code that Ray's workers run.

    Returns: The photographs per second, and the share of the processors that other programs used.
    """
    command = [sys.executable, "-c", ONE_THREAD, str(eyes), str(box_artifact()), str(number)]
    started = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    for one in started:
        one.stdout.readline()  # the model is loaded
    for one in started:
        one.stdin.write("\n")
        one.stdin.flush()
    began, machine_s = time.monotonic(), read_cpu_s_of_machine()
    found = [[float(word) for word in one.communicate()[0].split()] for one in started]
    others_s = read_cpu_s_of_machine() - machine_s - sum(cpu_s for _, cpu_s in found)
    return sum(rate for rate, _ in found), others_s / (time.monotonic() - began) / CORES


def grade_archive(
    eyes: Path,
    table: Path,
    *,
    cluster: str | None = None,
    kill: tuple[str, float] | None = None,
) -> GradingRun:
    """Run ``drdeploy archive grade``, and record its progress, memory and CPU time.

    Args:
        eyes: The folder of photographs.
        table: The table to write. A finished table is deleted and written again. If an earlier
            command was killed before the table was finished, this run continues that command's
            work.
        cluster: The address of the head node of a Ray cluster, or None.
        kill: What to kill, which is ``command`` or ``worker``, and after how many seconds. None if
            nothing is to be killed.
    """
    seen = GradingRun()
    with suppress(FileNotFoundError):
        table.unlink()
    words = ["archive", "grade", str(eyes), "--out", str(table), "--names"]
    command = [sys.executable, "-m", "drdeploy", *words]
    if cluster:
        command = [*bind_to_processor(0), *command, "--cluster", cluster]
    began, over = time.monotonic(), threading.Event()
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        watch = (
            threading.Thread(target=kill_later, args=(process.pid, kill, seen, over))
            if kill
            else threading.Thread(target=watch_processes, args=(process.pid, began, seen, over))
        )
        watch.start()
        for line in process.stderr:
            if found := _DONE.match(line):
                seen.times_s.append(time.monotonic() - began)
                seen.photographs.append(int(found[1].replace(",", "")))
            seen.errors = (seen.errors + line)[-2000:]
        seen.status = process.wait()
        seen.whole_s = time.monotonic() - began
        over.set()
        watch.join()
    return seen


def bind_to_processor(number: int) -> list[str]:
    """Return the words to put before a command, so that the command runs on only one processor.

    The processes that the command starts run on this processor, too.
    """
    return ["taskset", "--cpu-list", str(PROCESSORS[number % len(PROCESSORS)])]


def watch_processes(pid: int, began: float, seen: GradingRun, over: threading.Event) -> None:
    """Record the memory and the CPU time of a process and of its descendants, twice a second."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        while not over.wait(0.5):
            own = process.memory_info().rss / MB
            below = 0.0
            for child in process.children(recursive=True):
                with suppress(psutil.Error):
                    below += child.memory_info().rss / MB
            at = time.monotonic() - began
            seen.memory.append((at, own, own + below))
            benchmark = psutil.Process()
            seen.workers.update(one.pid for one in find_grading_workers(benchmark))
            # A worker may end before the sample that is nearest to the last line of progress. What
            # it has used still counts as the benchmark's own.
            cpu_s = dict(seen.cpu_s[-1][1]) if seen.cpu_s else {}
            for one in (benchmark, *benchmark.children(recursive=True)):
                with suppress(psutil.Error):
                    cpu_s[one.pid] = sum(one.cpu_times()[:2])
            seen.cpu_s.append((time.monotonic() - began, cpu_s, read_cpu_s_of_machine()))


def read_cpu_s_of_machine() -> float:
    """Return the CPU seconds that all programs of this machine have used."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + times.irq + times.softirq


def kill_later(pid: int, kill: tuple[str, float], seen: GradingRun, over: threading.Event) -> None:
    """After some seconds, kill the command with the given process id, or one of its Ray workers."""
    victim, after_s = kill
    over.wait(after_s)
    while not over.wait(0.05):
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            below = [] if victim == "command" else find_grading_workers(process)
            for one in below if victim == "worker" else [process]:
                one.kill()
                seen.was_killed = True
                return


def find_grading_workers(process: psutil.Process) -> list[psutil.Process]:
    """Return the processes below a given process that are Ray's workers and grade photographs.

    Ray gives a grading worker a certain process title, by which this function finds the worker.
    """
    found = []
    for child in process.children(recursive=True):
        with suppress(psutil.Error):
            if "MapBatches" in " ".join(child.cmdline()):
                found.append(child)
    return found


@contextmanager
def ray_nodes(number: int) -> Iterator[str]:
    """Run a Ray cluster on this machine, with one processor per node, and yield its address."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    os.environ.update(token)  # the command is a client of the cluster
    port = find_free_port()
    common = ["--num-cpus=1", "--block", "--object-store-memory=134217728"]
    common += ["--disable-usage-stats"]
    with tempfile.TemporaryDirectory(prefix="ray-") as folder, ExitStack() as stack:
        head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}"]
        address = stack.enter_context(_ray_node([*head, *common], port, 0))
        for node in range(1, number):
            stack.enter_context(_ray_node([f"--address={address}", *common], port, node))
        yield address
    for name in token:
        os.environ.pop(name)


@contextmanager
def _ray_node(arguments: list[str], port: int, processor: int) -> Iterator[str]:
    """Run a Ray node on one processor until the ``with`` block ends, and yield its address."""
    ray = str(Path(sys.executable).with_name("ray"))
    command = [*bind_to_processor(processor), ray, "start", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
    ) as process:  # fmt: skip
        address, said = "", []
        for line in process.stdout:
            said.append(line)
            if found := re.search(r"Local node IP: (\S+)", line):
                address = f"{found[1]}:{port}"
            if "Ray runtime started" in line:
                break
        else:
            raise RuntimeError("".join(said[-5:]))
        drain = threading.Thread(target=process.stdout.read, daemon=True)
        drain.start()
        try:
            yield address
        finally:
            below = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            for child in below:
                with suppress(psutil.Error):
                    child.kill()
            process.kill()


if __name__ == "__main__":
    sys.exit(main())
