"""Measure how long drdeploy, and the code of the 2023 study, take to grade a photograph.

Run ``python benchmarks/photograph_to_grade.py`` (two minutes). The benchmark grades the ten
photographs of 4288 x 2848 pixels in ``examples/photographs``. The compared ways of grading take
turns on each photograph. The ratios of their times are computed for each photograph separately.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from drdeploy.grader.artifacts import open_artifact
from drdeploy.grader.fundus.apply import apply_transform
from drdeploy.grader.fundus.decode import decode_image
from drdeploy.grader.fundus.photograph import DecodedPhotograph
from drdeploy.grader.grading.prediction import Prediction
from drdeploy.grader.inference import InferenceService
from drdeploy.grader.runtimes.cpu_limit import choose_thread_count
from drdeploy.statistics.percentiles import estimate_median
from harness.models import Forms, forms_of
from harness.options import BUILD, ROOT, Options, parser_for, read_options
from harness.page import Page, Target, at_least, at_most, rounded
from harness.rounds import interleaved, ratio, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import ModelManifest

    Grade = Callable[[bytes], Prediction | None]

TARGET = 18.0
LIMIT = 1.5
"""The largest allowed ratio of drdeploy's time to the time of decoding and predicting alone."""
SMALL_PX = 336
"""A decoder may shrink a photograph, but not so far that its shorter side has fewer pixels than
this.
"""
SIMPLEJPEG = "simplejpeg==1.9.0"
CALLS = 9
"""How many times a way grades a photograph in each round, after a first time that is not counted.
"""

INTRODUCTION = """
The model is the packaged grader, a MobileNet.  *The study's way* decodes with Pillow, stretches
the frame to 224 x 224 pixels and calls `model.predict` of Keras.  The packaged grader was not
trained on stretched frames but on the cropped eye.  Grades are therefore compared with *the
study's way with the model's transform*: Pillow decodes at full size, the model's own transform is
applied, and the Keras network predicts.  *Ours* is what the server does with the body of a
request: it decodes at an eighth of the size in the DCT, checks the quality, compares the appearance
with the training photographs, transforms and predicts.  On two CPUs, a second thread checks the
photograph while the first one transforms it and predicts; *without the second thread*, these steps
follow one another.  *Decoder and prediction alone* decodes at an eighth with Pillow and predicts an
input that was made before, with a thread for each CPU.  Each way runs in a process of its own.
"""
STUDY, FAITHFUL, OURS, IN_ONE_THREAD, OURS_FP32, ALONE = (
    "the study's way",
    "the study's way with the model's transform",
    "ours, int8",
    "ours, int8, without the second thread",
    "ours, fp32",
    "decoder and prediction alone, int8",
)

WAYS = (STUDY, FAITHFUL, OURS, IN_ONE_THREAD, OURS_FP32, ALONE)


def main() -> int:
    """Measure, write the page, and print which targets are met."""
    options = read_options(parser_for(__doc__))
    page = Page("photograph_to_grade", "Photograph to grade", INTRODUCTION, options)
    files = photographs()
    if options.is_smoke:
        files = dict(list(files.items())[:1])
    forms = forms_of("mobilenet")
    decoders(page, next(iter(files.values())), options)
    with ExitStack() as stack:
        ways = {name: stack.enter_context(process_of_way(name, forms)) for name in WAYS}
        whole(page, ways, files, options)
    stages(page, forms, files, options)
    return page.finish()


def photographs() -> dict[str, bytes]:
    """Return the content of each photograph by its name."""
    folder = ROOT / "examples" / "photographs"
    return {file.stem: file.read_bytes() for file in sorted(folder.glob("IDRiD_*.jpg"))}


class WayProcess:
    """One way of grading, in a process of its own: two ways in one process disturb each other."""

    def __init__(self, connection: Connection) -> None:
        """Use the connection to a process that runs :func:`grade_on_request`."""
        self.connection = connection

    def grade(self, data: bytes) -> str:
        """Return the grade of a photograph as text."""
        return str(self._call(data, 0))

    def typical_s(self, data: bytes, calls: int) -> float:
        """Return the median seconds for a photograph, as :func:`typical_s` measures them."""
        return float(self._call(data, calls))

    def _call(self, data: bytes, calls: int) -> str | float:
        self.connection.send((data, calls))
        answer: str | float = self.connection.recv()
        return answer


@contextmanager
def process_of_way(way: str, forms: Forms) -> Iterator[WayProcess]:
    """Start a process for a way of grading, and end it after the block."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=grade_on_request, args=(way, forms, theirs), daemon=True
    )
    process.start()
    theirs.close()
    try:
        yield WayProcess(ours)
    finally:
        ours.close()  # which ends the process
        process.join()


def grade_on_request(way: str, forms: Forms, connection: Connection) -> None:
    """Grade photographs until the other end of the connection is closed."""
    grade = open_way(way, forms)
    while True:
        try:
            data, calls = connection.recv()
        except EOFError:
            return
        if calls == 0:
            connection.send(grade_of(grade(data)))
        else:
            connection.send(typical_s(partial(grade, data), calls))


def open_way(way: str, forms: Forms) -> Grade:
    """Return the function of a way of grading; it grades a photograph, given as bytes."""
    if way in (STUDY, FAITHFUL):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import keras

        network = keras.models.load_model(forms.keras, compile=False)
        return partial(
            as_the_study if way == STUDY else with_the_transform,
            network,
            open_artifact(forms.fp32).manifest,
        )
    if way == ALONE:
        service = InferenceService.load(forms.int8, threads=choose_thread_count())
        made = service.model_input(next(iter(photographs().values())))[None]
        return partial(decoded_and_predicted, service, made)
    service = InferenceService.load(forms.fp32 if way == OURS_FP32 else forms.int8)
    if way == IN_ONE_THREAD:
        service = replace(service, second_thread=None)
    return partial(as_served, service)


def as_the_study(network: Any, manifest: ModelManifest, data: bytes) -> Prediction:
    """Grade as the 2023 study did: with Pillow and ``model.predict``."""
    image = Image.open(io.BytesIO(data)).convert("RGB").resize((224, 224))
    pixels = np.asarray(image, dtype=np.float32) / 127.5 - 1
    return prediction_of(network.predict(pixels[None], verbose=0), manifest)


def with_the_transform(network: Any, manifest: ModelManifest, data: bytes) -> Prediction:
    """Grade with Pillow and ``model.predict``, but with drdeploy's transform of the photograph."""
    whole = DecodedPhotograph.from_pixels(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    batch = apply_transform(manifest.transform, whole)[None]
    return prediction_of(network.predict(batch, verbose=0), manifest)


def prediction_of(answer: Any, manifest: ModelManifest) -> Prediction:
    """Return the prediction, including the grade, that follows from a network's probabilities."""
    return Prediction(answer[0], manifest.classes, manifest.grade_thresholds)


def as_served(service: InferenceService, data: bytes) -> Prediction | None:
    """Grade as drdeploy's server does."""
    return service.infer([data])[0].prediction


def decoded_and_predicted(
    service: InferenceService, made: NDArray[np.float32], data: bytes
) -> Prediction:
    """Decode a photograph, and run the model on a ready-made input; the transform is left out."""
    draft(data)
    return service.classifier.predict(made)[0]


def draft(data: bytes) -> NDArray[np.uint8]:
    """Decode a JPEG with Pillow at an eighth of its width and height."""
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (image.width // 8, image.height // 8))
    return np.asarray(image)


def decoders(page: Page, data: bytes, options: Options) -> None:
    """Measure how long each decoder takes for the first photograph."""
    try:
        simplejpeg = import_simplejpeg()
    except subprocess.CalledProcessError:
        page.text("simplejpeg cannot be installed here and was left out.")
        simplejpeg = None

    known: dict[str, Callable[[], object]] = {
        "Pillow, full": lambda: np.asarray(Image.open(io.BytesIO(data)).convert("RGB")),
        "Pillow, draft (1/8 in the DCT)": partial(draft, data),
        "simplejpeg, full": lambda: simplejpeg.decode_jpeg(data),
        "simplejpeg, scaled (1/8 in the DCT)": lambda: simplejpeg.decode_jpeg(
            data, min_height=SMALL_PX, min_width=SMALL_PX, min_factor=8
        ),
        "ours: checked, then Pillow's draft": lambda: decode_image(data, min_side_px=SMALL_PX),
    }
    calls = options.budget.calls(5)
    found = interleaved(
        {
            name: partial(typical_s, call, calls)
            for name, call in known.items()
            if simplejpeg is not None or "simplejpeg" not in name
        },
        options.budget.rounds,
    )
    page.rows += [
        {"measured": "decode", "way": name, "round": place, "value": rounded(value)}
        for name, values in found.items()
        for place, value in enumerate(values)
    ]
    page.text("## Decoders")
    page.table(
        ["decoder", "time", "x Pillow, full"],
        [
            [name, written(estimate_median(values).multiplied_by(1e3), "ms"),
             written(ratio(found["Pillow, full"], values))]
            for name, values in sorted(found.items(), key=lambda item: np.median(item[1]))
        ],
    )  # fmt: skip


def import_simplejpeg() -> Any:
    """Import simplejpeg, which drdeploy does not need; if it is missing, install it first."""
    folder = BUILD / "peers" / "simplejpeg"
    if not (folder / "simplejpeg").is_dir():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--no-deps", "--python", sys.executable,
             "--target", str(folder), SIMPLEJPEG], check=True,
        )  # fmt: skip
    sys.path.append(str(folder))
    import simplejpeg

    return simplejpeg


def typical_s(call: Callable[[], object], calls: int) -> float:
    """Return the median seconds of some calls, after a first call that is not counted."""
    call()
    seconds = []
    for _ in range(calls):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def whole(
    page: Page, ways: dict[str, WayProcess], files: dict[str, bytes], options: Options
) -> None:
    """Measure how long each way of grading takes for a photograph, and compare the grades."""
    calls, rounds = options.budget.calls(CALLS), max(1, options.budget.rounds // 3)
    page.text("## The whole way")
    page.text(f"Each photograph was measured in {rounds} of the rounds.")
    grades = {
        (name, way): process.grade(data)
        for name, data in files.items()
        for way, process in ways.items()
    }
    found = interleaved(
        {
            (name, way): partial(process.typical_s, data, calls)
            for name, data in files.items()
            for way, process in ways.items()
        },
        rounds,
    )
    page.rows += [
        {"measured": "whole", "way": way, "photograph": name, "round": place,
         "value": rounded(value)}
        for (name, way), values in found.items() for place, value in enumerate(values)
    ]  # fmt: skip
    times = {way: [np.median(found[name, way]) for name in files] for way in ways}
    page.table(
        ["way", "time", "x ours, int8"],
        [
            [
                way,
                written(estimate_median(values).multiplied_by(1e3), "ms"),
                written(ratio(values, times[OURS])),
            ]
            for way, values in times.items()
        ],
    )
    page.bar_plot(
        "whole", "4288 x 2848 JPEG to grade", "ms",
        [
            (way, estimate_median(values).multiplied_by(1e3), int(way != OURS))
            for way, values in times.items()
        ],
    )  # fmt: skip
    graded = [way for way in ways if way != ALONE]
    page.table(
        ["photograph", *(f"{way}: grade (ms)" for way in graded)],
        [
            [name, *(f"{grades[name, way]} ({1e3 * np.median(found[name, way]):.0f})"
                     for way in graded)]
            for name in files
        ],
    )  # fmt: skip
    faster = ratio(times[STUDY], times[OURS])
    page.targets.append(at_least(
        f"at least {TARGET:g} x as fast as the study's way", faster, TARGET, f"{written(faster)} x"
    ))  # fmt: skip
    above = ratio(times[OURS], times[ALONE])
    page.targets.append(at_most(
        f"at most {LIMIT:g} x decoder and prediction alone", above, LIMIT, f"{written(above)} x"
    ))  # fmt: skip
    same = [grades[n, OURS] == grades[n, FAITHFUL] for n in files]
    page.targets.append(
        Target("the same grade on every photograph", all(same), f"{sum(same)} of {len(same)}")
    )


def grade_of(prediction: Prediction | None) -> str:
    """Return the grade as text."""
    return "cannot be graded" if prediction is None else str(int(prediction.grade))


def stages(page: Page, forms: Forms, files: dict[str, bytes], options: Options) -> None:
    """Measure how long each step takes when drdeploy grades a photograph."""
    service = InferenceService.load(forms.int8)
    measured = [
        service.infer([data])[0] for _ in range(options.budget.calls(10)) for data in files.values()
    ]
    parts = {
        "decode (with the header checked and the eye found)": [one.decode_s for one in measured],
        "transform, and waiting for the checks": [one.transform_s for one in measured],
        "predict": [one.predict_s for one in measured],
    }
    page.text("## Where our time goes (int8)")
    page.table(
        ["stage", "time"],
        [
            [name, written(estimate_median(values).multiplied_by(1e3), "ms")]
            for name, values in parts.items()
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
