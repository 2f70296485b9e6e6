import pytest

from drdeploy.hosting.serving.capacity import Capacity, plan_capacity
from drdeploy.hosting.serving.settings import Settings


@pytest.mark.parametrize(
    ("vcpus", "workers"), [(0.58, 1), (1.16, 1), (1.74, 1), (2.0, 2), (4.0, 4)]
)
def test_classic_has_one_worker_per_whole_vcpu(vcpus, workers):
    assert plan_capacity(Settings(profile="classic"), vcpus).workers == workers


@pytest.mark.parametrize(("vcpus", "concurrency"), [(0.58, 1), (1.16, 2), (4.0, 4)])
def test_lean_is_one_process_that_handles_as_many_requests_as_it_has_vcpus(vcpus, concurrency):
    assert plan_capacity(Settings(profile="lean"), vcpus) == Capacity(1, concurrency, concurrency)


def test_settings_override_the_plan():
    assert plan_capacity(Settings(workers=3, concurrency=5), 2.0) == Capacity(3, 5, 1)
