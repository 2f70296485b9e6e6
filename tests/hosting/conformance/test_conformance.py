"""A sound image keeps every clause; each flaw is found by the clause that is meant for it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from drdeploy.grader.synthetic.photograph import paint_synthetic_photograph
from drdeploy.hosting.conformance import (
    CLAUSES,
    ClauseOutcome,
    Contract,
    HostingKind,
    ProbePhotograph,
    Severity,
    check_conformance,
)

pytestmark = pytest.mark.engine

IMPATIENT = Contract(start_s=60, stop_s=15, load_s=1.0)
"""SageMaker's, for servers that start in half a second on a machine that has nothing else to do."""
AT_ONCE = 4
FOUND = {
    "abrupt": {"finishes-work", "finishes-uploads"},
    "chatty": {"logs-no-image"},
    "crowded": {"cpu-limit"},
    "eternal": {"exits-without-model", "logs-failures"},
    "fragile": {"survives-bad-bodies"},
    "fussy": {"unknown-headers", "custom-attributes", "inference-id"},
    "hasty": {"ping-is-true", "not-ready-without-model", "exits-without-model"},
    "hoarding": {"memory-limit"},
    "leaking": {"refuses-empty-body"},
    "model-writing": {"model-read-only"},
    "narrow": {"payload-4-mb", "payload-6-mb"},
    "one-at-a-time": {"ping-under-load"},
    "open": {"accepts-nothing-new"},
    "own-port": {"bind-to-port"},
    "own-user": {"arbitrary-user"},
    "pid-file": {"restarts"},
    "reckless": {"not-ready-without-model", "exits-without-model"},
    "root-writing": {"read-only-root"},
    "shell-form": {"exec-form", "stops-on-sigterm"},
}
"""By flaw, the clauses that must find it."""
IMAGES = (
    "sound",
    "abrupt+leaking",
    "chatty+fussy+narrow+pid-file",
    "crowded+eternal",
    "fragile",
    "hasty",
    "hoarding",
    "model-writing",
    "one-at-a-time",
    "open",
    "own-port+reckless",
    "own-user+root-writing",
    "shell-form",
)
"""What is built and checked: flaws that have nothing to do with each other share an image."""
STUDY_SHAPE = Path(__file__).with_name("study_shape")


@pytest.fixture(scope="module")
def reports(engine, broken_image, weights, small_photograph):
    """All checks, several at once: each of them mostly waits."""

    if engine.cpu_count == 1:
        pytest.skip("on one core nothing tells a CPU limit from the machine")

    def check(image):
        return check_conformance(
            broken_image(image),
            weights,
            engine=engine,
            photograph=small_photograph,
            memory_mb=256,
            contract=IMPATIENT,
        )

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return dict(zip(IMAGES, threads.map(check, IMAGES), strict=True))


def failed(report):
    """Ids of what is failed and not for information alone."""
    return {*report.failed(Severity.MUST), *report.failed(Severity.SHOULD)}


@pytest.mark.parametrize("flaw", FOUND)
def test_a_flaw_is_found_by_the_clause_that_is_meant_for_it(reports, flaw):
    (report,) = (report for image, report in reports.items() if flaw in image.split("+"))
    assert failed(report) >= FOUND[flaw]


@pytest.mark.parametrize("image", IMAGES)
def test_nothing_else_is_found(reports, image):
    expected = set().union(*(FOUND.get(flaw, set()) for flaw in image.split("+")))
    evidence = {f.clause.id: f.verdict.evidence for f in reports[image].findings}
    others = failed(reports[image]) - expected
    assert {name: evidence[name] for name in others} == {}


def test_an_image_conforms_unless_it_fails_what_it_must_keep(reports):
    musts = {clause.id for clause in CLAUSES if clause.highest_severity is Severity.MUST}
    for report in reports.values():
        failed_musts = failed(report) & musts
        # A clause that is a must for one kind of hosting is advice for another, or does not apply.
        assert report.conforms == (not failed_musts)
        for kind in HostingKind:
            musts_of_kind = {c.id for c in CLAUSES if c.severities.get(kind) is Severity.MUST}
            assert report.conforms_for(kind) == (not failed_musts & musts_of_kind)
    assert reports["sound"].conforms
    assert reports["crowded+eternal"].conforms
    assert not any(reports["fragile"].conforms_for(kind) for kind in HostingKind)


def test_the_verdict_depends_on_the_kind_of_hosting(reports):
    verdicts = {
        image: {str(kind) for kind in HostingKind if reports[image].conforms_for(kind)}
        for image in ("own-user+root-writing", "chatty+fussy+narrow+pid-file", "own-port+reckless")
    }
    # It needs its own user, which only a serverless endpoint does not give it.
    assert verdicts["own-user+root-writing"] == {"real-time", "batch"}
    root_writing = reports["own-user+root-writing"]
    assert "read-only-root" in root_writing.failed(Severity.SHOULD, HostingKind.REAL_TIME)
    assert root_writing.failed(Severity.MUST, HostingKind.SERVERLESS) == ("arbitrary-user",)
    narrow = reports["chatty+fussy+narrow+pid-file"]
    assert "payload-4-mb" in narrow.failed(Severity.MUST, HostingKind.SERVERLESS)
    assert "payload-6-mb" in narrow.failed(Severity.SHOULD, HostingKind.REAL_TIME)
    assert "payload-6-mb" not in narrow.failed(Severity.SHOULD, HostingKind.SERVERLESS)


def test_nothing_is_skipped_of_a_sound_image(reports):
    outcomes = {f.clause.id: f.verdict.outcome for f in reports["sound"].findings}
    assert set(outcomes.values()) <= {ClauseOutcome.PASS, ClauseOutcome.NOT_APPLICABLE}
    assert list(outcomes) == [clause.id for clause in CLAUSES]
    assert [i for i, o in outcomes.items() if o is ClauseOutcome.NOT_APPLICABLE] == [
        "replaces-killed-worker"
    ]


def test_every_verdict_has_evidence_in_one_line(reports):
    for report in reports.values():
        for finding in report.findings:
            assert finding.verdict.evidence.strip()
            assert "\n" not in finding.verdict.evidence


def test_no_container_is_left_behind(containers_of_checks, reports):
    assert containers_of_checks(os.getpid()) == set()


def test_an_image_that_does_not_start_fails_one_clause_and_the_rest_say_why_not(
    engine, lean_image, weights, small_photograph
):
    report = check_conformance(
        "debian:bookworm-slim", weights, photograph=small_photograph, engine=engine
    )
    # A base that scripts/start-engine.sh has imported has a manifest of OCI, another base may not.
    assert failed(report) - {"image-manifest"} == {"serves-on-8080"}
    skipped = [f.verdict for f in report.findings if f.verdict.outcome is ClauseOutcome.SKIP]
    assert len(skipped) > 30
    assert any("serves-on-8080" in verdict.evidence for verdict in skipped)


@pytest.fixture
def conformance_of(engine, ladder_image, exported):
    """Check a rung with MobileNet in a format."""

    def check(name, model_format):
        return check_conformance(
            ladder_image(name),
            exported("mobilenet")[model_format],
            engine=engine,
            photograph=ProbePhotograph.make_synthetic(),
            contract=Contract(start_s=60, load_s=1.0),
        )

    return check


@pytest.mark.parametrize("name", ["lean", "minimal"])
def test_our_own_images_keep_every_clause(conformance_of, name):
    report = conformance_of(name, "onnx")
    missed = {
        f.clause.id: f.verdict for f in report.findings if f.verdict.outcome != ClauseOutcome.PASS
    }
    assert missed == {}


@pytest.mark.ladder
@pytest.mark.parametrize("name", ["reduced", "two-step", "baseline"])
def test_the_studys_images_keep_what_must_be_kept(conformance_of, name):
    """Not all that they should: `cpu-limit` was seen to fail; their threads do not follow it."""
    assert conformance_of(name, "saved_model").failed(Severity.MUST) == ()


def test_the_studys_shape_of_container_gets_what_it_deserves(engine, reduced_image, weights):
    """It hosts; it also fails where its clients would notice."""
    engine.build_image(STUDY_SHAPE, "Dockerfile", "drdeploy-study-shape")
    report = check_conformance(
        "drdeploy-study-shape",
        weights,
        engine=engine,
        photograph=ProbePhotograph(paint_synthetic_photograph(1, width_px=2144, height_px=1424)),
        memory_mb=1024,
        contract=Contract(start_s=60, stop_s=10, load_s=1.0),
    )
    # Whether a ping waits for 2 s behind what its worker computes depends on the machine.
    assert set(report.failed(Severity.MUST)) - {"ping-under-load"} == {
        "finishes-work",  # `serve` ends before its children have finished
    }
    outcomes = {f.clause.id: f.verdict.outcome for f in report.findings}
    assert outcomes["bind-to-port"] is ClauseOutcome.NOT_APPLICABLE  # it always listens on 8080
    assert {
        "payload-6-mb",  # NGINX is told 5 MB
        "refuses-empty-body",
        "refuses-garbage",
        "refuses-truncated-image",
        "refuses-wrong-type",  # all 500
        "exits-without-model",  # it waits for ever
        "finishes-uploads",
        "cpu-limit",  # a worker for each core of the machine
    } <= failed(report)
    passed = {f.clause.id for f in report.findings if f.verdict.outcome is ClauseOutcome.PASS}
    assert {
        "exec-form",
        "serves-on-8080",
        "ping-is-true",
        "answers-photographs",
        "payload-4-mb",
        "survives-bad-bodies",
        "read-only-root",
        "arbitrary-user",
        "stops-on-sigterm",
    } <= passed
