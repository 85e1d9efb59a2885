"""The catalog: volumes, vectors, labels, quarantine, index versions."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "quarantine",
        sa.Column("id", INTEGER, autoincrement=True, nullable=False),
        sa.Column("source_key", sa.String(), nullable=False),
        sa.Column("locator", sa.LargeBinary(), nullable=False),
        sa.Column("size", INTEGER, nullable=False),
        sa.Column("mtime_ns", INTEGER, nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("attempts", INTEGER, nullable=False),
        sa.Column("first_at", sa.Double(), nullable=False),
        sa.Column("last_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_quarantine"),
        sa.UniqueConstraint("source_key", name="uq_quarantine_source_key"),
    )
    op.create_table(
        "setting",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_setting"),
    )
    op.create_table(
        "spec",
        sa.Column("id", INTEGER, nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("document", sa.String(), nullable=False),
        sa.Column("preset", sa.String(), nullable=False),
        sa.Column("provenance", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_spec"),
        sa.UniqueConstraint("fingerprint", name="uq_spec_fingerprint"),
    )
    op.create_table(
        "volume",
        sa.Column("id", INTEGER, autoincrement=True, nullable=False),
        sa.Column("source_key", sa.String(), nullable=False),
        sa.Column("locator", sa.LargeBinary(), nullable=False),
        sa.Column("size", INTEGER, nullable=False),
        sa.Column("mtime_ns", INTEGER, nullable=False),
        sa.Column("content_key", sa.String(), nullable=False),
        sa.Column("added_at", sa.Double(), nullable=False),
        sa.Column("format", sa.String(), nullable=False),
        sa.Column("patient_key", sa.String(), nullable=True),
        sa.Column("study_key", sa.String(), nullable=True),
        sa.Column("series_key", sa.String(), nullable=True),
        sa.Column("site_key", sa.String(), nullable=True),
        sa.Column("modality", sa.String(), nullable=True),
        sa.Column("body_part", sa.String(), nullable=True),
        sa.Column("sex", sa.String(), nullable=True),
        sa.Column("age", sa.Double(), nullable=True),
        sa.Column("year", INTEGER, nullable=True),
        sa.Column("laterality", sa.String(), nullable=True),
        sa.Column("contrast_agent", sa.Boolean(), nullable=True),
        sa.Column("manufacturer", sa.String(), nullable=True),
        sa.Column("model", sa.String(), nullable=True),
        sa.Column("size_r", INTEGER, nullable=False),
        sa.Column("size_a", INTEGER, nullable=False),
        sa.Column("size_s", INTEGER, nullable=False),
        sa.Column("spacing_r", sa.Double(), nullable=False),
        sa.Column("spacing_a", sa.Double(), nullable=False),
        sa.Column("spacing_s", sa.Double(), nullable=False),
        sa.Column("orientation", sa.String(), nullable=False),
        sa.Column("oriented", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_volume"),
        sa.UniqueConstraint("source_key", name="uq_volume_source_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_volume_content_key", "volume", ["content_key"])
    op.create_index("ix_volume_modality", "volume", ["modality"])
    op.create_index("ix_volume_patient_key", "volume", ["patient_key"])
    op.create_table(
        "generation",
        sa.Column("id", INTEGER, autoincrement=True, nullable=False),
        sa.Column("spec_id", INTEGER, nullable=False),
        sa.Column("centring", sa.String(), nullable=False),
        sa.Column("mean", sa.LargeBinary(), nullable=False),
        sa.Column("volumes", INTEGER, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["spec_id"], ["spec.id"], name="fk_generation_spec_id"),
        sa.PrimaryKeyConstraint("id", name="pk_generation"),
    )
    op.create_index("ix_generation_spec_id", "generation", ["spec_id"])
    op.create_table(
        "label",
        sa.Column("id", INTEGER, autoincrement=True, nullable=False),
        sa.Column("volume_id", INTEGER, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("number", sa.Double(), nullable=True),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("author", sa.String(), nullable=True),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["volume_id"], ["volume.id"], name="fk_label_volume_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_label"),
        sa.UniqueConstraint("volume_id", "name", name="uq_label_volume_id"),
    )
    op.create_index("ix_label_name", "label", ["name"])
    op.create_table(
        "preview",
        sa.Column("volume_id", INTEGER, nullable=False),
        sa.Column("png", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["volume_id"], ["volume.id"], name="fk_preview_volume_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("volume_id", name="pk_preview"),
    )
    op.create_table(
        "vector",
        sa.Column("id", INTEGER, autoincrement=True, nullable=False),
        sa.Column("spec_id", INTEGER, nullable=False),
        sa.Column("content_key", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["spec_id"], ["spec.id"], name="fk_vector_spec_id"),
        sa.PrimaryKeyConstraint("id", name="pk_vector"),
        sa.UniqueConstraint("spec_id", "content_key", name="uq_vector_spec_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "embedding",
        sa.Column("id", INTEGER, autoincrement=True, nullable=False),
        sa.Column("volume_id", INTEGER, nullable=False),
        sa.Column("spec_id", INTEGER, nullable=False),
        sa.Column("vector_id", INTEGER, nullable=False),
        sa.Column("intensity_rule", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["spec_id"], ["spec.id"], name="fk_embedding_spec_id"),
        sa.ForeignKeyConstraint(["vector_id"], ["vector.id"], name="fk_embedding_vector_id"),
        sa.ForeignKeyConstraint(["volume_id"], ["volume.id"], name="fk_embedding_volume_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_embedding"),
        sa.UniqueConstraint("volume_id", "spec_id", name="uq_embedding_volume_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_embedding_spec_id", "embedding", ["spec_id"])
    op.create_index("ix_embedding_vector_id", "embedding", ["vector_id"])
    op.create_table(
        "index_version",
        sa.Column("id", INTEGER, autoincrement=True, nullable=False),
        sa.Column("spec_id", INTEGER, nullable=False),
        sa.Column("generation_id", INTEGER, nullable=False),
        sa.Column("file", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("factory", sa.String(), nullable=False),
        sa.Column("volumes", INTEGER, nullable=False),
        sa.Column("last_embedding_id", INTEGER, nullable=False),
        sa.Column("nprobe", INTEGER, nullable=False),
        sa.Column("rerank", INTEGER, nullable=False),
        sa.Column("measured_recall", sa.Double(), nullable=True),
        sa.Column("is_current", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["generation_id"], ["generation.id"], name="fk_index_version_generation_id"),
        sa.ForeignKeyConstraint(["spec_id"], ["spec.id"], name="fk_index_version_spec_id"),
        sa.PrimaryKeyConstraint("id", name="pk_index_version"),
    )
    op.create_index("ix_index_version_spec_id", "index_version", ["spec_id"])
    op.create_table(
        "prefix",
        sa.Column("vector_id", INTEGER, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["vector_id"], ["vector.id"], name="fk_prefix_vector_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("vector_id", name="pk_prefix"),
    )


def downgrade() -> None:
    for table in (
        "prefix",
        "index_version",
        "embedding",
        "vector",
        "preview",
        "label",
        "generation",
        "volume",
        "spec",
        "setting",
        "quarantine",
    ):
        op.drop_table(table)
