"""The nearest-neighbour graph of an index version, what is found on a map, and proposals for labels."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0005"
branch_labels = None
depends_on = None


INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "knn_graph",
        sa.Column("version_id", INTEGER, nullable=False),
        sa.Column("neighbours", INTEGER, nullable=False),
        sa.Column("is_exact", sa.Boolean(), nullable=False),
        sa.Column("volume_ids", sa.LargeBinary(), nullable=False),
        sa.Column("indices", sa.LargeBinary(), nullable=False),
        sa.Column("scores", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["index_version.id"], name="fk_knn_graph_version_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("version_id", name="pk_knn_graph"),
    )
    op.create_table(
        "map_detail",
        sa.Column("map_id", INTEGER, nullable=False),
        sa.Column("version_id", INTEGER, nullable=False),
        sa.Column("clusters", sa.LargeBinary(), nullable=False),
        sa.Column("document", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["map_id"], ["cohort_map.id"], name="fk_map_detail_map_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("map_id", name="pk_map_detail"),
    )
    op.create_table(
        "proposal",
        sa.Column("id", INTEGER, autoincrement=True, nullable=False),
        sa.Column("volume_id", INTEGER, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=True),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("document", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("proposed_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["volume_id"], ["volume.id"], name="fk_proposal_volume_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_proposal"),
        sa.UniqueConstraint("volume_id", "name", name="uq_proposal_volume_id"),
    )
    op.create_index("ix_proposal_name", "proposal", ["name"])


def downgrade() -> None:
    for table in ("proposal", "map_detail", "knn_graph"):
        op.drop_table(table)
