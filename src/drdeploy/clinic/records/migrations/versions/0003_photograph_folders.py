"""Make the table of the folder that holds the photographs."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table ``photograph_folders``."""
    op.create_table(
        "photograph_folders",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("identifier", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_photograph_folders"),
    )
