"""Recognise ICDR grades in tables of labels and in folder names, in any common spelling."""

from __future__ import annotations

import re
from typing import Final

from drdeploy.grader.grading import Grade

_NUMBER: Final = re.compile(
    r"(?:(?:icdr|grade|level|class|dr)[ _-]*)?0?([0-9])(?:[.,]0*)?(?:e[+-]?0+)?",
    re.ASCII | re.IGNORECASE,
)
"""The forms in which a whole number may be written. pandas writes ``2.0`` if a column has empty
cells, a German spreadsheet writes ``2,0``, and NumPy writes ``2.000000000000000000e+00``.
"""
_NUMBER_AND_WORDS: Final = re.compile(r"([0-4])[ ._:)-]+(\D.*)", re.ASCII)
_SUFFIXES: Final = (
    *("", "dr", "npdr", "retinopathy", "diabeticretinopathy", "nonproliferative"),
    *("nonproliferativedr", "nonproliferativeretinopathy", "nonproliferativediabeticretinopathy"),
)
_WORDS: Final = {
    **dict.fromkeys(
        (
            *("nodr", "nodiabeticretinopathy", "noretinopathy", "noapparentretinopathy"),
            *("noapparentdr", "noapparentdiabeticretinopathy", "normal", "healthy"),
        ),
        Grade.NO_DR,
    ),
    **{
        f"{word}{suffix}": grade
        for word, grade in (
            ("mild", Grade.MILD),
            ("moderate", Grade.MODERATE),
            ("severe", Grade.SEVERE),
            ("proliferate", Grade.PDR),
            ("proliferative", Grade.PDR),
        )
        for suffix in _SUFFIXES
    },
    "pdr": Grade.PDR,
}


def parse_grade(text: str) -> Grade | None:
    """Return the grade that a cell or a folder name stands for, or None for any other text.

    Numbers from 0 to 4 and the names of the five grades are recognised. The grades ``R0`` to ``R3``
    of the English screening programme are refused, because they are not ICDR grades.
    """
    text = text.strip()
    number = read_whole_number(text)
    if number is not None:
        return Grade(number) if number in set(Grade) else None
    if both := _NUMBER_AND_WORDS.fullmatch(text):
        grade = _parse_grade_in_words(both[2])
        return grade if grade == Grade(int(both[1])) else None
    return _parse_grade_in_words(text)


def read_whole_number(text: str) -> int | None:
    """Return the whole number in a cell if it is a number from 0 to 9; otherwise return None."""
    number = _NUMBER.fullmatch(text.strip())
    return int(number[1]) if number else None


def _parse_grade_in_words(text: str) -> Grade | None:
    return _WORDS.get(re.sub(r"[^a-z]", "", text.lower()))
