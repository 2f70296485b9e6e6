import json
import subprocess
import sys
from typing import get_args

import pytest

from drdeploy.grader import artifacts
from drdeploy.grader.artifacts import ModelFormat, contents
from drdeploy.grader.runtimes.model_loading import DEFAULT
from drdeploy.hosting.serving import model_runtime
from drdeploy.hosting.serving.budgets import BODIES_BYTES, IMAGE_PLACES, PLACE_BYTES
from drdeploy.hosting.serving.capacity import Capacity
from drdeploy.hosting.serving.memory import SPARE_BYTES
from drdeploy.hosting.serving.model_runtime import find_runtime_of_model
from drdeploy.hosting.serving.settings import Settings
from drdeploy.hosting.serving.worker_plan import choose_worker_and_thread_counts
from drdeploy.units import MIB

PLENTY = 64_000 * MIB


def write_model(folder, *, model_format="onnx", size_mb=0):
    """Write what the plan looks at: the format in the manifest, and the size of the files."""
    (folder / "manifest.json").write_text(json.dumps({"model_format": model_format}))
    (folder / "weights").write_bytes(bytes(size_mb * MIB))
    return str(folder)


@pytest.fixture
def onnx_folder(tmp_path):
    """A folder with a small ONNX model."""
    return write_model(tmp_path)


@pytest.mark.parametrize("profile", ["lean", "classic"])
@pytest.mark.parametrize(
    ("vcpus", "workers"),
    [(0.58, 1), (1.16, 1), (1.74, 1), (2.0, 2), (2.9, 2), (4.0, 4), (400, 128)],
)
def test_there_is_one_worker_per_whole_vcpu(profile, vcpus, workers):
    settings = Settings(profile=profile, model_dir="nowhere")
    memory_bytes = 1000 * PLENTY
    assert choose_worker_and_thread_counts(settings, vcpus, memory_bytes).workers == workers


@pytest.mark.parametrize(
    ("vcpus", "expected"),
    [
        (0.58, (1, 1, 1, None)),
        (1.16, (1, 2, 2, None)),
        (2.0, (2, 1, 1, 2)),
        (2.9, (2, 2, 1, 3)),
        (4.0, (4, 1, 1, 4)),
        (16.0, (16, 1, 1, 8)),
    ],
)
def test_lean_workers_share_the_vcpus_and_use_all_when_alone(onnx_folder, vcpus, expected):
    settings = Settings(profile="lean", model_dir=onnx_folder)
    assert choose_worker_and_thread_counts(settings, vcpus, PLENTY) == Capacity(*expected)


@pytest.mark.parametrize(
    "changed",
    [{"threads": 1}, {"runtime": "openvino"}, {"profile": "classic"}],
    ids=["threads given", "another runtime", "classic"],
)
def test_a_photograph_on_its_own_gets_no_more_threads(onnx_folder, changed):
    settings = Settings(model_dir=onnx_folder, **changed)
    assert choose_worker_and_thread_counts(settings, 2.0, PLENTY).threads_when_alone is None


def test_a_savedmodel_keeps_its_share_of_the_vcpus(tmp_path):
    settings = Settings(model_dir=write_model(tmp_path, model_format="saved_model"), workers=1)
    assert choose_worker_and_thread_counts(settings, 2.0, PLENTY) == Capacity(1, 2, 2)


@pytest.mark.parametrize(("memory_mb", "threads"), [(1140, None), (1400, 4)])
def test_a_second_copy_of_the_model_must_fit_into_memory(tmp_path, memory_mb, threads):
    settings = Settings(profile="lean", model_dir=write_model(tmp_path, size_mb=8), workers=2)
    found = choose_worker_and_thread_counts(settings, 4.0, memory_mb * MIB)
    assert found.threads_when_alone == threads


def test_each_classic_worker_has_threads_for_all_vcpus():
    settings = Settings(profile="classic", model_dir="nowhere")
    assert choose_worker_and_thread_counts(settings, 4.0, PLENTY).threads == 4


@pytest.mark.parametrize(("memory_mb", "workers"), [(512, 1), (1024, 1), (1200, 2), (4096, 4)])
def test_no_more_workers_than_fit_into_memory_beside_the_largest_image(
    tmp_path, memory_mb, workers
):
    settings = Settings(profile="lean", model_dir=write_model(tmp_path, size_mb=8))
    assert choose_worker_and_thread_counts(settings, 4.0, memory_mb * MIB).workers == workers


def test_a_framework_takes_more_memory_than_a_lean_worker():
    settings = Settings(profile="lean", runtime="tensorflow", model_dir="nowhere")
    assert choose_worker_and_thread_counts(settings, 4.0, 3072 * MIB).workers == 2


@pytest.mark.parametrize("has_manifest", [True, False])
def test_a_savedmodel_takes_the_memory_of_tensorflow_also_if_no_runtime_is_set(
    tmp_path, has_manifest
):
    (tmp_path / "saved_model.pb").write_bytes(bytes(16 * MIB))
    if has_manifest:
        write_model(tmp_path, model_format="saved_model")
    unset = Settings(model_dir=str(tmp_path))
    spelled_out = Settings(model_dir=str(tmp_path), runtime="tensorflow")
    planned = choose_worker_and_thread_counts(unset, 8.0, 4096 * MIB)
    assert planned.workers == 3
    assert planned == choose_worker_and_thread_counts(spelled_out, 8.0, 4096 * MIB)


@pytest.mark.parametrize("vcpus", [2.0, 4.0, 8.0, 48.0])
@pytest.mark.parametrize("memory_mb", [512, 1024, 2048, 4096])
def test_requests_and_threads_fit_into_vcpus_and_memory(tmp_path, vcpus, memory_mb):
    settings = Settings(model_dir=write_model(tmp_path, size_mb=8))
    found = choose_worker_and_thread_counts(settings, vcpus, memory_mb * MIB)
    assert found.workers * found.concurrency * found.threads < vcpus + found.workers
    # Either the requests leave the memory for the largest image, or there is only one.
    requests = found.workers * found.concurrency
    left = memory_mb * MIB - SPARE_BYTES - BODIES_BYTES - IMAGE_PLACES * PLACE_BYTES
    assert requests == 1 or requests * PLACE_BYTES <= left


def test_too_little_memory_for_many_requests_means_more_threads_for_each(tmp_path):
    settings = Settings(model_dir=write_model(tmp_path, size_mb=8))
    assert choose_worker_and_thread_counts(settings, 8.0, 512 * MIB) == Capacity(1, 1, 8)
    found = choose_worker_and_thread_counts(settings, 48.0, 2048 * MIB)
    assert (found.workers, found.concurrency, found.threads) == (7, 1, 7)


def test_without_memory_for_a_second_model_the_threads_are_still_divided(tmp_path):
    settings = Settings(model_dir=write_model(tmp_path, size_mb=100), workers=1)
    found = choose_worker_and_thread_counts(settings, 4.0, 1500 * MIB)
    assert found == Capacity(1, 4, 1, None)


@pytest.mark.parametrize("model_format", get_args(ModelFormat))
def test_the_plan_expects_the_runtime_that_the_workers_choose(tmp_path, model_format):
    settings = Settings(model_dir=write_model(tmp_path, model_format=model_format))
    assert find_runtime_of_model(settings) == DEFAULT[model_format]
    assert (model_runtime.MANIFEST_NAME, model_runtime.SAVED_MODEL_NAME) == (
        artifacts.MANIFEST_NAME,
        contents.SAVED_MODEL_NAME,
    )


@pytest.mark.parametrize("manifest", ["", "{}", "[]", '{"model_format": "pickle"}', "[" * 9999])
def test_a_damaged_manifest_is_left_to_the_worker(tmp_path, manifest):
    (tmp_path / "manifest.json").write_text(manifest)
    assert find_runtime_of_model(Settings(model_dir=str(tmp_path))) == ""
    assert choose_worker_and_thread_counts(Settings(model_dir=str(tmp_path)), 4.0).workers >= 1


def test_the_plan_needs_no_numpy_because_that_starts_threads_in_the_supervisor(onnx_folder):
    script = f"""
import sys
from drdeploy.hosting.serving.settings import Settings
from drdeploy.hosting.serving.worker_plan import choose_worker_and_thread_counts
print(choose_worker_and_thread_counts(Settings(model_dir={onnx_folder!r}), 4.0).workers)
assert "numpy" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_one_worker_on_two_vcpus_handles_two_photographs_with_a_thread_each(onnx_folder):
    settings = Settings(model_dir=onnx_folder, workers=1)
    assert choose_worker_and_thread_counts(settings, 2.0, PLENTY) == Capacity(1, 2, 1, 2)


def test_settings_override_the_plan():
    settings = Settings(workers=3, concurrency=5, threads=1)
    assert choose_worker_and_thread_counts(settings, 2.0) == Capacity(3, 5, 1)


def test_a_gpu_has_one_worker_that_asks_for_more_photographs_than_there_are_vcpus():
    assert choose_worker_and_thread_counts(Settings(runtime="cuda"), 4.0) == Capacity(1, 8, 4)
    assert choose_worker_and_thread_counts(Settings(runtime="cuda"), 0.58) == Capacity(1, 8, 1)
    assert choose_worker_and_thread_counts(
        Settings(runtime="cuda", workers=2, concurrency=2), 4.0
    ) == Capacity(2, 2, 2)
