"""Match log lines with a filter pattern of CloudWatch Logs.

Source: CloudWatch Logs user guide, "Filter pattern syntax". A pattern is a list of terms, which are
case-sensitive. A term that begins with neither ``-`` nor ``?`` must occur in the line. If a term
begins with ``-``, the rest of the term must not occur. Of all terms that begin with ``?``, at least
one must occur. A pattern in braces compares fields of a line that is JSON. Patterns in brackets,
for lines with columns, are refused.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from drdeploy.files import parse_json
from drdeploy.hosting.local.monitoring.monitoring_errors import MonitoringError
from drdeploy.hosting.local.monitoring.regular_expressions import (
    ExpressionRefused,
    RegularExpression,
    compile_expression,
)

TERM = re.compile(r'\s*(?P<sign>[?-]?)(?P<term>"(?:[^"\\]|\\.)*"|%[^%]+%|[^\s"]+)')
JSON_TOKEN = re.compile(
    r"""\s*(?:
      (?P<sign>&&|\|\||[()]|!=|>=|<=|=|>|<)
    | (?P<field>\$(?:\.[\w-]+|\[(?:\d+|["'][^\]]+["'])\])+)
    | (?P<text>"(?:[^"\\]|\\.)*"|%[^%]+%)
    | (?P<word>[^\s()=<>!&|]+)
    )""",
    re.VERBOSE,
)
STEP = re.compile(r"""\.([\w-]+)|\[(?:(\d+)|["']([^\]]+)["'])\]""")
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
NOTHING = object()
PARENTHESES_MAX = 50
"""The largest number of parentheses in a pattern, so that no pattern exhausts the stack."""

Matcher = Callable[[str], bool]


@lru_cache(maxsize=256)
def make_log_matcher(pattern: str) -> Matcher:
    """Return a function that tells whether a line matches a pattern.

    Raises:
        MonitoringError: The pattern cannot be read, or the local service does not support it.
    """
    pattern = pattern.strip()
    if not pattern:
        return lambda _: True
    if pattern.startswith("["):
        raise _make_pattern_error(
            "The local service does not serve patterns for columns ([a, b, ...])."
        )
    if pattern.startswith("{"):
        if not pattern.endswith("}"):
            raise _make_pattern_error("The pattern lacks a '}'.")
        matches_fields = _FieldPattern(pattern[1:-1]).parse_whole()
        return lambda line: _matches_json(line, matches_fields)
    return _make_term_matcher(pattern)


def _make_pattern_error(message: str) -> MonitoringError:
    return MonitoringError("InvalidParameterException", f"Invalid filter pattern: {message}")


def _remove_quotes(term: str) -> str:
    try:
        return str(json.loads(term, strict=False))  # noqa: TID251 - a string, and no array
    except ValueError as err:
        raise _make_pattern_error(f"{term} cannot be read.") from err


def _make_term_matcher(pattern: str) -> Matcher:
    required: list[Matcher] = []
    optional: list[Matcher] = []
    place = 0
    while place < len(pattern):
        found = TERM.match(pattern, place)
        if found is None:
            raise _make_pattern_error(f"cannot read '{pattern[place:].strip()}'.")
        place = found.end()
        contains = _make_text_matcher(found["term"])
        if found["sign"] == "?":
            optional.append(contains)
        elif found["sign"] == "-":
            required.append(lambda line, contains=contains: not contains(line))  # type: ignore[misc]
        else:
            required.append(contains)

    def does_line_match_terms(line: str) -> bool:
        has_one = not optional or any(one(line) for one in optional)
        return has_one and all(one(line) for one in required)

    return does_line_match_terms


def _make_text_matcher(term: str) -> Matcher:
    if term.startswith("%"):
        return _make_regular_expression(term).search
    text = _remove_quotes(term) if term.startswith('"') else term
    return lambda line: text in line


def _make_regular_expression(term: str) -> RegularExpression:
    try:
        return compile_expression(term[1:-1])
    except ExpressionRefused as err:
        raise _make_pattern_error(f"'{term}' is not a regular expression: {err}.") from err


def _matches_json(line: str, matches: Callable[[Any], bool]) -> bool:
    start = line.find("{")
    try:
        return start >= 0 and matches(parse_json(line[start:]))
    except (ValueError, RecursionError):
        return False


class _FieldPattern:
    """Reads a pattern in braces; ``&&`` binds more tightly than ``||``."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        place, text = 0, text.rstrip()
        while place < len(text):
            found = JSON_TOKEN.match(text, place)
            if found is None:
                raise _make_pattern_error(f"cannot read '{text[place:].strip()}'.")
            self._tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
            place = found.end()
        if self._tokens.count(("sign", "(")) > PARENTHESES_MAX:
            raise _make_pattern_error("The pattern has too many parentheses.")
        self._place = 0

    def parse_whole(self) -> Callable[[Any], bool]:
        condition = self._parse_or()
        if self._place < len(self._tokens):
            raise _make_pattern_error(f"unexpected '{self._peek_at_token()}'.")
        return condition

    def _peek_at_token(self) -> str:
        return self._tokens[self._place][1] if self._place < len(self._tokens) else ""

    def _take_token(self, kind: str | None = None) -> str:
        if self._place >= len(self._tokens):
            raise _make_pattern_error("unexpected end.")
        found, text = self._tokens[self._place]
        if kind not in {None, found}:
            raise _make_pattern_error(f"unexpected '{text}'.")
        self._place += 1
        return text

    def _parse_or(self) -> Callable[[Any], bool]:
        options = [self._parse_and()]
        while self._peek_at_token() == "||":
            self._take_token()
            options.append(self._parse_and())
        return lambda value: any(one(value) for one in options)

    def _parse_and(self) -> Callable[[Any], bool]:
        parts = [self._parse_single_condition()]
        while self._peek_at_token() == "&&":
            self._take_token()
            parts.append(self._parse_single_condition())
        return lambda value: all(one(value) for one in parts)

    def _parse_single_condition(self) -> Callable[[Any], bool]:
        if self._peek_at_token() == "(":
            self._take_token()
            condition = self._parse_or()
            if self._take_token() != ")":
                raise _make_pattern_error("')' is missing.")
            return condition
        path = self._take_token("field")
        sign = self._take_token()
        if sign in {"IS", "NOT"}:
            return _make_word_condition(path, f"{sign} {self._take_token('word')}")
        if sign not in COMPARE:
            raise _make_pattern_error(f"unexpected '{sign}'.")
        kind = self._tokens[self._place][0] if self._place < len(self._tokens) else ""
        return _make_comparison(path, sign, kind, self._take_token())


COMPARE: dict[str, Callable[[float, float], bool]] = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    ">": lambda left, right: left > right,
    "<": lambda left, right: left < right,
    ">=": lambda left, right: left >= right,
    "<=": lambda left, right: left <= right,
}
WORDS: dict[str, Callable[[Any], bool]] = {
    "IS NULL": lambda value: value is None,
    "IS TRUE": lambda value: value is True,
    "IS FALSE": lambda value: value is False,
    "NOT EXISTS": lambda value: value is NOTHING,
}


def _make_word_condition(path: str, words: str) -> Callable[[Any], bool]:
    if words not in WORDS:
        raise _make_pattern_error(f"unexpected '{words}'.")
    condition = WORDS[words]
    return lambda value: condition(_find_field_of_json(value, path))


def _make_comparison(path: str, sign: str, kind: str, given: str) -> Callable[[Any], bool]:
    if kind not in {"text", "word"}:
        raise _make_pattern_error(f"unexpected '{given}'.")
    number = _read_number(given) if kind == "word" else None
    if number is not None:
        compare = COMPARE[sign]

        def compare_json_field(value: Any) -> bool:
            found = _find_field_of_json(value, path)
            is_number = isinstance(found, int | float) and not isinstance(found, bool)
            return is_number and compare(found, number)

        return compare_json_field
    if sign not in {"=", "!="}:
        raise _make_pattern_error(f"'{sign}' compares numbers, and '{given}' is not a number.")
    if given.startswith("%"):
        is_like: Callable[[str], Any] = _make_regular_expression(given).search
    else:
        text = _remove_quotes(given) if kind == "text" else given
        is_like = re.compile(fnmatch.translate(text.replace("[", "[[]").replace("?", "[?]"))).match

    def is_json_field_equal(value: Any) -> bool:
        found = _find_field_of_json(value, path)
        if found is NOTHING:
            return False
        shown = found if isinstance(found, str) else json.dumps(found)
        return bool(is_like(shown)) == (sign == "=")

    return is_json_field_equal


def _read_number(text: str) -> float | None:
    # Python would also read the words "nan" and "infinity" as numbers.
    return float(text) if NUMBER.fullmatch(text) else None


def _find_field_of_json(value: Any, path: str) -> Any:
    for name, index, quoted in STEP.findall(path):
        if index:
            is_there = isinstance(value, list) and int(index) < len(value)
            value = value[int(index)] if is_there else NOTHING
        else:
            value = value.get(name or quoted, NOTHING) if isinstance(value, dict) else NOTHING
    return value
