"""A nurse's way through the worklist page in a real browser, in both languages."""

import csv
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

if os.environ.get("CI") != "true":  # CI has it
    pytest.importorskip("starlette", reason="needs the extra clinic")

from devtools import open_browser
from dicom_files import EYE
from required import require

from drdeploy.clinic.background_work import BackgroundLoop, Destinations, StudyGrader
from drdeploy.clinic.page.access import PageOptions
from drdeploy.clinic.page.app import WorklistPage
from drdeploy.clinic.page.grading import GradingPool
from drdeploy.clinic.page.server import PageAddress, PageServer
from drdeploy.clinic.records import ClinicRecords
from drdeploy.clinic.referral_rules import ReferralRules
from drdeploy.grader.box import box_artifact
from drdeploy.grader.inference import InferenceService
from drdeploy.photograph_names import PhotographNames

ROOT = Path(__file__).resolve().parent.parent.parent
AXE = ROOT / "build/axe/node_modules/axe-core/axe.min.js"
WORST = EYE.with_name("IDRiD_001_grade4.jpg")
OTHER_EYE = EYE.with_name("IDRiD_006_grade3.jpg")
WORDS = {
    "en": ("urgent", "Worst first", "Overrule", "For research use. Not a medical device."),
    "pt": (
        "urgente", "Piores primeiro", "Discordar",
        "Para uso em pesquisa. Não é um dispositivo médico.",
    ),
}  # fmt: skip
GRADED = "#graded-title ~ .studies .study"
PICTURES = os.environ.get("DRDEPLOY_PAGE_PICTURES", "")
"""Folder for the pictures in the documentation."""


@pytest.fixture(scope="module")
def service():
    return InferenceService.load(box_artifact())


@contextmanager
def serving(folder, service):
    records = ClinicRecords.open(folder, names=PhotographNames(b"k" * 32))
    grader = StudyGrader(records, service, ReferralRules.load(), Destinations(), quiet_s=0.5)
    pool = GradingPool(grader, 2)
    loop = BackgroundLoop("grading", pool.grade_due_studies)
    address = PageAddress(port=0)
    page = WorklistPage(
        records, PageOptions(address.accepted_host_names, user="nurse"), loop.run_function_now
    )
    with PageServer(address, page.make_app()) as server:
        loop.start()
        yield server.address, records
        loop.stop(60)
    records.close()


def answer_question(page, patient, eye):
    form = "document.querySelector('#questions form')"
    page.wait_for(form)
    page.run(
        f"{form}.querySelector('input').value = '{patient}';"
        f"{form}.querySelector('select').value = '{eye}'; {form}.requestSubmit()"
    )


def list_patients(page):
    return page.run("[...document.querySelectorAll('.studies .patient')].map(e => e.textContent)")


def find_faults(page):
    """Serious findings of axe-core about the page as it is."""
    require(AXE.exists(), "axe-core (make build/axe/.ready)")
    page.run(AXE.read_text("utf-8") + "; true")
    return page.run(
        "axe.run(document, {resultTypes: ['violations']}).then(r => r.violations"
        ".filter(v => ['serious', 'critical'].includes(v.impact))"
        ".map(v => v.id + ': ' + v.nodes.map(n => n.html.slice(0, 120)).join(' | ')))"
    )


def take_picture(page, name):
    if PICTURES:
        page.take_picture(Path(PICTURES) / f"{name}.png")


@pytest.mark.parametrize("language", ["en", "pt"])
def test_a_nurse_drops_waits_sees_the_worst_first_overrules_and_exports(
    language, service, tmp_path, browser
):
    urgent, worst_first, overrule, notice = WORDS[language]
    folder = tmp_path / "photographs"
    folder.mkdir()
    shutil.copy(EYE, folder / "Garcia Ana.jpg")
    with (
        serving(tmp_path / "records", service) as (address, records),
        open_browser(browser, tmp_path) as page,
    ):
        page.set_width(1280, 900)
        page.open(f"{address}?language={language}")
        assert notice in page.run("document.body.innerText")
        page.drop_files("#drop", [folder])  # a whole folder
        answer_question(page, "1001", "left")
        page.wait_for("document.querySelectorAll('.studies .study').length === 1")
        page.choose_files("#files", [WORST, OTHER_EYE])
        # The next upload does not carry over the number of the patient before.
        page.wait_for(
            "[...document.querySelectorAll('#questions input')].filter(i => !i.value).length === 2"
        )
        answer_question(page, "1002", "right")
        answer_question(page, "1002", "left")
        page.wait_for(f"document.querySelectorAll({GRADED!r}).length === 2")
        page.wait_for(
            "[...document.querySelectorAll('.urgent .eye')].every(e => /[0-4]/.test(e.innerText))"
        )
        assert list_patients(page) == ["1002", "1001"]
        assert worst_first in page.run("document.body.innerText")
        assert page.run("document.querySelector('.outcome').textContent") == urgent
        assert find_faults(page) == []
        take_picture(page, f"worklist-{language}")

        page.click_and_load(".studies a")
        page.wait_for("[...document.images].every(i => i.complete && i.naturalWidth > 1000)")
        assert notice in page.run("document.body.innerText")
        page.press("g")
        page.click("[data-zoom=full]")
        filter_and_width = page.run(
            "(i => [i.style.filter, parseInt(i.style.width) / i.naturalWidth])"
            "(document.querySelector('.viewer img'))"
        )
        assert filter_and_width == ['url("#red-free") brightness(1)', 1]
        page.click("[data-zoom=whole]")
        page.press("g")
        assert find_faults(page) == []
        take_picture(page, f"study-{language}")
        page.set_width(390, 844, is_phone=True)
        assert page.run("document.documentElement.scrollWidth") <= 390
        take_picture(page, f"phone-{language}")
        page.set_width(1280, 900)

        assert page.run("document.querySelector('#overrule').textContent") == overrule
        page.run("document.querySelector('#new-outcome').value = 'refer';"
                 "document.querySelector('#reason').value = 'laser scars'")  # fmt: skip
        page.click_and_load("#overrule")
        assert "laser scars" in page.run("document.body.innerText")
        page.open(address)
        assert list_patients(page) == ["1001"]
        table = page.run("fetch('/worklist.csv?show=all').then(a => a.text())")
        rows = {row["patient"]: row for row in csv.DictReader(table.splitlines())}
        assert (rows["1002"]["outcome"], rows["1002"]["reason"]) == ("refer", "laser scars")
        page.set_width(390, 844, is_phone=True)
        assert page.run("document.documentElement.scrollWidth") <= 390
        # The answer 422 asks for the patient's number and the eye.
        assert [one for one in page.problems if "422" not in one] == []
        assert "Garcia" not in str(records.worklist.list_audit_entries(100))


def test_what_cannot_be_read_or_reached_is_said(service, tmp_path, browser):
    folder = "{name: 'closed', createReader: () => ({readEntries: (_, fail) => fail(new Error())})}"
    sound = "{isFile: true, name: 'a.jpg', file: (give) => give(new File(['x'], 'a.jpg'))}"
    with open_browser(browser, tmp_path) as page:
        with serving(tmp_path / "records", service) as (address, _):
            page.open(f"{address}?language=en")
            page.run(
                "(e => { Object.defineProperty(e, 'dataTransfer', {value: {items:"
                f" [{folder}, {sound}].map(entry => ({{webkitGetAsEntry: () => entry}}))}}}});"
                " document.dispatchEvent(e) })(new Event('drop', {cancelable: true}))"
            )
            page.wait_for("document.querySelectorAll('#questions li').length === 2")
            said = page.run("document.querySelector('#questions').innerText")
            assert "closed: not sent. The file or folder cannot be read." in said
            assert "a.jpg: not sent." in said  # for the reason that the server gives
            assert "files sent: 0 / 2, not sent: 2" in page.run("document.body.innerText")
        page.wait_for("document.querySelector('#unreachable')")
        assert "cannot be reached" in page.run("document.querySelector('#unreachable').innerText")
