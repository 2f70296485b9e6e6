"""Add the columns by which the worklist is sorted and filtered, and their indexes."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

# The following is a copy of how the program sorted studies when this migration was written. If the
# migration called the program instead, it would later make different tables.
OUTCOMES = ("urgent", "refer", "repeat photographs", "no referral")
GRADES = 5
GRADED, UNGRADABLE, WAITING = range(3)
PART, OUTCOME, GRADE, SEVERE, SHARE = 10**16, 10**15, 10**14, 10**7, 10**6


def upgrade() -> None:
    """Add the columns that sort and filter the worklist, fill them, and make their indexes."""
    for column in (
        sa.Column("urgency", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("is_decided", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("final_outcome", sa.String(32)),
        sa.Column("folded_number", sa.Text, nullable=False, server_default=""),
    ):
        op.add_column("studies", column)
    _place_studies()
    in_order = ["urgency", "last_received_s", "id", "final_outcome"]
    op.create_index("ix_studies_in_order", "studies", in_order)
    op.create_index("ix_studies_undecided_in_order", "studies", ["is_decided", *in_order])
    op.create_index("ix_studies_by_state", "studies", ["state", "last_received_s", "is_decided"])


def _measure_severity(eye: Any) -> tuple[int, int, int]:
    if eye.get("grade") is None:
        return (-1, 0, 0)
    shares = eye.get("probabilities") or [0.0] * GRADES
    severe, moderate = (min(max(sum(shares[least:]), 0.0), 1.0) for least in (3, 2))
    return (int(eye["grade"]), round(SHARE * severe), round(SHARE * moderate))


def _place_study(state: str, outcome: str | None, eyes: Any, decided: str | None) -> dict[str, Any]:
    if state != "graded":
        outcome = eyes = decided = None
    final, eyes = decided or outcome, eyes or {}
    if state == "waiting":
        part = WAITING
    else:
        part = GRADED if any(eye["gradable"] for eye in eyes.values()) else UNGRADABLE
    rank = OUTCOMES.index(final) if final in OUTCOMES else len(OUTCOMES)
    found = [_measure_severity(eye) for eye in eyes.values()]
    grade, severe, moderate = max(found, default=(-1, 0, 0))
    urgency = (
        part * PART
        + rank * OUTCOME
        + (GRADES - 1 - grade) * GRADE
        + (SHARE - severe) * SEVERE
        + (SHARE - moderate)
    )
    return {"urgency": urgency, "final_outcome": final, "is_decided": decided is not None}


def _place_studies() -> None:
    connection = op.get_bind()
    studies = sa.table(
        "studies",
        *(sa.column(name) for name in ("id", "patient", "state", "outcome", "graded_s")),
        sa.column("eyes", sa.JSON), sa.column("urgency"), sa.column("is_decided", sa.Boolean),
        sa.column("final_outcome"), sa.column("folded_number"),
    )  # fmt: skip
    decisions = sa.table(
        "decisions",
        *(sa.column(name) for name in ("id", "study_id", "graded_s", "outcome", "undone_s")),
    )
    counting = sa.select(decisions).where(decisions.c.undone_s.is_(None)).order_by(decisions.c.id)
    decided = {(one.study_id, one.graded_s): one.outcome for one in connection.execute(counting)}
    for study in connection.execute(sa.select(studies)).all():
        place = _place_study(
            study.state, study.outcome, study.eyes, decided.get((study.id, study.graded_s))
        )
        connection.execute(
            sa.update(studies)
            .where(studies.c.id == study.id)
            .values(**place, folded_number=study.patient.partition("\n")[2].casefold())
        )
