import re
from pathlib import Path

import pytest

from drdeploy.errors import InvalidInput
from drdeploy.hosting.serving.settings import (
    VARIABLES_OF_OTHER_PARTS,
    Settings,
    list_setting_facts,
    make_environment_variables,
    read_settings,
    refuse_unknown_variables,
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


@pytest.mark.parametrize(
    ("variable", "remedy"),
    [
        ("DRDEPLOY_CONCURENCY", "Unset it, or rename it to DRDEPLOY_CONCURRENCY."),
        ("DRDEPLOY_DATABSE", "Unset it, or rename it to DRDEPLOY_DATABASE."),
        ("DRDEPLOY_PORT", "Unset it, or rename it to SAGEMAKER_BIND_TO_PORT."),
        ("DRDEPLOY_WORKERS", "Unset it, or rename it to MODEL_SERVER_WORKERS."),
        ("DRDEPLOY_X", "Unset it."),
    ],
)
def test_a_variable_that_nothing_reads_is_refused(variable, remedy):
    with pytest.raises(InvalidInput) as refused:
        refuse_unknown_variables({variable: "1"})
    said = f"{variable}: drdeploy has no environment variable {variable}. {remedy}"
    assert str(refused.value) == said
    refuse_unknown_variables({variable: ""})


def test_the_variables_that_kubernetes_sets_for_a_service_are_accepted():
    refuse_unknown_variables(
        {
            "DRDEPLOY_SERVICE_HOST": "10.0.0.1",
            "DRDEPLOY_SERVICE_PORT": "80",
            "DRDEPLOY_API_SERVICE_PORT_HTTP": "80",
            "DRDEPLOY_PORT": "tcp://10.0.0.1:80",
            "DRDEPLOY_PORT_80_TCP": "tcp://10.0.0.1:80",
            "DRDEPLOY_PORT_80_TCP_ADDR": "10.0.0.1",
        }
    )


def test_every_variable_that_the_code_and_the_scripts_read_is_known():
    root = Path(__file__).resolve().parents[3]
    texts = [
        path.read_text(encoding="utf-8", errors="ignore")
        for folder in ("src", "scripts", "tests/clinic", "containers", ".ci")
        for path in (root / folder).rglob("*")
        if path.is_file() and path.suffix in {".py", ".sh", ""}
    ]
    place = re.compile(r"(?:(?:environ|envvar|VARIABLE)\W.*?|\$\{)(DRDEPLOY_[A-Z_]+)")
    read = {name for text in texts for name in place.findall(text)}
    settings = {fact.variable for fact in list_setting_facts()}
    assert {"DRDEPLOY_DATABASE", "DRDEPLOY_APT_WAIT_S", "DRDEPLOY_NAMES_KEY"} <= read
    assert read - settings <= VARIABLES_OF_OTHER_PARTS
    assert read >= VARIABLES_OF_OTHER_PARTS
