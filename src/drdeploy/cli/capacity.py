"""``drdeploy capacity``: find the highest rate of requests that an endpoint answers in time."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer

from drdeploy.cli.console import Column, Table, err, print_json, print_line, print_note
from drdeploy.cli.options import (
    EndpointUrlOption,
    IsolationOption,
    JsonOption,
    RegionOption,
    SeedOption,
    check_option_is_finite,
)
from drdeploy.errors import InvalidInput, format_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drdeploy.hosting.local.options import IsolationChoice
    from drdeploy.hosting.sagemaker import Hosting, Invocation
    from drdeploy.study.measurements.capacity import CapacityResult
    from drdeploy.study.running.capacity import CapacitySearch, WeightedPhotographs
    from drdeploy.study.running.photographs import Photograph

IMAGE_ENDPOINT = "capacity"
LOCAL_IDLE_S = 600.0


def capacity(
    endpoint: Annotated[
        str,
        typer.Argument(
            metavar="ENDPOINT|IMAGE",
            help="The name of an endpoint, or the tag of a container image. A local service "
            "hosts the image during the measurement.",
        ),
    ],
    *,
    p95_s: Annotated[
        float,
        typer.Option(
            "--p95",
            min=0.001,
            callback=check_option_is_finite,
            help="Seconds within which 95 of 100 requests must be answered.",
        ),
    ],
    payload: Annotated[
        list[str] | None,
        typer.Option(
            help="FOLDER=WEIGHT: a folder of photographs, and how often they are sent: twice as "
            "often with weight 2 as with weight 1. Repeat the option, for example for small and "
            "for large photographs; by default, the example photographs are sent."
        ),
    ] = None,
    requests: Annotated[int, typer.Option(min=60, help="Number of requests of one run.")] = 400,
    runs: Annotated[
        int,
        typer.Option(min=2, help="Number of runs at each rate near the highest rate that works."),
    ] = 3,
    precision_percent: Annotated[
        float,
        typer.Option(
            min=1.0,
            max=100.0,
            help="Stop when the lowest rate that fails is at most this percentage above the "
            "highest rate that works.",
        ),
    ] = 10.0,
    minutes: Annotated[
        float,
        typer.Option(
            min=0.01, help="Stop after this many minutes, and report what is known by then."
        ),
    ] = 15.0,
    artifact: Annotated[
        Path | None,
        typer.Option(
            "--artifact",
            "-a",
            exists=True,
            dir_okay=False,
            help="With an image: a model.tar.gz; the packaged grader by default.",
        ),
    ] = None,
    instance_type: Annotated[
        str | None,
        typer.Option(help="With an image: the instance type; by default, ml.m5.large."),
    ] = None,
    memory_mb: Annotated[
        int | None,
        typer.Option(help="With an image: the memory of a serverless endpoint, in MB."),
    ] = None,
    max_concurrency: Annotated[
        int, typer.Option(min=1, help="With --memory-mb: the largest number of containers.")
    ] = 1,
    isolation: IsolationOption = "auto",
    endpoint_url: EndpointUrlOption = None,
    region: RegionOption = None,
    seed: SeedOption = 2023,
    out: Annotated[
        Path | None,
        typer.Option(help="Also write the result to this file (JSON).", dir_okay=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find the highest rate of requests that is answered in time.

    "In time" means that 95 % of the requests are answered within the seconds of --p95. The requests
    are sent at random times, and do not wait until earlier requests are answered. If a request is
    sent late, its latency still counts from the time at which it was planned. If you pass the
    result to `drdeploy recommend --capacity`, the result replaces --requests-at-once. On AWS, the
    requests cost money.
    """
    from drdeploy.study.running.capacity import CapacitySearch

    is_image = ":" in endpoint or "/" in endpoint
    hosting = _ImageHosting(artifact, instance_type, memory_mb, max_concurrency, isolation)
    hosting.refuse_unused_options(endpoint, is_image=is_image, endpoint_url=endpoint_url)
    payloads = _read_request_bodies(payload or [])
    search = CapacitySearch(
        p95_s=p95_s,
        requests=requests,
        runs=runs,
        precision=precision_percent / 100,
        time_limit_s=minutes * 60,
        seed=seed,
    )
    if is_image:
        with hosting.host_image_on_local_service(endpoint, region) as hosted:
            result = _measure_capacity(hosted, endpoint, payloads, search)
    else:
        hosted = _MeasuredEndpoint.connect_to_endpoint(endpoint, endpoint_url, region)
        result = _measure_capacity(hosted, endpoint, payloads, search)
    if out:
        result.write(out)
        print_line(f"The result is at {out}", to=err)
    if as_json:
        print_json(result.model_dump(mode="json"))
    else:
        _print_result(result)


@dataclass(frozen=True)
class _ImageHosting:
    """The options that say how the local service hosts an image."""

    artifact: Path | None
    instance_type: str | None
    memory_mb: int | None
    max_concurrency: int
    isolation: IsolationChoice

    def refuse_unused_options(
        self, endpoint: str, *, is_image: bool, endpoint_url: str | None
    ) -> None:
        named = {
            "--artifact": self.artifact,
            "--instance-type": self.instance_type,
            "--memory-mb": self.memory_mb,
            "--max-concurrency": self.max_concurrency if self.max_concurrency > 1 else None,
            "--isolation": None if self.isolation == "auto" else self.isolation,
        }
        given = [option for option, value in named.items() if value is not None]
        if not is_image and given:
            raise InvalidInput(
                f"{', '.join(given)} would have no effect on {endpoint!r}, which is an endpoint: "
                "only an image is hosted for the measurement",
                remedy=f"Omit {', '.join(given)}, or name an image by its tag, for example "
                "drdeploy:lean",
            )
        if is_image and endpoint_url:
            raise InvalidInput(
                "To measure an image, the command starts a local service of its own",
                where="--endpoint-url",
                remedy="Omit --endpoint-url, or name an endpoint of the service at that address",
            )
        if self.instance_type and self.memory_mb is not None:
            raise InvalidInput(
                "An endpoint either has instances or is serverless",
                where="--memory-mb",
                remedy="Omit --memory-mb or --instance-type",
            )
        if self.max_concurrency > 1 and self.memory_mb is None:
            raise InvalidInput(
                "Only a serverless endpoint limits the number of containers",
                where="--max-concurrency",
                remedy="Give --memory-mb, or omit --max-concurrency",
            )

    @contextmanager
    def host_image_on_local_service(
        self, image: str, region: str | None
    ) -> Iterator[_MeasuredEndpoint]:
        from pydantic import ValidationError

        from drdeploy.grader.box import box_artifact
        from drdeploy.hosting.sagemaker import EndpointDefinition, RealTimeConfig, ServerlessConfig
        from drdeploy.study.running.target import LOCAL_BUCKET, start_and_stop_local_service

        try:
            config: RealTimeConfig | ServerlessConfig = (
                ServerlessConfig(memory_mb=self.memory_mb, max_concurrency=self.max_concurrency)
                if self.memory_mb is not None
                else RealTimeConfig(instance_type=self.instance_type or "ml.m5.large")
            )
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise InvalidInput(
                f"The image cannot be hosted: {reason}",
                where="--instance-type"
                if self.memory_mb is None
                else "--memory-mb, --max-concurrency",
            ) from error
        with (
            tempfile.TemporaryDirectory(prefix="drdeploy-capacity-") as folder,
            start_and_stop_local_service(
                idle_s=LOCAL_IDLE_S,
                isolation=self.isolation,
                log=Path(folder) / "service.log",
                note=lambda text: print_line(text, to=err),
                region=region,
            ) as target,
        ):
            archive = self.artifact or box_artifact()
            uri = target.hosting.upload_artifact(archive, bucket=LOCAL_BUCKET)
            definition = EndpointDefinition(IMAGE_ENDPOINT, image, uri, config)
            with target.hosting.deployed(definition, timeout_s=target.hosting_timeout_s):
                yield _MeasuredEndpoint.connect_to_endpoint(
                    IMAGE_ENDPOINT, target.endpoint_url, region
                )


def _read_request_bodies(options: Sequence[str]) -> list[WeightedPhotographs]:
    from drdeploy.hosting.sagemaker.api_limits import SERVERLESS_PAYLOAD_BYTES
    from drdeploy.study.running.capacity import WeightedPhotographs
    from drdeploy.study.running.photographs import read_or_paint_photographs

    def read_photographs_of_folder(folder: Path | None, weight: float) -> WeightedPhotographs:
        with tempfile.TemporaryDirectory() as cache:
            found = read_or_paint_photographs(
                folder, limit_bytes=SERVERLESS_PAYLOAD_BYTES, seed=0, cache=Path(cache)
            )
        for one in found.left_out:
            print_note(f"not sent: {one}")
        return WeightedPhotographs(found.source, weight, found.photographs)

    if not options:
        return [read_photographs_of_folder(None, 1.0)]
    payloads = []
    for option in options:
        folder, separator, text = option.rpartition("=")
        try:
            weight = float(text) if separator else 0.0
        except ValueError:
            weight = 0.0
        if not 0 < weight < float("inf"):
            raise InvalidInput(
                f"{option!r} is not FOLDER=WEIGHT with a weight above 0",
                where="--payload",
                remedy="Give for example --payload small=9 --payload large=1",
            )
        payloads.append(read_photographs_of_folder(Path(folder), weight))
    return payloads


def _measure_capacity(
    hosted: _MeasuredEndpoint,
    shown: str,
    payloads: Sequence[WeightedPhotographs],
    search: CapacitySearch,
) -> CapacityResult:
    from drdeploy.hosting.sagemaker import Clock
    from drdeploy.study.measurements.capacity import CapacityPayload, CapacityResult
    from drdeploy.study.running.capacity import CapacityFinder, EndpointProbe

    hosting_text, instances = hosted.find_size_and_instance_count()
    clock = Clock()
    probe = EndpointProbe(search, hosted.send_photograph, payloads, clock)
    found = CapacityFinder(
        search, probe, clock, lambda text: print_line(text, to=err)
    ).find_highest_rate()
    total = sum(one.weight for one in payloads)
    per_instance = found.requests_at_once / instances if instances else None
    return CapacityResult(
        endpoint=shown,
        platform="local" if hosted.hosting.is_local else "aws",
        hosting=hosting_text,
        instances=instances,
        p95_s=search.p95_s,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        rate_per_s=found.rate_per_s,
        low_per_s=found.low_per_s,
        high_per_s=found.high_per_s,
        requests_at_once=None if per_instance is None else max(1, round(per_instance)),
        payloads=tuple(
            CapacityPayload(
                name=one.name,
                share=one.weight / total,
                photographs=len(one.photographs),
                mean_bytes=sum(len(p.data) for p in one.photographs) / len(one.photographs),
            )
            for one in payloads
        ),
        steps=found.steps,
        runs=found.runs,
        stopped=found.stopped,
        notes=found.notes,
    )


@dataclass(frozen=True)
class _MeasuredEndpoint:
    """The endpoint that is measured, and the connection to it."""

    name: str
    hosting: Hosting
    endpoint_url: str | None
    region: str | None

    @classmethod
    def connect_to_endpoint(cls, name: str, endpoint_url: str | None, region: str | None) -> Self:
        from drdeploy.hosting.sagemaker import Hosting
        from drdeploy.study.design.scenarios import MAX_IN_FLIGHT

        hosting = Hosting.connect(endpoint_url, region=region, max_connections=MAX_IN_FLIGHT)
        return cls(name, hosting, endpoint_url, region)

    def send_photograph(self, photograph: Photograph) -> Invocation:
        """Send one photograph."""
        return self.hosting.invoke(self.name, photograph.data, content_type=photograph.content_type)

    def find_size_and_instance_count(self) -> tuple[str, int]:
        """Return the instance type or the memory, and the number of instances.

        The number of instances is 0 for a serverless endpoint.
        """
        from drdeploy.hosting.sagemaker import make_hosting_clients, translate_aws_errors

        sagemaker = make_hosting_clients(self.endpoint_url, region=self.region).sagemaker
        with translate_aws_errors("describe the endpoint", self.name):
            endpoint = sagemaker.describe_endpoint(EndpointName=self.name)
            config = sagemaker.describe_endpoint_config(
                EndpointConfigName=endpoint["EndpointConfigName"]
            )
        if config.get("AsyncInferenceConfig"):
            raise InvalidInput(
                "An asynchronous endpoint cannot be measured, because it answers requests later",
                where=self.name,
                remedy="Measure the same image on a real-time endpoint",
            )
        types = {
            one.get("InstanceType")
            or f"{one['ServerlessConfig']['MemorySizeInMB']} MB x "
            f"{one['ServerlessConfig']['MaxConcurrency']}"
            for one in config["ProductionVariants"]
        }
        counts = (one.get("CurrentInstanceCount", 0) for one in endpoint["ProductionVariants"])
        return ", ".join(sorted(types)), sum(counts)


def _print_result(result: CapacityResult) -> None:
    table = Table([*map(Column.of_numbers, ("requests a second", "late", "p95, s", "runs"))])
    for rate in sorted({one.rate_per_s for one in result.runs}):
        runs = [one for one in result.runs if one.rate_per_s == rate]
        late = sum(one.late for one in runs) / max(1, sum(one.requests for one in runs))
        known = [one.p95_s for one in runs if one.p95_s is not None]
        p95 = f"{max(known):.3g}" if len(known) == len(runs) else "-"
        table.add_row(f"{rate:.3g}", f"{late:.1%}", p95, str(len(runs)))
    if result.runs:
        table.print()
    print_line(_write_result_sentence(result))
    if result.requests_at_once is not None:
        print_line(
            "The highest throughput suggests that one instance works on "
            f"{format_count(result.requests_at_once, 'request')} at once."
        )
    print_line(f"{result.stopped}.")
    for note in result.notes:
        print_note(note)


def _write_result_sentence(result: CapacityResult) -> str:
    where = f"{result.endpoint} ({result.hosting})"
    if not result.runs:
        return f"No rate was tried on {where}."
    if result.rate_per_s is None:
        return f"{where} missed the p95 of {result.p95_s:g} s at every rate that was tried."
    low, high = "At no rate did every run meet this p95", "at no rate did every run miss it"
    if result.low_per_s is not None:
        low = f"At {result.low_per_s:.3g} requests a second, every run met this p95"
    if result.high_per_s is not None:
        high = f"at {result.high_per_s:.3g}, every run missed it"
    return (
        f"{where} carries {result.rate_per_s:.3g} requests a second at a p95 of "
        f"{result.p95_s:g} s. {low}, and {high}."
    )
