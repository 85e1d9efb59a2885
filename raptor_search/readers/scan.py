"""What reading gives: the volume, what may be kept about it, and the raw identifiers that may not."""

import dataclasses
from dataclasses import dataclass, field

from raptor_search.volume import Volume

__all__ = ["POOLED_AGE", "Identity", "Scan", "ScanMetadata"]

POOLED_AGE = 90.0
"""Years from which ages are pooled (HIPAA Safe Harbor, 45 CFR 164.514(b)(2)(i)(C))."""


@dataclass(frozen=True, kw_only=True)
class ScanMetadata:
    """The allow-list of facts that are kept; None where the file does not say.

    Attributes:
        modality: DICOM code, such as CT, MR or PT.
        body_part: as BodyPartExamined has it, such as CHEST.
        sex: M, F or O.
        age: years; 90 and above are pooled as 90.
        year: of the study.
        laterality: L, R or B.
        contrast_agent: whether one was given.
        manufacturer: of the scanner.
        model: of the scanner.
    """

    modality: str | None = None
    body_part: str | None = None
    sex: str | None = None
    age: float | None = None
    year: int | None = None
    laterality: str | None = None
    contrast_agent: bool | None = None
    manufacturer: str | None = None
    model: str | None = None

    def filled_from(self, other: "ScanMetadata") -> "ScanMetadata":
        """This metadata, with `other`'s values where this one has none."""
        return dataclasses.replace(
            other, **{name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        )


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Raw identifiers: only their keyed hashes are ever stored, and no repr shows them."""

    patient: str | None = field(default=None, repr=False)
    study: str | None = field(default=None, repr=False)
    series: str | None = field(default=None, repr=False)
    site: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Scan:
    """One volume with what is known about it.

    Attributes:
        volume: voxels and geometry.
        metadata: what may be kept.
        identity: what may be kept only as keyed hashes.
        labels: named values given by the file or a table.
    """

    volume: Volume
    metadata: ScanMetadata = field(default_factory=ScanMetadata)
    identity: Identity = field(default_factory=Identity)
    labels: dict[str, str] = field(default_factory=dict)
