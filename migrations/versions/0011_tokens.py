"""Mean tokens of embedded scans, from which vectors of any K and seed follow."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "token_means",
        sa.Column("vector_id", INTEGER, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["vector_id"], ["vector.id"], name="fk_token_means_vector_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("vector_id", name="pk_token_means"),
    )


def downgrade() -> None:
    op.drop_table("token_means")
