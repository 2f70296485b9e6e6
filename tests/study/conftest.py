"""A seeded study of the same shape as ``studies/quick.toml``: 12 trials, warm-ups, failures."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from drdeploy.study.measurements.load import Measurements, load_results_folder
from drdeploy.study.measurements.measurement import Measurement, encode_header, encode_row
from drdeploy.study.published_study.verdicts import reproduce_published_study

START = datetime(2025, 3, 3, 9, 0, tzinfo=UTC)
VCPU_PER_MB = 1 / 1769
WARM, COLD = 12, 10
SECONDS_OF_CPU = {  # prediction and set-up with one vCPU; how far more vCPU helps
    "mobilenet": {"prediction": 0.008, "setup": 0.45, "most_vcpu": 1.0},
    "vgg19": {"prediction": 0.150, "setup": 0.90, "most_vcpu": 2.0},
}
MACHINE = {"cpu_model": "Example CPU @ 2.5 GHz", "cpu_count": 2}


def quick_study(seed: int = 7) -> list[Measurement]:
    rng = np.random.default_rng(seed)
    rows = [
        row
        for model in SECONDS_OF_CPU
        for memory_mb in (1024, 2048, 3072)
        for scenario in ("warm", "cold")
        for row in _trial(rng, model, memory_mb, scenario)
    ]
    return _with_failures(rows)


def _trial(
    rng: np.random.Generator, model: str, memory_mb: int, scenario: str
) -> list[Measurement]:
    warm_up = [0] if scenario == "warm" else []
    counted = range(1, (WARM if scenario == "warm" else COLD) + 1)
    return [_row(rng, model, memory_mb, scenario, sequence) for sequence in (*warm_up, *counted)]


def _row(
    rng: np.random.Generator, model: str, memory_mb: int, scenario: str, sequence: int
) -> Measurement:
    needs = SECONDS_OF_CPU[model]
    vcpu = memory_mb * VCPU_PER_MB
    noise = float(rng.lognormal(0, 0.08) * (2 if rng.random() < 0.03 else 1))
    prediction_s = needs["prediction"] / min(vcpu, needs["most_vcpu"]) * noise
    is_cold = scenario == "cold"
    setup_s = needs["setup"] / min(vcpu, 1.1) * float(rng.lognormal(0, 0.06)) if is_cold else None
    decode_s, transform_s = 0.006 / min(vcpu, 1), 0.002 / min(vcpu, 1)
    container_s = prediction_s * (1.4 if is_cold else 1) + decode_s + transform_s + 0.0008
    sent = START + timedelta(seconds=sequence)
    return Measurement(
        study="quick",
        trial=f"{model}-fp32-lean-{memory_mb}mb-{scenario}",
        platform="local",
        isolation="process+cgroup-v1",
        model=model,
        architecture={"mobilenet": "MobileNet", "vgg19": "VGG19"}[model],
        weights="random",
        precision="fp32",
        profile="lean",
        image="drdeploy:lean",
        endpoint_kind="serverless",
        memory_mb=memory_mb,
        vcpu=round(vcpu, 4),
        scenario=scenario,
        sequence=sequence,
        is_warmup=sequence == 0,
        start=scenario,
        outcome="ok",
        status=200,
        scheduled_at=sent,
        started_at=sent,
        total_latency_s=container_s + (setup_s or 0) + float(rng.lognormal(np.log(0.003), 0.2)),
        container_latency_s=container_s,
        prediction_s=prediction_s * (1.4 if is_cold else 1),
        decode_s=decode_s,
        transform_s=transform_s,
        model_setup_s=setup_s,
        photograph="IDRiD_001.jpg",
        payload_bytes=309_683,
        label="Moderate NPDR",
        grade=2,
        model_digest=f"sha256-of-{model}",
        container_id=f"{model}-{memory_mb}-{sequence if is_cold else 0}",
        container_invocation=1 if is_cold else sequence + 1,
        run_id="run-1",
    )


def _with_failures(rows: list[Measurement]) -> list[Measurement]:
    throttled = replace(
        rows[3], outcome="throttled", status=429, error="Rate exceeded", sequence=90, label=""
    )
    too_warm = replace(rows[15], outcome="wrong_start", start="warm", sequence=91)
    return [*rows, throttled, too_warm]


def write_results(
    folder: Path, rows: list[Measurement], environment: dict[str, object] | None = None
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = b"".join(encode_row(row) for row in rows)
    (folder / "measurements.csv").write_bytes(encode_header() + lines)
    facts = {"run-1": {**MACHINE, "platform": "local", "drdeploy": "0.1.0"}}
    (folder / "environment.json").write_text(json.dumps(environment or facts))
    return folder


@pytest.fixture(scope="session")
def quick_rows() -> list[Measurement]:
    return quick_study()


@pytest.fixture(scope="session")
def quick_results(tmp_path_factory, quick_rows) -> Path:
    return write_results(tmp_path_factory.mktemp("results") / "quick", quick_rows)


@pytest.fixture(scope="session")
def quick(quick_results) -> Measurements:
    return load_results_folder(quick_results)


def as_instances(rows: list[Measurement]) -> list[Measurement]:
    """The warm trials of one size, once more on instances."""
    return [
        replace(
            row,
            trial=row.trial.replace("1024mb-warm", f"{family}.xlarge-real-time"),
            endpoint_kind="realtime",
            memory_mb=None,
            instance_type=f"ml.{family}.xlarge",
            vcpu=4.0,
            scenario="real-time",
        )
        for family in ("m5", "c7g")
        for row in rows
        if row.trial.endswith("1024mb-warm")
    ]


@pytest.fixture(scope="session")
def both_kinds(tmp_path_factory, quick_rows) -> Path:
    """Results of serverless and of real-time endpoints."""
    rows = [*quick_rows, *as_instances(quick_rows)]
    return write_results(tmp_path_factory.mktemp("results") / "both", rows)


@pytest.fixture
def results_of(tmp_path):
    """Writes rows as a results folder."""

    def write(rows: list[Measurement], environment: dict[str, object] | None = None) -> Path:
        return write_results(tmp_path / "results", rows, environment)

    return write


@pytest.fixture(scope="session")
def original():
    """The 2023 study, recomputed from the packaged rows."""
    return reproduce_published_study()
