"""Compute the columns by which the database sorts and filters the worklist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drdeploy.clinic.referral_rules import OUTCOMES
from drdeploy.grader.grading.grade import ICDR_CLASSES

if TYPE_CHECKING:
    from collections.abc import Mapping

_GRADED, _UNGRADABLE, _WAITING = range(3)
_PART = 10**16
_OUTCOME = 10**15
_GRADE = 10**14
_SEVERE = 10**7
_SHARE = 10**6
"""Probabilities are multiplied by this number and rounded to whole numbers before they are
compared. Six decimal places of each probability are therefore compared.
"""
WAITING_FROM = _WAITING * _PART
"""The smallest urgency number of a study that waits to be graded."""


def compute_urgency_columns(
    state: str,
    outcome: str | None = None,
    eyes: Mapping[str, Mapping[str, Any]] | None = None,
    decided_outcome: str | None = None,
) -> dict[str, Any]:
    """Return the columns that give a study its place in the worklist.

    Args:
        state: ``waiting``, ``graded`` or ``failed``.
        outcome: The outcome that the grader suggests.
        eyes: The grades of each eye.
        decided_outcome: The outcome that a person decided on, or None.
    """
    if state != "graded":  # a waiting study may have an outdated outcome
        outcome = eyes = decided_outcome = None
    final = decided_outcome or outcome
    return {
        "urgency": _measure_urgency(state, final or "", eyes or {}),
        "final_outcome": final,
        "is_decided": decided_outcome is not None,
    }


def _measure_urgency(state: str, outcome: str, eyes: Mapping[str, Mapping[str, Any]]) -> int:
    """Return a number by which studies are sorted; the most urgent study has the smallest number.

    Studies are sorted by these five values, in this order: the state (graded, ungradable or
    waiting), the outcome, the grade of the worse eye, the probability of severe retinopathy or
    worse, and the probability of moderate retinopathy or worse. Each value takes some digits of the
    number.
    """
    if state == "waiting":
        part = _WAITING
    else:
        part = _GRADED if any(eye["gradable"] for eye in eyes.values()) else _UNGRADABLE
    order: list[str] = [*OUTCOMES]
    rank = order.index(outcome) if outcome in order else len(order)
    grade, severe, moderate = max(
        (_measure_severity(eye) for eye in eyes.values()), default=(-1, 0, 0)
    )
    return (
        part * _PART
        + rank * _OUTCOME
        + (len(ICDR_CLASSES) - 1 - grade) * _GRADE
        + (_SHARE - severe) * _SEVERE
        + (_SHARE - moderate)
    )


def _measure_severity(eye: Mapping[str, Any]) -> tuple[int, int, int]:
    if eye.get("grade") is None:
        return (-1, 0, 0)
    shares = eye.get("probabilities") or [0.0] * len(ICDR_CLASSES)
    severe, moderate = (min(max(sum(shares[least:]), 0.0), 1.0) for least in (3, 2))
    return (int(eye["grade"]), round(_SHARE * severe), round(_SHARE * moderate))


def casefold_patient_number(patient: str) -> str:
    """Return the number of a patient, case-folded for searches.

    Args:
        patient: The patient, written as the issuer of the number, a line break, and the number.
    """
    return patient.partition("\n")[2].casefold()
