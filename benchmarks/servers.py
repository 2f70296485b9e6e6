"""Compare drdeploy's model server with other projects' servers that a user might choose (peers).

Run ``python benchmarks/servers.py`` (five minutes). ``--only lean mosec`` measures only these two
servers. The peers are installed from the package index into ``build/benchmarks/peers``, at the
versions in ``benchmarks/peers/*.txt``. The same folder has a short script for each peer, which lets
it grade photographs.

In each round, each server is started, loaded by 1, 2, 8 and 32 clients whose connections stay open,
and stopped. The benchmark measures the time to the first grade, latency, throughput and resident
memory.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from drdeploy.statistics.percentiles import estimate_median, estimate_percentile
from harness.load import closed_loop, request_of
from harness.models import forms_of, photographs
from harness.options import Options, parser_for, read_options
from harness.page import Page, Target, rounded
from harness.rounds import interleaved, ratio, written
from harness.servers import QUEUE_LENGTH, Server, granian, ours, peer, running, study, uvicorn

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.statistics.estimate import Estimate
    from harness.models import Forms

CLIENTS = (1, 2, 8, 32)
SECONDS = 1.5
WARM_UP_S = 0.3
OURS = ("lean", "lean x 1")

INTRODUCTION = """
All servers run MobileNet in int8 on ONNX Runtime. For each request, they do the
same work: drdeploy's decoding, quality check and transform. They get the same photograph of 512 x
512 pixels as JPEG. Only the server differs.

`lean` and `classic` are the two server profiles of drdeploy. Their queue has 64 places, so that all
32 clients are answered. `lean` has its default settings: one worker per vCPU with one thread each.
While only one photograph is being graded, its worker uses both vCPUs. `lean x 1` is one worker,
which grades two photographs at once (`MODEL_SERVER_WORKERS=1`). `uvicorn` is drdeploy's gateway on
Uvicorn instead of drdeploy's own HTTP protocol. `granian` is the same gateway on Granian, an HTTP
server written in Rust, with two workers. The other servers with worker processes have two workers
with one thread each, which is their best setting on two cores. KServe has one process and two
threads. `study` is the original study's stack: NGINX, Gunicorn, two Uvicorn workers, FastAPI,
Pillow, and `model.predict` of Keras in fp32. All clients run in one process on the same two cores.
`p50 at 1` is the median latency with one client. `p99 at 8` is the 99th percentile with 8 clients.
`throughput at 8` is the number of photographs per second with 8 clients.
"""


class ServerRound(NamedTuple):
    """The results of one server in one round; the keys of the dictionaries are numbers of clients.

    Attributes:
        cpu_ms: CPU time per photograph of all the server's processes, milliseconds.
    """

    start_s: float
    memory_mb: float
    latencies_s: dict[int, list[float]]
    per_s: dict[int, float]
    cpu_ms: dict[int, float]
    failures: int


def servers(forms: Forms) -> dict[str, Callable[[], Server]]:
    """Return functions by server name; each returns a description of how to start the server."""
    queue = {"DRDEPLOY_QUEUE_LENGTH": str(QUEUE_LENGTH)}
    return {
        "lean": lambda: ours("lean", forms.int8, **queue),
        "lean x 1": lambda: replace(
            ours("lean", forms.int8, MODEL_SERVER_WORKERS="1", **queue), name="lean x 1"
        ),
        "classic": lambda: ours("classic", forms.int8, **queue),
        "uvicorn": lambda: uvicorn(forms),
        "granian": lambda: granian(forms),
        "mosec": lambda: peer("mosec", forms, workers=2, threads=1),
        "litserve": lambda: peer("litserve", forms, workers=2, threads=1),
        "bentoml": lambda: peer("bentoml", forms, workers=2, threads=1),
        "kserve": lambda: peer("kserve", forms, workers=1, threads=2),
        "study": lambda: study(forms),
    }


def main() -> int:
    """Measure, write the page, say which targets are met."""
    forms = forms_of("mobilenet")
    known = servers(forms)
    parser = parser_for(__doc__)
    parser.add_argument("--only", nargs="+", choices=known, default=list(known))
    parser.add_argument("--rounds", type=int, help="instead of the budget's")
    options = read_options(parser)
    page = Page("servers", "Servers, side by side", INTRODUCTION, options)
    photograph = photographs()[0]
    chosen = {}
    for name in options.more.only:
        try:
            chosen[name] = known[name]()
        except subprocess.CalledProcessError:
            page.text(f"{name} cannot be installed here and was left out.")
    calls = {name: partial(measure, server, photograph, options) for name, server in chosen.items()}
    found = interleaved(calls, options.more.rounds or options.budget.rounds)
    keep(page, found)
    show(page, found)
    check_targets(page, found)
    return page.finish()


def measure(server: Server, photograph: bytes, options: Options) -> ServerRound:
    """Start a server, measure it under load, and stop it."""
    request = request_of(server.path, photograph)
    seconds = options.budget.seconds(SECONDS)
    clients = CLIENTS[:1] if options.is_smoke else CLIENTS
    with running(server, photograph) as started:
        closed_loop(started.port, request, concurrency=2, seconds=WARM_UP_S)
        loads, cpu_ms = {}, {}
        for count in clients:
            before_s = started.cpu_s()
            loads[count] = closed_loop(started.port, request, concurrency=count, seconds=seconds)
            used_s = started.cpu_s() - before_s
            cpu_ms[count] = 1e3 * used_s / (len(loads[count].answers) + loads[count].late)
        memory_mb = started.memory_mb()
    print(f"{server.name}: " + ", ".join(f"{load.per_s:.0f}/s" for load in loads.values()),
          flush=True)  # fmt: skip
    return ServerRound(
        started.start_s,
        memory_mb,
        {count: load.latencies_s for count, load in loads.items()},
        {count: load.per_s for count, load in loads.items()},
        cpu_ms,
        sum(load.failures for load in loads.values()),
    )


def keep(page: Page, found: dict[str, list[ServerRound]]) -> None:
    """Add rows for the CSV."""
    for name, rounds in found.items():
        for place, one in enumerate(rounds):
            page.rows += [
                {
                    "server": name, "round": place, "clients": count,
                    "start_s": rounded(one.start_s), "memory_mb": rounded(one.memory_mb),
                    "p50_ms": rounded(1e3 * float(np.median(latencies))),
                    "p99_ms": rounded(1e3 * float(np.percentile(latencies, 99))),
                    "per_s": rounded(one.per_s[count]),
                    "cpu_ms": rounded(one.cpu_ms[count]), "failures": one.failures,
                }
                for count, latencies in one.latencies_s.items()
            ]  # fmt: skip


def show(page: Page, found: dict[str, list[ServerRound]]) -> None:
    """Add plots, a table for each number of clients, and a table of start times and memory."""
    counts = list(next(iter(found.values()))[0].latencies_s)
    for count in counts:
        page.text(f"## {count} client{'s' * (count != 1)}")
        rows = []
        for name, rounds in sorted(
            found.items(), key=lambda item: -np.median([one.per_s[count] for one in item[1]])
        ):
            pooled = np.concatenate([one.latencies_s[count] for one in rounds])
            middle = estimate_median([np.median(one.latencies_s[count]) for one in rounds])
            rows.append([
                name, written(middle.multiplied_by(1e3), "ms"),
                written(estimate_percentile(pooled, 0.99).multiplied_by(1e3), "ms"),
                written(estimate_median([one.per_s[count] for one in rounds])),
                written(estimate_median([one.cpu_ms[count] for one in rounds]), "ms"),
                sum(one.failures for one in rounds) or "none",
            ])  # fmt: skip
        page.table(["server", "p50", "p99", "photographs/s", "CPU each", "failures"], rows)
    page.text("## Start and memory")
    starts = {
        name: estimate_median([one.start_s for one in rounds]) for name, rounds in found.items()
    }
    page.table(
        ["server", "start to first grade", "resident memory"],
        [
            [name, written(start, "s"),
             written(estimate_median([one.memory_mb for one in found[name]]), "MB")]
            for name, start in sorted(starts.items(), key=lambda item: item[1].value or 0)
        ],
    )  # fmt: skip
    page.bar_plot(
        "start", "Start to first grade", "s",
        [(name, start, int(name not in OURS)) for name, start in starts.items()],
    )  # fmt: skip
    if len(counts) > 1:
        page.line_plot(
            "throughput", "Throughput", ("clients", "photographs/s"),
            [(name, counts, [float(np.median([one.per_s[c] for one in rounds])) for c in counts])
             for name, rounds in found.items()], is_log=True,
        )  # fmt: skip


def check_targets(page: Page, found: dict[str, list[ServerRound]]) -> None:
    """Check that drdeploy's server is better than each peer in every measure.

    For each measure, a ratio says how many times better drdeploy's server is. The whole interval of
    this ratio must be above 1.
    """
    for own in [name for name in OURS if name in found]:
        for name, rounds in found.items():
            if name in {*OURS, "classic"}:
                continue
            ratios = comparisons(found[own], rounds)
            behind = [what for what, estimate in ratios.items() if (estimate.low or 0) <= 1]
            text = ", ".join(f"`{what}` {written(estimate)}" for what, estimate in ratios.items())
            what = f"not shown for `{'`, `'.join(behind)}`. " if behind else ""
            claim = f"`{own}` is better than `{name}` in every measure"
            said = f"{what}How many times as good it is (above 1 is better): {text}"
            page.targets.append(Target(claim, not behind, said))


def comparisons(ours_: list[ServerRound], theirs: list[ServerRound]) -> dict[str, Estimate]:
    """Return for each measure how many times better drdeploy's server is than another."""

    def tail(rounds: list[ServerRound], count: int, percent: float) -> list[float]:
        return [float(np.percentile(one.latencies_s[count], percent)) for one in rounds]

    found = {
        "start": ratio([one.start_s for one in theirs], [one.start_s for one in ours_]),
        "p50 at 1": ratio(tail(theirs, 1, 50), tail(ours_, 1, 50)),
    }
    for count in sorted({8, 32} & set(ours_[0].per_s)):
        found[f"p99 at {count}"] = ratio(tail(theirs, count, 99), tail(ours_, count, 99))
        found[f"throughput at {count}"] = ratio(
            [one.per_s[count] for one in ours_], [one.per_s[count] for one in theirs]
        )
    return found


if __name__ == "__main__":
    sys.exit(main())
