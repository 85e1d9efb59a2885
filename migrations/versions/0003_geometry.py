"""What a reader knows of a scan's geometry, stack and acquisition, and the split of a data set as a column of its own.

`subject_key` is the patient without the data set: participants of two data sets may share a name. `reader` is the
version of the readers that last read the scan; rows of an older one, or of none, are read again by the next run.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

COLUMNS = {
    **dict.fromkeys(("plane", "stack_by", "series_kind", "session", "split", "kernel", "subject_key"), sa.String()),
    **dict.fromkeys(("slices", "missing_slices", "doubled_slices", "stack", "stacks", "t", "reader"), INTEGER),
    **dict.fromkeys(("gap_mm", "smallest_gap_mm", "largest_gap_mm", "tilt_deg", "oblique_deg"), sa.Double()),
    **dict.fromkeys(("slice_thickness_mm", "echo_time_ms", "repetition_time_ms", "inversion_time_ms"), sa.Double()),
    **dict.fromkeys(("flip_angle_deg", "b_value", "field_strength_t", "tube_voltage_kv"), sa.Double()),
    **dict.fromkeys(("resampled", "sheared"), sa.Boolean()),
}


def upgrade() -> None:
    for name, kind in COLUMNS.items():
        op.add_column("volume", sa.Column(name, kind, nullable=True))
    op.create_index("ix_volume_subject_key", "volume", ["subject_key"])
    given = "label.volume_id = volume.id AND label.name = 'split' AND label.origin = 'given'"
    op.execute(f"UPDATE volume SET split = (SELECT value FROM label WHERE {given})")
    op.execute("DELETE FROM label WHERE name = 'split' AND origin = 'given'")


def downgrade() -> None:
    op.execute(
        "INSERT INTO label (volume_id, name, value, origin, changed_at) "
        "SELECT id, 'split', split, 'given', added_at FROM volume WHERE split IS NOT NULL "
        "AND NOT EXISTS (SELECT 1 FROM label WHERE label.volume_id = volume.id AND label.name = 'split')"
    )
    op.drop_index("ix_volume_subject_key", "volume")
    for name in COLUMNS:
        op.drop_column("volume", name)
