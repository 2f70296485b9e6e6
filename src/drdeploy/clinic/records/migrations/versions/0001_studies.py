"""Make the first tables: studies, photographs, results, deliveries, audit."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables, and the triggers that forbid changes to the audit log."""
    op.create_table(
        "studies",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("patient", sa.Text, nullable=False),
        sa.Column("study_uid", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("last_received_s", sa.Float, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("outcome", sa.String(32)),
        sa.Column("eyes", sa.JSON),
        sa.Column("graded_s", sa.Float),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_studies"),
        sa.UniqueConstraint("patient", "study_uid", name="uq_studies_patient_study_uid"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "photographs",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("study_id", sa.Integer, nullable=False),
        sa.Column("sop_instance_uid", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("received_s", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_photographs"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_photographs_study_id"),
        sa.UniqueConstraint("sop_instance_uid", name="uq_photographs_sop_instance_uid"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_photographs_study_id", "photographs", ["study_id"])
    op.create_index("ix_photographs_sha256", "photographs", ["sha256"])
    op.create_table(
        "results",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("study_id", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_results"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_results_study_id"),
        sa.UniqueConstraint("study_id", "kind", name="uq_results_study_id_kind"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_results_study_id", "results", ["study_id"])
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("study_id", sa.Integer, nullable=False),
        sa.Column("photograph_id", sa.Integer),
        sa.Column("result_id", sa.Integer),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_s", sa.Float, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_deliveries_study_id"),
        sa.ForeignKeyConstraint(
            ["photograph_id"], ["photographs.id"], name="fk_deliveries_photograph_id"
        ),
        sa.ForeignKeyConstraint(["result_id"], ["results.id"], name="fk_deliveries_result_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_deliveries_study_id", "deliveries", ["study_id"])
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_audit"),
    )
    _refuse_changes_of_audit_log()


def _refuse_changes_of_audit_log() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_refuses_{change.lower()} BEFORE {change} ON audit "
                "BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION refuse_change_of_audit() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit log only grows'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_refuses_changes BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit()"
    )
