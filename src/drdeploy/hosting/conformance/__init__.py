"""Any container image against the whole hosting contract, clause by clause.

::

    report = check_conformance("drdeploy:lean", "model.tar.gz")
    report.conforms; report.summary

``registry`` lists the clauses; :data:`CLAUSES` is the order in which they are judged.  A clause
is a function from what was observed to a verdict with its evidence.  What was observed is an
:class:`~drdeploy.hosting.conformance.inspection.Examination`: each observation is made once, when
the first clause asks for it, so that clauses share containers and ``--only`` starts no more than
it needs.

One file a subject, with what is observed above and what is judged below::

    image         its configuration
    starting      from `docker run IMAGE serve` to the first answer
    requests      photographs one by one, with all headers and sizes
    loading       many at once: pings, connections, memory
    bad_bodies    what is no photograph
    logs          what it says, and does not say
    broken_model  no model, or a damaged one
    conditions    another port, a batch, a read-only root, a strange user
    processes     the CPU limit, a killed process
    stopping      SIGTERM, twice

``hosting`` starts containers and removes them, ``client`` asks them, ``bodies`` makes what is
sent, ``contract`` holds the figures and the sources.
"""

from drdeploy.hosting.conformance.bodies import ProbePhotograph
from drdeploy.hosting.conformance.check import ClauseFinding, ConformanceReport, check_conformance
from drdeploy.hosting.conformance.clause import Clause, ClauseOutcome, ConformanceVerdict, Severity
from drdeploy.hosting.conformance.contract import Contract
from drdeploy.hosting.conformance.registry import CLAUSES, chosen

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
    "chosen",
]
