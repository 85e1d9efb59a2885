"""The tables of the catalog: the truth that every index is built from.

A volume keeps its own row for each source; equal bytes share one vector. Raw identifiers are never
stored: `*_key` columns hold keyed hashes, `locator` the source encrypted. Times are UTC seconds.
"""

from sqlalchemy import BigInteger, Double, ForeignKey, Integer, LargeBinary, MetaData, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = [
    "AuditRow",
    "Base",
    "CohortMapRow",
    "EmbeddingRow",
    "GenerationRow",
    "IndexMeasuresRow",
    "IndexVersionRow",
    "KnnGraphRow",
    "LabelRow",
    "MapDetailRow",
    "PrefixRow",
    "PreviewRow",
    "ProposalRow",
    "QuarantineRow",
    "SettingRow",
    "SpecRow",
    "TokenMeansRow",
    "TombstoneRow",
    "VectorRow",
    "VolumeRow",
    "WriterRow",
]


class Base(DeclarativeBase):
    """The declarative base; constraints are named, so that migrations can find them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    # SQLite's INTEGER holds 64 bits, and only that type makes a growing primary key there.
    type_annotation_map = {int: BigInteger().with_variant(Integer(), "sqlite"), float: Double()}  # noqa: RUF012


class SettingRow(Base):
    """One fact about the archive as a whole, such as the check value of its key."""

    __tablename__ = "setting"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class SpecRow(Base):
    """An embedding recipe; `document` is `EmbeddingSpec.to_json`."""

    __tablename__ = "spec"

    id: Mapped[int] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(unique=True)
    document: Mapped[str]
    preset: Mapped[str]
    provenance: Mapped[str]
    created_at: Mapped[float]
    is_default: Mapped[bool]


class VolumeRow(Base):
    """One scan at one source, with its typed metadata (the columns that filters may name)."""

    __tablename__ = "volume"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012  an id is never used twice

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    source_key: Mapped[str] = mapped_column(unique=True)
    locator: Mapped[bytes] = mapped_column(LargeBinary)
    size: Mapped[int]
    mtime_ns: Mapped[int]
    content_key: Mapped[str] = mapped_column(index=True)
    added_at: Mapped[float]
    format: Mapped[str]
    patient_key: Mapped[str | None] = mapped_column(index=True)
    study_key: Mapped[str | None]
    series_key: Mapped[str | None]
    site_key: Mapped[str | None]
    modality: Mapped[str | None] = mapped_column(index=True)
    body_part: Mapped[str | None]
    sex: Mapped[str | None]
    age: Mapped[float | None]
    year: Mapped[int | None]
    laterality: Mapped[str | None]
    contrast_agent: Mapped[bool | None]
    manufacturer: Mapped[str | None]
    model: Mapped[str | None]
    size_r: Mapped[int]
    size_a: Mapped[int]
    size_s: Mapped[int]
    spacing_r: Mapped[float]
    spacing_a: Mapped[float]
    spacing_s: Mapped[float]
    orientation: Mapped[str]
    oriented: Mapped[bool]
    plane: Mapped[str | None]
    slices: Mapped[int | None]
    gap_mm: Mapped[float | None]
    smallest_gap_mm: Mapped[float | None]
    largest_gap_mm: Mapped[float | None]
    missing_slices: Mapped[int | None]
    doubled_slices: Mapped[int | None]
    tilt_deg: Mapped[float | None]
    oblique_deg: Mapped[float | None]
    resampled: Mapped[bool | None]
    sheared: Mapped[bool | None]
    stack: Mapped[int | None]
    stacks: Mapped[int | None]
    stack_by: Mapped[str | None]
    t: Mapped[int | None]
    series_kind: Mapped[str | None]
    session: Mapped[str | None]
    split: Mapped[str | None]
    slice_thickness_mm: Mapped[float | None]
    echo_time_ms: Mapped[float | None]
    repetition_time_ms: Mapped[float | None]
    inversion_time_ms: Mapped[float | None]
    flip_angle_deg: Mapped[float | None]
    b_value: Mapped[float | None]
    field_strength_t: Mapped[float | None]
    tube_voltage_kv: Mapped[float | None]
    kernel: Mapped[str | None]
    subject_key: Mapped[str | None] = mapped_column(index=True)
    reader: Mapped[int | None]


class VectorRow(Base):
    """One embedding: float16 [plane, k, token], little-endian, C order; shared by equal bytes."""

    __tablename__ = "vector"
    __table_args__ = (UniqueConstraint("spec_id", "content_key"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    spec_id: Mapped[int] = mapped_column(ForeignKey("spec.id"))
    content_key: Mapped[str]
    sha256: Mapped[str]
    data: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)


class PrefixRow(Base):
    """The first 10 components of a vector, apart from it, so that a cascade reads little."""

    __tablename__ = "prefix"

    vector_id: Mapped[int] = mapped_column(ForeignKey("vector.id", ondelete="CASCADE"), primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class TokenMeansRow(Base):
    """What a vector was projected from, where it is kept: float16 [plane, token, d], little-endian, C order."""

    __tablename__ = "token_means"

    vector_id: Mapped[int] = mapped_column(ForeignKey("vector.id", ondelete="CASCADE"), primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class EmbeddingRow(Base):
    """Which vector a volume has under a spec, and which intensity rule made it. Ids grow in order of commit."""

    __tablename__ = "embedding"
    __table_args__ = (UniqueConstraint("volume_id", "spec_id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    volume_id: Mapped[int] = mapped_column(ForeignKey("volume.id", ondelete="CASCADE"))
    spec_id: Mapped[int] = mapped_column(ForeignKey("spec.id"), index=True)
    vector_id: Mapped[int] = mapped_column(ForeignKey("vector.id"), index=True)
    intensity_rule: Mapped[str]


class PreviewRow(Base):
    """A picture of a volume's three middle planes: PNG."""

    __tablename__ = "preview"

    volume_id: Mapped[int] = mapped_column(ForeignKey("volume.id", ondelete="CASCADE"), primary_key=True)
    png: Mapped[bytes] = mapped_column(LargeBinary)


class LabelRow(Base):
    """A named value of a volume. `origin`: given (by the user's files), accepted or rejected (in the app).

    `number` is what the value reads as, or NULL: filters compare it, so that both databases agree.
    """

    __tablename__ = "label"
    __table_args__ = (UniqueConstraint("volume_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    volume_id: Mapped[int] = mapped_column(ForeignKey("volume.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(index=True)
    value: Mapped[str]
    number: Mapped[float | None]
    origin: Mapped[str]
    confidence: Mapped[float | None]
    author: Mapped[str | None]
    changed_at: Mapped[float]


class QuarantineRow(Base):
    """A source that could not be read: why, and how often it was tried. The file itself is untouched."""

    __tablename__ = "quarantine"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    source_key: Mapped[str] = mapped_column(unique=True)
    locator: Mapped[bytes] = mapped_column(LargeBinary)
    size: Mapped[int]
    mtime_ns: Mapped[int]
    code: Mapped[str]
    reason: Mapped[str]
    attempts: Mapped[int]
    first_at: Mapped[float]
    last_at: Mapped[float]


class GenerationRow(Base):
    """The mean that centres every score of a spec, frozen until the index is trained again: little-endian float32."""

    __tablename__ = "generation"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    spec_id: Mapped[int] = mapped_column(ForeignKey("spec.id"), index=True)
    centring: Mapped[str]
    mean: Mapped[bytes] = mapped_column(LargeBinary)
    volumes: Mapped[int]
    created_at: Mapped[float]


class IndexVersionRow(Base):
    """One published FAISS file. Embeddings above `last_embedding_id` are newer and scanned exactly."""

    __tablename__ = "index_version"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    spec_id: Mapped[int] = mapped_column(ForeignKey("spec.id"), index=True)
    generation_id: Mapped[int] = mapped_column(ForeignKey("generation.id"))
    file: Mapped[str]
    sha256: Mapped[str]
    factory: Mapped[str]
    volumes: Mapped[int]
    last_embedding_id: Mapped[int]
    nprobe: Mapped[int]
    rerank: Mapped[int]
    measured_recall: Mapped[float | None]
    is_current: Mapped[bool]
    created_at: Mapped[float]


class IndexMeasuresRow(Base):
    """What was measured on an index version: JSON, and quantiles of background scores (little-endian float32)."""

    __tablename__ = "index_measures"

    version_id: Mapped[int] = mapped_column(ForeignKey("index_version.id", ondelete="CASCADE"), primary_key=True)
    document: Mapped[str]
    background: Mapped[bytes] = mapped_column(LargeBinary)


class CohortMapRow(Base):
    """One UMAP map of a spec: volume ids (little-endian int64) and coordinates (float32), and what made them."""

    __tablename__ = "cohort_map"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    spec_id: Mapped[int] = mapped_column(ForeignKey("spec.id"), index=True)
    parameters: Mapped[str]
    volume_ids: Mapped[bytes] = mapped_column(LargeBinary)
    coordinates: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[float]


class AuditRow(Base):
    """Who did what, and when; written before a result is shown."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[float]
    author: Mapped[str]
    action: Mapped[str]
    detail: Mapped[str]


class WriterRow(Base):
    """Who may write volumes and indexes now: one row, whose epoch grows with every holder.

    Without `pid` nobody holds it; after `expires_at` another may take it, and its old holder can commit no more.
    """

    __tablename__ = "writer"

    id: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[int]
    pid: Mapped[int | None]
    host: Mapped[str | None]
    since: Mapped[float | None]
    expires_at: Mapped[float | None]


class TombstoneRow(Base):
    """Something that was erased and must not come back: a keyed hash (`ArchiveKey.tombstone`) that no other row has."""

    __tablename__ = "tombstone"

    key: Mapped[str] = mapped_column(primary_key=True)
    erased_at: Mapped[float]


class KnnGraphRow(Base):
    """The nearest scans of each scan under an index version.

    Volume ids are little-endian int64, one a row; indices (int32, -1 where there are fewer) and scores (float32) are
    rows of `neighbours`.
    """

    __tablename__ = "knn_graph"

    version_id: Mapped[int] = mapped_column(ForeignKey("index_version.id", ondelete="CASCADE"), primary_key=True)
    neighbours: Mapped[int]
    is_exact: Mapped[bool]
    volume_ids: Mapped[bytes] = mapped_column(LargeBinary)
    indices: Mapped[bytes] = mapped_column(LargeBinary)
    scores: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[float]


class MapDetailRow(Base):
    """What was found on a map: the cluster of each volume (little-endian int32, -1 for none), and the rest as JSON."""

    __tablename__ = "map_detail"

    map_id: Mapped[int] = mapped_column(ForeignKey("cohort_map.id", ondelete="CASCADE"), primary_key=True)
    version_id: Mapped[int]
    clusters: Mapped[bytes] = mapped_column(LargeBinary)
    document: Mapped[str]


class ProposalRow(Base):
    """A value that neighbours propose for a volume: no label until somebody accepts it. NULL where they abstain."""

    __tablename__ = "proposal"
    __table_args__ = (UniqueConstraint("volume_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    volume_id: Mapped[int] = mapped_column(ForeignKey("volume.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(index=True)
    value: Mapped[str | None]
    confidence: Mapped[float]
    reason: Mapped[str | None]
    document: Mapped[str]
    author: Mapped[str]
    proposed_at: Mapped[float]
