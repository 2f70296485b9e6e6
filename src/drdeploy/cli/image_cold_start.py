"""``drdeploy image cold-start``: time each stage of an image's cold start."""

from __future__ import annotations

import csv
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer

from drdeploy.cli.console import Column, Table, err, print_json, print_line
from drdeploy.cli.container_engine import find_container_engine_and_print_name
from drdeploy.cli.options import CsvOption, JsonOption, PlotOption, check_option_is_finite
from drdeploy.errors import InvalidInput
from drdeploy.files import escape_formula_in_csv_cell, write_file_atomically
from drdeploy.units import MILLISECONDS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from drdeploy.grader.artifacts import ModelFormat
    from drdeploy.hosting.container_engine import ContainerEngine
    from drdeploy.hosting.images.cold_start import ColdStart, ColdStartStage
    from drdeploy.hosting.images.import_times import ImportTime

MEGABIT_BYTES = 125_000
LISTED_IMPORTS = 8


@dataclass(frozen=True)
class _ColdStartRow:
    image: str
    starts: tuple[ColdStart, ...]
    imports: tuple[ImportTime, ...]
    compressed_bytes: int
    pull_s: float

    @property
    def median_total_s(self) -> float:
        return median(start.total_s for start in self.starts)

    @property
    def median_stages_s(self) -> Mapping[ColdStartStage, float]:
        from drdeploy.hosting.images.cold_start import STAGES

        return {stage: median(one.stages_s[stage] for one in self.starts) for stage in STAGES}


def cold_start(  # noqa: PLR0917 - typer passes by name
    images: Annotated[list[str], typer.Argument(help="Tags of drdeploy container images.")],
    artifacts: Annotated[
        list[Path] | None,
        typer.Option(
            "--artifact",
            "-a",
            dir_okay=False,
            help=(
                "A model.tar.gz; by default, the packaged grader in int8, which `lean` and "
                "`minimal` load. Repeat the option if the images load models of different formats."
            ),
        ),
    ] = None,
    memory_mb: Annotated[
        int,
        typer.Option(
            min=128,
            help="Memory of the container in MB, which determines its CPU as on AWS Lambda.",
        ),
    ] = 1024,
    n: Annotated[int, typer.Option("-n", min=1, help="Number of cold starts of each image.")] = 10,
    bandwidth_mbit_s: Annotated[
        float,
        typer.Option(
            min=0.0,
            callback=check_option_is_finite,
            help="Add the time to pull the image at this bandwidth, in Mbit/s; 0 adds nothing.",
        ),
    ] = 0.0,
    csv_path: CsvOption = None,
    plot: PlotOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how long each stage of an image's cold start takes.

    If you name several images, they take turns: each is started once, then each again, and so on.
    The table shows medians; --csv writes the times of every cold start to a file.
    """
    from drdeploy.grader.artifacts import extract_archive
    from drdeploy.grader.box import box_artifact

    if len(set(images)) < len(images):
        raise InvalidInput(
            "A container image is named twice",
            where=" ".join(images),
            remedy="Name each image once; for more cold starts, use -n",
        )
    engine = find_container_engine_and_print_name()
    with tempfile.TemporaryDirectory() as folder:
        models: dict[ModelFormat, Path] = {}
        for number, archive in enumerate(artifacts or [box_artifact("int8")]):
            into = Path(folder) / str(number)
            model_format = extract_archive(archive, into).manifest.model_format
            if model_format in models:
                raise InvalidInput(
                    f"Two artifacts have the format {model_format}, but each image loads only one",
                    where=str(archive),
                    remedy="Give one artifact of each format, and run the command once for each "
                    "model",
                )
            models[model_format] = into
            into.chmod(0o755)  # the container runs as another user
        Path(folder).chmod(0o755)
        rows = _measure_cold_starts_of_images(
            engine, images, models, memory_mb=memory_mb, n=n, bandwidth_mbit_s=bandwidth_mbit_s
        )
    if csv_path:
        _write_cold_starts_as_csv(rows, csv_path, memory_mb)
    if plot:
        from drdeploy.hosting.images.cold_start_figure import draw_cold_start_stages

        stages = {row.image: row.median_stages_s for row in rows}
        picture = draw_cold_start_stages(stages, {row.image: row.pull_s for row in rows})
        write_file_atomically(plot, picture.svg)
    if as_json:
        print_json(
            [
                {
                    "image": row.image,
                    "n": len(row.starts),
                    "total_s": row.median_total_s,
                    "stages_s": dict(row.median_stages_s),
                    "compressed_bytes": row.compressed_bytes,
                    "pull_s": row.pull_s,
                    "imports": [asdict(one) for one in row.imports],
                }
                for row in rows
            ]
        )
    else:
        _print_cold_starts(rows)


def _choose_model_folder_for_image(
    engine: ContainerEngine, image: str, models: Mapping[ModelFormat, Path]
) -> Path:
    variables = engine.image_config(image)["Config"].get("Env") or []
    is_classic = "DRDEPLOY_PROFILE=classic" in variables
    wanted: ModelFormat = "saved_model" if is_classic else "onnx"
    if wanted not in models:
        raise InvalidInput(
            f"The image {image} loads models in the format {wanted}, but none of the given "
            "artifacts has this format",
            where="--artifact",
            remedy=(
                "Give an artifact in the format of the image; `drdeploy model export mobilenet` "
                "writes an artifact in each format"
            ),
        )
    return models[wanted]


def _measure_cold_starts_of_images(
    engine: ContainerEngine,
    images: Sequence[str],
    models: Mapping[ModelFormat, Path],
    *,
    memory_mb: int,
    n: int,
    bandwidth_mbit_s: float,
) -> list[_ColdStartRow]:
    from drdeploy.grader.synthetic.photograph import paint_synthetic_photograph
    from drdeploy.hosting.images import measure_image_size
    from drdeploy.hosting.images.cold_start import measure_cold_start_stages
    from drdeploy.hosting.images.import_times import measure_import_times
    from drdeploy.hosting.sagemaker.api_limits import estimate_vcpu_from_memory

    photograph = paint_synthetic_photograph(1, width_px=224, height_px=224)
    folders = {image: _choose_model_folder_for_image(engine, image, models) for image in images}
    unused = [name for name, folder in models.items() if folder not in folders.values()]
    if unused:
        raise InvalidInput(
            f"None of the images loads models in the format {unused[0]}",
            where="--artifact",
            remedy="Omit the artifact of this format, or name an image that loads it",
        )
    cpus = estimate_vcpu_from_memory(memory_mb)
    starts: dict[str, list[ColdStart]] = {image: [] for image in images}
    for turn in range(n):
        for image in images:
            with err.status(f"cold start {turn + 1} of {n}: {image}"):
                starts[image].append(
                    measure_cold_start_stages(
                        engine, image, folders[image], photograph, memory_mb=memory_mb, cpus=cpus
                    )
                )
    rows = []
    for image in images:
        with err.status(f"imports and layers of {image}"):
            imports = measure_import_times(
                engine, image, folders[image], memory_mb=memory_mb, cpus=cpus
            )
            size = measure_image_size(engine, image).compressed_bytes
        pull_s = size / (bandwidth_mbit_s * MEGABIT_BYTES) if bandwidth_mbit_s else 0.0
        rows.append(_ColdStartRow(image, tuple(starts[image]), imports, size, pull_s))
    return rows


def _write_cold_starts_as_csv(rows: Sequence[_ColdStartRow], path: Path, memory_mb: int) -> None:
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
                writer.writerow(
                    [escape_formula_in_csv_cell(row.image), memory_mb, sequence, *shown]
                )


def _print_cold_starts(rows: Sequence[_ColdStartRow]) -> None:
    from drdeploy.hosting.images.cold_start import MEANING, STAGES

    def add_row_in_milliseconds(name: str, times_s: Iterable[float]) -> None:
        table.add_row(name, *(f"{one_s * MILLISECONDS_PER_S:.0f}" for one_s in times_s))

    table = Table(
        [Column("ms, median", shorten="end"), *(Column.of_numbers(row.image) for row in rows)]
    )
    for stage in STAGES:
        add_row_in_milliseconds(MEANING[stage], [row.median_stages_s[stage] for row in rows])
    table.add_separator_line()
    add_row_in_milliseconds("all, from request to answer", [row.median_total_s for row in rows])
    if any(row.pull_s for row in rows):
        add_row_in_milliseconds("pull of the image, computed", [row.pull_s for row in rows])
    table.print()
    print_line("Each line is the median of its stage, so the lines do not add up exactly.")
    for row in rows:
        imports = ", ".join(
            f"{one.package} {one.self_s * MILLISECONDS_PER_S:.0f} ({one.modules})"
            for one in row.imports[:LISTED_IMPORTS]
        )
        print_line(f"{row.image} imports, in ms (modules): {imports}")
