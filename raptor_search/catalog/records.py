"""What the catalog takes and gives: frozen values, no rows of the database.

`*_key` fields are keyed hashes (`ArchiveKey.digest`), times are UTC seconds, and `shape` and
`spacing` run along R, A, S. Arrays that come out belong to the caller.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from raptor_search.errors import UsageError
from raptor_search.specs import EmbeddingSpec

__all__ = [
    "TYPED_COLUMNS",
    "AuditRecord",
    "ColumnType",
    "Ids",
    "KnownSource",
    "LabelOrigin",
    "LabelRecord",
    "NewVolume",
    "Problem",
    "QuarantineRecord",
    "StoredSpec",
    "Value",
    "VolumeRecord",
]

ColumnType = Literal["text", "number", "flag", "label"]
"""What a column holds: a label is text that may read as a number."""

LabelOrigin = Literal["given", "accepted", "rejected"]
"""given by the user's files, accepted by a user in the app, or a proposal that a user turned down."""

Value = str | float | bool

Ids = NDArray[np.int64]
"""Primary keys of volumes."""

TYPED_COLUMNS: dict[str, ColumnType] = {
    "modality": "text",
    "body_part": "text",
    "sex": "text",
    "age": "number",
    "year": "number",
    "laterality": "text",
    "contrast_agent": "flag",
    "manufacturer": "text",
    "model": "text",
    "format": "text",
    "size_r": "number",
    "size_a": "number",
    "size_s": "number",
    "spacing_r": "number",
    "spacing_a": "number",
    "spacing_s": "number",
    "orientation": "text",
    "oriented": "flag",
    "plane": "text",
    "slices": "number",
    "gap_mm": "number",
    "smallest_gap_mm": "number",
    "largest_gap_mm": "number",
    "missing_slices": "number",
    "doubled_slices": "number",
    "tilt_deg": "number",
    "oblique_deg": "number",
    "resampled": "flag",
    "sheared": "flag",
    "stack": "number",
    "stacks": "number",
    "stack_by": "text",
    "t": "number",
    "series_kind": "text",
    "session": "text",
    "split": "text",
    "slice_thickness_mm": "number",
    "echo_time_ms": "number",
    "repetition_time_ms": "number",
    "inversion_time_ms": "number",
    "flip_angle_deg": "number",
    "b_value": "number",
    "field_strength_t": "number",
    "tube_voltage_kv": "number",
    "kernel": "text",
}
"""The columns of a volume that filters may name, in the order in which they are shown."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class StoredSpec:
    """A spec of the archive; `provenance` holds device, dtype and library versions."""

    id: int
    spec: EmbeddingSpec
    fingerprint: str
    preset: str
    provenance: Mapping[str, str]
    created_at: float
    is_default: bool


@dataclass(frozen=True, kw_only=True)
class KnownSource:
    """A source that the archive holds: by size and time it is recognised without being read.

    Attributes:
        id: of its volume.
        size: bytes.
        mtime_ns: time of last change, in nanoseconds.
        content_key: keyed hash of its bytes.
        spec_ids: the specs under which it is embedded.
        reader: version of the readers that read it, None before there were any.
    """

    id: int
    size: int
    mtime_ns: int
    content_key: str
    spec_ids: frozenset[int]
    reader: int | None = None


@dataclass(frozen=True, kw_only=True)
class NewVolume:
    """One embedded scan, ready to be committed.

    Attributes:
        locator: where the scan came from, in clear; the catalog encrypts it.
        vector: numbers of the embedding, in order [plane, k, token], any float dtype and any shape;
            None where equal bytes are embedded already (`Catalog.vector_for`): the vector is shared.
        intensity_rule: name of the rule; None with a shared vector takes over that vector's.
        labels: "given" labels by name.
        cleared: names of given labels that go.
        preview: PNG, or None.
        orientation: codes of the stored axes, such as "LPS".
        subject_key: keyed hash of the patient without the data set; `patient_key` may hold both.
        reader: version of the readers that made it.
        tokens: what the vector was projected from, [plane, token, d], to be kept beside it, or None.

    Raises:
        UsageError: on construction, where a key is not a keyed hash: raw identifiers are never stored.
    """

    source_key: str
    locator: str
    size: int
    mtime_ns: int
    content_key: str
    format: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    orientation: str
    oriented: bool
    spec_id: int
    vector: Float[np.ndarray, "..."] | None
    intensity_rule: str | None
    labels: Mapping[str, str] = field(default_factory=dict)
    preview: bytes | None = None
    patient_key: str | None = None
    study_key: str | None = None
    series_key: str | None = None
    site_key: str | None = None
    modality: str | None = None
    body_part: str | None = None
    sex: str | None = None
    age: float | None = None
    year: int | None = None
    laterality: str | None = None
    contrast_agent: bool | None = None
    manufacturer: str | None = None
    model: str | None = None
    plane: str | None = None
    slices: int | None = None
    gap_mm: float | None = None
    smallest_gap_mm: float | None = None
    largest_gap_mm: float | None = None
    missing_slices: int | None = None
    doubled_slices: int | None = None
    tilt_deg: float | None = None
    oblique_deg: float | None = None
    resampled: bool | None = None
    sheared: bool | None = None
    stack: int | None = None
    stacks: int | None = None
    stack_by: str | None = None
    t: int | None = None
    series_kind: str | None = None
    session: str | None = None
    split: str | None = None
    slice_thickness_mm: float | None = None
    echo_time_ms: float | None = None
    repetition_time_ms: float | None = None
    inversion_time_ms: float | None = None
    flip_angle_deg: float | None = None
    b_value: float | None = None
    field_strength_t: float | None = None
    tube_voltage_kv: float | None = None
    kernel: str | None = None
    subject_key: str | None = None
    reader: int | None = None
    tokens: Float[np.ndarray, "plane token d"] | None = None
    cleared: Collection[str] = ()

    def __post_init__(self) -> None:
        for name in ("source_key", "content_key", "patient_key", "study_key", "series_key", "site_key", "subject_key"):
            key = getattr(self, name)
            if key is not None and not _DIGEST.fullmatch(key):
                raise UsageError(f"{name} is not a keyed hash: expected ArchiveKey.digest, 64 hex digits")


@dataclass(frozen=True, kw_only=True)
class VolumeRecord:
    """One scan as the archive knows it; `labels` holds given and accepted values, by name."""

    id: int
    content_key: str
    patient_key: str | None
    study_key: str | None
    series_key: str | None
    site_key: str | None
    added_at: float
    format: str
    modality: str | None
    body_part: str | None
    sex: str | None
    age: float | None
    year: int | None
    laterality: str | None
    contrast_agent: bool | None
    manufacturer: str | None
    model: str | None
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    orientation: str
    oriented: bool
    labels: Mapping[str, str]
    plane: str | None = None
    slices: int | None = None
    gap_mm: float | None = None
    smallest_gap_mm: float | None = None
    largest_gap_mm: float | None = None
    missing_slices: int | None = None
    doubled_slices: int | None = None
    tilt_deg: float | None = None
    oblique_deg: float | None = None
    resampled: bool | None = None
    sheared: bool | None = None
    stack: int | None = None
    stacks: int | None = None
    stack_by: str | None = None
    t: int | None = None
    series_kind: str | None = None
    session: str | None = None
    split: str | None = None
    slice_thickness_mm: float | None = None
    echo_time_ms: float | None = None
    repetition_time_ms: float | None = None
    inversion_time_ms: float | None = None
    flip_angle_deg: float | None = None
    b_value: float | None = None
    field_strength_t: float | None = None
    tube_voltage_kv: float | None = None
    kernel: str | None = None
    subject_key: str | None = None

    @property
    def subject(self) -> str | None:
        """A short pseudonym of the patient, to be shown: the first 8 digits of the keyed hash."""
        return self.patient_key[:8] if self.patient_key else None

    @property
    def metadata(self) -> dict[str, Value | None]:
        """The typed columns by name, in the order of `TYPED_COLUMNS`."""
        sides: dict[str, float] = dict(zip(("size_r", "size_a", "size_s"), self.shape, strict=True))
        sides |= dict(zip(("spacing_r", "spacing_a", "spacing_s"), self.spacing, strict=True))
        return {name: sides[name] if name in sides else getattr(self, name) for name in TYPED_COLUMNS}


@dataclass(frozen=True, kw_only=True)
class LabelRecord:
    """A named value of a volume; a rejected one is a proposal that was turned down, not a label."""

    volume_id: int
    name: str
    value: str
    origin: LabelOrigin
    confidence: float | None
    author: str | None
    changed_at: float


@dataclass(frozen=True, kw_only=True)
class QuarantineRecord:
    """A source that could not be read; `code` is one of `errors.READ_CODES`, `locator` is in clear."""

    source_key: str
    locator: str
    size: int
    mtime_ns: int
    code: str
    reason: str
    attempts: int
    first_at: float
    last_at: float


@dataclass(frozen=True, kw_only=True)
class AuditRecord:
    """Who did what, and when."""

    at: float
    author: str
    action: str
    detail: str


class Problem(NamedTuple):
    """Something that is wrong with an archive.

    Attributes:
        kind: database, reference, spec, volume, vector, mean, index, map or erasure.
        message: what, and where, in one sentence without raw identifiers.
    """

    kind: str
    message: str
