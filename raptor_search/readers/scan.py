"""What reading gives: the volume, what may be kept about it, and the raw identifiers that may not."""

import dataclasses
from dataclasses import dataclass, field

from raptor_search.readers.geometry import Geometry
from raptor_search.volume import Volume

__all__ = ["POOLED_AGE", "READER_VERSION", "Identity", "Scan", "ScanMetadata"]

READER_VERSION = 4
"""Grows when readers learn to keep more, or to read a scan otherwise: scans of an older one are read again."""

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
        stack: which of its series' stacks it is, from 1.
        stacks: how many volumes the series holds.
        stack_by: what they differ by, such as "echo".
        t: which volume of a series in time, from 0.
        series_kind: original, derived, or what it was derived by (mpr, mip, ...).
        session: BIDS session, unless it reads as a date.
        split: train, val or test, where a data set says so.
        slice_thickness_mm: of the acquisition, not the distance of the slices.
        echo_time_ms: MR.
        repetition_time_ms: MR.
        inversion_time_ms: MR.
        flip_angle_deg: MR.
        b_value: s/mm2 of diffusion MR.
        field_strength_t: tesla.
        tube_voltage_kv: CT.
        kernel: reconstruction kernel of CT.
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

    def filled_from(self, other: "ScanMetadata") -> "ScanMetadata":
        """This metadata, with `other`'s values where this one has none."""
        return dataclasses.replace(
            other, **{name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        )


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Raw identifiers: only their keyed hashes are ever stored, and no repr shows them.

    Attributes:
        patient: PatientID, a BIDS subject, or what a table says.
        study: StudyInstanceUID.
        series: SeriesInstanceUID.
        site: InstitutionName.
        dataset: the folder within which the patient's name counts, of a BIDS data set; None where it counts anywhere.
    """

    patient: str | None = field(default=None, repr=False)
    study: str | None = field(default=None, repr=False)
    series: str | None = field(default=None, repr=False)
    site: str | None = field(default=None, repr=False)
    dataset: str | None = field(default=None, repr=False)

    @property
    def scoped_patient(self) -> str | None:
        """The patient, told from those of the same name in other data sets."""
        return f"{self.dataset}\0{self.patient}" if self.dataset and self.patient else self.patient


@dataclass(frozen=True)
class Scan:
    """One volume with what is known about it.

    Attributes:
        volume: voxels and geometry.
        metadata: what may be kept.
        identity: what may be kept only as keyed hashes.
        labels: named values given by the file or a table.
        geometry: how its slices lay in the file.
        cleared: names of labels that a table speaks about, and for this scan says nothing of or keeps nothing.
    """

    volume: Volume
    metadata: ScanMetadata = field(default_factory=ScanMetadata)
    identity: Identity = field(default_factory=Identity)
    labels: dict[str, str] = field(default_factory=dict)
    geometry: Geometry = field(default_factory=Geometry)
    cleared: tuple[str, ...] = ()
