"""What was measured on each index version: settings of its search, background scores, what drift is compared with."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "index_measures",
        sa.Column("version_id", INTEGER, nullable=False),
        sa.Column("document", sa.String(), nullable=False),
        sa.Column("background", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["index_version.id"], name="fk_index_measures_version_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("version_id", name="pk_index_measures"),
    )


def downgrade() -> None:
    op.drop_table("index_measures")
