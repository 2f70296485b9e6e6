"""What a clause of the contract is, and what can be said of an image in view of it."""

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
    """The host promises nothing to an image that fails it: it may not start, or lose requests."""
    SHOULD = "should"
    """It runs, but clients or operators are worse off."""
    OPTIONAL = "optional"
    """For information."""


class ClauseOutcome(StrEnum):
    """What was found."""

    PASS = "pass"  # noqa: S105  an outcome
    FAIL = "fail"
    SKIP = "skip"
    """Cannot be judged; the evidence says why."""
    NOT_APPLICABLE = "not_applicable"
    """Says nothing about this image, or not with this body."""


@dataclass(frozen=True)
class ConformanceVerdict:
    """An outcome with its evidence: one sentence with figures."""

    outcome: ClauseOutcome
    evidence: str


def passed(evidence: str) -> ConformanceVerdict:
    """The clause is kept."""
    return ConformanceVerdict(ClauseOutcome.PASS, evidence)


def failed(evidence: str) -> ConformanceVerdict:
    """The clause is not kept."""
    return ConformanceVerdict(ClauseOutcome.FAIL, evidence)


def judged(is_kept: bool, evidence: str) -> ConformanceVerdict:
    """Kept or not, with the same evidence for both."""
    return passed(evidence) if is_kept else failed(evidence)


def not_applicable(evidence: str) -> ConformanceVerdict:
    """The clause says nothing here."""
    return ConformanceVerdict(ClauseOutcome.NOT_APPLICABLE, evidence)


class Undetermined(Exception):
    """A clause cannot be judged, mostly because another one is not kept."""


@dataclass(frozen=True)
class Clause:
    """One sentence of the contract and how it is checked.

    Attributes:
        id: Stable, for programs and ``--only``.
        title: The sentence.
        severity: How much depends on it.
        source: Who says so.
        judge: Looks at what was observed.  Raises :class:`Undetermined` where that says nothing.
    """

    id: str
    title: str
    severity: Severity
    source: str
    judge: Callable[[ImageInspection], ConformanceVerdict]


def clause(
    severity: Severity, source: str
) -> Callable[[Callable[[ImageInspection], ConformanceVerdict]], Clause]:
    """Make a judge a clause: its name is the id, its docstring the title."""

    def make(judge: Callable[[ImageInspection], ConformanceVerdict]) -> Clause:
        title = " ".join((judge.__doc__ or "").split()).rstrip(".")
        return Clause(judge.__name__.replace("_", "-"), title, severity, source, judge)

    return make
