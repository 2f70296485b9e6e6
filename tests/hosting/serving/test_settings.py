import pytest

from drdeploy.errors import InvalidInput
from drdeploy.hosting.serving.settings import (
    Settings,
    list_setting_facts,
    make_environment_variables,
    read_settings,
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
        *(("MODEL_SERVER_WORKERS", value) for value in ("-1", "0", "129", "2.5", "many", "AUTO")),
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


def test_what_is_no_number_of_workers_is_answered_with_what_is():
    with pytest.raises(InvalidInput, match="`auto`, or a whole number from 1 to 128"):
        read_settings({"MODEL_SERVER_WORKERS": "2.5"})


@pytest.mark.parametrize("workers", [2, "auto"])
def test_settings_survive_the_environment_of_another_process(workers):
    settings = Settings(workers=workers, is_batch=True, read_timeout_s=0.5, container_id="box-1")
    assert read_settings(make_environment_variables(settings)) == settings


def test_every_setting_is_documented_once():
    described = list(list_setting_facts())
    assert len({setting.variable for setting in described}) == len(Settings.__struct_fields__)
    assert all(setting.meaning for setting in described)


def test_a_batch_container_takes_larger_files():
    assert Settings().max_payload_bytes == 6 * MIB
    assert Settings(is_batch=True).max_payload_bytes == 20 * MIB
    assert Settings(is_batch=True, max_payload_mb=7).max_payload_bytes == 7 * MIB
