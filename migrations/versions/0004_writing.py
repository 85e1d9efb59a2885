"""Who may write, and what was erased.

PostgreSQL stores vectors as they are, since they do not compress, and keeps no statistics of what identifies: they
would outlive an erasure in its system tables.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

IDENTIFYING = {
    "volume": (
        "source_key",
        "locator",
        "content_key",
        "patient_key",
        "study_key",
        "series_key",
        "site_key",
        "subject_key",
    ),
    "vector": ("content_key", "sha256", "data"),
    "prefix": ("data",),
    "preview": ("png",),
    "quarantine": ("source_key", "locator"),
}

LARGE = (("vector", "data"), ("prefix", "data"), ("preview", "png"), ("generation", "mean"))


def upgrade() -> None:
    op.create_table(
        "writer",
        sa.Column("id", INTEGER, nullable=False),
        sa.Column("epoch", INTEGER, nullable=False),
        sa.Column("pid", INTEGER, nullable=True),
        sa.Column("host", sa.String(), nullable=True),
        sa.Column("since", sa.Double(), nullable=True),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_writer"),
    )
    op.execute("INSERT INTO writer (id, epoch) VALUES (1, 0)")
    op.create_table(
        "tombstone",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("erased_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_tombstone"),
    )
    if op.get_bind().dialect.name == "postgresql":
        set_storage("EXTERNAL")
        set_statistics(0)


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        set_storage("EXTENDED")
        set_statistics(-1)
    for table in ("tombstone", "writer"):
        op.drop_table(table)


def set_storage(kind: str) -> None:
    for table, column in LARGE:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE {kind}")


def set_statistics(target: int) -> None:
    for table, columns in IDENTIFYING.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS {target}")
