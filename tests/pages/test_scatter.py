"""Marks, requirements and labels of a scatter picture, in both layouts."""

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from drdeploy.pages.scatter import (
    CROSS_PT,
    LAYOUTS,
    MARK_ID,
    MARK_PT,
    Axis,
    Key,
    Mark,
    PlottedValue,
    assign_colour_to_each_name,
    draw_scatter_pictures,
    format_money_at_tick,
)
from drdeploy.pages.scatter import format_time_at_tick as write_time

SVG = "{http://www.w3.org/2000/svg}"


def mark(x, y, **others):
    return Mark(f"at {x:g}, {y:g}", PlottedValue(x), PlottedValue(y), "o", "#0072B2", **others)


def drawn(marks, p95_s=None, budget_usd=None):
    return draw_scatter_pictures(
        marks,
        (
            Axis("p95 latency", write_time, p95_s, f"required: p95 within {p95_s} s"),
            Axis("USD a month", format_money_at_tick, budget_usd, f"budget: {budget_usd} USD"),
        ),
        [Key("serverless", "o", "#111111")],
        name="test",
        title="A title",
        description="A description",
    )


MARKS = (
    Mark(
        "one <b>",
        PlottedValue(0.1, (0.08, 0.2)),
        PlottedValue(2.0, (1.5, 2.5)),
        "o",
        "#0072B2",
        ("the first",),
    ),
    mark(0.5, 20.0, label=("chosen: the second", "20 USD"), is_chosen=True),
    mark(3.0, 100.0, is_hollow=True, label=("the third",)),
)


@pytest.fixture(scope="module")
def pictures():
    return drawn(MARKS, p95_s=2.0, budget_usd=50.0)


def test_there_is_a_picture_for_a_desk_and_one_for_a_phone(pictures):
    assert list(pictures) == list(LAYOUTS) == ["wide", "narrow"]
    across, down = zip(*(_size(picture.svg) for picture in pictures.values()), strict=True)
    assert across[0] > 2 * across[1]
    assert down[1] > across[1]


def _size(svg):
    return map(float, ET.fromstring(svg).attrib["viewBox"].split()[2:])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_mark_is_drawn_and_says_its_name(pictures, layout):
    root = ET.fromstring(pictures[layout].svg)
    names = [title.text for title in root.iter(f"{SVG}title")]
    assert sorted(names) == sorted(["one <b>", "at 0.5, 20", "at 3, 100"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_requirements_and_labels_are_text(pictures, layout):
    words = " ".join(
        "".join(e.itertext()) for e in ET.fromstring(pictures[layout].svg).iter(f"{SVG}text")
    )
    for part in (
        "required: p95 within 2.0 s",
        "budget: 50.0 USD",
        "chosen: the second",
        "serverless",
    ):
        assert part in words


def test_the_same_marks_give_the_same_bytes(pictures):
    again = drawn(MARKS, p95_s=2.0, budget_usd=50.0)
    assert {name: one.svg for name, one in again.items()} == {
        name: one.svg for name, one in pictures.items()
    }


def test_no_id_is_used_by_both_pictures(pictures):
    ids = [i for one in pictures.values() for i in set(re.findall(r' id="([^"]+)"', one.svg))]
    assert len(ids) == len(set(ids))


def test_a_hollow_mark_is_white_inside(pictures):
    assert pictures["wide"].svg.count("fill: #ffffff; stroke: #0072b2") >= 1
    filled = drawn([mark(1.0, 1.0), mark(2.0, 2.0)])["wide"].svg
    assert "fill: #ffffff; stroke: #0072b2" not in filled


def test_what_is_possible_lies_over_what_is_not_and_both_are_seen():
    marks = [
        mark(1.0, 1.0),
        mark(1.0, 1.1, is_hollow=True),
        replace(mark(1.0, 1.2), shape="+"),
        mark(1.0, 1.3, is_chosen=True),
    ]
    svg = drawn(marks)["wide"].svg
    at = [svg.index(f'{MARK_ID}{number}"') for number in range(4)]
    assert sorted(range(4), key=at.__getitem__) == [2, 1, 0, 3]
    # The arms of a cross are longer than what lies over them.
    assert CROSS_PT > MARK_PT + 3


def test_a_label_that_would_cover_other_marks_is_left_out_but_never_the_chosen_one_s():
    crowd = [mark(1.07**across, 1.02**up) for across in range(6) for up in range(20)]
    beside = mark(1.07**2.5, 1.02**10, label=("a label of many lines",) * 9)
    assert "a label" not in drawn([*crowd, beside])["narrow"].svg
    assert "a label" in drawn([*crowd, replace(beside, is_chosen=True)])["narrow"].svg


def test_one_mark_alone_can_be_drawn():
    assert "<svg" in drawn([mark(1.0, 1.0)])["wide"].svg


def test_values_stand_at_the_ticks_without_powers_of_ten():
    assert [write_time(value) for value in (0.005, 0.2, 1.0, 30.0)] == [
        "5 ms",
        "200 ms",
        "1 s",
        "30 s",
    ]
    assert [format_money_at_tick(value) for value in (0.01, 0.3, 2000.0)] == [
        "0.01",
        "0.3",
        "2,000",
    ]


def test_models_have_different_colours_whatever_their_order():
    assert assign_colour_to_each_name(["b", "a", "b"]) == assign_colour_to_each_name(["a", "b"])
    assert len(set(assign_colour_to_each_name("abcde").values())) == 5


def test_a_name_with_dollar_signs_is_no_formula():
    named = replace(mark(1.0, 1.0, label=("a$b$c",), is_chosen=True), name="a$b$c")
    root = ET.fromstring(drawn([named, mark(2.0, 2.0, label=(r"$\oops$",))])["wide"].svg)
    words = ["".join(one.itertext()) for one in root.iter(f"{SVG}text")]
    assert "a$b$c" in words
    assert r"$\oops$" in words
