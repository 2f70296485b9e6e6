"""Check that the server refuses bad request bodies, and survives all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.hosting.conformance.clause import (
    HostingKind,
    Severity,
    define_clause,
    make_failed_verdict,
    make_passed_or_failed_verdict,
    make_passed_verdict,
)
from drdeploy.hosting.conformance.contract import INVOKE, PRACTICE
from drdeploy.hosting.conformance.inspection import Undetermined
from drdeploy.hosting.conformance.request_bodies import make_random_bytes
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.conformance.clause import ConformanceVerdict
    from drdeploy.hosting.conformance.client import ProbeAnswer
    from drdeploy.hosting.conformance.inspection import ImageInspection
    from drdeploy.hosting.container_engine import ExitState

SPARE_BYTES = 1024
TEXT = b"<p>this is not a photograph</p>"
TEXT_TYPE = "text/html"
TOO_LONG = "too long"


@dataclass(frozen=True)
class BadBodies:
    """The answers to bad request bodies, and to a photograph that was sent afterwards.

    Attributes:
        answers: The answer to each bad body. The keys say what is wrong with the body, for example
            ``truncated``.
        afterwards: The answer to the photograph that was sent after all bad bodies.
        ended: How the container ended; None if it still runs.
    """

    answers: Mapping[str, ProbeAnswer]
    afterwards: ProbeAnswer
    ended: ExitState | None


def observe_answers_to_bad_bodies(inspection: ImageInspection) -> BadBodies:
    """Send all bad bodies one after the other, then a photograph."""
    container = inspection.ensure_running_container()
    photograph = inspection.photograph
    lacking_bytes = inspection.contract.real_time_bytes + SPARE_BYTES - len(photograph.data)
    too_long = photograph.data + bytes(max(0, lacking_bytes))
    bodies = {
        "empty": (b"", photograph.request_headers),
        "garbage": (make_random_bytes(), photograph.request_headers),
        "truncated": (photograph.first_half_of_bytes(), photograph.request_headers),
        "wrong type": (TEXT, {"Content-Type": TEXT_TYPE}),
        TOO_LONG: (too_long, photograph.request_headers),
    }
    answers = {
        name: container.post_to_invocations(body, headers)
        for name, (body, headers) in bodies.items()
    }
    afterwards = container.post_photograph(photograph)
    return BadBodies(answers, afterwards, container.read_exit_state_after_answer(afterwards))


@define_clause("refuses-empty-body", Severity.SHOULD, PRACTICE)
def check_refusal_of_empty_body(inspection: ImageInspection) -> ConformanceVerdict:
    """An empty body is refused with 4xx."""
    return _check_refusal_of_body(inspection, "empty", "an empty body")


@define_clause("refuses-garbage", Severity.SHOULD, PRACTICE)
def check_refusal_of_random_bytes(inspection: ImageInspection) -> ConformanceVerdict:
    """Random bytes are refused with 4xx."""
    return _check_refusal_of_body(inspection, "garbage", "random bytes")


@define_clause("refuses-truncated-image", Severity.SHOULD, PRACTICE)
def check_refusal_of_truncated_image(inspection: ImageInspection) -> ConformanceVerdict:
    """A photograph that ends too early is refused with 4xx."""
    return _check_refusal_of_body(inspection, "truncated", "the first half of the photograph")


@define_clause("refuses-wrong-type", Severity.SHOULD, PRACTICE)
def check_refusal_of_wrong_content_type(inspection: ImageInspection) -> ConformanceVerdict:
    """A body of another content type is refused with 4xx."""
    return _check_refusal_of_body(inspection, "wrong type", TEXT_TYPE)


def _check_refusal_of_body(inspection: ImageInspection, name: str, body: str) -> ConformanceVerdict:
    answer = inspection.observe_once(observe_answers_to_bad_bodies).answers[name]
    if not answer.status:
        raise Undetermined(f"{answer}; see the clause survives-bad-bodies")
    return make_passed_or_failed_verdict(answer.is_refusal, f"{body}: {answer}")


@define_clause("withstands-oversize", {HostingKind.BATCH: Severity.SHOULD}, INVOKE)
def check_answer_to_oversized_body(inspection: ImageInspection) -> ConformanceVerdict:
    """The server answers a body above 6 MB (sent by Batch Transform), or refuses it with 4xx."""
    bad = inspection.observe_once(observe_answers_to_bad_bodies)
    if bad.ended is not None:
        raise Undetermined("the container ended; see the clause survives-bad-bodies")
    answer = bad.answers[TOO_LONG]
    size_mb = (inspection.contract.real_time_bytes + SPARE_BYTES) / MIB
    return make_passed_or_failed_verdict(
        answer.is_success or answer.is_refusal,
        f"the photograph followed by zeros, {size_mb:.3f} MB: {answer}",
    )


@define_clause("survives-bad-bodies", Severity.MUST, PRACTICE)
def check_survival_of_bad_bodies(inspection: ImageInspection) -> ConformanceVerdict:
    """The server answers every bad body, and still answers a photograph afterwards."""
    inspection.require_answered_photograph()
    bad = inspection.observe_once(observe_answers_to_bad_bodies)
    if bad.ended is not None:
        return make_failed_verdict(f"the container ended with status {bad.ended.exit_code}")
    unanswered = [
        name
        for name, answer in bad.answers.items()
        if not answer.status and name != TOO_LONG  # may be cut off while it is sent
    ]
    if bad.afterwards.is_success and not unanswered:
        return make_passed_verdict(
            f"{len(bad.answers)} bad bodies sent; a photograph sent afterwards: {bad.afterwards}"
        )
    without = f"no answer to: {', '.join(unanswered)}; " if unanswered else ""
    return make_failed_verdict(f"{without}a photograph sent afterwards: {bad.afterwards}")
