"""What a path says: subject, session, and the data set within which a participant's name counts."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from raptor_search.readers import Identity, read_file
from raptor_search.readers.bids import bids_dataset, kept_session
from raptor_search.readers.tables import annotate, read_table
from raptor_search.readers.writing import write_dicom_series, write_nifti


def scan(root: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64], name: str) -> Path:
    return write_nifti(root / "sub-01" / "ses-2" / "anat" / f"{name}.nii.gz", voxels, affine)


def test_participants_of_two_data_sets_are_two_patients(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]
) -> None:
    for name, marker in (("a", "dataset_description.json"), ("b", "participants.tsv")):
        (tmp_path / name).mkdir()
        (tmp_path / name / marker).write_text("participant_id\nsub-01\n" if name == "b" else "{}")
    one = read_file(scan(tmp_path / "a", voxels, affine, "sub-01_ses-2_T1w"))[1]
    same = read_file(scan(tmp_path / "a", voxels, affine, "sub-01_ses-2_T2w"))[1]
    other = read_file(scan(tmp_path / "b", voxels, affine, "sub-01_ses-2_T1w"))[1]
    derived = read_file(scan(tmp_path / "a" / "derivatives" / "prep", voxels, affine, "sub-01_ses-2_T1w"))[1]
    assert one.identity.patient == other.identity.patient == "sub-01"
    assert one.identity.scoped_patient == same.identity.scoped_patient == derived.identity.scoped_patient
    assert one.identity.scoped_patient != other.identity.scoped_patient
    assert (one.metadata.session, one.metadata.modality) == ("2", "MR")
    assert "sub-01" not in repr(one.identity)


def test_a_name_outside_of_any_data_set_counts_everywhere(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]
) -> None:
    for name in ("a", "b"):
        identity = read_file(scan(tmp_path / name, voxels, affine, "sub-01_T1w"))[1].identity
        assert identity.scoped_patient == "sub-01"
    assert Identity(dataset="/data").scoped_patient is None


@pytest.mark.parametrize(
    ("patient_id", "is_theirs"), [("sub-01", True), ("01", True), ("", True), ("MRN 7", False), ("sub-02", False)]
)
def test_a_series_in_a_participants_folder_is_theirs_unless_it_names_somebody_else(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64], patient_id: str, is_theirs: bool
) -> None:
    (tmp_path / "participants.tsv").write_text("participant_id\nsub-01\n")
    write_dicom_series(
        tmp_path / "sub-01" / "ses-3" / "dicom", voxels, affine, modality="MR", patient_id=patient_id, seed="s"
    )
    identity = read_file(tmp_path / "sub-01" / "ses-3" / "dicom")[1].identity
    nifti = read_file(scan(tmp_path, voxels, affine, "sub-01_T1w"))[1].identity
    assert (identity.scoped_patient == nifti.scoped_patient) is is_theirs
    assert (identity.patient == nifti.patient) is is_theirs
    if not is_theirs:
        assert identity.scoped_patient == patient_id
    assert identity.series


def test_a_derivative_of_a_derivative_belongs_to_the_data_set(tmp_path: Path) -> None:
    deep = tmp_path / "ds" / "derivatives" / "x" / "derivatives" / "y"
    deep.mkdir(parents=True)
    (deep / "dataset_description.json").write_text("{}")
    assert bids_dataset(deep / "sub-01.nii") == str(tmp_path / "ds")


def test_the_participants_table_of_the_data_set_keeps_its_patient_and_another_name_leaves_it(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]
) -> None:
    (tmp_path / "participants.tsv").write_text("participant_id\tage\nsub-01\t50\n")
    source, plain = read_file(scan(tmp_path, voxels, affine, "sub-01_T1w"))
    told = annotate(plain, source, [read_table(tmp_path / "participants.tsv")])
    assert told.identity == plain.identity
    (tmp_path / "own.csv").write_text("file,patient_id\nsub-01_T1w.nii.gz,P7\n")
    renamed = annotate(plain, source, [read_table(tmp_path / "own.csv")])
    assert (renamed.identity.patient, renamed.identity.scoped_patient) == ("P7", "P7")


@pytest.mark.parametrize(
    ("session", "kept"),
    [("ses-01", "01"), ("ses-pre", "pre"), (None, None), ("ses-20210304", None), ("ses-x20210304", None)],
)
def test_a_session_that_may_be_a_date_is_not_kept(session: str | None, kept: str | None) -> None:
    assert kept_session(session) == kept
