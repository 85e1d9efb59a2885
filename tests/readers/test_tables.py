"""Tables: which row meets which scan, what is typed, what becomes a label, what is dropped and said to be."""

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from raptor_search.errors import UsageError
from raptor_search.readers import (
    Identity,
    Scan,
    ScanMetadata,
    Source,
    Table,
    annotate,
    find_participants,
    participants_below,
    read_table,
)
from raptor_search.readers.bids import bids_modality, bids_session, bids_subject
from raptor_search.volume import Volume

VOLUME = Volume(voxels=np.arange(64).reshape(4, 4, 4), affine=np.eye(4))


def table(folder: Path, text: str, name: str = "labels.csv") -> Table:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return read_table(folder / name)


def nifti(path: Path) -> Source:
    return Source(path, "nifti", "", (path,), 1, 1)


def scan(**identity: str) -> Scan:
    return Scan(VOLUME, identity=Identity(**identity))


def labels(source: Source, found: Scan, *tables: Table) -> dict[str, str]:
    return annotate(found, source, tables).labels


# Joins


@pytest.mark.parametrize(
    "cell",
    [
        "sub-01/anat/T1.nii.gz",
        "./sub-01/anat/T1.nii.gz",
        "sub-01\\anat\\T1.nii.gz",
        "anat/T1.nii.gz",
        "T1.nii.gz",
        "T1",
    ],
)
def test_a_file_is_met_by_its_path_from_the_table_or_its_last_parts(tmp_path: Path, cell: str) -> None:
    rows = table(tmp_path / "data", f"file,grade\n{cell},high\n")
    source = nifti(tmp_path / "data" / "sub-01" / "anat" / "T1.nii.gz")
    assert labels(source, scan(), rows) == {"grade": "high"}
    assert rows.unmatched == ()


def test_a_file_is_met_by_its_absolute_path_and_from_a_table_elsewhere(tmp_path: Path) -> None:
    source = nifti(tmp_path / "data" / "sub-01" / "T1.nii.gz")
    assert labels(source, scan(), table(tmp_path / "a", f"filename,x\n{source.path},1\n")) == {"x": "1"}
    assert labels(source, scan(), table(tmp_path / "b", "filename,x\nsub-01/T1.nii.gz,2\n")) == {"x": "2"}


def test_a_file_of_another_folder_is_not_met(tmp_path: Path) -> None:
    rows = table(tmp_path, "file,x\nsub-01/T1.nii.gz,1\nsub-02/T1.nii.gz,2\n")
    assert labels(nifti(tmp_path / "sub-02" / "T1.nii.gz"), scan(), rows) == {"x": "2"}
    assert labels(nifti(tmp_path / "sub-03" / "T1.nii.gz"), scan(), rows) == {}
    assert rows.unmatched == (2,)


@pytest.mark.parametrize("cell", ["T1.nii.gz", "./T1.nii.gz", "T1"])
def test_a_bare_name_is_the_row_of_one_file_only(tmp_path: Path, cell: str) -> None:
    rows = table(tmp_path, f"file,x\n{cell},1\n")
    first, second = (nifti(tmp_path / name / "T1.nii.gz") for name in ("sub-01", "sub-02"))
    assert [labels(source, scan(), rows) for source in (first, first)] == [{"x": "1"}] * 2
    assert rows.ambiguous == set()
    assert [labels(source, scan(), rows) for source in (second, first)] == [{}, {"x": "1"}]
    assert rows.ambiguous == {2}


def test_two_series_of_a_folder_share_its_row(tmp_path: Path) -> None:
    rows = table(tmp_path, "file,x\nct,1\n")
    for series in ("1.2", "1.3"):
        found = Source(tmp_path / "ct", "dicom", series, (tmp_path / "ct" / series,), 1, 1)
        assert labels(found, scan(), rows) == {"x": "1"}
    assert rows.ambiguous == set()


def test_entries_of_an_npz_are_met_by_file_and_member(tmp_path: Path) -> None:
    rows = table(tmp_path, "file,x\norgan.npz#train_0,1\ntest_3,2\n")
    path = tmp_path / "organ.npz"
    assert labels(Source(path, "npz", "train_0", (path,), 1, 1), scan(), rows) == {"x": "1"}
    assert labels(Source(path, "npz", "test_3", (path,), 1, 1), scan(), rows) == {"x": "2"}
    assert labels(Source(path, "npz", "train_1", (path,), 1, 1), scan(), rows) == {}


def test_a_series_is_met_by_its_folder_or_its_uid(tmp_path: Path) -> None:
    folder = tmp_path / "ct"
    folder.mkdir()
    source = Source(folder, "dicom", "1.2.3", (folder / "a", folder / "b"), 1, 1)
    assert labels(source, scan(series="1.2.3"), table(tmp_path, "file,x\nct,1\n")) == {"x": "1"}
    assert labels(source, scan(series="1.2.3"), table(tmp_path, "SeriesInstanceUID,x\n1.2.3,2\n")) == {"x": "2"}
    assert labels(source, scan(series="1.2.3"), table(tmp_path, "series,x\n1.2.4,2\n")) == {}


@pytest.mark.parametrize("column", ["participant_id", "subject", "patient", "Patient ID", "PatientID"])
@pytest.mark.parametrize("cell", ["sub-01", "01"])
def test_a_participant_is_met_in_the_path_or_in_the_header(tmp_path: Path, column: str, cell: str) -> None:
    rows = table(tmp_path, f"{column},x\n{cell},1\n")
    assert labels(nifti(tmp_path / "sub-01" / "ses-2" / "a.nii"), scan(), rows) == {"x": "1"}
    assert labels(nifti(tmp_path / "a.nii"), scan(patient="01"), rows) == {"x": "1"}
    assert labels(nifti(tmp_path / "a.nii"), scan(patient="sub-01"), rows) == {"x": "1"}
    assert labels(nifti(tmp_path / "a.nii"), scan(patient="1"), rows) == {}
    assert labels(nifti(tmp_path / "a.nii"), scan(), rows) == {}


def test_sessions_tell_rows_of_one_participant_apart(tmp_path: Path) -> None:
    rows = table(tmp_path, "participant_id,session_id,x\nsub-01,ses-1,a\nsub-01,ses-2,b\n")
    assert labels(nifti(tmp_path / "sub-01" / "ses-2" / "a.nii"), scan(), rows) == {"x": "b"}
    assert labels(nifti(tmp_path / "sub-01" / "ses-3" / "a.nii"), scan(), rows) == {}


def test_a_file_column_goes_before_a_participant(tmp_path: Path) -> None:
    rows = table(tmp_path, "subject,file,x\np1,a.nii,1\np1,b.nii,2\n")
    found = annotate(scan(), nifti(tmp_path / "b.nii"), [rows])
    assert found.labels == {"x": "2"}
    assert found.identity.patient == "p1"


# What rows say


def test_typed_columns_fill_only_what_the_file_leaves_open(tmp_path: Path) -> None:
    rows = table(
        tmp_path,
        "file,Modality,body part,sex,age,laterality,manufacturer,model,year\n"
        "a.nii,pet,chest,female,93,Left,ACME,One,2019\n",
    )
    found = annotate(Scan(VOLUME, ScanMetadata(sex="M")), nifti(tmp_path / "a.nii"), [rows])
    assert found.metadata == ScanMetadata(
        modality="PT",
        body_part="CHEST",
        sex="M",
        age=90.0,
        laterality="L",
        manufacturer="ACME",
        model="One",
        year=2019,
    )
    assert found.labels == {}


@pytest.mark.parametrize("column", ["PatientAge", "patient_age", "age_at_scan", "Age (years)"])
def test_other_names_of_the_age_are_pooled_as_it_is(tmp_path: Path, column: str) -> None:
    rows = table(tmp_path, f"file,{column}\na.nii,97\n")
    found = annotate(scan(), nifti(tmp_path / "a.nii"), [rows])
    assert (found.metadata.age, found.labels, rows.dropped) == (90, {}, ())


@pytest.mark.parametrize("header", ["age,age_at_scan", "age_at_scan,age", "age_years,patient_age"])
def test_a_second_age_is_dropped(tmp_path: Path, header: str) -> None:
    rows = table(tmp_path, f"file,{header}\na.nii,97,97\n")
    found = annotate(scan(), nifti(tmp_path / "a.nii"), [rows])
    assert (found.metadata.age, found.labels, len(rows.dropped)) == (90, {}, 1)


def test_empty_cells_say_nothing(tmp_path: Path) -> None:
    rows = table(tmp_path, "file\tage\tgrade\tsite\na.nii\tn/a\tNaN\t  \n", name="labels.tsv")
    found = annotate(Scan(VOLUME, ScanMetadata(age=5.0)), nifti(tmp_path / "a.nii"), [rows])
    assert found.metadata.age == 5.0
    assert found.labels == {}


def test_labels_of_the_file_stay_then_the_first_table_speaks(tmp_path: Path) -> None:
    first = table(tmp_path, "file,label,x\na.nii,table,1\n")
    second = table(tmp_path, "file,x,y\na.nii,2,3\n", name="b.csv")
    found = Scan(VOLUME, labels={"label": "own"})
    assert labels(nifti(tmp_path / "a.nii"), found, first, second) == {"label": "own", "x": "1", "y": "3"}


def test_a_dicom_patient_stays_and_a_path_gives_way(tmp_path: Path) -> None:
    rows = table(tmp_path, "file,subject\na,P7\n")
    dicom = Source(tmp_path / "a", "dicom", "1.2", (tmp_path / "a",), 1, 1)
    assert annotate(scan(patient="own"), dicom, [rows]).identity.patient == "own"
    assert annotate(scan(patient="sub-01"), nifti(tmp_path / "a"), [rows]).identity.patient == "P7"


@pytest.mark.parametrize(
    "column",
    [
        "name",
        "PatientName",
        "first_name",
        "mrn",
        "record_id",
        "StudyInstanceUID",
        "scan_date",
        "DateOfBirth",
        "dob",
        "birth_year",
        "acquisition date",
        "email",
        "referring_physician",
        "accession_number",
        "comments",
        "hospital",
        "time",
        "acq_time",
        "datetime",
        "visit_dt",
        "admission",
        "admitted",
        "ward",
        "scan_day",
        "image_path",
        "patientname",
        "patientid",
        "birthdate",
        "studydate",
        "Geburtsdatum",
        "Nachname",
        "Straße",
        "Aufnahmedatum",
        "prénom",
        "date de naissance",
        "fecha_nacimiento",
        "Apellidos",
        "cognome",
        "data di nascita",
        "data",
        "geboortedatum",
        "nhs_number",
        "patient_no",
        "case_number",
        "pid",
        "consultant",
        "forename",
        "last",
        "referring",
        "report_text",
        "date_of_death",
        "discharge",
        "postal_code",
        "Patientennummer",
        "Versichertennummer",
        "achternaam",
    ],
)
def test_columns_that_look_personal_are_dropped_and_reported(tmp_path: Path, column: str) -> None:
    rows = table(tmp_path, f"file,{column},grade\na.nii,SECRET,high\n")
    assert len(rows.dropped) == 1
    found = annotate(scan(), nifti(tmp_path / "a.nii"), [rows])
    assert found.labels == {"grade": "high"}
    assert "SECRET" not in repr(found)


@pytest.mark.parametrize(
    "column",
    [
        *(
            "covid",
            "candidate",
            "update_count",
            "validity",
            "idh_status",
            "site",
            "named_entity",
            "timepoint",
            "forward",
        ),
        *(
            "data_source",
            "database",
            "sort",
            "first_pass",
            "case_control",
            "context",
            "cortex",
            "orthosis",
            "nominal",
            "annotation",
        ),
    ],
)
def test_columns_that_only_resemble_them_are_kept(tmp_path: Path, column: str) -> None:
    assert labels(nifti(tmp_path / "a.nii"), scan(), table(tmp_path, f"file,{column}\na.nii,1\n")) == {column: "1"}


@pytest.mark.parametrize(
    "cells",
    [
        ("1950-01-31", "n/a", "1949-12-01"),
        ("31.1.1950", "1.12.1949", "unknown"),
        ("1/31/50", "12/1/49"),
        ("19500131", "19491201"),
        ("2021-03-04T08:15:00", "2021-03-05 09:00"),
        ("ada@clinic.example", "bob@clinic.example"),
        ("00412345", "00412346", "00412345"),
        ("943 476 5870", "943-476-5919"),
        tuple(f"Ms {name}" for name in "ABCDEFGHIJ"),
    ],
)
def test_columns_that_hold_what_is_personal_are_dropped_whatever_their_header(
    tmp_path: Path, cells: tuple[str, ...]
) -> None:
    lines = "".join(f"{row}.nii,{cell},{row % 2}\n" for row, cell in enumerate(cells))
    rows = table(tmp_path, f"file,grading,grade\n{lines}")
    assert rows.dropped == ("grading",)
    assert all(set(row.labels) == {"grade"} for row in rows.rows.values())
    assert read_table(tmp_path / "labels.csv", keep=["grading"]).dropped == ("grade",)


@pytest.mark.parametrize(
    "cells",
    [
        ("n/a", ""),
        ("2019", "2020", "2021"),
        ("1.5", "2.25", "3.125"),
        ("123456", "99"),
        ("right", "left", "right"),
        tuple(f"Ms {name}" for name in "ABCDEFGHI"),
        tuple(f"Ms {name}" for name in "ABCDEFGHIA"),
        tuple(f"0,{number}" for number in range(20)),
    ],
)
def test_columns_that_hold_classes_and_measurements_are_kept(tmp_path: Path, cells: tuple[str, ...]) -> None:
    lines = "".join(f'{row}.nii,"{cell}"\n' for row, cell in enumerate(cells))
    assert table(tmp_path, f"file,grading\n{lines}").dropped == ()


def test_what_a_table_has_a_column_for_and_says_nothing_of_is_cleared(tmp_path: Path) -> None:
    first = table(tmp_path / "a", "file,grade,note,age\na.nii,,x,7\nb.nii,2,y,8\n")
    second = table(tmp_path / "b", "file,stage\na.nii,n/a\n")
    other = table(tmp_path / "c", "file,site\nz.nii,s\n")
    found = annotate(Scan(VOLUME, labels={"kind": "k"}), nifti(tmp_path / "a.nii"), [first, second, other])
    assert (found.labels, found.cleared) == ({"kind": "k"}, ("grade", "note", "stage"))
    assert annotate(scan(), nifti(tmp_path / "b.nii"), [first]).cleared == ("note",)
    assert annotate(scan(), nifti(tmp_path / "y.nii"), [first]).cleared == ()


def test_a_session_that_finds_no_scan_is_a_label_and_a_series_never(tmp_path: Path) -> None:
    rows = table(tmp_path, "file,session,series,session_id\na.nii,baseline,1.2.3,s1\n")
    assert labels(nifti(tmp_path / "a.nii"), scan(), rows) == {"session": "baseline"}
    assert rows.dropped == ("series", "session_id")


def test_rows_that_met_no_scan_are_known_by_their_lines(tmp_path: Path) -> None:
    rows = table(tmp_path, "file,x\n\na.nii,1\nb.nii,2\n,3\n")
    assert rows.unmatched == (3, 4, 5)
    annotate(scan(), nifti(tmp_path / "b.nii"), [rows])
    assert rows.unmatched == (3, 5)


# Reading


def test_a_line_separator_within_a_cell_ends_no_row(tmp_path: Path) -> None:
    rows = table(tmp_path, 'file,grade\na.nii,"high\u2028or\nso"\nb.nii,low\n')
    assert labels(nifti(tmp_path / "a.nii"), scan(), rows) == {"grade": "high or so"}
    assert labels(nifti(tmp_path / "b.nii"), scan(), rows) == {"grade": "low"}


def test_semicolons_quotes_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes('\ufefffile;grade\na.nii;"high; or so"\n'.encode())
    assert labels(nifti(tmp_path / "a.nii"), scan(), read_table(tmp_path / "a.csv")) == {"grade": "high; or so"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty table"),
        (b"a,b\n1,2\n", "no column to join on; expected one of file, filename, series, participant_id"),
        (b"file,x\na.nii\n", "line 2: 1 cells; expected 2"),
        (b"file,x\na.nii,1,2\n", "line 2: 3 cells; expected 2"),
        (b"file,x\na.nii,1\na.nii,2\n", "lines 2 and 3 are about the same scans"),
        (b"subject,x\n01,1\nsub-01,2\n", "lines 2 and 3 are about the same scans"),
        (b"file,x,X\na,1,2\n", "two columns named 'x'"),
        (b"file,,x\na,1,2\n", "column 2 has no name"),
        (b"file,age\na.nii,1\nb.nii,SECRET\n", "line 3: age cannot be understood; expected years"),
        (b"file,sex\na.nii,SECRET\n", "line 2: sex cannot be understood; expected M, F or O"),
        (b"file,year\na.nii,SECRET\n", "line 2: year cannot be understood"),
        (b"file,x\na.nii,\xff\xfe\n", "not UTF-8"),
        (b'file,x\na.nii,"open\n', "line 2"),
    ],
)
def test_a_table_that_cannot_be_is_one_clear_line(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(UsageError, match=words) as caught:
        read_table(tmp_path / "labels.csv")
    assert "labels.csv" in caught.value.message
    assert "SECRET" not in caught.value.message
    assert "\n" not in caught.value.message


def test_a_table_found_beside_the_data_stops_at_no_cell(tmp_path: Path) -> None:
    path = tmp_path / "participants.tsv"
    path.write_text(
        "participant_id\tsex\tage\tyear\tgrade\nsub-01\tunknown\t20-25\tinf\thigh\nsub-02\tF\t7\t2020\tlow\n"
    )
    rows = read_table(path, strict=False)
    assert rows.unread == 3
    found = annotate(scan(), nifti(tmp_path / "sub-01" / "a.nii"), [rows])
    assert (found.metadata, found.labels) == (ScanMetadata(), {"grade": "high"})
    assert annotate(scan(), nifti(tmp_path / "sub-02" / "a.nii"), [rows]).metadata.age == 7
    with pytest.raises(UsageError, match="line 2: sex cannot be understood"):
        read_table(path)


@pytest.mark.parametrize(
    ("header", "words"),
    [("x" * 101, "column 2 has a name of 101 characters; expected at most 100"), ("年齢", "no name")],
)
def test_a_header_that_names_no_label_is_refused_or_dropped(tmp_path: Path, header: str, words: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"file,{header},性別,grade\na.nii,SECRET,SECRET,high\n", encoding="utf-8")
    with pytest.raises(UsageError, match=words):
        read_table(path)
    rows = read_table(path, strict=False)
    assert rows.dropped == ("column 2", "column 3")
    assert labels(nifti(tmp_path / "a.nii"), scan(), rows) == {"grade": "high"}


def test_a_header_of_just_100_characters_is_kept(tmp_path: Path) -> None:
    assert labels(nifti(tmp_path / "a.nii"), scan(), table(tmp_path, f"file,{'x' * 100}\na.nii,1\n")) == {
        "x" * 100: "1"
    }


def test_a_table_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_table(tmp_path / "labels.csv")


def test_participants_are_found_beside_or_above_the_data(tmp_path: Path) -> None:
    leaf = tmp_path / "set" / "sub-01" / "ses-1" / "anat"
    leaf.mkdir(parents=True)
    (leaf / "a.nii").touch()
    assert find_participants(leaf) is None
    (tmp_path / "set" / "participants.tsv").write_text("participant_id\n")
    for path in (tmp_path / "set", leaf, leaf / "a.nii"):
        assert find_participants(path) == tmp_path / "set" / "participants.tsv"
    assert find_participants(tmp_path) is None


def test_participants_of_data_sets_below_are_found_from_their_scans(tmp_path: Path) -> None:
    for place in ("a", "a/derivatives/x", "b", "b/sub-01/other"):
        (tmp_path / "all" / place).mkdir(parents=True)
        (tmp_path / "all" / place / "participants.tsv").write_text("participant_id\n")
    (tmp_path / "participants.tsv").write_text("participant_id\n")
    scans = [
        tmp_path / "all" / name for name in ("a/derivatives/x/sub-01/anat/s.nii", "b/sub-01/anat/s.nii", "c/s.nii")
    ]
    for scan in scans:
        scan.parent.mkdir(parents=True, exist_ok=True)
        scan.touch()
    found = participants_below([tmp_path / "all"], [Source.at(scan, "nifti") for scan in scans])
    expected = ("a", "a/derivatives/x", "b")
    assert found == {tmp_path / "all" / place / "participants.tsv" for place in expected}
    assert participants_below([scans[0], tmp_path / "all" / "b"], [Source.at(scans[1], "nifti")]) == set()


# BIDS paths


@pytest.mark.parametrize(
    ("path", "subject", "session", "modality"),
    [
        ("ds/sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz", "sub-01", "ses-2", "MR"),
        ("ds/sub-A9/pet/sub-A9_pet.nii", "sub-A9", None, "PT"),
        ("ds/sub-01_ct.nii.gz", "sub-01", None, "CT"),
        ("ds/sub-01/scan.nii.gz", "sub-01", None, None),
        ("ds/subject/ct.nii.gz", None, None, None),
        ("ds/mysub-01/a.nii", None, None, None),
    ],
)
def test_bids_paths_say_subject_session_and_modality(
    path: str, subject: str | None, session: str | None, modality: str | None
) -> None:
    found = Path(path)
    assert (bids_subject(found), bids_session(found), bids_modality(found)) == (subject, session, modality)


# Parquet, and columns that are named


def as_parquet(path: Path, **columns: list[object]) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def test_parquet_reads_as_the_same_table_as_csv(tmp_path: Path) -> None:
    path = as_parquet(
        tmp_path / "labels.parquet",
        participant_id=["sub-1", "sub-2"],
        Age=[40.0, None],
        grade=[3, None],
        score=[0.25, 1e-3],
        finding=["nodule", None],
        scan_date=[dt.date(2020, 1, 2), None],
    )
    (tmp_path / "labels.csv").write_text(
        "participant_id,Age,grade,score,finding,scan_date\nsub-1,40,3,0.25,nodule,2020-01-02\nsub-2,,,0.001,,\n"
    )
    one, two = read_table(path), read_table(tmp_path / "labels.csv")
    assert (one.columns, one.dropped, one.rows) == (two.columns, two.dropped, two.rows)
    assert one.dropped == ("scan_date",)
    assert one.rows["1", ""].metadata.age == 40


def test_a_parquet_that_is_damaged_or_nested_is_one_line(tmp_path: Path) -> None:
    path = as_parquet(tmp_path / "a.parquet", file=["x"], boxes=[[1, 2]])
    with pytest.raises(UsageError, match=r"a.parquet: column 'boxes' holds lists"):
        read_table(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UsageError, match=r"a.parquet: a damaged Parquet file"):
        read_table(path)


def test_only_columns_that_are_named_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("participant_id,patient_age,sex,finding,note,grade\nsub-1,95,F,nodule,left lung,3\n")
    kept = read_table(path, keep=["Finding", "note", "patient_age", "elsewhere"])
    row = kept.rows["1", ""]
    assert row.labels == {"finding": "nodule", "note": "left lung"}
    assert (row.metadata.age, row.metadata.sex) == (90, None)
    assert kept.dropped == ("sex", "grade")
    assert read_table(path).dropped == ("note",)
    assert read_table(path, keep=[]).rows["1", ""].labels == {}
    with pytest.raises(UsageError, match=r"--keep participant_id: labels.csv names scans or patients by it"):
        read_table(path, keep=["participant_id"])


def test_a_table_names_the_split_of_a_scan(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("file,split\na.nii,Train\n")
    row = read_table(path).rows["a.nii", ""]
    assert (row.metadata.split, row.labels) == ("train", {})
