"""Request bodies that no server can grade: each is refused, and none ends the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.hosting.conformance.bodies import garbage
from drdeploy.hosting.conformance.clause import Severity, clause, failed, passed, passed_if
from drdeploy.hosting.conformance.contract import INVOKE, PRACTICE
from drdeploy.hosting.conformance.inspection import Undetermined
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.conformance.clause import ConformanceVerdict
    from drdeploy.hosting.conformance.client import ProbeAnswer
    from drdeploy.hosting.conformance.inspection import ImageInspection
    from drdeploy.hosting.engine import ExitState

SPARE_BYTES = 1024
TEXT = b"<p>this is not a photograph</p>"
TEXT_TYPE = "text/html"
TOO_LONG = "too long"


@dataclass(frozen=True)
class BadBodies:
    """The answers to bad bodies, and to a photograph afterwards.

    Attributes:
        answers: By the name of what was wrong.
        afterwards: The answer to the photograph.
        ended: How the container ended; None if it did not.
    """

    answers: Mapping[str, ProbeAnswer]
    afterwards: ProbeAnswer
    ended: ExitState | None


def observe_bad_bodies(inspection: ImageInspection) -> BadBodies:
    """Send one bad body after the other, then a photograph."""
    container = inspection.running_container()
    photograph = inspection.photograph
    lacking_bytes = inspection.contract.real_time_bytes + SPARE_BYTES - len(photograph.data)
    too_long = photograph.data + bytes(max(0, lacking_bytes))
    bodies = {
        "empty": (b"", photograph.headers),
        "garbage": (garbage(), photograph.headers),
        "truncated": (photograph.truncated(), photograph.headers),
        "wrong type": (TEXT, {"Content-Type": TEXT_TYPE}),
        TOO_LONG: (too_long, photograph.headers),
    }
    answers = {name: container.invoke(body, headers) for name, (body, headers) in bodies.items()}
    afterwards = container.grade(photograph)
    return BadBodies(answers, afterwards, container.exit_state_after(afterwards))


@clause(Severity.SHOULD, PRACTICE)
def refuses_empty_body(inspection: ImageInspection) -> ConformanceVerdict:
    """An empty body is refused with 4xx."""
    return _refused(inspection, "empty", "an empty body")


@clause(Severity.SHOULD, PRACTICE)
def refuses_garbage(inspection: ImageInspection) -> ConformanceVerdict:
    """Random bytes are refused with 4xx."""
    return _refused(inspection, "garbage", "random bytes")


@clause(Severity.SHOULD, PRACTICE)
def refuses_truncated_image(inspection: ImageInspection) -> ConformanceVerdict:
    """A photograph that ends too early is refused with 4xx."""
    return _refused(inspection, "truncated", "the first half of the photograph")


@clause(Severity.SHOULD, PRACTICE)
def refuses_wrong_type(inspection: ImageInspection) -> ConformanceVerdict:
    """A body of another content type is refused with 4xx."""
    return _refused(inspection, "wrong type", TEXT_TYPE)


def _refused(inspection: ImageInspection, name: str, body: str) -> ConformanceVerdict:
    answer = inspection.observe(observe_bad_bodies).answers[name]
    if not answer.status:
        raise Undetermined(f"{answer}: see survives-bad-bodies")
    return passed_if(answer.is_refusal, f"{body}: {answer}")


@clause(Severity.SHOULD, INVOKE)
def withstands_oversize(inspection: ImageInspection) -> ConformanceVerdict:
    """A body above 6 MB, which only Batch Transform sends, is answered or refused with 4xx."""
    bad = inspection.observe(observe_bad_bodies)
    if bad.ended is not None:
        raise Undetermined("the container ended: see survives-bad-bodies")
    answer = bad.answers[TOO_LONG]
    size_mb = (inspection.contract.real_time_bytes + SPARE_BYTES) / MIB
    return passed_if(
        answer.is_success or answer.is_refusal,
        f"the photograph and zeros, {size_mb:.3f} MB: {answer}",
    )


@clause(Severity.MUST, PRACTICE)
def survives_bad_bodies(inspection: ImageInspection) -> ConformanceVerdict:
    """No body ends the server: each is answered, and so is a photograph afterwards."""
    inspection.require_answers()
    bad = inspection.observe(observe_bad_bodies)
    if bad.ended is not None:
        return failed(f"the container ended with status {bad.ended.exit_code}")
    unanswered = [
        name
        for name, answer in bad.answers.items()
        if not answer.status and name != TOO_LONG  # which may be cut off while it is sent
    ]
    if bad.afterwards.is_success and not unanswered:
        return passed(f"{len(bad.answers)} bad bodies; a photograph afterwards: {bad.afterwards}")
    without = f"no answer to: {', '.join(unanswered)}; " if unanswered else ""
    return failed(f"{without}a photograph afterwards: {bad.afterwards}")
