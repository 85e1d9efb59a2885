"""A scan becomes a row: its geometry, stack and acquisition, open to filters."""

import dataclasses
from pathlib import Path

import numpy as np
import pydicom

from indexer.loading import Loaded, new_volume
from raptor_search.catalog import TYPED_COLUMNS
from raptor_search.embedding import Embedding
from raptor_search.filters import parse_where
from raptor_search.intensity import choose_rule
from raptor_search.readers import READER_VERSION, Geometry, Scan, ScanMetadata, Source, discover, read
from raptor_search.readers.writing import write_dicom_series
from tests.archives import DrawnArchive, drawn_archive
from tests.indexer.scans import blob


def stored(archive: DrawnArchive, source: Source, scan: Scan) -> int:
    """The id of the scan's row; its vector is drawn."""
    key = archive.catalog.key
    rule = choose_rule(scan.volume.voxels)
    values = np.random.default_rng(scan.volume.voxels.size).normal(size=archive.stored.spec.shape).astype(np.float32)
    loaded = Loaded(source, key.digest("content", source.uri), None, False, scan, None)
    return archive.catalog.commit_volume(
        new_volume(loaded, key, archive.stored, Embedding(archive.stored.spec, values, rule))
    )


def test_the_geometry_record_can_be_filtered_by(tmp_path: Path) -> None:
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    whole = write_dicom_series(tmp_path / "a", blob(0, (12, 14, 40)), affine, modality="MR", patient_id="1", seed="a")
    gap = write_dicom_series(tmp_path / "b", blob(1, (12, 14, 40)), affine, modality="MR", patient_id="2", seed="b")
    place = {round(float(pydicom.dcmread(file).ImagePositionPatient[2])): file for file in gap}
    place[20].unlink()
    for file in whole:
        dataset = pydicom.dcmread(file)
        dataset.EchoTime, dataset.MagneticFieldStrength, dataset.SliceThickness = 12.5, 3, 2
        dataset.save_as(file)
    archive = drawn_archive(tmp_path / "home")
    sources = [one for one in discover([tmp_path / "a", tmp_path / "b"]) if isinstance(one, Source)]
    first, second = (stored(archive, source, read(source)) for source in sources)

    def ids(where: str) -> list[int]:
        return archive.catalog.ids(archive.stored.id, parse_where(where)).tolist()

    assert ids("resampled") == ids("missing_slices = 1") == ids("largest_gap_mm > 1.5") == [second]
    assert ids("NOT resampled AND plane = 'axial' AND slices = 40 AND tilt_deg < 1 AND NOT sheared") == [first]
    assert ids("echo_time_ms = 12.5 AND field_strength_t = 3 AND slice_thickness_mm = 2") == [first]
    assert ids("series_kind = 'derived'") == [first, second]
    row = archive.catalog.volume(second)
    assert (row.metadata["gap_mm"], row.metadata["doubled_slices"], row.subject_key) == (1, 0, row.patient_key)
    known = archive.catalog.known(archive.catalog.key.digest("source", sources[0].uri))
    assert known is not None
    assert known.reader == READER_VERSION


def test_patient_study_series_and_institution_are_kept_as_keyed_hashes(tmp_path: Path) -> None:
    for file in write_dicom_series(tmp_path / "a", blob(0), np.eye(4), modality="CT", patient_id="Jo", seed="a"):
        dataset = pydicom.dcmread(file)
        dataset.InstitutionName = "General"
        dataset.save_as(file)
    archive = drawn_archive(tmp_path / "home")
    (source,) = (one for one in discover([tmp_path / "a"]) if isinstance(one, Source))
    row, key = archive.catalog.volume(stored(archive, source, read(source))), archive.catalog.key
    assert (row.patient_key, row.site_key) == (key.digest("patient", "Jo"), key.digest("site", "General"))
    assert row.study_key == key.digest("study", dataset.StudyInstanceUID)
    assert row.series_key == key.digest("series", dataset.SeriesInstanceUID)
    assert len({row.patient_key, row.site_key, row.study_key, row.series_key, key.digest("site", "Jo")}) == 5


def test_every_fact_of_the_readers_has_a_column_of_its_name() -> None:
    facts = {field.name for kind in (ScanMetadata, Geometry) for field in dataclasses.fields(kind)}
    assert facts <= set(TYPED_COLUMNS)
