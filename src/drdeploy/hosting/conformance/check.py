"""Checks an image against the contract, clause by clause."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drdeploy.errors import EngineError, EngineUnavailable, InvalidInput
from drdeploy.hosting.conformance.bodies import ProbePhotograph
from drdeploy.hosting.conformance.clause import Clause, ClauseOutcome, ConformanceVerdict, Severity
from drdeploy.hosting.conformance.containers import Host
from drdeploy.hosting.conformance.contract import Contract
from drdeploy.hosting.conformance.inspection import ImageInspection, Undetermined
from drdeploy.hosting.conformance.registry import select_clauses
from drdeploy.hosting.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


@dataclass(frozen=True)
class ClauseFinding:
    """A clause and its verdict on one image."""

    clause: Clause
    verdict: ConformanceVerdict

    def row(self) -> dict[str, str]:
        """Return the finding as ``--json`` prints it."""
        return {
            "id": self.clause.id,
            "title": self.clause.title,
            "severity": str(self.clause.severity),
            "source": self.clause.source,
            "outcome": str(self.verdict.outcome),
            "evidence": self.verdict.evidence,
        }


@dataclass(frozen=True)
class ConformanceReport:
    """The findings of all clauses on one image.

    Attributes:
        image: As it was named.
        image_id: ``sha256:…``.
        memory_mb: Memory limit of the containers, MiB.
        cpus: CPU limit of the containers.
        duration_s: Seconds that the check took.
        findings: In the order of the clauses.
    """

    image: str
    image_id: str
    memory_mb: int
    cpus: float
    duration_s: float
    findings: tuple[ClauseFinding, ...]

    @property
    def conforms(self) -> bool:
        """Whether no clause of severity "must" is failed."""
        return not self.failed(Severity.MUST)

    def failed(self, severity: Severity) -> tuple[str, ...]:
        """Return the ids of the failed clauses of a severity."""
        return tuple(
            finding.clause.id
            for finding in self.findings
            if finding.verdict.outcome is ClauseOutcome.FAIL and finding.clause.severity is severity
        )

    @property
    def summary(self) -> str:
        """The counts of the outcomes in one line."""
        counts = Counter(finding.verdict.outcome for finding in self.findings)
        failed = ", ".join(f"{len(self.failed(one))} {one}" for one in Severity)
        return (
            f"{counts[ClauseOutcome.PASS]} passed, {counts[ClauseOutcome.FAIL]} failed ({failed}), "
            f"{counts[ClauseOutcome.SKIP]} skipped, "
            f"{counts[ClauseOutcome.NOT_APPLICABLE]} not applicable, in {self.duration_s:.0f} s"
        )

    def document(self) -> dict[str, Any]:
        """Return the report as ``--json`` prints it."""
        return {
            "image": self.image,
            "image_id": self.image_id,
            "conforms": self.conforms,
            "memory_mb": self.memory_mb,
            "cpus": self.cpus,
            "duration_s": round(self.duration_s, 1),
            "clauses": [finding.row() for finding in self.findings],
        }


def check_conformance(
    image: str,
    artifact: Path | str,
    *,
    photograph: ProbePhotograph | None = None,
    memory_mb: int = 2048,
    cpus: float = 1.0,
    only: Collection[str] = (),
    contract: Contract = Contract(),
    engine: Engine | None = None,
    begin: Callable[[Clause], None] = lambda _: None,
    end: Callable[[ClauseFinding], None] = lambda _: None,
) -> ConformanceReport:
    """Check a container image against SageMaker's hosting contract, clause by clause.

    ::

        report = check_conformance("my-grader:1.0", "model.tar.gz")
        report.conforms, report.summary

    Containers are started in the container engine of this machine; none outlives the call.

    Args:
        image: Name and tag of an image that the engine holds, or its id.
        artifact: A ``model.tar.gz`` that the image can load.
        photograph: A request body that the image can answer; a synthetic photograph if None.
        memory_mb: Memory limit of each container.
        cpus: CPU limit of each container.
        only: Ids of the clauses to check; all of them if empty.
        contract: The contract's time limits and sizes.
        engine: The container engine; the one that answers on this machine if None.
        begin: Called before each clause is checked.
        end: Called with each finding.

    Raises:
        InvalidInput: There is no such image or clause, or a limit that no engine could keep.
        ArtifactError: The artifact is not a readable archive.
        EngineError: No engine answers, or it went away.
        MissingExtra: The extra ``cloud`` is not installed.
    """
    clauses = select_clauses(only)
    engine = engine or Engine.require()
    began = time.monotonic()
    try:
        image_id = engine.image_id(image)
    except EngineUnavailable:
        raise
    except EngineError as err:
        raise InvalidInput(
            f"The container engine has no image {image}",
            where="IMAGE",
            remedy="Build it (`drdeploy image build`) or pull it; `drdeploy image list` shows ours",
        ) from err
    findings = []
    with Host(
        engine,
        image_id,
        Path(artifact),
        photograph=photograph or ProbePhotograph.synthetic(),
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
    return ConformanceReport(image, image_id, memory_mb, cpus, duration_s, tuple(findings))
