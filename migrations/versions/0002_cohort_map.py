"""The cohort's maps and the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", INTEGER, autoincrement=True, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_table(
        "cohort_map",
        sa.Column("id", INTEGER, autoincrement=True, nullable=False),
        sa.Column("spec_id", INTEGER, nullable=False),
        sa.Column("parameters", sa.String(), nullable=False),
        sa.Column("volume_ids", sa.LargeBinary(), nullable=False),
        sa.Column("coordinates", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["spec_id"], ["spec.id"], name="fk_cohort_map_spec_id"),
        sa.PrimaryKeyConstraint("id", name="pk_cohort_map"),
    )
    op.create_index("ix_cohort_map_spec_id", "cohort_map", ["spec_id"])


def downgrade() -> None:
    for table in ("cohort_map", "audit"):
        op.drop_table(table)
