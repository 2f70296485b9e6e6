"""``drdeploy image cold-start``: how long images start cold, stage by stage."""

from __future__ import annotations

import csv
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer

from drdeploy.cli.console import Column, Table, err, print_json, print_line
from drdeploy.cli.options import CsvOption, JsonOption, PlotOption
from drdeploy.errors import InvalidInput
from drdeploy.files import safe_cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from drdeploy.grader.artifacts import ModelFormat
    from drdeploy.hosting.engine import Engine
    from drdeploy.hosting.images.cold_start import ColdStart, Stage
    from drdeploy.hosting.images.imports import ImportTime

MEGABIT_BYTES = 125_000
LISTED_IMPORTS = 8


@dataclass(frozen=True)
class _Row:
    image: str
    starts: tuple[ColdStart, ...]
    imports: tuple[ImportTime, ...]
    compressed_bytes: int
    pull_s: float

    @property
    def total_s(self) -> float:
        return median(start.total_s for start in self.starts)

    @property
    def stages_s(self) -> Mapping[Stage, float]:
        from drdeploy.hosting.images.cold_start import STAGES

        return {stage: median(one.stages_s[stage] for one in self.starts) for stage in STAGES}


def cold_start(  # noqa: PLR0917 - typer passes by name
    images: Annotated[list[str], typer.Argument(help="Tags of images of this project.")],
    artifacts: Annotated[
        list[Path] | None,
        typer.Option(
            "--artifact",
            "-a",
            help="A model.tar.gz. Repeat it for images that load another format. By default, the "
            "grader in the box, which `lean` and `minimal` load.",
        ),
    ] = None,
    memory_mb: Annotated[
        int, typer.Option(min=128, help="Memory in MB. The CPU follows from it, as on AWS Lambda.")
    ] = 1024,
    n: Annotated[int, typer.Option("-n", min=1, help="Cold starts of each image.")] = 10,
    bandwidth_mbit_s: Annotated[
        float, typer.Option(min=0.0, help="Add the time of a pull at this bandwidth. 0: none.")
    ] = 0.0,
    csv_path: CsvOption = None,
    plot: PlotOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how long images start cold, stage by stage.

    The images take turns. The table has medians; --csv writes every start.
    """
    from drdeploy.grader.artifacts import extract
    from drdeploy.grader.box import box_artifact
    from drdeploy.hosting.engine import Engine

    engine = Engine.require()
    with tempfile.TemporaryDirectory() as folder:
        models: dict[ModelFormat, Path] = {}
        for number, archive in enumerate(artifacts or [box_artifact("int8")]):
            into = Path(folder) / str(number)
            models[extract(archive, into).manifest.model_format] = into
            into.chmod(0o755)  # the container's user is not the one who extracts
        Path(folder).chmod(0o755)
        rows = _measure(
            engine, images, models, memory_mb=memory_mb, n=n, bandwidth_mbit_s=bandwidth_mbit_s
        )
    if csv_path:
        _write(rows, csv_path, memory_mb)
    if plot:
        from drdeploy.hosting.images.cold_start_figure import draw_cold_starts

        plot.parent.mkdir(parents=True, exist_ok=True)
        stages = {row.image: row.stages_s for row in rows}
        picture = draw_cold_starts(stages, {row.image: row.pull_s for row in rows})
        plot.write_text(picture.svg, "utf-8")
    if as_json:
        print_json(
            [
                {
                    "image": row.image,
                    "n": len(row.starts),
                    "total_s": row.total_s,
                    "stages_s": dict(row.stages_s),
                    "compressed_bytes": row.compressed_bytes,
                    "pull_s": row.pull_s,
                    "imports": [asdict(one) for one in row.imports],
                }
                for row in rows
            ]
        )
    else:
        _print(rows)


def _model_for(engine: Engine, image: str, models: Mapping[ModelFormat, Path]) -> Path:
    variables = engine.image_config(image)["Config"].get("Env") or []
    is_classic = "DRDEPLOY_PROFILE=classic" in variables
    wanted: ModelFormat = "saved_model" if is_classic else "onnx"
    if wanted not in models:
        raise InvalidInput(
            f"The image {image} loads {wanted}, and no such artifact was given",
            where="--artifact",
            remedy="`drdeploy model export mobilenet` makes both formats",
        )
    return models[wanted]


def _measure(
    engine: Engine,
    images: Sequence[str],
    models: Mapping[ModelFormat, Path],
    *,
    memory_mb: int,
    n: int,
    bandwidth_mbit_s: float,
) -> list[_Row]:
    from drdeploy.grader.synthetic.photograph import synthetic_photograph
    from drdeploy.hosting.images import measure_size
    from drdeploy.hosting.images.cold_start import measure_cold_start
    from drdeploy.hosting.images.imports import measure_imports
    from drdeploy.hosting.sagemaker.quotas import vcpu_of_memory

    photograph = synthetic_photograph(1, width_px=224, height_px=224)
    folders = {image: _model_for(engine, image, models) for image in images}
    cpus = vcpu_of_memory(memory_mb)
    starts: dict[str, list[ColdStart]] = {image: [] for image in images}
    for turn in range(n):
        for image in images:
            with err.status(f"cold start {turn + 1} of {n}: {image}"):
                starts[image].append(
                    measure_cold_start(
                        engine, image, folders[image], photograph, memory_mb=memory_mb, cpus=cpus
                    )
                )
    rows = []
    for image in images:
        with err.status(f"imports and layers of {image}"):
            imports = measure_imports(engine, image, folders[image], memory_mb=memory_mb, cpus=cpus)
            size = measure_size(engine, image).compressed_bytes
        pull_s = size / (bandwidth_mbit_s * MEGABIT_BYTES) if bandwidth_mbit_s else 0.0
        rows.append(_Row(image, tuple(starts[image]), imports, size, pull_s))
    return rows


def _write(rows: Sequence[_Row], path: Path, memory_mb: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        stages = list(rows[0].starts[0].stages_s)
        names = [f"{stage}_s" for stage in stages]
        writer.writerow(["image", "memory_mb", "sequence", "total_s", *names, "pull_s"])
        for row in rows:
            for sequence, start in enumerate(row.starts):
                seconds = [start.total_s, *(start.stages_s[stage] for stage in stages), row.pull_s]
                shown = [f"{value:.6f}" for value in seconds]
                writer.writerow([safe_cell(row.image), memory_mb, sequence, *shown])


def _print(rows: Sequence[_Row]) -> None:
    from drdeploy.hosting.images.cold_start import MEANING, STAGES

    def milliseconds(name: str, times_s: Iterable[float]) -> None:
        table.add(name, *(f"{one_s * 1e3:.0f}" for one_s in times_s))

    table = Table(
        [Column("ms, median", shorten="end"), *(Column.number(row.image) for row in rows)]
    )
    for stage in STAGES:
        milliseconds(MEANING[stage], [row.stages_s[stage] for row in rows])
    table.add_line()
    milliseconds("all, from request to answer", [row.total_s for row in rows])
    if any(row.pull_s for row in rows):
        milliseconds("pull of the image, computed", [row.pull_s for row in rows])
    table.print()
    print_line("Each line is a median of its own, so they do not add up exactly.")
    for row in rows:
        imports = ", ".join(
            f"{one.package} {one.self_s * 1e3:.0f} ({one.modules})"
            for one in row.imports[:LISTED_IMPORTS]
        )
        print_line(f"{row.image} imports, in ms (modules): {imports}")
