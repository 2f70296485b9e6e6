import pytest

from drdeploy.errors import InvalidInput
from drdeploy.hosting.serving.settings import (
    Settings,
    describe_settings,
    read_settings,
    to_environment,
)
from drdeploy.units import MIB


def test_an_empty_environment_gives_the_defaults():
    assert read_settings({}) == Settings()


def test_an_empty_variable_counts_as_unset():
    assert read_settings({"SAGEMAKER_BIND_TO_PORT": ""}).port == 8080


def test_sagemakers_own_variables_are_read():
    settings = read_settings(
        {
            "SAGEMAKER_BIND_TO_PORT": "8090",
            "MODEL_SERVER_WORKERS": "3",
            "MODEL_SERVER_TIMEOUT": "12.5",
            "SAGEMAKER_BATCH": "true",
        }
    )
    assert (settings.port, settings.workers, settings.timeout_s) == (8090, 3, 12.5)
    assert settings.is_batch


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "http"),
        ("SAGEMAKER_BIND_TO_PORT", "70000"),
        ("MODEL_SERVER_WORKERS", "-1"),
        ("MODEL_SERVER_TIMEOUT", "0"),
        ("SAGEMAKER_BATCH", "perhaps"),
        ("DRDEPLOY_PROFILE", "fat"),
        ("DRDEPLOY_RUNTIME", "torch"),
        ("DRDEPLOY_DRAIN_S", "31"),
        ("DRDEPLOY_CONTAINER_ID", "a b"),
    ],
)
def test_a_bad_value_names_its_variable_and_itself(variable, value):
    with pytest.raises(InvalidInput) as caught:
        read_settings({variable: value})
    assert caught.value.where == variable
    assert repr(value) in caught.value.what


def test_settings_survive_the_environment_of_another_process():
    settings = Settings(workers=2, is_batch=True, read_timeout_s=0.5, container_id="box-1")
    assert read_settings(to_environment(settings)) == settings


def test_every_setting_is_documented_once():
    described = list(describe_settings())
    assert len({setting.variable for setting in described}) == len(Settings.__struct_fields__)
    assert all(setting.meaning for setting in described)


def test_a_batch_container_takes_larger_files():
    assert Settings().max_payload_bytes == 6 * MIB
    assert Settings(is_batch=True).max_payload_bytes == 20 * MIB
    assert Settings(is_batch=True, max_payload_mb=7).max_payload_bytes == 7 * MIB
