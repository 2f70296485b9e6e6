"""``drdeploy image conform``: lines, JSON, exit status, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

COMMAND = [
    sys.executable,
    "-c",
    "from drdeploy.cli import main; main()",
    "image",
    "conform",
]


@pytest.fixture(scope="module")
def eye(small_photograph, tmp_path_factory):
    """A small photograph as a file: painting one at camera resolution takes a second."""
    path = tmp_path_factory.mktemp("photograph") / "eye.jpg"
    path.write_bytes(small_photograph.data)
    return path


@pytest.fixture(scope="module")
def conform(weights, eye):
    """Run the command to its end."""

    def run(image, *options, artifact=weights, **environment):
        return subprocess.run(
            [*COMMAND, image, "--artifact", str(artifact), "--image", str(eye), *options],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, **environment},
        )

    return run


def only(*ids):
    return [word for one in ids for word in ("--only", one)]


@pytest.mark.engine
def test_one_line_a_clause_a_summary_and_status_0(conform, broken_image):
    done = conform(broken_image("leaking"), *only("exec-form", "refuses-empty-body"))
    assert done.returncode == 0, done.stderr  # a clause that should be kept is failed
    lines = done.stdout.splitlines()
    assert [line.split()[:3] for line in lines[:2]] == [
        ["pass", "should", "exec-form"],
        ["fail", "should", "refuses-empty-body"],
    ]
    assert "answered 500" in lines[1]
    assert lines[2].startswith("1 passed, 1 failed (0 must, 1 should, 0 optional)")
    assert [" ".join(line.split()) for line in lines[3:]] == [
        f"{kind} conforms; advice: refuses-empty-body"
        for kind in ("real-time", "serverless", "batch")
    ]


@pytest.mark.engine
def test_status_1_if_a_clause_that_must_be_kept_is_failed_and_all_of_it_as_json(
    engine, conform, broken_image
):
    tag, clauses = broken_image("own-user+root-writing"), only("exec-form", "arbitrary-user")
    done = conform(tag, "--json", *clauses)
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert document["conforms"] is False
    assert document["hosting"]["serverless"] == {
        "conforms": False,
        "must": ["arbitrary-user"],
        "should": [],
        "optional": [],
    }
    assert document["hosting"]["real-time"]["conforms"] is True
    assert document["hosting"]["real-time"]["should"] == ["arbitrary-user"]
    assert document["image_id"] == engine.image_id(tag)
    assert [clause["outcome"] for clause in document["clauses"]] == ["pass", "fail"]
    assert set(document["clauses"][0]) == {
        "id",
        "title",
        "severity",
        "severities",
        "source",
        "outcome",
        "evidence",
    }


@pytest.mark.engine
def test_status_0_if_the_image_conforms_for_the_kinds_of_hosting_that_are_asked_for(
    conform, broken_image
):
    tag = broken_image("own-user+root-writing")
    done = conform(tag, "--hosting", "real-time", *only("exec-form", "arbitrary-user", "batch"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == (
        ["real-time", "conforms;", "advice:", "arbitrary-user"]
    )
    assert not any(" batch " in line for line in done.stdout.splitlines())


@pytest.mark.engine
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_check_that_is_interrupted_leaves_no_container(
    containers_of_checks, broken_image, weights, eye, number
):
    tag = broken_image("eternal")
    words = [*COMMAND, tag, "--artifact", str(weights), "--image", str(eye)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as check:
        deadline = time.monotonic() + 300
        while not containers_of_checks(check.pid):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        check.send_signal(number)
        check.communicate(timeout=300)
    assert check.returncode == 128 + number
    assert containers_of_checks(check.pid) == set()


@pytest.mark.engine
def test_an_image_that_does_not_exist_cannot_be_checked(engine, conform):
    done = conform("drdeploy:no-such-image")
    assert done.returncode == 2
    assert "no image drdeploy:no-such-image" in done.stderr
    assert done.stdout == ""


@pytest.mark.engine
def test_an_artifact_that_is_none_cannot_be_used(engine, conform, broken_image, eye):
    done = conform(broken_image("sound"), artifact=eye)
    assert done.returncode == 2
    assert "The file is a picture" in done.stderr


def test_an_unknown_clause_is_refused_with_those_there_are(conform):
    done = conform("any", *only("exec-from"))
    assert done.returncode == 2
    assert "exec-form" in done.stderr


def test_an_unknown_kind_of_hosting_is_refused_with_those_there_are(conform):
    done = conform("any", "--hosting", "async")
    assert done.returncode == 2
    assert "real-time, serverless, batch" in " ".join(done.stderr.split())


def test_without_an_engine_it_says_so(conform, tmp_path):
    done = conform("any", DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    assert done.returncode == 2
    assert "EngineUnavailable" in done.stderr


def test_a_photograph_without_a_byte_is_refused(conform, tmp_path):
    """Every image would keep its clause about logs: any text contains an empty photograph."""
    (tmp_path / "empty.jpg").touch()
    done = conform("any", "--image", str(tmp_path / "empty.jpg"))
    assert done.returncode == 2
    assert "empty.jpg: The file is empty" in " ".join(done.stderr.split())
