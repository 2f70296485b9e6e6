"""Evaluate the JSONPath expressions of Batch Transform's filters.

SageMaker supports a subset of JSONPath: ``$``, ``.name``, ``*``, ``['name', 'name']``, ``[1, -1]``
and ``[2:5]``. The source is the developer guide ("Associate Prediction Results with Input Records",
"Supported JSONPath Operators"). According to the guide, a slice includes its last element, unlike a
slice of Python. An index outside of the data is an error. Any other operator is refused with a
message that names the operator.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from typing import Any, Self

_NAME = re.compile(r"[^\s.\[\]'\"*$?@(),:]+")
_QUOTED = re.compile(r"'([^']*)'")
_INDEX = re.compile(r"-?\d{1,9}")
_SLICE = re.compile(r"(-?\d{1,9})?\s*:\s*(-?\d{1,9})?")
REPEATS_MAX = 16
"""How often a path may select the same part of the data; each repetition takes memory and time."""
_UNSERVED = {
    "..": "the recursive descent '..'",
    "?": "a filter expression '?()'",
    "@": "the current element '@'",
    "(": "a script or function '()'",
    '"': "a name in double quotes instead of single quotes",
}


class JsonPathRefused(ValueError):
    """A JSONPath expression is not allowed; the message says why."""


class JsonPathMismatch(LookupError):
    """A JSONPath expression does not fit the data."""


@dataclass(frozen=True)
class _Names:
    names: tuple[str, ...]


@dataclass(frozen=True)
class _Items:
    parts: tuple[int | tuple[int | None, int | None], ...]


@dataclass(frozen=True)
class _Wildcard:
    pass


@dataclass(frozen=True)
class JsonPath:
    """A JSONPath expression of SageMaker's subset.

    Attributes:
        text: The expression.
    """

    text: str
    _steps: tuple[_Names | _Items | _Wildcard, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse an expression.

        Raises:
            JsonPathRefused: The expression has an operator that SageMaker does not support, or it
                could select the same data too many times.
        """
        if not text.startswith("$"):
            raise JsonPathRefused(f"The JSONPath {text!r} does not begin with $")
        steps = []
        position = 1
        while position < len(text):
            step, position = _parse_step(text, position)
            steps.append(step)
        repeats = math.prod(
            _count_repeated_brackets(one) for one in steps if isinstance(one, _Items)
        )
        if repeats > REPEATS_MAX:
            raise JsonPathRefused(
                f"The JSONPath {text[:60]!r} can select the same part of the data {repeats} "
                f"times. The local service allows at most {REPEATS_MAX} times"
            )
        return cls(text, tuple(steps))

    @property
    def is_whole(self) -> bool:
        """Whether the expression selects everything."""
        return not self._steps

    @property
    def has_names(self) -> bool:
        """Whether the expression selects members by name; columns of a CSV file have no names."""
        return any(isinstance(step, _Names) for step in self._steps)

    def select_values(self, value: Any) -> Any:
        """Return the part of a value that the expression selects.

        Raises:
            JsonPathMismatch: The value does not contain the part.
        """
        nodes, has_several = [value], False
        for step in self._steps:
            if isinstance(step, _Names):
                nodes = [self._select_names(node, step.names) for node in nodes]
            elif isinstance(step, _Items):
                has_several |= len(step.parts) > 1 or isinstance(step.parts[0], tuple)
                nodes = [item for node in nodes for item in self._select_items(node, step.parts)]
            else:
                has_several = True
                nodes = [child for node in nodes for child in self._list_children(node)]
        return nodes if has_several else nodes[0]

    def _select_names(self, node: Any, names: tuple[str, ...]) -> Any:
        if not isinstance(node, dict):
            raise self._make_mismatch_error(f"there is no object with a member {names[0]!r}")
        if len(names) == 1:
            if names[0] not in node:
                raise self._make_mismatch_error(f"there is no member {names[0]!r}")
            return node[names[0]]
        found = {name: node[name] for name in names if name in node}
        if not found:
            raise self._make_mismatch_error(f"there is none of the members {', '.join(names)}")
        return found

    def _select_items(
        self, node: Any, parts: tuple[int | tuple[int | None, int | None], ...]
    ) -> list[Any]:
        if not isinstance(node, list):
            raise self._make_mismatch_error("an index needs a list, but the value is not a list")
        chosen: list[Any] = []
        for part in parts:
            if isinstance(part, tuple):
                first = self._find_position_in_list(node, 0 if part[0] is None else part[0])
                last = self._find_position_in_list(node, -1 if part[1] is None else part[1])
                chosen += node[first : last + 1]
            else:
                chosen.append(node[self._find_position_in_list(node, part)])
        return chosen

    def _find_position_in_list(self, node: list[Any], index: int) -> int:
        position = index + len(node) if index < 0 else index
        if not 0 <= position < len(node):
            raise self._make_mismatch_error(
                f"index {index} is outside the list of {len(node)} elements"
            )
        return position

    def _list_children(self, node: Any) -> list[Any]:
        if isinstance(node, dict):
            return list(node.values())
        if isinstance(node, list):
            return node
        raise self._make_mismatch_error("* needs a list or an object, but the value is neither")

    def _make_mismatch_error(self, problem: str) -> JsonPathMismatch:
        return JsonPathMismatch(f"The JSONPath {self.text} does not fit the data: {problem}")


def _parse_step(text: str, position: int) -> tuple[_Names | _Items | _Wildcard, int]:
    if text.startswith("..", position):
        raise _make_expression_error(text, _UNSERVED[".."])
    if text[position] == ".":
        position += 1
        if text.startswith("*", position):
            return _Wildcard(), position + 1
        if not text.startswith("[", position):
            found = _NAME.match(text, position)
            if not found:
                raise _make_expression_error(
                    text, _describe_unsupported_character(text[position : position + 1])
                )
            if text.startswith("(", found.end()):
                raise _make_expression_error(text, _UNSERVED["("])
            return _Names((found[0],)), found.end()
    if text[position] != "[":
        raise _make_expression_error(text, _describe_unsupported_character(text[position]))
    return _parse_brackets(text, position + 1)


def _parse_brackets(text: str, begin: int) -> tuple[_Names | _Items | _Wildcard, int]:
    # A name may contain a bracket, but no quotation mark.
    inner = re.compile(r"(?:'[^']*'|[^'\]])*\]").match(text, begin)
    if not inner:
        raise _make_expression_error(text, "a bracket that is not closed")
    content = inner[0][:-1].strip()
    if content == "*":
        return _Wildcard(), inner.end()
    if _QUOTED.match(content):
        names = _QUOTED.findall(content)
        if not re.fullmatch(r"\s*'[^']*'(\s*,\s*'[^']*')*\s*", content):
            raise _make_expression_error(text, f"the brackets [{content}]")
        return _Names(tuple(names)), inner.end()
    parts: list[int | tuple[int | None, int | None]] = []
    for part in (one.strip() for one in content.split(",")):
        sliced = _SLICE.fullmatch(part)
        if _INDEX.fullmatch(part):
            parts.append(int(part))
        elif sliced:
            first, last = (None if end is None else int(end) for end in sliced.groups())
            parts.append((first, last))
        elif part.count(":") > 1:
            raise _make_expression_error(text, f"the step of the slice [{part}]")
        else:
            raise _make_expression_error(
                text, _describe_unsupported_character(part[:1]) if part else "empty brackets"
            )
    return _Items(tuple(parts)), inner.end()


def _count_repeated_brackets(step: _Items) -> int:
    """Return how often, at most, brackets such as ``[0, -1, 0:5]`` can select the same element.

    A negative index, or a slice without a start or an end, selects other elements if the list is
    longer. The result is the maximum over all lengths.
    """
    moving = 0
    edges: dict[bool, list[tuple[int, int]]] = {False: [], True: []}
    for part in step.parts:
        first, last = part if isinstance(part, tuple) else (part, part)
        if first is None or last is None or (first < 0) != (last < 0):
            moving += 1
        elif first <= last:
            edges[first < 0] += [(first, 1), (last + 1, -1)]
    fixed = [
        max(itertools.accumulate(change for _, change in sorted(side)), default=0)
        for side in edges.values()
    ]
    return max(1, moving + sum(fixed))


def _describe_unsupported_character(char: str) -> str:
    return _UNSERVED.get(char, f"{char!r}" if char else "a dot without a name")


def _make_expression_error(text: str, problem: str) -> JsonPathRefused:
    return JsonPathRefused(
        f"SageMaker does not support {problem} in the JSONPath {text!r}. SageMaker supports $, "
        ".name, *, ['name','name'], [1,-1] and [2:5]"
    )
