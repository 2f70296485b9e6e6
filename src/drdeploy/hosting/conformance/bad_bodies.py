"""Bodies that no server can grade: refused as such, and survived."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.hosting.conformance.bodies import garbage
from drdeploy.hosting.conformance.clause import (
    ConformanceVerdict,
    Severity,
    Undetermined,
    clause,
    judged,
)
from drdeploy.hosting.conformance.contract import INVOKE, PRACTICE
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.conformance.client import ProbeAnswer
    from drdeploy.hosting.conformance.hosting import ContainerUnderTest
    from drdeploy.hosting.conformance.inspection import ImageInspection
    from drdeploy.hosting.engine import ExitState

SPARE_BYTES = 1024
TEXT = b"<p>this is no photograph</p>"
TEXT_TYPE = "text/html"
TOO_LONG = "too long"


@dataclass(frozen=True)
class BadBodies:
    """What was answered to each, and to a photograph afterwards.

    Attributes:
        answers: By the name of what was wrong.
        afterwards: To a photograph.
        ended: How the container ended, if it did.
    """

    answers: Mapping[str, ProbeAnswer]
    afterwards: ProbeAnswer
    ended: ExitState | None


def observe_bad_bodies(seen: ImageInspection, hosted: ContainerUnderTest) -> BadBodies:
    """Send one bad body after the other."""
    photograph = seen.photograph
    lacking_bytes = seen.contract.real_time_bytes + SPARE_BYTES - len(photograph.data)
    too_long = photograph.data + bytes(max(0, lacking_bytes))
    bodies = {
        "empty": (b"", photograph.headers),
        "garbage": (garbage(), photograph.headers),
        "truncated": (photograph.truncated(), photograph.headers),
        "wrong type": (TEXT, {"Content-Type": TEXT_TYPE}),
        TOO_LONG: (too_long, photograph.headers),
    }
    answers = {name: hosted.invoke(body, headers) for name, (body, headers) in bodies.items()}
    afterwards = hosted.grade(photograph)
    return BadBodies(answers, afterwards, hosted.ended_since(afterwards))


@clause(Severity.SHOULD, PRACTICE)
def refuses_empty_body(seen: ImageInspection) -> ConformanceVerdict:
    """An empty body is refused with 4xx."""
    return _refused(seen, "empty", "an empty body")


@clause(Severity.SHOULD, PRACTICE)
def refuses_garbage(seen: ImageInspection) -> ConformanceVerdict:
    """A body that is no file of any kind is refused with 4xx."""
    return _refused(seen, "garbage", "random bytes")


@clause(Severity.SHOULD, PRACTICE)
def refuses_truncated_image(seen: ImageInspection) -> ConformanceVerdict:
    """A photograph that ends too early is refused with 4xx."""
    return _refused(seen, "truncated", "the first half of the photograph")


@clause(Severity.SHOULD, PRACTICE)
def refuses_wrong_type(seen: ImageInspection) -> ConformanceVerdict:
    """A body of another type is refused with 4xx."""
    return _refused(seen, "wrong type", f"{TEXT_TYPE}")


@clause(Severity.SHOULD, INVOKE)
def withstands_oversize(seen: ImageInspection) -> ConformanceVerdict:
    """A body above 6 MB, which only batches send, is answered or refused with 4xx."""
    bad = seen.bad_bodies
    if bad.ended is not None:
        raise Undetermined("the container ended: see survives-bad-bodies")
    answer = bad.answers[TOO_LONG]
    size_mb = (seen.contract.real_time_bytes + SPARE_BYTES) / MIB
    is_kept = answer.is_success or answer.is_refusal
    return judged(is_kept, f"the photograph and zeros, {size_mb:.3f} MB: {answer}")


@clause(Severity.MUST, PRACTICE)
def survives_bad_bodies(seen: ImageInspection) -> ConformanceVerdict:
    """No body ends the server: each is answered, and then a photograph still is."""
    seen.require_answers()
    bad = seen.bad_bodies
    if bad.ended is not None:
        return judged(False, f"the container ended with status {bad.ended.exit_code}")
    silent = [
        name
        for name, answer in bad.answers.items()
        if not answer.status and name != TOO_LONG  # which may be cut off while it is sent
    ]
    if bad.afterwards.is_success and not silent:
        return judged(True, f"{len(bad.answers)} bad bodies; the photograph then: {bad.afterwards}")
    without = f"no answer to: {', '.join(silent)}; " if silent else ""
    return judged(False, f"{without}the photograph then: {bad.afterwards}")


def _refused(seen: ImageInspection, name: str, what: str) -> ConformanceVerdict:
    answer = _answer(seen, name)
    return judged(answer.is_refusal, f"{what}: {answer}")


def _answer(seen: ImageInspection, name: str) -> ProbeAnswer:
    answer = seen.bad_bodies.answers[name]
    if not answer.status:
        raise Undetermined(f"{answer}: see survives-bad-bodies")
    return answer
