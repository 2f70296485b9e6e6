"""Measure cold starts of container images, from the request for a container to its first answer.

Run ``python benchmarks/cold_start.py``. It needs a running container engine. The benchmark first
builds the images (``drdeploy image build ladder``), which takes a quarter of an hour the first
time. The ladder is a series of five images, from ``baseline``, which is built like the first image
of the 2023 study, to ``minimal``, the smallest image. The model is MobileNet. The CPU is limited as
on serverless endpoints with 1024, 2048 and 3072 MB. The first three images load the model as a
SavedModel, and the other two load it as ONNX in int8. The benchmark also times an empty container,
which runs a program that does nothing. No image can start faster than this container. The targets
are:

- At 1024 MB, ``minimal`` starts at least 25 times faster than ``baseline``.
- At 1024 MB, a cold start of ``minimal`` takes at most 2.5 times as long as the start of the empty
  container.
"""

from __future__ import annotations

import sys
from statistics import median
from typing import TYPE_CHECKING

from drdeploy.grader.synthetic.photograph import paint_synthetic_photograph
from drdeploy.hosting.container_engine import ContainerEngine
from drdeploy.hosting.images import IMAGE_NAMES, ImageName, build_image, make_image_tag
from drdeploy.hosting.images.cold_start import (
    STAGES,
    measure_cold_start_stages,
    measure_empty_container_start_s,
)
from drdeploy.hosting.sagemaker.api_limits import estimate_vcpu_from_memory
from harness.models import forms_of
from harness.options import Options, parser_for, read_options
from harness.page import Page, at_least, at_most, rounded
from harness.rounds import interleaved, ratio, written

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from drdeploy.hosting.images.cold_start import ColdStart, ColdStartStage

MEMORY_MB = (1024, 2048, 3072)
TARGET_MB = 1024
STUDY_IMAGES = ("baseline", "two-step", "reduced")
EMPTY = "empty"
EMPTY_IMAGE = "debian:bookworm-slim"
AT_LEAST, WITHIN = 25.0, 2.5

INTRODUCTION = """
The client sends a photograph of 224 x 224 pixels as JPEG as soon as the port accepts connections.
All container images are already on the machine, and in its file cache.  The empty container is
Debian's container image, which runs `/bin/true`.
"""


def main() -> int:
    """Run the benchmark, write its page of results, and print which targets are met."""
    parser = parser_for(__doc__)
    parser.add_argument("--only", nargs="+", choices=IMAGE_NAMES, help="these images")
    options = read_options(parser)
    names = options.more.only or IMAGE_NAMES
    page = Page("cold_start", "Cold start", INTRODUCTION, options)
    engine = ContainerEngine.find()
    if engine is None:
        print("no container engine answers, so no cold start of a container can be measured")
        return 0
    for name in names:  # even if an image exists, because it may be from another checkout
        build_image(engine, name)
    for memory_mb in (TARGET_MB,) if options.is_smoke else MEMORY_MB:
        compare(page, engine, names, memory_mb, options)
    return page.finish()


def compare(
    page: Page,
    engine: ContainerEngine,
    names: tuple[ImageName, ...],
    memory_mb: int,
    options: Options,
) -> None:
    """Time the cold starts of all images at one memory size, in several rounds."""
    forms = forms_of("mobilenet")
    photograph = paint_synthetic_photograph(1, width_px=224, height_px=224)
    cpus = estimate_vcpu_from_memory(memory_mb)
    starts: dict[str, list[ColdStart]] = {name: [] for name in names}

    def started(name: str, folder: Path) -> Callable[[], float]:
        def measure() -> float:
            found = measure_cold_start_stages(
                engine, make_image_tag(name), folder, photograph, memory_mb=memory_mb, cpus=cpus
            )
            starts[name].append(found)
            return found.total_s

        return measure

    measured = {
        name: started(name, forms.saved_model if name in STUDY_IMAGES else forms.int8)
        for name in names
    }
    measured[EMPTY] = lambda: measure_empty_container_start_s(
        engine, EMPTY_IMAGE, memory_mb=memory_mb, cpus=cpus
    )
    rounds = options.budget.rounds
    values = interleaved(measured, rounds)
    page.text(f"## {memory_mb} MB ({cpus:.2f} CPU)")
    against = names[0]
    page.table(
        ["image", "cold start, s", f"times faster than {against}", "times an empty container"],
        [
            [
                name,
                f"{median(taken):.3f}",
                written(ratio(values[against], taken)),
                written(ratio(taken, values[EMPTY])),
            ]
            for name, taken in values.items()
        ],
    )
    page.table(
        ["image", *(f"{stage.replace('_', ' ')}, ms" for stage in STAGES)],
        [
            [name, *(f"{1e3 * median_of(found, stage):.0f}" for stage in STAGES)]
            for name, found in starts.items()
        ],
    )  # fmt: skip
    page.rows += [
        {
            "memory_mb": memory_mb, "image": name, "round": at, "total_s": rounded(taken),
            **({f"{stage}_s": rounded(starts[name][at].stages_s[stage]) for stage in STAGES}
               if name in starts else {}),
        }
        for name, all_taken in values.items() for at, taken in enumerate(all_taken)
    ]  # fmt: skip
    if memory_mb == TARGET_MB:
        check_targets(page, values)


def median_of(starts: list[ColdStart], stage: ColdStartStage) -> float:
    """Return the median time of one stage of a cold start, in seconds."""
    return median(one.stages_s[stage] for one in starts)


def check_targets(page: Page, values: dict[str, list[float]]) -> None:
    """Compare the times at 1024 MB with the two targets of this benchmark."""
    if "minimal" not in values:
        return
    if "baseline" in values:
        faster = ratio(values["baseline"], values["minimal"])
        claim = f"minimal at least {AT_LEAST:g} times faster than baseline at {TARGET_MB} MB"
        page.targets.append(at_least(claim, faster, AT_LEAST, written(faster, "times")))
    against = ratio(values["minimal"], values[EMPTY])
    claim = f"minimal within {WITHIN:g} times an empty container at {TARGET_MB} MB"
    page.targets.append(at_most(claim, against, WITHIN, written(against, "times")))


if __name__ == "__main__":
    sys.exit(main())
