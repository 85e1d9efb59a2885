"""Volumes as they are read."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from raptor_search.catalog import TYPED_COLUMNS, Catalog, NewVolume, StoredSpec
from raptor_search.errors import QueryError
from raptor_search.keys import ArchiveKey
from raptor_search.specs import EmbeddingSpec

NewVolumeOf = Callable[..., NewVolume]


@pytest.fixture
def filled(catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf, key: ArchiveKey) -> Catalog:
    for name, patient, labels in (
        ("a", "P1", {"grade": "II"}),
        ("b", "P2", {}),
        ("c", "P1", {"grade": "I"}),
        ("d", None, {}),
    ):
        patient_key = key.digest("patient", patient) if patient else None
        catalog.commit_volume(new_volume(name, patient_key=patient_key, labels=labels, modality="MR", age=50.0))
    return catalog


def test_records_come_in_the_order_asked_for_without_those_that_are_gone(filled: Catalog) -> None:
    assert [record.id for record in filled.volumes([3, 9, 1, 3])] == [3, 1, 3]
    assert filled.volumes([]) == []
    assert [record.labels for record in filled.volumes([1, 2, 3])] == [{"grade": "II"}, {}, {"grade": "I"}]


def test_more_volumes_than_one_query_takes(filled: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [4, 3, 2, 1] * 300
    assert [record.id for record in filled.volumes(many)] == many
    assert len(filled.column_values("grade", many)) == 1200


def test_counts(
    filled: Catalog, stored: StoredSpec, other: StoredSpec, spec: EmbeddingSpec, new_volume: NewVolumeOf
) -> None:
    vector = new_volume("a").vector
    filled.add_embedding(2, other.id, vector, "hu")
    assert (filled.count(), filled.count(stored.id), filled.count(other.id)) == (4, 4, 1)
    assert filled.ids(other.id).tolist() == [2]


def test_patients_come_in_the_order_of_the_ids_and_none_where_there_is_none(filled: Catalog, key: ArchiveKey) -> None:
    assert filled.patient_keys([4, 1, 9]) == [None, key.digest("patient", "P1"), None]


def test_columns_are_the_typed_ones_then_the_labels(
    filled: Catalog, new_volume: NewVolumeOf, stored: StoredSpec
) -> None:
    filled.commit_volume(new_volume("e", labels={"modality": "hidden", "Grade 2": "x"}))
    columns = filled.columns()
    assert list(columns)[: len(TYPED_COLUMNS)] == list(TYPED_COLUMNS)
    assert {name: columns[name] for name in ("modality", "Grade 2", "grade")} == {
        "modality": "text",
        "Grade 2": "label",
        "grade": "label",
    }


def test_the_values_of_a_column_line_up_with_the_ids(filled: Catalog) -> None:
    assert filled.column_values("grade", [3, 2, 1, 9]) == ["I", None, "II", None]
    assert filled.column_values("GRADE", [3]) == ["I"]
    assert filled.column_values("age", [1, 9]) == [50.0, None]
    assert filled.column_values("oriented", [1]) == [True]
    assert filled.column_values("sex", [1]) == [None]
    with pytest.raises(QueryError, match="did you mean grade"):
        filled.column_values("grde", [1])


def test_a_record_comes_with_where_it_came_from(filled: Catalog) -> None:
    found = filled.located_volumes([3, 9, 1])
    assert [record for record, _ in found] == filled.volumes([3, 1])
    assert [source for _, source in found] == filled.locators([3, 1])


@pytest.mark.parametrize("asked", [[], [2], [1, 3, 99], [*range(1, 1200)]])
def test_what_is_embedded_is_told_for_few_as_for_many(filled: Catalog, stored: StoredSpec, asked: list[int]) -> None:
    expected = sorted(set(asked) & set(filled.ids(stored.id).tolist()))
    assert filled.embedded(np.array(asked, np.int64), stored.id).tolist() == expected
    assert filled.embedded(np.array(asked, np.int64), stored.id + 1).size == 0


def test_threads_share_a_catalog(filled: Catalog, stored: StoredSpec, new_volume: NewVolumeOf) -> None:
    def work(number: int) -> int:
        volume_id = filled.commit_volume(new_volume(f"thread {number}"))
        filled.set_label(volume_id, "thread", str(number), origin="accepted")
        assert filled.vectors([1, 2, 3], stored.id).shape == (3, 72)
        return volume_id

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(work, range(24)))
    assert len(set(ids)) == 24
    assert filled.column_values("thread", ids) == [str(number) for number in range(24)]
