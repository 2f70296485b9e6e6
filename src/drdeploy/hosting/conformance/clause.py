"""What a clause of the contract is, and the verdicts that it can give on an image."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.conformance.inspection import ImageInspection


class Severity(StrEnum):
    """How much depends on a clause."""

    MUST = "must"
    """An image that fails it may not start, or may lose requests."""
    SHOULD = "should"
    """An image that fails it runs, but clients or operators are worse off."""
    OPTIONAL = "optional"
    """For information."""


class ClauseOutcome(StrEnum):
    """The outcome of checking a clause."""

    PASS = "pass"  # noqa: S105  an outcome
    FAIL = "fail"
    SKIP = "skip"
    """It could not be checked; the evidence says why."""
    NOT_APPLICABLE = "not_applicable"
    """It does not apply to this image, or not with this request body."""


@dataclass(frozen=True)
class ConformanceVerdict:
    """An outcome with its evidence: one sentence with figures."""

    outcome: ClauseOutcome
    evidence: str


def passed(evidence: str) -> ConformanceVerdict:
    """Say that the clause is fulfilled."""
    return ConformanceVerdict(ClauseOutcome.PASS, evidence)


def failed(evidence: str) -> ConformanceVerdict:
    """Say that the clause is not fulfilled."""
    return ConformanceVerdict(ClauseOutcome.FAIL, evidence)


def passed_if(is_fulfilled: bool, evidence: str) -> ConformanceVerdict:
    """Say whether the clause is fulfilled, with the same evidence for both."""
    return passed(evidence) if is_fulfilled else failed(evidence)


def not_applicable(evidence: str) -> ConformanceVerdict:
    """Say that the clause does not apply."""
    return ConformanceVerdict(ClauseOutcome.NOT_APPLICABLE, evidence)


@dataclass(frozen=True)
class Clause:
    """One sentence of the contract, and how it is checked.

    Attributes:
        id: Stable, for programs and ``--only``.
        title: The sentence.
        severity: How much depends on it.
        source: The document that demands it.
        check: Compares observations with it.  Raises
            :class:`~drdeploy.hosting.conformance.inspection.Undetermined` where they do not tell.
    """

    id: str
    title: str
    severity: Severity
    source: str
    check: Callable[[ImageInspection], ConformanceVerdict]


def clause(
    severity: Severity, source: str
) -> Callable[[Callable[[ImageInspection], ConformanceVerdict]], Clause]:
    """Decorate a check to make it a clause: its name becomes the id, its docstring the title."""

    def make(check: Callable[[ImageInspection], ConformanceVerdict]) -> Clause:
        title = " ".join((check.__doc__ or "").split()).rstrip(".")
        return Clause(check.__name__.replace("_", "-"), title, severity, source, check)

    return make
