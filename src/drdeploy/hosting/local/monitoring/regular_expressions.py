"""Search text with CloudWatch Logs' regular expressions, in time proportional to the text.

Source: CloudWatch Logs user guide, "Supported regular expressions (regex) syntax". The syntax has
no parentheses. An expression is a list of alternatives, and each alternative is a list of
characters with quantifiers. There are many ways to match such a list, and Python's ``re`` tries one
after another. For ``.*a.*a.*a.*b`` and a line of a few thousand characters, ``re`` takes hours.
This module reads a line once, and follows all ways at the same time (Thompson, 1968). It remembers
the transitions that it has computed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise

POSITIONS_MAX = 1000
"""The largest number of characters of an expression, after ``a{3}`` is written as ``aaa``."""
TRANSITIONS_MAX = 20_000
"""The largest number of transitions that are remembered, so that no text fills the memory."""
_PIECE = re.compile(
    r"""(?P<character>\\x[0-9a-fA-F]{2}|\\[dDsSwWtnr]|\\[^\w\s]|\[\^?\]?(?:\\.|[^\]\\])*\]|[^\\\[\](){}*+?|])
        (?P<quantifier>[*+?]|\{\d{1,3}(?:,\d{0,3})?\})?""",
    re.VERBOSE,
)
_END = -1

_State = tuple[int, int]
"""A state: the index of an alternative, and the index of its character that must match next."""


class ExpressionRefused(ValueError):
    """The regular expression is not supported; the message says why."""


@dataclass(frozen=True)
class _Character:
    pattern: re.Pattern[str]
    is_optional: bool
    is_repeated: bool


@dataclass(frozen=True)
class _Alternative:
    characters: tuple[_Character, ...]
    is_at_start: bool
    is_at_end: bool


@dataclass
class RegularExpression:
    """A compiled expression; see :func:`compile_expression`."""

    _alternatives: tuple[_Alternative, ...]
    _transitions: dict[tuple[frozenset[_State], str], frozenset[_State]] = field(
        default_factory=dict
    )

    def search(self, text: str) -> bool:
        """Return whether a part of a string matches."""
        again = frozenset(
            state
            for number, one in enumerate(self._alternatives)
            if not one.is_at_start
            for state in self._add_states_after_optional_characters(number, 0)
        )
        states = again.union(
            state
            for number, one in enumerate(self._alternatives)
            if one.is_at_start
            for state in self._add_states_after_optional_characters(number, 0)
        )
        for character in text:
            if self._has_match(states, is_end=False):
                return True
            states = self._find_states_after_character(states, character) | again
        return self._has_match(states, is_end=True)

    def _has_match(self, states: frozenset[_State], *, is_end: bool) -> bool:
        return any(
            place == _END and (is_end or not self._alternatives[number].is_at_end)
            for number, place in states
        )

    def _find_states_after_character(
        self, states: frozenset[_State], character: str
    ) -> frozenset[_State]:
        known = self._transitions.get((states, character))
        if known is None:
            known = frozenset(
                after
                for number, place in states
                if place != _END
                for after in self._find_next_states(number, place, character)
            )
            if len(self._transitions) >= TRANSITIONS_MAX:
                self._transitions.clear()
            self._transitions[states, character] = known
        return known

    def _find_next_states(self, number: int, place: int, character: str) -> list[_State]:
        expected = self._alternatives[number].characters[place]
        if not expected.pattern.fullmatch(character):
            return []
        repeated = [(number, place)] if expected.is_repeated else []
        return repeated + self._add_states_after_optional_characters(number, place + 1)

    def _add_states_after_optional_characters(self, number: int, place: int) -> list[_State]:
        """Return the states that can be reached from a state by skipping optional characters."""
        characters = self._alternatives[number].characters
        states = []
        while place < len(characters):
            states.append((number, place))
            if not characters[place].is_optional:
                return states
            place += 1
        return [*states, (number, _END)]


def compile_expression(text: str) -> RegularExpression:
    """Compile a regular expression of CloudWatch Logs.

    Raises:
        ExpressionRefused: The expression has parentheses or more than ``POSITIONS_MAX`` characters,
            or cannot be read.
    """
    bars = [-1, *_find_alternation_bars(text), len(text)]
    parts = [text[before + 1 : after] for before, after in pairwise(bars)]
    alternatives = tuple(map(_parse_alternative, parts))
    if sum(len(one.characters) for one in alternatives) > POSITIONS_MAX:
        raise ExpressionRefused(f"it has more than {POSITIONS_MAX} characters")
    return RegularExpression(alternatives)


def _find_alternation_bars(text: str) -> list[int]:
    """Return the positions of the bars between alternatives, and refuse parentheses."""
    bars, place = [], 0
    while place < len(text):
        if text[place] in "()":
            raise ExpressionRefused("CloudWatch Logs does not support parentheses")
        if text[place] == "|":
            bars.append(place)
            place += 1
            continue
        found = _PIECE.match(text, place)
        if found is None:
            raise ExpressionRefused(f"'{text[place]}' is out of place")
        place = found.end()
    return bars


def _parse_alternative(text: str) -> _Alternative:
    is_at_start, is_at_end = text.startswith("^"), text.endswith("$") and not text.endswith(r"\$")
    inner = text[is_at_start : len(text) - is_at_end]
    characters: list[_Character] = []
    for found in _PIECE.finditer(inner):
        if found["character"] in {"^", "$"}:
            raise ExpressionRefused(f"'{found['character']}' is out of place")
        try:
            pattern = re.compile(found["character"], re.DOTALL)
        except re.error as err:
            raise ExpressionRefused(str(err)) from err
        characters += _repeat_character(pattern, found["quantifier"] or "{1}")
        if len(characters) > POSITIONS_MAX:
            raise ExpressionRefused(f"it has more than {POSITIONS_MAX} characters")
    return _Alternative(tuple(characters), is_at_start, is_at_end)


def _repeat_character(pattern: re.Pattern[str], quantifier: str) -> list[_Character]:
    least, comma, most = {"*": "0,", "+": "1,", "?": "0,1"}.get(
        quantifier, quantifier.strip("{}")
    ).partition(",")
    required = [_Character(pattern, is_optional=False, is_repeated=False)] * int(least)
    if not comma:
        return required
    if not most:
        return [*required, _Character(pattern, is_optional=True, is_repeated=True)]
    if int(most) < int(least):
        raise ExpressionRefused(f"the maximum of {quantifier} is less than its minimum")
    optional = _Character(pattern, is_optional=True, is_repeated=False)
    return required + [optional] * (int(most) - int(least))
