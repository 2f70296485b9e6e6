"""Measure the memory of the local service and of the instance in a large Batch Transform job.

Run ``python benchmarks/batch_transform.py``. It grades 50,000 photographs, which takes half an hour
on two cores; ``--photographs 2000`` grades only 2,000. ``--isolation container`` needs a container
engine and the image ``drdeploy:lean``.

The benchmark starts a local service, and uploads copies of a few small photographs to the service's
S3. One job grades all photographs on one instance. The job sends several requests to the instance
at the same time. While the job runs, the benchmark repeatedly measures the memory of the service
and of the instance. The targets are:

- The memory of the instance at the end is within 5 % of its memory after a fifth of the
  photographs.
- The memory of the service at the end is within 5 % of its memory after a fifth of the photographs.
  The memory grows little, because the local S3 keeps the content of objects in a file. In memory,
  it keeps only the name, the date and the digest of each object, about 0.4 kB. The local CloudWatch
  Logs compresses the server's log lines in memory.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
from botocore.exceptions import ClientError

from drdeploy.grader.box import FOLDER, NAME
from drdeploy.hosting.container_engine import ContainerEngine
from drdeploy.hosting.images import build_image
from drdeploy.units import MB
from harness.local_service import ROLE, make_client, running_service, small_photographs
from harness.options import Options, parser_for, read_options
from harness.page import Page, Target, rounded

PHOTOGRAPHS = {False: 50_000, True: 2_000}
"""The number of photographs of a normal and of a quick run."""
SMOKE_PHOTOGRAPHS = 400  # the job takes some seconds, so even a busy machine takes a sample
BUCKET = "eyes"
UPLOADS_AT_ONCE = 4
SAMPLES = 200
"""The largest number of times that the memory is measured in a run."""
SETTLED = 0.2
"""The memory after this share of the photographs is compared with the memory at the end."""
GROWTH = 0.05

INTRODUCTION = """
The benchmark runs one Batch Transform job on the local service.  The job has one instance, which
gets several requests at once, and runs the lean profile with the packaged MobileNet in int8.  Each
photograph is a separate object in S3, a JPEG of 320 pixels.  The page gives the resident memory,
in MB of 10^6 bytes, of the service's process and of all processes of the instance.  The local S3
writes the content of objects to a file, and keeps only a description of each object in memory.
The local CloudWatch Logs keeps the newest 100,000 lines of an instance compressed in memory; the
server writes one line for each photograph.
"""


@dataclass(frozen=True)
class Sample:
    """The memory of the service and of the instance at one moment of the job."""

    at_s: float
    done: int
    service_mb: float
    instance_mb: float


def main() -> int:
    """Run the benchmark, write its page of results, and print which targets are met."""
    parser = parser_for(__doc__)
    parser.add_argument("--photographs", type=int, help="of the job [50000; 2000 if --quick]")
    parser.add_argument("--concurrency", type=int, default=4, help="requests at once [4]")
    parser.add_argument("--isolation", choices=("process", "container"), default="process")
    given = read_options(parser)
    options = replace(given, budget=replace(given.budget, rounds=1))
    engine = ContainerEngine.find() if options.more.isolation == "container" else None
    if options.more.isolation == "container":
        if engine is None:
            print("No container engine is running: nothing was measured.")
            return 0
        build_image(engine, "lean")
    page = Page("batch_transform", "A large Batch Transform job", INTRODUCTION, options)
    with running_service(options.more.isolation) as service:
        measure(page, Watched(service.process, engine, service.label), service.url, options)
    return page.finish()


@dataclass(frozen=True)
class Watched:
    """The processes whose memory is measured: the service and its instances."""

    service: psutil.Process
    engine: ContainerEngine | None
    label: str

    def service_mb(self) -> float:
        """Return the resident memory of the service."""
        return float(self.service.memory_info().rss / MB)

    def instance_mb(self) -> float:
        """Return the resident memory of all processes of the instances."""
        found = 0
        for process in self._instance_processes():
            try:
                found += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return found / MB

    def _instance_processes(self) -> list[psutil.Process]:
        if self.engine is None:
            return list(self.service.children(recursive=True))
        own = self.engine._api  # noqa: SLF001  the engine's pids, which the product does not need
        mains = [
            own.inspect_container(one)["State"]["Pid"]
            for one in self.engine.list_container_ids(self.label)
        ]
        roots = [psutil.Process(pid) for pid in mains if pid]
        return [one for root in roots for one in (root, *root.children(recursive=True))]


def measure(page: Page, watched: Watched, url: str, options: Options) -> None:
    """Upload the photographs, run the job, and check how memory grew."""
    count = options.more.photographs or (
        SMOKE_PHOTOGRAPHS if options.is_smoke else PHOTOGRAPHS[options.is_quick]
    )
    s3, sagemaker = make_client("s3", url), make_client("sagemaker", url)
    s3.create_bucket(Bucket=BUCKET)
    s3.upload_file(str(FOLDER / f"{NAME}-int8.tar.gz"), BUCKET, "model.tar.gz")
    with tempfile.TemporaryDirectory(prefix="drdeploy-bench-") as folder:
        links = make_links(Path(folder), count)
        upload(s3, links[: min(count, 500)])  # the first objects also load code
        before_mb = watched.service_mb()
        rest = links[min(count, 500) :]
        started = time.monotonic()
        upload(s3, rest)
        upload_s = time.monotonic() - started
        size = sum(link.stat().st_size for link in rest)
    added_kb = (watched.service_mb() - before_mb) / max(1, len(rest)) * 1e3
    page.text(
        f"{count} photographs, of {size / max(1, len(rest)) / 1e3:.1f} kB on average, were "
        f"uploaded in {upload_s:.0f} s.  After the upload, the service's memory had grown by "
        f"{added_kb:.2f} kB for each photograph."
    )
    samples = run_job(watched, s3, sagemaker, count, options)
    page.text(f"An answer has {measure_answers_kb(s3, count):.1f} kB on average.")
    check_and_draw(page, samples, count)


def make_links(folder: Path, count: int) -> list[Path]:
    """Make small copies of the example photographs, and return ``count`` hard links to them."""
    small = []
    for number, content in enumerate(small_photographs()):
        path = folder / f"original-{number}"
        path.write_bytes(content)
        small.append(path)
    links = []
    for number in range(count):
        link = folder / f"{number:06d}.jpg"
        os.link(small[number % len(small)], link)
        links.append(link)
    return links


def upload(s3: Any, links: list[Path]) -> None:
    """Upload the photographs, several at the same time."""

    def put(link: Path) -> None:
        s3.put_object(Bucket=BUCKET, Key=f"in/{link.name}", Body=link.read_bytes())

    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
        for _ in pool.map(put, links):
            pass


def run_job(
    watched: Watched, s3: Any, sagemaker: Any, count: int, options: Options
) -> list[Sample]:
    """Run the job, and return samples of the memory that were taken while the instance worked."""
    container = {"Image": "drdeploy:lean", "ModelDataUrl": f"s3://{BUCKET}/model.tar.gz"}
    sagemaker.create_model(ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/in/"}
    sagemaker.create_transform_job(
        TransformJobName="large",
        ModelName="m",
        MaxConcurrentTransforms=options.more.concurrency,
        TransformInput={
            "DataSource": {"S3DataSource": source},
            "ContentType": "application/x-image",
        },
        TransformOutput={"S3OutputPath": f"s3://{BUCKET}/out", "Accept": "application/json"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    samples: list[Sample] = []
    pause_s, started = 0.05, time.monotonic()
    while True:
        described = sagemaker.describe_transform_job(TransformJobName="large")
        if described["TransformJobStatus"] not in {"InProgress", "Stopping"}:
            break
        if "TransformStartTime" in described:
            done = count_answers(s3, count)
            if done:  # the container has loaded its model
                at_s = time.monotonic() - started
                instance_mb = watched.instance_mb()
                if done < count:  # afterwards the instance is removed
                    samples.append(Sample(at_s, done, watched.service_mb(), instance_mb))
            # The plot shows about this many samples, however fast the machine is.
            if len(samples) > 1 and samples[-1].done > samples[0].done:
                per_s = (samples[-1].done - samples[0].done) / (samples[-1].at_s - samples[0].at_s)
                pause_s = max(pause_s, count / per_s / SAMPLES)
        time.sleep(pause_s)
    if described["TransformJobStatus"] != "Completed":
        raise SystemExit(f"The job is {described['TransformJobStatus']}: {described}")
    if count_answers(s3, count) != count:
        raise SystemExit("The job is Completed, but answers are missing")
    return samples


def count_answers(s3: Any, count: int) -> int:
    """Return how many photographs have an answer already.

    The photographs are graded in the order of their keys, so a binary search finds the first one
    without an answer.
    """
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        try:
            s3.head_object(Bucket=BUCKET, Key=f"out/{middle:06d}.jpg.out")
            low = middle + 1
        except ClientError:
            high = middle
    return low


def measure_answers_kb(s3: Any, count: int) -> float:
    """Return the mean size of about 50 of the answers, in kB."""
    few = range(0, count, max(1, count // 50))
    sizes = [
        s3.head_object(Bucket=BUCKET, Key=f"out/{number:06d}.jpg.out")["ContentLength"]
        for number in few
    ]
    return float(sum(sizes) / len(sizes) / 1e3)


def check_and_draw(page: Page, samples: list[Sample], count: int) -> None:
    """Check that memory did not grow too much, and add the rows and the plot to the page."""
    if not samples:
        raise SystemExit("The job ended before the memory could be sampled")
    settled = next((one for one in samples if one.done >= SETTLED * count), samples[-1])
    last = samples[-1]
    taken_s = last.at_s - samples[0].at_s
    page.text(
        f"The job graded {count} photographs, {(last.done - samples[0].done) / taken_s:.0f} a "
        f"second."
        if taken_s
        else f"The job graded {count} photographs."
    )
    page.table(
        ("photographs", "service", "instance"),
        [
            (one.done, f"{one.service_mb:.1f} MB", f"{one.instance_mb:.1f} MB")
            for one in (samples[0], settled, last)
        ],
    )
    grown_mb = last.service_mb - settled.service_mb
    grown_kb = grown_mb / max(1, last.done - settled.done) * 1e3
    page.targets += [
        Target(
            f"the instance's memory at the end within {GROWTH:.0%} of that after "
            f"{SETTLED:.0%} of the photographs",
            abs(last.instance_mb / settled.instance_mb - 1) <= GROWTH,
            f"{settled.instance_mb:.1f} MB, then {last.instance_mb:.1f} MB",
        ),
        Target(
            "memory of the service: at the end within the same share",
            abs(last.service_mb / settled.service_mb - 1) <= GROWTH,
            f"{settled.service_mb:.1f} MB, then {last.service_mb:.1f} MB. It grew by "
            f"{grown_kb:.2f} kB for each photograph in between",
        ),
    ]
    page.rows += [
        {
            "at_s": rounded(one.at_s),
            "photographs": one.done,
            "service_mb": rounded(one.service_mb),
            "instance_mb": rounded(one.instance_mb),
        }
        for one in samples
    ]
    at_s = [one.at_s for one in samples]
    page.line_plot(
        "memory", "Resident memory during the job", ("s", "MB"),
        [
            ("service", at_s, [one.service_mb for one in samples]),
            ("instance", at_s, [one.instance_mb for one in samples]),
        ],
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
