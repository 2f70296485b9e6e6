"""The worklist over many pages: the database sorts, filters and counts as a person would."""

import os
import random

import pytest

if os.environ.get("CI") != "true":  # CI has it
    pytest.importorskip("sqlalchemy", reason="needs the extra clinic")

from sqlalchemy import event, text

from drdeploy.clinic.records import ClinicRecords
from drdeploy.clinic.records.worklist_queries import STUDIES_PER_PAGE, WorklistFilter
from drdeploy.clinic.referral_rules import OUTCOMES

STUDIES = 2 * STUDIES_PER_PAGE + 7
EVERYTHING = "all"


def make_eye(chance):
    gradable = chance.random() < 0.8
    shares = [chance.choice([0.0, 0.25, chance.random()]) for _ in range(5)]
    return {
        "photographs": 1, "gradable": int(gradable), "label": "", "marks": [],
        "ungradable_reasons": [], "grade": chance.randrange(5) if gradable else None,
        "probabilities": [share / (sum(shares) or 1) for share in shares] if gradable else None,
    }  # fmt: skip


def fill(records, chance):
    """Studies that wait, failed, are graded, decided, undone, and graded again since."""
    for number in range(STUDIES):
        patient = f"clinic\nÅ{number % 7}%_{number}" if number % 5 else f"other\nB-{number}"
        records.add_photograph(
            b"%d" % number, patient=patient, study_uid=f"1.{number}", sop_instance_uid=f"2.{number}"
        )
    for study in records.list_due_studies(float("inf")):
        what = chance.random()
        if what < 0.1:
            continue
        if what < 0.2:
            records.record_failure(study, "It cannot be graded.")
            continue
        records.record_grading(
            study, outcome=chance.choice(OUTCOMES),
            eyes={eye: make_eye(chance) for eye in ("right", "left")},
            results={}, destinations=[], with_photographs=[],
        )  # fmt: skip
    for study in records.worklist.list_studies():
        if study.state == "graded" and chance.random() < 0.5:
            decide(records, study, chance.choice(OUTCOMES))
            if chance.random() < 0.3:
                (now,) = [
                    one for one in records.worklist.list_studies() if one.number == study.number
                ]
                records.worklist.undo_decision(study.number, "me", now.decision.decided_s)
            elif chance.random() < 0.3:
                records.add_photograph(
                    b"more", patient=study.identity, study_uid=f"1.{study.number - 1}",
                    sop_instance_uid=f"3.{study.number}",
                )  # fmt: skip


def decide(records, study, outcome):
    records.worklist.record_decision(
        study, who="me", kind="overrule", outcome=outcome, grades={}, reason="because"
    )


def sort_as_a_person_would(studies):
    """Graded, ungradable, waiting; by outcome; then the worse eye; then the longest wait."""

    def severity(eye):
        if eye["grade"] is None:
            return (-1, 0, 0)
        shares = eye["probabilities"]
        return (eye["grade"], round(sum(shares[3:]), 6), round(sum(shares[2:]), 6))

    def key(study):
        part = 2 if study.state == "waiting" else int(study.is_ungradable)
        outcome = study.final_outcome
        worst = max(map(severity, study.eyes.values()), default=(-1, 0, 0))
        return (
            part, OUTCOMES.index(outcome) if outcome else len(OUTCOMES),
            [-one for one in worst], study.received_s, study.number,
        )  # fmt: skip

    return sorted(studies, key=key)


def accepts(chosen, study):
    is_decided = study.decision is not None
    return (
        (chosen.shown == EVERYTHING or is_decided == (chosen.shown == "decided"))
        and chosen.outcome in {"", study.final_outcome}
        and chosen.search.casefold() in study.patient.casefold()
    )


def read_all_pages(records, **chosen):
    numbers, page = [], 1
    while True:
        found = records.worklist.load_page(WorklistFilter(**chosen, page=page))
        numbers += [one.number for one in found.studies]
        if len(numbers) >= found.matching or not found.studies:
            return numbers, found
        assert len(found.studies) == STUDIES_PER_PAGE
        page += 1


FILTERS = [
    {"shown": shown, "outcome": outcome, "search": search}
    for shown in ("open", "decided", EVERYTHING)
    for outcome in ("", "urgent", "no referral")
    for search in ("", "å3", "%_", "b-", "nobody")
]


def test_every_page_has_the_order_and_the_filters_of_the_whole_list(records):
    fill(records, random.Random(17))
    everything = records.worklist.list_studies()
    assert len({one.state for one in everything}) == 3
    for chosen in FILTERS:
        wanted = [
            one.number
            for one in sort_as_a_person_would(everything)
            if accepts(WorklistFilter(**chosen), one)
        ]
        numbers, page = read_all_pages(records, **chosen)
        assert numbers == wanted, chosen
        assert page.matching == len(wanted)
        exported = records.worklist.list_studies(WorklistFilter(**chosen))
        assert [one.number for one in exported] == sorted(wanted)
    assert page.counts == {
        **{state: sum(one.state == state for one in everything)
           for state in ("waiting", "graded", "failed")},
        "decided": sum(one.decision is not None for one in everything),
    }  # fmt: skip


def test_a_page_after_the_last_one_is_the_last_one(records):
    """Whoever decides on the only study of the last page would see an empty list."""
    assert records.worklist.load_page(WorklistFilter(page=9)).number == 1
    fill(records, random.Random(21))
    later = records.worklist.load_page(WorklistFilter(shown=EVERYTHING, page=9))
    last = records.worklist.load_page(WorklistFilter(shown=EVERYTHING, page=later.number))
    assert later.number == -(-later.matching // STUDIES_PER_PAGE) == 3
    assert later.studies == last.studies
    assert len(last.studies) == later.matching - 2 * STUDIES_PER_PAGE


def test_the_neighbours_of_a_study_are_those_in_the_list_that_nobody_has_decided_on(records):
    fill(records, random.Random(18))
    everything = sort_as_a_person_would(records.worklist.list_studies())
    for study in everything:
        order = [
            one.number
            for one in everything
            if one is study or (one.state != "waiting" and one.decision is None)
        ]
        place = order.index(study.number)
        wanted = ([None, *order][place], [*order, None][place + 1])
        assert records.worklist.find_neighbours_of_study(study.number) == wanted
    assert records.worklist.find_neighbours_of_study(10**6) == (None, None)


def test_a_page_reads_only_the_studies_that_it_shows(records):
    fill(records, random.Random(19))
    read = []
    with records._engine.connect() as connection:
        is_sqlite = connection.dialect.name == "sqlite"

    @event.listens_for(records._engine, "before_cursor_execute")
    def note(_connection, _cursor, statement, parameters, *_):
        read.append((statement, parameters))

    page = records.worklist.load_page(WorklistFilter(page=2))
    event.remove(records._engine, "before_cursor_execute", note)
    whole = [statement for statement, _ in read if "studies.eyes" in statement]
    assert len(whole) == 1
    assert "studies.id IN" in whole[0]
    assert len(page.studies) <= STUDIES_PER_PAGE
    if is_sqlite:
        with records._engine.connect() as connection:
            for statement, parameters in read:
                if "studies.eyes" not in statement and "decisions" not in statement:
                    plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                    assert all("COVERING INDEX" in row[3] for row in plan if "studies" in row[3])


def test_an_older_database_gets_the_order_of_its_studies(records, tmp_path):
    fill(records, random.Random(20))
    before = [read_all_pages(records, **chosen)[0] for chosen in FILTERS]
    added = ("urgency", "is_decided", "final_outcome", "folded_number")
    with records._engine.begin() as connection:
        for name in ("in_order", "undecided_in_order", "by_state"):
            connection.execute(text(f"DROP INDEX ix_studies_{name}"))
        for name in added:
            connection.execute(text(f"ALTER TABLE studies DROP COLUMN {name}"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0003'"))
    is_sqlite = records._engine.dialect.name == "sqlite"
    url = records._engine.url.render_as_string(hide_password=False)
    again = ClinicRecords.open(
        records.store.folder.parent, names=records.names, database=None if is_sqlite else url
    )
    assert [read_all_pages(again, **chosen)[0] for chosen in FILTERS] == before
    again.close()
