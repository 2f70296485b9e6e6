"""On two CPUs, a second thread does a part of the work, and the answers stay the same."""

import io
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance, ImageFilter

from drdeploy.errors import PredictionFailed
from drdeploy.grader.artifacts import extract_archive
from drdeploy.grader.box import box_artifact
from drdeploy.grader.inference import InferenceService
from drdeploy.grader.runtimes.photographs_in_progress import PhotographsInProgress
from drdeploy.grader.runtimes.second_thread import SecondThread

EXAMPLES = sorted(Path(__file__).parents[3].glob("examples/photographs/*.jpg"))


@pytest.fixture(scope="module")
def packaged(tmp_path_factory):
    """The packaged grader, which checks gradability and compares with its training photographs."""
    folder = tmp_path_factory.mktemp("packaged")
    return InferenceService.load(extract_archive(box_artifact(), folder / "model").folder)


def spoilt(data):
    """Yield a photograph, and copies that are refused or unlike the training photographs."""
    yield data
    picture = Image.open(io.BytesIO(data)).resize((1072, 712))
    for changed in (
        ImageEnhance.Brightness(picture).enhance(0.05),
        picture.filter(ImageFilter.GaussianBlur(10)),
        ImageEnhance.Color(picture).enhance(2.0),
    ):
        out = io.BytesIO()
        changed.save(out, "JPEG", quality=92)
        yield out.getvalue()


def with_second_thread(service):
    """Return a service that uses the second thread, even on a machine with one CPU."""
    in_progress = PhotographsInProgress()
    return replace(
        service, in_progress=in_progress, second_thread=SecondThread(in_progress, is_used=True)
    )


def answered(service, data):
    (found,) = service.infer([data])
    probabilities = None if found.prediction is None else found.prediction.probabilities.tobytes()
    return found.ungradable, found.is_unlike_training, found.note, probabilities


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_answer_is_the_same_bit_for_bit_with_a_second_thread(packaged, path):
    alone = replace(packaged, second_thread=None)
    helped = with_second_thread(packaged)
    for data in spoilt(path.read_bytes()):
        assert answered(helped, data) == answered(alone, data)


def test_several_callers_at_once_get_what_each_gets_alone(packaged):
    helped = with_second_thread(packaged)
    images = [data for path in EXAMPLES[:3] for data in spoilt(path.read_bytes())]
    expected = [answered(packaged, data) for data in images]
    found = [[] for _ in range(3)]

    def grade(answers):
        answers.extend(answered(helped, data) for data in images)

    callers = [threading.Thread(target=grade, args=(answers,)) for answers in found]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert found == [expected] * 3


def test_a_single_thread_for_a_photograph_gets_no_second_thread(packaged):
    folder = packaged.classifier.artifact.folder
    assert not InferenceService.load(folder, threads=1).second_thread.is_used


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_a_single_cpu_gets_no_second_thread(packaged):
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        service = InferenceService.load(packaged.classifier.artifact.folder, threads=2)
    finally:
        os.sched_setaffinity(0, allowed)
    assert not service.second_thread.is_used


def test_work_is_done_in_the_other_thread_while_it_is_free():
    second = SecondThread(PhotographsInProgress(), is_used=True)
    first, goes_on = second.start(threading.get_ident), threading.Event()
    assert first() != threading.get_ident()
    waiting = second.start(goes_on.wait)
    assert second.start(threading.get_ident) is None
    goes_on.set()
    assert waiting()
    assert second.start(threading.get_ident) is not None


def test_the_thread_helps_only_with_a_single_photograph():
    in_progress = PhotographsInProgress()
    second = SecondThread(in_progress, is_used=True)
    with in_progress:
        with in_progress:
            assert second.start(threading.get_ident) is None
        assert second.start(threading.get_ident) is not None


def test_a_thread_that_is_not_used_starts_nothing():
    assert SecondThread(PhotographsInProgress(), is_used=False).start(pytest.fail) is None


def test_a_failed_prediction_counts_only_if_the_photograph_can_be_graded(packaged):
    class Failing:
        artifact = packaged.classifier.artifact

        def predict(self, batch):
            raise PredictionFailed("The model answered NaN")

    failing = replace(with_second_thread(packaged), classifier=Failing())
    gradable, too_dark, *_ = spoilt(EXAMPLES[0].read_bytes())
    assert answered(failing, too_dark) == answered(packaged, too_dark)
    with pytest.raises(PredictionFailed):
        failing.infer([gradable])


def test_after_an_error_the_thread_is_free_again():
    second = SecondThread(PhotographsInProgress(), is_used=True)
    with pytest.raises(ZeroDivisionError):
        second.start(lambda: 1 / 0)()
    assert second.start(threading.get_ident)() != threading.get_ident()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_starts_a_thread_of_its_own():
    program = """
import os, threading
from drdeploy.grader.runtimes.second_thread import SecondThread
from drdeploy.grader.runtimes.photographs_in_progress import PhotographsInProgress
second = SecondThread(PhotographsInProgress(), is_used=True)
second.start(threading.get_ident)()
child = os.fork()
if child == 0:
    os._exit(0 if second.start(threading.get_ident)() != threading.get_ident() else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=60)
