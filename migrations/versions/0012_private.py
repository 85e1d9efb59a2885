"""PostgreSQL keeps no statistics of what was said of a scan, and stores mean tokens and graphs as they are.

Statistics hold samples of a column's values, in a system table that an erasure does not reach.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


SAID = {"label": ("value",), "proposal": ("value", "document"), "token_means": ("data",)}

LARGE = (("token_means", "data"), ("knn_graph", "indices"), ("knn_graph", "scores"), ("knn_graph", "volume_ids"))


def upgrade() -> None:
    alter(statistics=0, storage="EXTERNAL")


def downgrade() -> None:
    alter(statistics=-1, storage="EXTENDED")


def alter(*, statistics: int, storage: str) -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, columns in SAID.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS {statistics}")
    for table, column in LARGE:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE {storage}")
