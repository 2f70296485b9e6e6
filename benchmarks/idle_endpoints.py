"""Measure how much CPU time the local service and the container engine use for idle endpoints.

Run ``python benchmarks/idle_endpoints.py``. It takes four minutes, and needs a container engine and
the image ``drdeploy:lean``. ``--against CHECKOUT`` also measures the local service of another
checkout.

The local service stands in for SageMaker on this machine. The benchmark starts one, with real-time
endpoints. Each endpoint has one instance, which is a container. No requests are sent to the
endpoints. When everything has started, the benchmark measures CPU time for a minute: that of the
local service, of the container engine with the programs that it starts, and of the containers'
monitors. A monitor is the parent of a container's first process. If another program uses the engine
during this minute, the engine's work for it is counted too.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil

from drdeploy.grader.box import FOLDER, NAME
from drdeploy.hosting.container_engine import ContainerEngine
from drdeploy.hosting.images import build_image
from harness.local_service import ROLE, make_client, running_service
from harness.options import ROOT, Options, parser_for, read_options
from harness.page import Page, Target, rounded

COUNTS = (6, 20)
SECONDS = 60.0
SETTLE_S = 10.0
SMOKE_SECONDS = 2.0
PERCENT = 100.0
TARGET_PERCENT = 2.0
PARTS = ("service", "engine", "monitors")

INTRODUCTION = """
The benchmark starts real-time endpoints and sends them no requests.  Each endpoint has one
container of the image `drdeploy:lean` with the packaged MobileNet.  The table gives CPU time as a
percentage of one core, separately for the local service, for the container engine with all programs
that it runs, and for the containers' monitors.  The CPU time of the model servers in the containers
is not counted.
"""


def main() -> int:
    """Measure, write the page of results, and print which targets are met."""
    parser = parser_for(__doc__)
    parser.add_argument("--against", type=Path, help="another checkout to measure as well")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="that are measured [60]")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="endpoints [6 20]")
    given = read_options(parser)
    # Each figure is measured once: CPU time over a minute has no rounds.
    options = replace(given, budget=replace(given.budget, rounds=1))
    engine = ContainerEngine.find()
    if engine is None:
        print("No container engine is running: nothing was measured.")
        return 0
    build_image(engine, "lean")
    page = Page("idle_endpoints", "Idle endpoints", INTRODUCTION, options)
    checkouts = {"this checkout": ROOT}
    if options.more.against:
        checkouts = {"before": options.more.against.resolve()} | checkouts
    for checkout in checkouts.items():
        for count in (1,) if options.is_smoke else options.more.counts:
            measure(page, engine, checkout, count, options)
    write_table(page)
    return page.finish()


def measure(
    page: Page, engine: ContainerEngine, checkout: tuple[str, Path], count: int, options: Options
) -> None:
    """Start the endpoints on the local service of one checkout, and measure the CPU time."""
    name, folder = checkout
    seconds = SMOKE_SECONDS if options.is_smoke else options.more.seconds
    with running_service("container", checkout=folder) as service:
        start_endpoints(service.url, count)
        time.sleep(1 if options.is_smoke else SETTLE_S)
        ids = engine.list_container_ids(service.label)
        before, began = read_cpu_seconds(engine, service.process, ids), time.monotonic()
        time.sleep(seconds)
        after, took_s = read_cpu_seconds(engine, service.process, ids), time.monotonic() - began
    shares = {part: PERCENT * (after[part] - before[part]) / took_s for part in PARTS}
    total = sum(shares.values())
    page.rows.append(
        {"source": name, "endpoints": count, "seconds": rounded(took_s)}
        | {f"{part}_percent": rounded(shares[part]) for part in PARTS}
        | {"total_percent": rounded(total)}
    )
    if name != "before":
        page.targets.append(
            Target(
                f"{count} idle endpoints use less than {TARGET_PERCENT:g} % of a core",
                total < TARGET_PERCENT, f"{total:.2f} %",
            )
        )  # fmt: skip


def write_table(page: Page) -> None:
    """Add the table of results to the page, with a row for each measurement."""
    page.table(
        ("", "endpoints", "service", "engine", "monitors", "total"),
        [
            (
                row["source"], row["endpoints"],
                *(f"{row[f'{part}_percent']:.2f} %" for part in (*PARTS, "total")),
            )
            for row in page.rows
        ],
    )  # fmt: skip


def start_endpoints(url: str, count: int) -> None:
    """Start real-time endpoints of one instance each, and wait until all are in service."""
    s3, sagemaker = make_client("s3", url), make_client("sagemaker", url)
    s3.create_bucket(Bucket="models")
    s3.upload_file(str(FOLDER / f"{NAME}-int8.tar.gz"), "models", "model.tar.gz")
    container = {"Image": "drdeploy:lean", "ModelDataUrl": "s3://models/model.tar.gz"}
    sagemaker.create_model(ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    variant = {"VariantName": "AllTraffic", "ModelName": "m"}
    size = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant | size])
    for number in range(count):
        sagemaker.create_endpoint(EndpointName=f"idle-{number}", EndpointConfigName="c")
    for number in range(count):
        sagemaker.get_waiter("endpoint_in_service").wait(
            EndpointName=f"idle-{number}", WaiterConfig={"Delay": 1, "MaxAttempts": 240}
        )


def read_cpu_seconds(
    engine: ContainerEngine, service: psutil.Process, container_ids: tuple[str, ...]
) -> dict[str, float]:
    """Return the seconds of CPU time that the service, engine and monitors have used so far."""
    own = engine._api  # noqa: SLF001  the engine's pids, which the product does not need
    mains = [own.inspect_container(one)["State"]["Pid"] for one in container_ids]
    monitors = {psutil.Process(pid).ppid() for pid in mains if pid}
    return {
        "service": sum_cpu_seconds(service),
        "engine": sum_cpu_seconds(psutil.Process(find_engine_pid(engine.host)), ended=True),
        "monitors": sum(sum_cpu_seconds(psutil.Process(pid)) for pid in monitors),
    }


def sum_cpu_seconds(process: psutil.Process, *, ended: bool = False) -> float:
    """Return a process's CPU time; ``ended`` adds that of its child processes that have ended."""
    times = process.cpu_times()
    own = times.user + times.system
    return own + (times.children_user + times.children_system if ended else 0.0)


def find_engine_pid(host: str) -> int:
    """Return the id of the process that listens on the engine's Unix socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(host.removeprefix("unix://"))
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", peer)[0])


if __name__ == "__main__":
    sys.exit(main())
