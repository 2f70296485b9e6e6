"""Parse an expression of metric math into a tree of operators and function calls.

Source: CloudWatch user guide, "Using math expressions with CloudWatch metrics".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.hosting.local.monitoring.monitoring_errors import make_validation_error

if TYPE_CHECKING:
    from collections.abc import Sequence

TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)
    | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|“[^”]*”)
    | (?P<name>[A-Za-z_]\w*)
    | (?P<sign><=|>=|==|!=|&&|\|\||[-+*/^<>()\[\],])
    )""",
    re.VERBOSE,
)
BINDING = {
    "||": 1, "&&": 2,
    "==": 3, "!=": 3, "<": 3, ">": 3, "<=": 3, ">=": 3,
    "+": 4, "-": 4, "*": 5, "/": 5, "^": 7,
}  # fmt: skip
"""The precedence of each operator; a minus sign in front of a value has precedence 6."""
UNARY_BINDING = 6
WORDS = {"AND": "&&", "OR": "||"}
DEPTH_MAX = 50
"""How deep an expression may be nested, so that no request exhausts the stack."""


@dataclass(frozen=True)
class Number:
    """A number."""

    value: float


@dataclass(frozen=True)
class Text:
    """A string in quotation marks."""

    value: str


@dataclass(frozen=True)
class Name:
    """The id of a metric or expression, or a word such as ``REPEAT``."""

    value: str


@dataclass(frozen=True)
class Operation:
    """An operator with one or two operands."""

    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True)
class Call:
    """A function with its arguments."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class Group:
    """Expressions in square brackets, such as ``[m1, m2]``: an array of time series."""

    members: tuple[Node, ...]


Node = Number | Text | Name | Operation | Call | Group


def parse_expression(text: str) -> Node:
    """Return the tree of an expression.

    Raises:
        MonitoringError: The expression cannot be read.
    """
    parser = _ExpressionParser(_split_into_tokens(text))
    node = parser.parse_operation(0)
    if parser.next_kind:
        raise make_validation_error(f"unexpected '{parser.next_symbol}'")
    return node


def _split_into_tokens(text: str) -> list[tuple[str, str]]:
    tokens = []
    place = 0
    text = text.rstrip()
    while place < len(text):
        found = TOKEN.match(text, place)
        if found is None:
            raise make_validation_error(f"unexpected '{text[place:].strip()[:1]}'")
        kind = str(found.lastgroup)
        token = found[kind]
        if kind == "name" and token in WORDS:
            kind, token = "sign", WORDS[token]
        tokens.append((kind, token))
        place = found.end()
    return tokens


class _ExpressionParser:
    """Builds the tree of an expression (V. Pratt, "Top Down Operator Precedence", 1973)."""

    def __init__(self, tokens: Sequence[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._place = 0
        self._depth = 0

    @property
    def next_kind(self) -> str:
        return self._tokens[self._place][0] if self._place < len(self._tokens) else ""

    @property
    def next_symbol(self) -> str:
        return self._tokens[self._place][1] if self._place < len(self._tokens) else ""

    def parse_operation(self, binding: int) -> Node:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise make_validation_error("the expression is nested too deeply")
        node = self._parse_operand()
        while self.next_kind == "sign" and BINDING.get(self.next_symbol, 0) > binding:
            operator = self._take_symbol()
            node = Operation(operator, (node, self.parse_operation(BINDING[operator])))
        self._depth -= 1
        return node

    def _parse_operand(self) -> Node:
        kind, symbol = self.next_kind, self._take_symbol()
        if kind == "number":
            return Number(float(symbol))
        if kind == "text":
            return Text(re.sub(r"\\(.)", r"\1", symbol[1:-1]))
        if kind == "name":
            if self.next_symbol != "(":
                return Name(symbol)
            self._take_symbol()
            return Call(symbol, self._parse_list_members(")"))
        if symbol == "-":
            return Operation("-", (self.parse_operation(UNARY_BINDING),))
        if symbol == "[":
            return Group(self._parse_list_members("]"))
        if symbol == "(":
            node = self.parse_operation(0)
            self._take_expected_symbol(")")
            return node
        raise make_validation_error(f"unexpected '{symbol}'" if symbol else "unexpected end")

    def _parse_list_members(self, end: str) -> tuple[Node, ...]:
        members: list[Node] = []
        while self.next_symbol != end or not self.next_kind:
            if members:
                self._take_expected_symbol(",")
            members.append(self.parse_operation(0))
        self._take_symbol()
        return tuple(members)

    def _take_expected_symbol(self, symbol: str) -> None:
        if self.next_kind != "sign" or self.next_symbol != symbol:
            raise make_validation_error(f"'{symbol}' is missing")
        self._take_symbol()

    def _take_symbol(self) -> str:
        symbol = self.next_symbol
        self._place += 1
        return symbol
