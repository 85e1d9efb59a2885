"""Labels: who may overwrite whom."""

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raptor_search.catalog import Catalog, NewVolume, StoredSpec, as_number
from raptor_search.errors import UsageError
from raptor_search.keys import ArchiveKey

NewVolumeOf = Callable[..., NewVolume]


@pytest.fixture
def volume_id(catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf) -> int:
    return catalog.commit_volume(new_volume("a", labels={"site": "A"}))


def decision(catalog: Catalog, name: str) -> tuple[str, str]:
    (record,) = catalog.labels(name)
    return record.value, record.origin


def test_an_accepted_proposal_becomes_a_label_with_its_origin(catalog: Catalog, volume_id: int) -> None:
    catalog.set_label(volume_id, "grade", "II", origin="accepted", confidence=0.8, author="ann")
    (record,) = catalog.labels("grade")
    assert (record.volume_id, record.value, record.origin) == (volume_id, "II", "accepted")
    assert (record.confidence, record.author) == (0.8, "ann")
    assert catalog.volume(volume_id).labels == {"grade": "II", "site": "A"}
    assert catalog.label_names() == ["grade", "site"]


def test_a_rejected_proposal_is_kept_and_counts_as_missing(catalog: Catalog, volume_id: int) -> None:
    catalog.set_label(volume_id, "grade", "II", origin="rejected")
    assert decision(catalog, "grade") == ("II", "rejected")
    assert catalog.volume(volume_id).labels == {"site": "A"}
    assert catalog.label_names() == ["site"]
    assert "grade" not in catalog.columns()


def test_a_given_label_is_never_overwritten_by_a_decision(catalog: Catalog, volume_id: int) -> None:
    for origin in ("accepted", "rejected"):
        with pytest.raises(UsageError, match="never overwritten"):
            catalog.set_label(volume_id, "site", "B", origin=origin)
    assert decision(catalog, "site") == ("A", "given")
    assert not catalog.clear_label(volume_id, "site")
    assert decision(catalog, "site") == ("A", "given")


def test_a_file_never_overwrites_what_a_person_accepted(
    catalog: Catalog, volume_id: int, new_volume: NewVolumeOf
) -> None:
    catalog.set_label(volume_id, "grade", "II", origin="accepted", author="ann")
    catalog.give_labels(volume_id, {"grade": "III", "site": "B"})
    assert decision(catalog, "grade") == ("II", "accepted")
    assert decision(catalog, "site") == ("B", "given")
    catalog.commit_volume(new_volume("a", labels={"grade": "IV", "site": "C"}))
    assert decision(catalog, "grade") == ("II", "accepted")
    assert decision(catalog, "site") == ("C", "given")


def test_a_file_fills_in_what_a_person_only_rejected(catalog: Catalog, volume_id: int) -> None:
    catalog.set_label(volume_id, "grade", "II", origin="rejected")
    catalog.set_label(volume_id, "grade", "III", origin="given")
    assert decision(catalog, "grade") == ("III", "given")


def test_a_person_may_change_their_mind(catalog: Catalog, volume_id: int) -> None:
    catalog.set_label(volume_id, "grade", "II", origin="rejected", author="ann")
    catalog.set_label(volume_id, "grade", "II", origin="accepted", author="bob")
    (record,) = catalog.labels("grade")
    assert (record.origin, record.author) == ("accepted", "bob")
    assert catalog.clear_label(volume_id, "grade")
    assert not catalog.clear_label(volume_id, "grade")
    assert catalog.labels("grade") == []


def test_decisions_move_along_when_the_bytes_of_the_same_series_change(
    catalog: Catalog, volume_id: int, new_volume: NewVolumeOf
) -> None:
    catalog.set_label(volume_id, "grade", "II", origin="accepted", confidence=0.8, author="ann")
    catalog.set_label(volume_id, "other", "x", origin="rejected")
    (before,) = catalog.labels("grade")
    new_id = catalog.commit_volume(new_volume("a", "header rewritten", labels={"grade": "III", "other": "y"}))
    (after,) = catalog.labels("grade")
    assert (after.volume_id, after.value, after.origin, after.changed_at) == (
        new_id,
        "II",
        "accepted",
        before.changed_at,
    )
    assert decision(catalog, "other") == ("y", "given")
    assert catalog.labels("site") == []


def test_decisions_do_not_move_to_another_patients_scan_and_are_put_on_record(
    catalog: Catalog, volume_id: int, new_volume: NewVolumeOf, key: ArchiveKey
) -> None:
    catalog.set_label(volume_id, "grade", "II", origin="accepted")
    new_id = catalog.commit_volume(new_volume("a", "another scan", patient_key=key.digest("patient", "P2")))
    assert catalog.labels("grade") == []
    (entry,) = catalog.audits()
    assert entry.action == "label dropped"
    assert entry.detail == f"volume {volume_id} became {new_id}, another series: accepted grade was dropped"


def test_a_label_of_a_volume_that_is_gone_is_refused(catalog: Catalog) -> None:
    with pytest.raises(UsageError, match="no volume 7"):
        catalog.set_label(7, "grade", "II", origin="accepted")
    with pytest.raises(UsageError, match="no volume 7"):
        catalog.give_labels(7, {"grade": "II"})


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\0", "x" * 101])
def test_a_name_that_cannot_be_shown_is_refused(catalog: Catalog, volume_id: int, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a label"):
        catalog.set_label(volume_id, name, "x", origin="accepted")


@pytest.mark.parametrize("confidence", [-0.1, 1.1, float("nan")])
def test_a_confidence_lies_between_0_and_1(catalog: Catalog, volume_id: int, confidence: float) -> None:
    with pytest.raises(UsageError, match="confidence"):
        catalog.set_label(volume_id, "grade", "x", origin="accepted", confidence=confidence)


def test_values_of_any_length_are_kept(catalog: Catalog, volume_id: int) -> None:
    catalog.set_label(volume_id, "report", "x" * 10_000, origin="accepted")
    assert decision(catalog, "report") == ("x" * 10_000, "accepted")


@pytest.mark.parametrize(
    ("text", "number"),
    [("12", 12.0), (" -3.5 ", -3.5), ("+.5", 0.5), ("5.", 5.0), ("1e-2", 0.01), ("007", 7.0)],
)
def test_plain_numbers_read_as_numbers(text: str, number: float) -> None:
    assert as_number(text) == number


@pytest.mark.parametrize(
    "text", ["", " ", "nan", "inf", "-Infinity", "1e999", "1_000", "0x10", "1,5", "12 mm", "٣", "."]
)
def test_other_text_does_not(text: str) -> None:
    assert as_number(text) is None


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(deadline=None)
def test_every_float_reads_as_itself(number: float) -> None:
    assert as_number(repr(number)) == number


@pytest.fixture
def four(catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf) -> list[int]:
    """One with a given grade, one with an accepted one, one that was turned down, one without."""
    ids = [catalog.commit_volume(new_volume(name, labels={"grade": "I"} if name == "a" else {})) for name in "abcd"]
    catalog.set_label(ids[1], "grade", "II", origin="accepted", author="ann")
    catalog.set_label(ids[2], "grade", "II", origin="rejected", author="ann")
    return ids


def test_many_decisions_at_once_pass_over_what_has_a_value(catalog: Catalog, four: list[int]) -> None:
    wanted = [(volume_id, "III", 0.9) for volume_id in [*four, 999]]
    assert catalog.set_labels("grade", wanted, origin="accepted", author="bob") == four[2:]
    found = {record.volume_id: (record.value, record.origin, record.author) for record in catalog.labels("grade")}
    assert found == {
        four[0]: ("I", "given", None),
        four[1]: ("II", "accepted", "ann"),
        four[2]: ("III", "accepted", "bob"),
        four[3]: ("III", "accepted", "bob"),
    }
    with pytest.raises(UsageError, match="given values come with files"):
        catalog.set_labels("grade", wanted, origin="given", author="bob")


def test_decisions_are_counted_listed_latest_first_and_taken_back_together(catalog: Catalog, four: list[int]) -> None:
    catalog.set_labels("grade", [(four[3], "III", None)], origin="accepted", author="bob")
    assert catalog.origin_counts("grade") == {"given": 1, "accepted": 2, "rejected": 1}
    assert [record.volume_id for record in catalog.decisions("grade", limit=2)] == [four[3], four[2]]
    assert [record.volume_id for record in catalog.decisions("grade", limit=2, offset=2)] == [four[1]]
    assert catalog.decided_ids("grade").tolist() == four
    assert catalog.decided_ids("grade", ["accepted"]).tolist() == [four[1], four[3]]
    assert catalog.clear_labels("grade", four) == 3
    assert catalog.origin_counts("grade") == {"given": 1}


def test_the_database_counts_what_each_value_has(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf, four: list[int]
) -> None:
    catalog.set_labels("grade", [(four[3], "II", None)], origin="accepted", author="bob")
    assert list(catalog.value_counts("grade", stored.id).items()) == [("II", 2), ("I", 1)]
    for column in ("modality", "age", "oriented", "format"):
        values = [value for value in catalog.column_values(column, four) if value is not None]
        assert catalog.value_counts(column, stored.id) == Counter(values)
    assert catalog.value_counts("modality", stored.id + 1) == {}
    known = {key for key in catalog.patient_keys(four) if key is not None}
    assert catalog.count_patients(stored.id) == len(known)
