import pytest

from drdeploy.hosting.serving.capacity import Capacity
from drdeploy.hosting.serving.settings import Settings
from drdeploy.hosting.serving.worker_plan import choose_worker_and_thread_counts
from drdeploy.units import MIB

PLENTY = 64_000 * MIB


@pytest.fixture
def onnx_folder(tmp_path):
    """A folder with a small ONNX model."""
    (tmp_path / "model.onnx").write_bytes(bytes(8))
    return str(tmp_path)


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
    (tmp_path / "saved_model").mkdir()
    settings = Settings(model_dir=str(tmp_path), workers=1)
    assert choose_worker_and_thread_counts(settings, 2.0, PLENTY) == Capacity(1, 2, 2)


@pytest.mark.parametrize(("memory_mb", "threads"), [(1140, None), (1400, 4)])
def test_a_second_copy_of_the_model_must_fit_into_memory(tmp_path, memory_mb, threads):
    (tmp_path / "model.onnx").write_bytes(bytes(8 * MIB))
    settings = Settings(profile="lean", model_dir=str(tmp_path), workers=2)
    found = choose_worker_and_thread_counts(settings, 4.0, memory_mb * MIB)
    assert found.threads_when_alone == threads


def test_each_classic_worker_has_threads_for_all_vcpus():
    settings = Settings(profile="classic", model_dir="nowhere")
    assert choose_worker_and_thread_counts(settings, 4.0, PLENTY).threads == 4


@pytest.mark.parametrize(("memory_mb", "workers"), [(512, 1), (1024, 1), (1200, 2), (4096, 4)])
def test_no_more_workers_than_fit_into_memory_beside_the_largest_image(
    tmp_path, memory_mb, workers
):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.onnx").write_bytes(bytes(8 * MIB))
    settings = Settings(profile="lean", model_dir=str(tmp_path))
    assert choose_worker_and_thread_counts(settings, 4.0, memory_mb * MIB).workers == workers


def test_a_framework_takes_more_memory_than_a_lean_worker():
    settings = Settings(profile="lean", runtime="tensorflow", model_dir="nowhere")
    assert choose_worker_and_thread_counts(settings, 4.0, 3072 * MIB).workers == 2


def test_one_worker_on_two_vcpus_handles_two_photographs_with_a_thread_each(onnx_folder):
    settings = Settings(model_dir=onnx_folder, workers=1)
    assert choose_worker_and_thread_counts(settings, 2.0, PLENTY) == Capacity(1, 2, 1, 2)


def test_settings_override_the_plan():
    settings = Settings(workers=3, concurrency=5, threads=1)
    assert choose_worker_and_thread_counts(settings, 2.0) == Capacity(3, 5, 1)


def test_a_gpu_has_one_worker_that_asks_for_more_photographs_than_there_are_vcpus():
    assert choose_worker_and_thread_counts(Settings(runtime="cuda"), 4.0) == Capacity(1, 8, 4)
    assert choose_worker_and_thread_counts(
        Settings(runtime="cuda", workers=2, concurrency=2), 4.0
    ) == Capacity(2, 2, 2)
