"""Fill in two reporting checklists: STARD 2015 with the items of STARD-AI, and TRIPOD+AI.

The item numbers are those of two checklists: STARD 2015 (Bossuyt et al., BMJ 2015, 351:h5527) and
TRIPOD+AI (Collins et al., BMJ 2024, 385:e078378). STARD-AI (Sounderajah et al., Nature Medicine
2025) extends STARD 2015. The items that STARD-AI adds are marked ``AI``. Our texts only summarise
the items; the original checklists explain them in full.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from drdeploy.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.grader.evaluation.graders import GraderEvaluation

ChecklistStatus = Literal["reported", "partly", "add"]


@dataclass(frozen=True)
class ChecklistItem:
    """One item of a reporting checklist, with its answer.

    Attributes:
        stard: Item numbers of STARD 2015, or ``AI`` if STARD-AI adds the item. Empty if the item is
            in neither.
        tripod: Item numbers of TRIPOD+AI; empty if none.
        topic: What the item asks for, in our words.
        status: ``reported`` if the evaluation answers the item, and ``partly`` if it answers a part
            of the item. ``add`` if only the people who collected the photographs know the answer,
            and must add it.
        answer: The answer, the section of the report that answers the item, or what people must
            add.
    """

    stard: str
    tripod: str
    topic: str
    status: ChecklistStatus
    answer: str


def fill_reporting_checklist(evaluated: GraderEvaluation) -> tuple[ChecklistItem, ...]:
    """Fill in the checklists for one grader on one set of photographs."""
    return tuple(
        ChecklistItem(*item)
        for part in (
            _list_checklist_items_on_methods(evaluated),
            _list_checklist_items_on_results(evaluated),
            _list_checklist_items_for_author(),
        )
        for item in part
    )


Row = tuple[str, str, str, ChecklistStatus, str]


def _list_checklist_items_on_methods(evaluated: GraderEvaluation) -> Iterator[Row]:
    grader, test_set, found = evaluated.grader, evaluated.test_set, evaluated.evaluation
    manifest = grader.manifest
    details = evaluated.details
    yield (
        "1",
        "1",
        "The title names the kind of study",
        "reported",
        f"{grader.name}, evaluated on {test_set.name}",
    )
    yield (
        "5, 8",
        "5a, 5b, 6a",
        "Source, place and dates of the photographs",
        "partly",
        f"Source: {test_set.source}, split {test_set.split}. Add place and dates.",
    )
    yield (
        "10a, AI",
        "12c, 22",
        "The grader: network, version, input",
        "partly" if manifest is None else "reported",
        "The evaluation read a table of predictions, so it does not know the grader. Describe the "
        "grader."
        if manifest is None
        else f"{manifest.architecture}, {manifest.precision}, weights {manifest.weights}; the "
        "manifest holds the digest of each file, and says how a photograph is turned into the "
        f"input of the network. Evaluated by drdeploy {VERSION}.",
    )
    yield (
        "10b, 11",
        "8a, 8b",
        "The reference standard and who set it",
        "partly",
        (
            "The grade in the table of labels, on the ICDR scale. Add who graded the photographs, "
            "how, and with what training."
        ),
    )
    chosen = "" if grader.clinical_thresholds is None else grader.clinical_thresholds.chosen_on
    yield (
        "12a",
        "15",
        "Thresholds, and whether they were chosen before the evaluation",
        "reported",
        f"The artifact fixes the thresholds, which were chosen on {chosen}. No threshold was "
        f"chosen in the evaluation.{_describe_threshold_overlap(evaluated)}"
        if chosen
        else "The artifact has no thresholds; the most probable grade is the answer.",
    )
    yield (
        "13a, 13b",
        "8c",
        "What was known during grading",
        "partly",
        (
            "The grader sees only the photograph. Add whether the labels were given without "
            "knowing the grader's answer."
        ),
    )
    yield (
        "14",
        "12e",
        "Methods",
        "reported",
        'See "How to read this, and its limits".',
    )
    yield (
        "15, 16",
        "11",
        "Photographs without a grade or a label",
        "reported",
        (
            f"Without a grade: {len(evaluated.graded) - found.n}. Set aside: "
            f"{len(test_set.set_aside)}. Each photograph without a grade is listed with the "
            "reason. Results are also given with ungradable eyes counted as referred."
        ),
    )
    yield (
        "17",
        "12d, 14, 23b",
        "Differences between subgroups, fairness",
        "reported" if details.subgroups else "add",
        f"By {', '.join(details.subgroups)}."
        if details.subgroups
        else "Name columns such as camera, site, age group or sex with --by.",
    )
    yield (
        "18",
        "10",
        "Sample size",
        "partly",
        (
            f"Photographs: {found.n}. Grade 2 or worse: {found.referable.positives}. "
            f"Grade 3 or worse: {found.vision_threatening.positives}. The intervals show how "
            "precise the results are. Add how the number of photographs was planned."
        ),
    )
    yield (
        "AI",
        "12a, 16",
        "Separation of training and evaluation",
        "partly",
        _describe_separation(evaluated),
    )


def _describe_threshold_overlap(evaluated: GraderEvaluation) -> str:
    known = evaluated.known
    if known is None or not known.recalibrated_on:
        return ""
    return (
        " Photographs that were used to choose the thresholds and are evaluated here, too: "
        f"{known.recalibrated_on}."
    )


def _describe_separation(evaluated: GraderEvaluation) -> str:
    """Say which photographs the grader knew before, and what the evaluation could not check."""
    known, shared = evaluated.known, evaluated.test_set.shared
    if known is None:
        return (
            "Not checked: the evaluation read a table of predictions, and does not know which "
            f"photographs the grader was trained on. {' '.join(evaluated.notes)}"
        )
    sentences = ["Copies are found by content."]
    sentences.append(_describe_copies("trained", known.trained_on, known.photographs))
    if evaluated.grader.recalibration is not None:
        sentences.append(_describe_copies("recalibrated", known.recalibrated_on, known.photographs))
    sentences.append(
        "Sessions and patients are not known, so other photographs of the same eyes cannot be "
        "recognised."
        if shared is None
        else f"Photographs that share a session or patient with another split: {shared}."
        if shared
        else "No photograph shares a session or patient with another split of this folder."
    )
    return " ".join(sentences)


def _describe_copies(kind: str, count: int | None, photographs: int) -> str:
    if count is None:
        return (
            f"Photographs that the grader was {kind} on cannot be recognised. The artifact does "
            "not list these photographs."
        )
    if not count:
        return f"No photograph is a copy of a photograph that the grader was {kind} on."
    return f"The grader was {kind} on {count} of the {photographs} photographs."


def _describe_changes_to_model(evaluated: GraderEvaluation) -> str:
    """Say how the grader was changed after its training; an evaluation itself changes nothing."""
    sentences = []
    found, known = evaluated.grader.recalibration, evaluated.known
    if found is not None:
        sentences.append(
            "The grader was recalibrated before this evaluation: the temperature, the weights of "
            f"the grades and the thresholds were chosen on {found.adapted_on}."
        )
        if known is not None and known.recalibrated_on:
            sentences.append(
                "The results look better than they are, because some of these photographs are "
                f"evaluated here, too: {known.recalibrated_on}."
            )
    assumed = None if evaluated.grader.manifest is None else evaluated.grader.manifest.prevalence
    if assumed is not None:
        sentences.append(
            "Grades and decisions do not use the probabilities that the artifact also gives at a "
            f"prevalence of {assumed.prevalence:.1%} ({assumed.how})."
        )
    sentences.append("The evaluation changed nothing." if sentences else "None.")
    if evaluated.details.adjustments:
        sentences.append("Calibration is also shown at another prevalence.")
    return " ".join(sentences)


def _list_checklist_items_on_results(evaluated: GraderEvaluation) -> Iterator[Row]:
    details = evaluated.details
    unit = evaluated.graded.group_unit
    yield (
        "19",
        "20a",
        "Flow of photographs and patients",
        "reported" if unit else "partly",
        "See the flow of photographs."
        if unit
        else "See the flow of photographs. The patients are not known; give them with --patient.",
    )
    yield (
        "21a",
        "20b",
        "Severity among the photographs",
        "reported",
        "See the number of photographs of each grade.",
    )
    yield (
        "23",
        "",
        "Cross table of answers and labels",
        "reported",
        "See the confusion matrix.",
    )
    yield (
        "24",
        "23a",
        "Accuracy and calibration with intervals",
        "reported",
        "See decisions, calibration and decision curves.",
    )
    yield (
        "24",
        "",
        "Results by patient",
        "reported" if details.patients else "add",
        "See the results by patient."
        if details.patients
        else "Ask for the worst eye of each patient with --by patient.",
    )
    yield (
        "13b, 24",
        "8a",
        "Agreement between readers",
        "reported" if details.second_reader else "add",
        "See the second reader."
        if details.second_reader
        else "Give a second reader's grades with --second-label.",
    )
    yield (
        "AI",
        "27a",
        "What happens to poor photographs",
        "reported",
        (
            "Photographs beyond the limits in the artifact are refused, each with a reason. See "
            "the photographs that were not graded, and risk over coverage."
        ),
    )
    yield (
        "",
        "12f, 24",
        "Changes to the model",
        "reported",
        _describe_changes_to_model(evaluated),
    )
    yield (
        "26",
        "26",
        "Limits",
        "reported",
        'See "How to read this, and its limits", and the notes at the top.',
    )


def _list_checklist_items_for_author() -> Iterator[Row]:
    yield "2", "2", "Abstract", "add", "Write it."
    yield "3, 4", "3a to 4", "Background, intended use, hypotheses", "add", "State them."
    yield (
        "6, 7, 9",
        "6b",
        "Which patients could take part, and how they were found",
        "add",
        "State the criteria, and whether patients were enrolled consecutively.",
    )
    yield (
        "20",
        "3c, 20b",
        "Age, sex, ethnicity, diabetes, earlier treatment",
        "add",
        "Describe the patients.",
    )
    yield (
        "21b",
        "",
        "Other diseases in eyes without the target condition",
        "add",
        "Count the eyes with drusen, vein occlusion, hypertensive retinopathy or myopia.",
    )
    yield (
        "22, 25",
        "6c",
        "Time between photograph and label; treatment; harm",
        "add",
        "State whether the label comes from the same photograph or from an examination.",
    )
    yield "27", "25, 27b, 27c", "What follows for practice", "add", "Discuss it."
    yield (
        "28 to 30, AI",
        "17 to 19",
        "Ethics, registration, protocol, funding, data, code",
        "add",
        "State them. The evaluation used the code of drdeploy (licence: Apache-2.0).",
    )
