"""Find metrics by the text of a ``SEARCH`` function in metric math.

Source: CloudWatch user guide, "CloudWatch search expression syntax". The text may begin with a
schema in braces, ``{AWS/SageMaker,EndpointName,VariantName}``. A search with a schema finds only
metrics with exactly this namespace and these dimensions. After the schema come terms, connected by
``AND``, ``OR``, ``NOT`` and parentheses. Two terms side by side must both match. A term in
quotation marks must equal a whole name or value. Without quotation marks, each word of the term
must match a word of one name or value, regardless of case. A term may begin with ``MetricName=``,
``Namespace=`` or the name of a dimension and ``=``. The rest of the term is then compared only with
the metric's name, with its namespace, or with the value of this dimension.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from drdeploy.hosting.local.monitoring.monitoring_errors import make_validation_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.local.monitoring.metric_store import MetricIdentity

SCHEMA = re.compile(r"\s*\{([^}]*)\}")
TERM = re.compile(
    r"""\s*(?:(?P<sign>[()])|(?P<key>[\w:./-]+)\s*=\s*(?P<value>"[^"]*"|[^\s()"]+|(?=\())"""
    r"""|(?P<term>"[^"]*"|[^\s()"]+))"""
)
DEPTH_MAX = 50
"""How deep a search may be nested, so that no request exhausts the stack."""
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def make_search_condition(text: str) -> Callable[[MetricIdentity], bool]:
    """Return a function that takes a metric, and tells whether the search finds it.

    Raises:
        MonitoringError: The text cannot be read.
    """
    schema = SCHEMA.match(text)
    matches = _SearchParser(text[schema.end() :] if schema else text).parse_whole()
    if schema is None:
        return matches
    namespace, *dimensions = (one.strip().strip('"') for one in schema[1].split(","))

    def matches_schema(metric: MetricIdentity) -> bool:
        names = {name for name, _ in metric.dimensions}
        return metric.namespace == namespace and names == set(dimensions) and matches(metric)

    return matches_schema


class _SearchParser:
    """Reads the terms of a search; ``NOT`` binds most tightly, and ``OR`` least tightly."""

    def __init__(self, text: str) -> None:
        self._terms: list[re.Match[str]] = []
        place = 0
        text = text.rstrip()
        while place < len(text):
            found = TERM.match(text, place)
            if found is None:
                raise make_validation_error(f"SEARCH() cannot read '{text[place:].strip()}'")
            self._terms.append(found)
            place = found.end()
        self._place = 0
        self._depth = 0

    def parse_whole(self) -> Callable[[MetricIdentity], bool]:
        if not self._terms:
            return lambda _: True
        condition = self._parse_or()
        if self._place < len(self._terms):
            raise make_validation_error("SEARCH() has a ')' without a '('")
        return condition

    def _peek_at_token(self) -> str:
        return self._terms[self._place][0].strip() if self._place < len(self._terms) else ""

    def _parse_or(self) -> Callable[[MetricIdentity], bool]:
        options = [self._parse_and()]
        while self._peek_at_token() == "OR":
            self._place += 1
            options.append(self._parse_and())
        return lambda metric: any(one(metric) for one in options)

    def _parse_and(self) -> Callable[[MetricIdentity], bool]:
        parts = [self._parse_single_term()]
        while self._peek_at_token() not in {"", ")", "OR"}:
            if self._peek_at_token() == "AND":
                self._place += 1
            parts.append(self._parse_single_term())
        return lambda metric: all(one(metric) for one in parts)

    def _parse_one_level_deeper(
        self, parse: Callable[[], Callable[[MetricIdentity], bool]]
    ) -> Callable[[MetricIdentity], bool]:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise make_validation_error("SEARCH() is nested too deeply")
        condition = parse()
        self._depth -= 1
        return condition

    def _parse_single_term(self) -> Callable[[MetricIdentity], bool]:
        if self._place >= len(self._terms) or self._peek_at_token() == ")":
            raise make_validation_error("SEARCH() lacks a term")
        term = self._terms[self._place]
        self._place += 1
        if term[0].strip() == "NOT":
            excluded = self._parse_one_level_deeper(self._parse_single_term)
            return lambda metric: not excluded(metric)
        if term["sign"]:
            condition = self._parse_one_level_deeper(self._parse_or)
            if self._peek_at_token() != ")":
                raise make_validation_error("SEARCH() lacks a ')'")
            self._place += 1
            return condition
        if term["key"] is None:
            wanted = term["term"]
            return lambda metric: any(
                _matches_search_term(wanted, one) for one in _list_texts(metric)
            )
        key, value = term["key"], term["value"]
        if not value:
            raise make_validation_error(
                f"The local service does not serve SEARCH() with a group of values after {key}="
            )
        return lambda metric: any(
            _matches_search_term(value, found)
            for name, found in _list_fields(metric)
            if name == key
        )


def _list_fields(metric: MetricIdentity) -> list[tuple[str, str]]:
    return [
        ("MetricName", metric.name),
        ("Namespace", metric.namespace),
        *metric.dimensions,
    ]


def _list_texts(metric: MetricIdentity) -> list[str]:
    named = (text for pair in metric.dimensions for text in pair)
    return [metric.name, metric.namespace, *named]


def _matches_search_term(wanted: str, text: str) -> bool:
    if wanted.startswith('"'):
        return wanted.strip('"') == text
    return _split_into_words(wanted) <= _split_into_words(text) | {text.lower()}


def _split_into_words(text: str) -> set[str]:
    return {one.lower() for one in WORD.findall(text)}
