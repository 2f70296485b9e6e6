"""Define clauses of the contract, and the verdicts that a clause can give on an image."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from drdeploy.hosting.conformance.inspection import ImageInspection


class HostingKind(StrEnum):
    """A way in which SageMaker hosts an image."""

    REAL_TIME = "real-time"
    """An endpoint on instances that always run."""
    SERVERLESS = "serverless"
    """An endpoint whose containers start on demand."""
    BATCH = "batch"
    """A job of Batch Transform."""


ENDPOINTS = (HostingKind.REAL_TIME, HostingKind.SERVERLESS)
"""The kinds of hosting whose clients call InvokeEndpoint."""


class Severity(StrEnum):
    """The severity of a clause, from the highest to the lowest."""

    MUST = "must"
    """An image that fails the clause may be unable to start, or may lose requests."""
    SHOULD = "should"
    """Advice: an image that fails the clause runs, but makes work harder for clients or
    operators."""
    OPTIONAL = "optional"
    """The outcome is for information only."""


class ClauseOutcome(StrEnum):
    """The outcome of checking a clause."""

    PASS = "pass"  # noqa: S105  an outcome
    FAIL = "fail"
    SKIP = "skip"
    """The clause could not be checked; the evidence says why."""
    NOT_APPLICABLE = "not_applicable"
    """The clause does not apply to this image or to this photograph."""


@dataclass(frozen=True)
class ConformanceVerdict:
    """An outcome with its evidence in one sentence."""

    outcome: ClauseOutcome
    evidence: str


def make_passed_verdict(evidence: str) -> ConformanceVerdict:
    """Return the verdict that the clause is fulfilled."""
    return ConformanceVerdict(ClauseOutcome.PASS, evidence)


def make_failed_verdict(evidence: str) -> ConformanceVerdict:
    """Return the verdict that the clause is not fulfilled."""
    return ConformanceVerdict(ClauseOutcome.FAIL, evidence)


def make_passed_or_failed_verdict(is_fulfilled: bool, evidence: str) -> ConformanceVerdict:
    """Return the verdict that the clause is fulfilled, or that it is not."""
    return make_passed_verdict(evidence) if is_fulfilled else make_failed_verdict(evidence)


def make_not_applicable_verdict(evidence: str) -> ConformanceVerdict:
    """Return the verdict that the clause does not apply."""
    return ConformanceVerdict(ClauseOutcome.NOT_APPLICABLE, evidence)


@dataclass(frozen=True)
class Clause:
    """One sentence of the contract, with the function that checks it.

    Attributes:
        id: The name of the clause for programs and ``--only``; never changed.
        title: The requirement of the clause, in one sentence.
        severities: The severity of the clause for each kind of hosting. If a kind of hosting has no
            entry, the clause does not apply to it.
        source: The document that states the requirement, and from which the severities follow.
        check: Function that takes the inspection of an image, and returns the verdict. It raises
            :class:`~drdeploy.hosting.conformance.inspection.Undetermined` if what was observed is
            not enough for a verdict.
    """

    id: str
    title: str
    severities: Mapping[HostingKind, Severity]
    source: str
    check: Callable[[ImageInspection], ConformanceVerdict]

    @property
    def highest_severity(self) -> Severity:
        """The highest severity of the clause for any kind of hosting."""
        return min(self.severities.values(), key=list(Severity).index)


def define_clause(
    clause_id: str, severity: Severity | Mapping[HostingKind, Severity], source: str
) -> Callable[[Callable[[ImageInspection], ConformanceVerdict]], Clause]:
    """Return a decorator that turns a function into a clause, and its docstring into the title.

    A single severity applies to every kind of hosting.
    """
    severities = dict.fromkeys(HostingKind, severity) if isinstance(severity, str) else severity

    def make_clause(check: Callable[[ImageInspection], ConformanceVerdict]) -> Clause:
        title = " ".join((check.__doc__ or "").split()).rstrip(".")
        return Clause(clause_id, title, severities, source, check)

    return make_clause
