"""Check an image against the hosting contract, clause by clause."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drdeploy.errors import EngineError, EngineUnavailable, InvalidInput
from drdeploy.hosting.conformance import (
    bad_request_bodies,
    broken_model,
    conditions,
    image_configuration,
    logs,
    processes,
    requests,
    starting,
    stopping,
    under_load,
)
from drdeploy.hosting.conformance.clause import (
    Clause,
    ClauseOutcome,
    ConformanceVerdict,
    HostingKind,
    Severity,
)
from drdeploy.hosting.conformance.containers import ModelHost
from drdeploy.hosting.conformance.contract import Contract
from drdeploy.hosting.conformance.inspection import ImageInspection, Undetermined
from drdeploy.hosting.conformance.request_bodies import ProbePhotograph
from drdeploy.hosting.container_engine import ContainerEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

SUBJECTS = (
    *(image_configuration, starting, requests, under_load, bad_request_bodies, logs),
    *(broken_model, conditions, processes, stopping),
)
CLAUSES: tuple[Clause, ...] = tuple(
    clause
    for subject in SUBJECTS
    for clause in vars(subject).values()
    if isinstance(clause, Clause)
)
"""All clauses in the order in which they are checked.

The modules are in the order of ``SUBJECTS``; within a module, the order is from top to bottom.
"""


@dataclass(frozen=True)
class ClauseFinding:
    """A clause and its verdict on one image."""

    clause: Clause
    verdict: ConformanceVerdict

    def to_json_document(self) -> dict[str, Any]:
        """Return the finding as a document for ``--json``."""
        return {
            "id": self.clause.id,
            "title": self.clause.title,
            "severity": str(self.clause.highest_severity),
            "severities": {str(kind): str(one) for kind, one in self.clause.severities.items()},
            "source": self.clause.source,
            "outcome": str(self.verdict.outcome),
            "evidence": self.verdict.evidence,
        }


@dataclass(frozen=True)
class ConformanceReport:
    """The findings of all clauses on one image.

    Attributes:
        image: The image's name, as the caller gave it.
        image_id: The image's id, ``sha256:…``.
        memory_mb: Memory limit of the containers, MiB.
        cpus: CPU limit of the containers.
        duration_s: Seconds that the check took.
        findings: One finding for each checked clause, in the order of the clauses.
        hosting: The kinds of hosting for which the image was checked.
    """

    image: str
    image_id: str
    memory_mb: int
    cpus: float
    duration_s: float
    findings: tuple[ClauseFinding, ...]
    hosting: tuple[HostingKind, ...] = tuple(HostingKind)

    @property
    def conforms(self) -> bool:
        """Whether the image conforms to the contract of every kind of hosting that was checked."""
        return all(self.conforms_for(kind) for kind in self.hosting)

    def conforms_for(self, kind: HostingKind) -> bool:
        """Return whether the image fails none of the "must" clauses of a kind of hosting."""
        return not self.failed(Severity.MUST, kind)

    def failed(self, severity: Severity, kind: HostingKind | None = None) -> tuple[str, ...]:
        """Return the ids of the failed clauses that have the given severity for a kind of hosting.

        If no kind of hosting is given, a clause counts with its highest severity for any kind.
        """
        return tuple(
            finding.clause.id
            for finding in self.findings
            if finding.verdict.outcome is ClauseOutcome.FAIL
            and severity
            is (finding.clause.severities.get(kind) if kind else finding.clause.highest_severity)
        )

    @property
    def summary(self) -> str:
        """The number of clauses with each outcome, in one line."""
        counts = Counter(finding.verdict.outcome for finding in self.findings)
        failed = ", ".join(f"{len(self.failed(one))} {one}" for one in Severity)
        return (
            f"{counts[ClauseOutcome.PASS]} passed, {counts[ClauseOutcome.FAIL]} failed ({failed}), "
            f"{counts[ClauseOutcome.SKIP]} skipped, "
            f"{counts[ClauseOutcome.NOT_APPLICABLE]} not applicable, in {self.duration_s:.0f} s"
        )

    def document(self) -> dict[str, Any]:
        """Return the report as a document for ``--json``."""
        return {
            "image": self.image,
            "image_id": self.image_id,
            "conforms": self.conforms,
            "hosting": {
                str(kind): {
                    "conforms": self.conforms_for(kind),
                    **{str(severity): self.failed(severity, kind) for severity in Severity},
                }
                for kind in self.hosting
            },
            "memory_mb": self.memory_mb,
            "cpus": self.cpus,
            "duration_s": round(self.duration_s, 1),
            "clauses": [finding.to_json_document() for finding in self.findings],
        }


def select_clauses_by_id(
    ids: Collection[str], hosting: Collection[HostingKind] = tuple(HostingKind)
) -> tuple[Clause, ...]:
    """Return the clauses with the given ids, or all clauses if no id is given.

    Clauses that apply to none of the given kinds of hosting are left out.

    Raises:
        InvalidInput: No clause has one of the ids, or no clause is left.
    """
    known = [clause.id for clause in CLAUSES]
    for name in ids:
        if name not in known:
            raise InvalidInput(
                f"The clause {name!r} does not exist",
                where="--only",
                remedy=f"Choose from {', '.join(known)}",
            )
    selected = tuple(
        clause
        for clause in CLAUSES
        if (not ids or clause.id in ids) and any(kind in clause.severities for kind in hosting)
    )
    if not selected:
        # Without a clause to fail, every image would conform.
        raise InvalidInput(
            f"None of the clauses to check applies to {' or '.join(hosting)} hosting",
            where="--only, --hosting",
            remedy="Name other clauses or other kinds of hosting",
        )
    return selected


def _parse_hosting_kinds(names: Collection[str]) -> tuple[HostingKind, ...]:
    known = list(HostingKind)
    for name in names:
        if name not in known:
            raise InvalidInput(
                f"The kind of hosting {name!r} does not exist",
                where="--hosting",
                remedy=f"Choose from {', '.join(known)}",
            )
    return tuple(kind for kind in known if not names or kind in names)


def check_conformance(
    image: str,
    artifact: Path | str,
    *,
    photograph: ProbePhotograph | None = None,
    memory_mb: int = 2048,
    cpus: float = 1.0,
    only: Collection[str] = (),
    hosting: Collection[str] = (),
    contract: Contract = Contract(),
    engine: ContainerEngine | None = None,
    begin: Callable[[Clause], None] = lambda _: None,
    end: Callable[[ClauseFinding], None] = lambda _: None,
) -> ConformanceReport:
    """Check a container image against SageMaker's hosting contract, clause by clause.

    ::

        report = check_conformance("my-grader:1.0", "model.tar.gz")
        report.conforms, report.summary

    The containers run in the container engine of this machine, and all are removed before the call
    returns.

    Args:
        image: Name and tag of an image that the engine holds, or its id.
        artifact: A ``model.tar.gz`` that the image can load.
        photograph: A photograph that the image can grade; a synthetic photograph if None.
        memory_mb: Memory limit of each container, MiB.
        cpus: CPU limit of each container, in vCPUs.
        only: Ids of the clauses to check; all clauses are checked if empty.
        hosting: The kinds of hosting for which the image is checked; all kinds if empty.
        contract: The time and size limits of the contract.
        engine: The container engine; None means the one that Docker's command line would use.
        begin: Called with each clause before it is checked.
        end: Called after each clause is checked, with the finding on that clause.

    Raises:
        InvalidInput: The image, a clause or a kind of hosting does not exist, or a memory or CPU
            limit is invalid.
        ArtifactError: The artifact is not a readable archive.
        EngineError: No container engine answers, or the engine stopped answering.
        MissingExtra: The extra ``cloud`` is not installed.
    """
    kinds = _parse_hosting_kinds(hosting)
    clauses = select_clauses_by_id(only, kinds)
    engine = engine or ContainerEngine.find_or_raise()
    began = time.monotonic()
    try:
        image_id = engine.image_id(image)
    except EngineUnavailable:
        raise
    except EngineError as err:
        raise InvalidInput(
            f"The container engine has no image {image}",
            where="IMAGE",
            remedy=(
                "Build the image with `drdeploy image build`, or pull it from its registry. "
                "`drdeploy image list` shows which images of drdeploy the engine has"
            ),
        ) from err
    findings = []
    with ModelHost(
        engine,
        image_id,
        Path(artifact),
        photograph=photograph or ProbePhotograph.make_synthetic(),
        contract=contract,
        memory_mb=memory_mb,
        cpus=cpus,
    ) as host:
        inspection = ImageInspection(host)
        for clause in clauses:
            begin(clause)
            try:
                verdict = clause.check(inspection)
            except Undetermined as why:
                verdict = ConformanceVerdict(ClauseOutcome.SKIP, str(why))
            findings.append(ClauseFinding(clause, verdict))
            end(findings[-1])
    duration_s = time.monotonic() - began
    return ConformanceReport(image, image_id, memory_mb, cpus, duration_s, tuple(findings), kinds)
