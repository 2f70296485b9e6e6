"""Add the columns by which the worklist is sorted and filtered, and their indexes."""

import sqlalchemy as sa
from alembic import op

from drdeploy.clinic.records.urgency import fold_number, place_study

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns, fill them, and make the indexes."""
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
        place = place_study(
            study.state, study.outcome, study.eyes, decided.get((study.id, study.graded_s))
        )
        connection.execute(
            sa.update(studies)
            .where(studies.c.id == study.id)
            .values(**place, folded_number=fold_number(study.patient))
        )
