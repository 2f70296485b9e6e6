"""Load a lean server with 80 % of its capacity for minutes, and then with five times its capacity.

Run ``python benchmarks/soak.py`` (ten and a half minutes; ``--minutes 2`` for less). The server is
a process on this machine. The targets are:

- Soak: every request is answered with 200, and memory does not grow. Resident memory at the end is
  within 5 % of the memory after the first minute (or after a quarter of the time, if that is
  sooner).
- Overload: for ten seconds, clients send five times as many requests as the server can answer.
  Every request is answered with 200, or refused with 503 and ``Retry-After``.
- Recovery: a second after the load has returned to 80 %, the median latency is again within 20 % of
  its value before the overload.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from harness.load import OK, Load, closed_loop, open_loop, request_of
from harness.models import forms_of, photographs
from harness.options import Options, parser_for, read_options
from harness.page import Page, Target, rounded
from harness.servers import Running, ours, running

if TYPE_CHECKING:
    from collections.abc import Callable

MINUTES = {False: 10.0, True: 1.5}
"""Duration of the soak in a normal and in a quick run."""
SMOKE_MINUTES = 0.05
SHARE = 0.8
OVERLOAD = 5.0
OVERLOAD_S = 10.0
RECOVERY_S = 10.0
CAPACITY_S = 5.0
CAPACITY_CLIENTS = 8
UNAVAILABLE = 503
GROWTH = 0.05
SLOWER = 1.2
RECOVERS_WITHIN_S = 1.0
SAMPLES = 60
WINDOW = 20
"""The latency has recovered when the median latency of this many consecutive answers is normal."""

INTRODUCTION = """
The server has the lean profile with default settings and the packaged MobileNet in int8.  Clients
send a photograph of 512 x 512 pixels as JPEG.  The capacity is the throughput of eight clients in
a closed loop.  The soak sends 80 % of the capacity in an open loop, that is, whether or not
earlier requests have been answered.  The intervals between requests vary at random by up to half.
"""


def main() -> int:
    """Measure, write the page, and print which targets are met."""
    parser = parser_for(__doc__)
    parser.add_argument("--minutes", type=float, help="of the soak [10; 1.5 if --quick]")
    given = read_options(parser)
    options = replace(given, budget=replace(given.budget, rounds=1))
    page = Page("soak", "Soak and overload", INTRODUCTION, options)
    photograph = photographs()[0]
    with running(ours("lean", forms_of("mobilenet").int8), photograph) as server:
        soak(page, server, request_of(server.server.path, photograph), options)
    return page.finish()


def soak(page: Page, server: Running, request: bytes, options: Options) -> None:
    """Measure the capacity, then run the soak, the overload and the recovery."""
    short = options.is_smoke
    minutes = options.more.minutes or (SMOKE_MINUTES if short else MINUTES[options.is_quick])
    closed_loop(server.port, request, concurrency=2, seconds=1)
    loaded = closed_loop(
        server.port, request, concurrency=CAPACITY_CLIENTS, seconds=1 if short else CAPACITY_S
    )
    rate = SHARE * loaded.per_s
    page.text(
        f"The capacity is {loaded.per_s:.0f} photographs/s, so the soak sends {rate:.0f} "
        "requests/s."
    )

    seconds = minutes * 60
    memory, steady = watched(
        server, seconds,
        lambda: open_loop(server.port, request, rate_per_s=rate, seconds=seconds),
    )  # fmt: skip
    check_soak(page, memory, steady, seconds)
    overload_s, recovery_s = (1.0, 1.0) if short else (OVERLOAD_S, RECOVERY_S)
    offered = OVERLOAD * loaded.per_s
    overload = open_loop(server.port, request, rate_per_s=offered, seconds=overload_s)
    after = open_loop(server.port, request, rate_per_s=rate, seconds=recovery_s, seed=2)
    check_overload(page, overload, offered)
    check_recovery(page, steady, after)
    for phase, load in (("soak", steady), ("overload", overload), ("recovery", after)):
        page.rows += per_second(phase, load)


def watched(
    server: Running, seconds: float, work: Callable[[], Load]
) -> tuple[list[tuple[float, float]], Load]:
    """Run a function, and read the server's memory sixty times while it runs."""
    memory: list[tuple[float, float]] = []
    is_over = threading.Event()
    started = time.monotonic()

    def sample() -> None:
        while not is_over.wait(seconds / SAMPLES):
            memory.append((time.monotonic() - started, server.memory_mb()))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        done = work()
    finally:
        memory.append((time.monotonic() - started, server.memory_mb()))
        is_over.set()
        thread.join()
    return memory, done


def check_soak(page: Page, memory: list[tuple[float, float]], steady: Load, seconds: float) -> None:
    """Check that all requests succeeded and that memory did not grow."""
    first_s = min(60.0, seconds / 4)
    first = next((mb for at_s, mb in memory if at_s >= first_s), memory[-1][1])
    last = memory[-1][1]
    latencies_ms = 1e3 * np.array(steady.latencies_s)
    p50, p99 = np.percentile(latencies_ms, (50, 99))
    page.text(
        f"During the soak of {seconds / 60:g} minutes, {len(steady.answers)} requests were sent.  "
        f"The p50 of the latency is {p50:.1f} ms, the p99 is {p99:.1f} ms, and the slowest answer "
        f"took {latencies_ms.max():.0f} ms."
    )
    page.targets += [
        Target(
            "every request succeeds at 80 % of capacity", steady.failures == 0,
            counts_of(steady),
        ),
        Target(
            f"resident memory at the end within {GROWTH:.0%} of that after {first_s:.0f} s",
            abs(last / first - 1) <= GROWTH, f"{first:.1f} MB, then {last:.1f} MB",
        ),
    ]  # fmt: skip
    page.rows += [
        {"phase": "memory", "at_s": rounded(at_s), "memory_mb": rounded(mb)} for at_s, mb in memory
    ]
    page.line_plot(
        "memory", "Resident memory at 80 % of capacity", ("s", "MB"),
        [("all processes", [at_s for at_s, _ in memory], [mb for _, mb in memory])],
    )  # fmt: skip


def check_overload(page: Page, overload: Load, offered: float) -> None:
    """Check that requests beyond the capacity are refused with 503 and Retry-After."""
    served = [one for one in overload.answers if one.status == OK]
    refused = [one for one in overload.answers if one.status == UNAVAILABLE]
    with_retry_after = [one for one in refused if one.retry_after]
    other = len(overload.answers) - len(served) - len(refused)
    refused_ms = 1e3 * np.median([one.latency_s for one in refused] or [0])
    page.text(
        f"During the overload, {offered:.0f} requests/s were scheduled, and "
        f"{len(overload.answers) / overload.seconds:.0f}/s were sent.  The server answered "
        f"{len(served) / overload.seconds:.0f}/s with 200 (p50 "
        f"{np.median(overload.latencies_s or [0]) * 1e3:.0f} ms).  The server refused "
        f"{len(refused)} requests with 503, each in {refused_ms:.1f} ms (median)."
    )
    page.targets.append(
        Target(
            "overload is refused with 503 and Retry-After, and there is no other failure",
            bool(refused) and len(with_retry_after) == len(refused) and other == 0,
            f"{len(served)} answered, {len(refused)} refused ({len(with_retry_after)} with "
            f"Retry-After), {other} failed in another way",
        )
    )


def check_recovery(page: Page, steady: Load, after: Load) -> None:
    """Check how soon after the overload the median latency of 20 answers is back to normal."""
    limit_s = SLOWER * float(np.median(steady.latencies_s))
    answers = sorted(after.answers)
    back_s = next(
        (
            answers[place].sent_s
            for place in range(max(1, len(answers) - WINDOW))
            if np.median([one.latency_s for one in answers[place : place + WINDOW]]) <= limit_s
        ),
        None,
    )
    page.targets += [
        Target(
            f"p50 back within {SLOWER - 1:.0%} of its earlier value at most "
            f"{RECOVERS_WITHIN_S:g} s after overload",
            back_s is not None and back_s <= RECOVERS_WITHIN_S,
            "never" if back_s is None else f"after {back_s:.2f} s",
        ),
        Target(
            "every request succeeds after overload", after.failures == 0,
            counts_of(after),
        ),
    ]  # fmt: skip


def per_second(phase: str, load: Load) -> list[dict[str, object]]:
    """Return a row for the CSV file for each second of a phase."""
    rows: list[dict[str, object]] = []
    for second in range(int(load.seconds)):
        within = [one for one in load.answers if second <= one.sent_s < second + 1]
        latencies = [one.latency_s for one in within if one.status == OK]
        rows.append({
            "phase": phase, "at_s": second, "answered": len(latencies),
            "refused": sum(one.status == UNAVAILABLE for one in within),
            "p50_ms": rounded(1e3 * float(np.median(latencies))) if latencies else "",
        })  # fmt: skip
    return rows


def counts_of(load: Load) -> str:
    """Return a text that says how many requests failed, and with which status."""
    how = ", ".join(f"{n} x status {status}" for status, n in load.failures_by_status.items())
    return f"{load.failures} of {len(load.answers)}" + (f" ({how})" if how else "")


if __name__ == "__main__":
    sys.exit(main())
