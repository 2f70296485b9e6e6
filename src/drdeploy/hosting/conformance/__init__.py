"""Check any container image against SageMaker's whole hosting contract, clause by clause.

::

    report = check_conformance("drdeploy:lean", "model.tar.gz")
    report.conforms_for(HostingKind.SERVERLESS); report.summary

``check`` lists the clauses in the order in which they are checked (:data:`CLAUSES`). A clause is a
function that takes an :class:`~drdeploy.hosting.conformance.inspection.ImageInspection` and returns
a verdict with evidence. When a clause needs to know how the image behaves, the inspection starts a
container and sends requests. The inspection keeps its observations, so that later clauses need not
repeat them. With ``--only``, only the containers that the chosen clauses need are started.

Ten modules define the clauses. Each module covers one subject, and also defines the observations
that its clauses need:

- ``image_configuration`` is about the image's configuration.
- ``starting`` is about the time from `docker run IMAGE serve` to the first answer.
- ``requests`` sends photographs one by one, with all headers and sizes.
- ``under_load`` sends many photographs at once, and watches pings, connections and memory.
- ``bad_request_bodies`` sends bodies that are not photographs.
- ``logs`` is about what the server must log, and what it must not log.
- ``broken_model`` starts the server without a model, and with a damaged model.
- ``conditions`` is about another port, Batch Transform, a read-only root and an arbitrary user.
- ``processes`` is about the CPU limit and a killed process.
- ``stopping`` sends SIGTERM while the server works, and while it receives a photograph.

``containers`` starts and removes containers, ``client`` sends requests, and ``request_bodies``
makes request bodies. ``contract`` holds the time and size limits of the contract, and names the
documents that state them.
"""

from drdeploy.hosting.conformance.check import (
    CLAUSES,
    ClauseFinding,
    ConformanceReport,
    check_conformance,
    select_clauses_by_id,
)
from drdeploy.hosting.conformance.clause import (
    Clause,
    ClauseOutcome,
    ConformanceVerdict,
    HostingKind,
    Severity,
)
from drdeploy.hosting.conformance.contract import Contract
from drdeploy.hosting.conformance.request_bodies import ProbePhotograph

__all__ = [
    "CLAUSES",
    "Clause",
    "ClauseFinding",
    "ClauseOutcome",
    "ConformanceReport",
    "ConformanceVerdict",
    "Contract",
    "HostingKind",
    "ProbePhotograph",
    "Severity",
    "check_conformance",
    "select_clauses_by_id",
]
