"""Checks any container image against SageMaker's whole hosting contract, clause by clause.

::

    report = check_conformance("drdeploy:lean", "model.tar.gz")
    report.conforms; report.summary

``registry`` lists the clauses in the order in which they are checked (:data:`CLAUSES`).  A clause
is a function from an :class:`~drdeploy.hosting.conformance.inspection.ImageInspection` to a verdict
with its evidence.  It asks the inspection for observations; each is made once, when the first
clause asks for it, so that clauses share containers, and ``--only`` starts no more than it needs.

One file for each subject, with its observations above and its clauses below::

    image         the image's configuration
    starting      from `docker run IMAGE serve` to the first answer
    requests      photographs one by one, with all headers and sizes
    loading       many photographs at once: pings, connections, memory
    bad_bodies    bodies that are not photographs
    logs          what must be logged, and what must not
    broken_model  no model, or a damaged one
    conditions    another port, a batch, a read-only root, an arbitrary user
    processes     the CPU limit, a killed process
    stopping      SIGTERM, twice

``containers`` starts containers and removes them, ``client`` sends them requests, ``bodies`` makes
what is sent, ``contract`` holds the limits and their sources.
"""

from drdeploy.hosting.conformance.bodies import ProbePhotograph
from drdeploy.hosting.conformance.check import ClauseFinding, ConformanceReport, check_conformance
from drdeploy.hosting.conformance.clause import Clause, ClauseOutcome, ConformanceVerdict, Severity
from drdeploy.hosting.conformance.contract import Contract
from drdeploy.hosting.conformance.registry import CLAUSES, select_clauses

__all__ = [
    "CLAUSES",
    "Clause",
    "ClauseFinding",
    "ClauseOutcome",
    "ConformanceReport",
    "ConformanceVerdict",
    "Contract",
    "ProbePhotograph",
    "Severity",
    "check_conformance",
    "select_clauses",
]
