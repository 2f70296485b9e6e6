"""The tables of a clinic's records.

Each change to these tables needs a migration in ``migrations/versions``. A test compares these
tables with those that the migrations make. The option ``sqlite_autoincrement`` keeps SQLite from
giving the number of a deleted row to a new row.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

STUDIES = Table(
    "studies",
    METADATA,
    Column("id", Integer, primary_key=True),
    # The issuer and the number of the patient, because two clinics may use the same number.
    Column("patient", Text, nullable=False),
    Column("study_uid", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("last_received_s", Float, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("outcome", String(32)),
    Column("eyes", JSON),
    Column("graded_s", Float),
    Column("reason", Text, nullable=False, default=""),
    # These columns sort the worklist. They are computed from the columns above and the decision.
    Column("urgency", BigInteger, nullable=False),
    Column("is_decided", Boolean, nullable=False),
    Column("final_outcome", String(32)),
    Column("folded_number", Text, nullable=False),
    UniqueConstraint("patient", "study_uid"),
    Index("ix_studies_in_order", "urgency", "last_received_s", "id", "final_outcome"),
    Index(
        "ix_studies_undecided_in_order",
        "is_decided", "urgency", "last_received_s", "id", "final_outcome",
    ),
    Index("ix_studies_by_state", "state", "last_received_s", "is_decided"),
    sqlite_autoincrement=True,
)  # fmt: skip
"""A patient's visit. ``state`` is ``waiting``, ``graded`` or ``failed``; times are in seconds since
1970. ``urgency`` is smaller for a study that should be seen earlier; see the module ``urgency``."""

PHOTOGRAPHS = Table(
    "photographs",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("studies.id"), nullable=False, index=True),
    Column("sop_instance_uid", String(64), nullable=False, unique=True),
    Column("sha256", String(64), nullable=False, index=True),
    Column("received_s", Float, nullable=False),
    sqlite_autoincrement=True,
)
"""A DICOM file that arrived. Its content is in the folder of photographs, under the hash
``sha256``."""

RESULTS = Table(
    "results",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("studies.id"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("content", LargeBinary, nullable=False),
    UniqueConstraint("study_id", "kind"),
    sqlite_autoincrement=True,
)
"""A current result of a study. ``kind`` is ``report`` (structured report), ``page`` (PDF) or
``bundle``, and after a decision also ``decided page`` or ``decided bundle``."""

DELIVERIES = Table(
    "deliveries",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("studies.id"), nullable=False, index=True),
    Column("photograph_id", ForeignKey("photographs.id")),
    Column("result_id", ForeignKey("results.id")),
    Column("destination", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_attempt_s", Float, nullable=False),
    Column("reason", Text, nullable=False, default=""),
    sqlite_autoincrement=True,
)
"""A photograph or a result that is to be sent. ``state`` is ``queued``, ``delivered`` or
``refused``."""

DECISIONS = Table(
    "decisions",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("studies.id"), nullable=False, index=True),
    # The time of the grading that the person saw. After a new grading, somebody must decide again.
    Column("graded_s", Float, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("outcome", String(32), nullable=False),
    Column("grades", JSON, nullable=False),
    Column("reason", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("decided_s", Float, nullable=False),
    Column("undone_s", Float),
    sqlite_autoincrement=True,
)
"""The decisions of people about studies. ``kind`` is ``accept``, ``overrule`` or ``refer``.

The newest decision that was not undone counts.
"""

ACCOUNTS = Table(
    "accounts",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("password", Text, nullable=False),
    sqlite_autoincrement=True,
)
"""The people who may sign in. ``role`` is ``viewer``, ``grader`` or ``administrator``; ``password``
is a salted hash."""

PHOTOGRAPH_FOLDERS = Table(
    "photograph_folders",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("identifier", String(32), nullable=False),
)
"""The one folder that holds the photographs.

The file ``identifier`` in the folder holds the same identifier as this table.
"""

AUDIT = Table(
    "audit",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", String(32), nullable=False),
    Column("who", Text, nullable=False),
    Column("action", String(32), nullable=False),
    Column("subject", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
)
"""The audit log: which person or program did what. Triggers refuse changes, and ``sha256`` covers
the entry and its predecessor."""
