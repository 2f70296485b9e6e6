"""A column is declared once, and everything else follows from its declaration."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

import pytest

from drdeploy.study.measurements.measurement import REQUIRED, SCHEMA
from drdeploy.study.measurements.schema import OPTIONAL, encode_cell, list_declared_columns


@dataclass(frozen=True, kw_only=True)
class Row:
    name: Annotated[str, "Who."]
    latency_s: Annotated[float | None, "How long.", OPTIONAL] = None
    state: Annotated[Literal["on", "off", "broken"], "How it went."]


NAME, LATENCY, STATE = list_declared_columns(Row)


def test_a_column_is_what_its_field_says():
    assert (NAME.name, NAME.kind, NAME.is_nullable, NAME.meaning) == ("name", str, False, "Who.")
    assert (LATENCY.kind, LATENCY.is_nullable, LATENCY.unit) == (float, True, "s")
    assert OPTIONAL in LATENCY.rules
    assert (STATE.kind, STATE.choices) == (str, ("on", "off", "broken"))


def test_the_columns_that_others_need_to_bring_are_these():
    assert ", ".join(REQUIRED) == (
        "study, trial, platform, isolation, model, weights, precision, profile, endpoint_kind, "
        "memory_mb, instance_type, scenario, sequence, is_warmup, start, outcome, status, "
        "started_at, total_latency_s, container_latency_s, prediction_s"
    )


def test_every_column_says_in_a_sentence_what_it_means():
    assert [one.name for one in SCHEMA if not one.meaning.endswith(".")] == []


VALUES = {
    bool: [True, False],
    int: [0, -3, 2**60],
    float: [0.1 + 0.2, 1e-300, float("inf")],
    str: ["", "a,b", 'said "no"'],
    datetime: [datetime(2025, 1, 1, 12, 30, 0, 5, tzinfo=UTC)],
}


@pytest.mark.parametrize("column", SCHEMA, ids=lambda column: column.name)
def test_a_column_reads_the_values_that_are_written_into_it(column):
    for value in VALUES[column.kind]:
        assert column.decode_cell(encode_cell(value)) == value
    if column.is_nullable:
        assert column.decode_cell(encode_cell(None)) is None


@pytest.mark.parametrize("text", ["True", "1", ""])
def test_a_truth_value_is_spelled_one_way(text):
    (is_warmup,) = (column for column in SCHEMA if column.kind is bool)
    with pytest.raises(ValueError, match="neither true nor false"):
        is_warmup.decode_cell(text)
