"""What IAM policies allow: the decision of one account's identity policies.

Source: the IAM user guide, "Policy evaluation logic" and "IAM JSON policy elements: Condition".
An explicit denial wins; what nothing allows is denied.  A condition that is not understood lets
nothing through: it fails an ``Allow`` and fulfils a ``Deny``.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Json = dict[str, Any]
IF_EXISTS = "IfExists"


def allows(
    documents: Iterable[str],
    action: str,
    resource: str,
    context: Mapping[str, str] | None = None,
) -> bool:
    """Whether the policies together allow an action.

    Args:
        documents: Policies as JSON.
        action: For example ``s3:GetObject``.
        resource: ARN; ``*`` where the action knows none.
        context: Condition keys of the request, for example ``{"s3:prefix": "artifacts/"}``.
    """
    known = {key.lower(): value for key, value in (context or {}).items()}
    effects = {
        statement["Effect"]
        for document in documents
        for statement in _listed(json.loads(document)["Statement"])
        if _applies(statement, action, resource, known)
    }
    return effects == {"Allow"}


def _applies(statement: Json, action: str, resource: str, context: Mapping[str, str]) -> bool:
    return (
        _is_named(statement, "Action", action.lower(), str.lower)
        and _is_named(statement, "Resource", resource, str)
        and _conditions_hold(statement, context)
    )


def _is_named(statement: Json, element: str, value: str, fold: Callable[[str], str]) -> bool:
    """Whether ``Action`` or ``Resource`` names a value, or their ``Not…`` does not."""
    is_negated = f"Not{element}" in statement
    patterns = _listed(statement.get(f"Not{element}" if is_negated else element, []))
    return any(_matches(fold(pattern), value) for pattern in patterns) != is_negated


def _conditions_hold(statement: Json, context: Mapping[str, str]) -> bool:
    return all(
        _holds(operator, context.get(key.lower()), _listed(wanted), statement["Effect"])
        for operator, keys in statement.get("Condition", {}).items()
        for key, wanted in keys.items()
    )


def _holds(operator: str, actual: str | None, wanted: list[Any], effect: str) -> bool:
    plain = operator.removesuffix(IF_EXISTS)
    if actual is None:
        return operator.endswith(IF_EXISTS) or plain.startswith("StringNot")
    values = [str(one).lower() if isinstance(one, bool) else str(one) for one in wanted]
    match plain:
        case "StringEquals":
            return actual in values
        case "StringNotEquals":
            return actual not in values
        case "StringLike" | "ArnLike" | "ArnEquals":
            return any(_matches(value, actual) for value in values)
        case "StringNotLike":
            return not any(_matches(value, actual) for value in values)
        case "Bool":
            return actual.lower() in values
        case _:
            return effect == "Deny"


def _matches(pattern: str, value: str) -> bool:
    return _compiled(pattern).fullmatch(value) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"([*?])", pattern)
    wild = {"*": ".*", "?": "."}
    return re.compile("".join(wild.get(part) or re.escape(part) for part in parts), re.DOTALL)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
