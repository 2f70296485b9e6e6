"""The documentation is run, not believed."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/reference").glob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]


SHOW_COMMANDS = [ROOT / "README.md", *(ROOT / f"docs/{name}.md" for name in ("tutorial", "aws"))]


@pytest.fixture(scope="module")
def reference():
    return runpy.run_path(str(ROOT / "scripts/write_reference.py"))


@pytest.mark.parametrize(
    "page",
    [
        *("command-line.md", "conformance.md", "local-service.md", "measurements.md"),
        *("python.md", "requests.md"),
    ],
)
def test_a_reference_page_says_what_the_code_says(page, reference):
    written = reference["PAGES"][page]()
    assert (ROOT / "docs/reference" / page).read_text() == written, "run make docs"


def test_every_page_of_the_reference_is_written_by_the_script(reference):
    assert {path.name for path in (ROOT / "docs/reference").glob("*.md")} == set(reference["PAGES"])


def test_the_reference_names_what_the_library_offers(reference):
    import drdeploy

    documented = [name for names in reference["SECTIONS"].values() for name in names]
    assert sorted(documented) == sorted(drdeploy.__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_relative_link_leads_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_a_page_shows_exists(page):
    from typer.main import get_command

    from drdeploy.cli.app import build_app

    nouns = get_command(build_app()).commands
    shown = re.findall(r"^ *drdeploy ([a-z]+)(?: ([a-z-]+))?", page.read_text(), re.MULTILINE)
    assert shown or page not in SHOW_COMMANDS
    for noun, verb in shown:
        assert noun in nouns, f"drdeploy {noun}"
        verbs = getattr(nouns[noun], "commands", None)
        assert verbs is None or verb in verbs, f"drdeploy {noun} {verb}"


def test_the_studies_of_the_tutorial_can_be_planned(tmp_path):
    from drdeploy.study.design.study import Study

    tutorial = (ROOT / "docs/tutorial.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", tutorial, re.DOTALL)
    assert blocks
    for block in blocks:
        path = tmp_path / "my-study.toml"
        path.write_text(block)
        assert Study.load(path).trials


def test_the_boto3_example_lives_a_whole_endpoint(local_service, exported, tmp_path):
    from drdeploy.grader.synthetic.photograph import paint_synthetic_photograph

    photograph = tmp_path / "photograph.jpg"
    photograph.write_bytes(paint_synthetic_photograph(1, width_px=1200, height_px=800))
    answer = subprocess.run(
        [
            sys.executable,
            str(ROOT / "examples/endpoint_with_boto3.py"),
            local_service,
            str(exported("mobilenet")["onnx"]),
            str(photograph),
        ],
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    assert answer.returncode == 0, answer.stderr
    assert '"referable"' in answer.stdout
    assert "ModelSetupTime" in answer.stdout
    assert "Not a medical device" in answer.stdout


@pytest.fixture
def local_service(tmp_path):
    """A local service of its own, as a user starts it; gives its address."""
    command = [sys.executable, "-c", "from drdeploy.cli import main; main()", "local", "up"]
    service = subprocess.Popen(
        [*command, "--port", "0", "--isolation", "process"],
        env={**os.environ, "DRDEPLOY_LOCAL_HOME": str(tmp_path / "home")},
        stdout=subprocess.PIPE,
        text=True,
    )
    with service:
        try:
            ready = service.stdout.readline()
            yield re.search(r"http://\S+", ready)[0]
        finally:
            service.terminate()
            service.wait(60)
