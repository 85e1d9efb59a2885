"""What the indexer writes: whole volumes, shared vectors, replaced sources, quarantine."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select

from raptor_search.catalog import Catalog, NewVolume, StoredSpec
from raptor_search.catalog.tables import EmbeddingRow, LabelRow, PrefixRow, PreviewRow, VectorRow, VolumeRow
from raptor_search.errors import CatalogError, ReadError, SpecError, UsageError
from raptor_search.keys import ArchiveKey
from raptor_search.specs import EmbeddingSpec

NewVolumeOf = Callable[..., NewVolume]


def rows(catalog: Catalog, table: type) -> int:
    with catalog._database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_a_committed_volume_comes_back_as_it_was(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf, key: ArchiveKey
) -> None:
    patient = key.digest("patient", "P1")
    new = new_volume(
        "a.nii",
        patient_key=patient,
        modality="MR",
        age=41.5,
        year=2019,
        contrast_agent=False,
        labels={"sequence": "T1w"},
        preview=b"\x89PNG",
        size=2**40,
    )
    volume_id = catalog.commit_volume(new)
    record = catalog.volume(volume_id)
    for name in (
        "content_key",
        "patient_key",
        "study_key",
        "modality",
        "age",
        "year",
        "contrast_agent",
        "sex",
        "shape",
        "spacing",
    ):
        assert getattr(record, name) == getattr(new, name), name
    assert record.labels == {"sequence": "T1w"}
    assert record.subject == patient[:8]
    assert record.metadata["size_s"] == 6
    assert record.metadata["spacing_s"] == 2.5
    assert catalog.preview(volume_id) == b"\x89PNG"
    assert catalog.locator(volume_id) == "/scans/a.nii"
    assert catalog.locators([9, volume_id]) == [None, "/scans/a.nii"]
    known = catalog.known(new.source_key)
    assert known is not None
    assert (known.id, known.size, known.mtime_ns) == (volume_id, 2**40, new.mtime_ns)
    assert known.spec_ids == {stored.id}


def test_an_unknown_source_is_none(catalog: Catalog, key: ArchiveKey) -> None:
    assert catalog.known(key.digest("source", "nowhere")) is None


def test_committing_the_same_bytes_again_keeps_the_id_and_refreshes_the_rest(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf
) -> None:
    first = catalog.commit_volume(new_volume("a", modality="MR", labels={"x": "1"}))
    added_at = catalog.volume(first).added_at
    again = catalog.commit_volume(new_volume("a", modality="CT", labels={"x": "2", "y": "3"}, mtime_ns=5, preview=b"p"))
    assert again == first
    record = catalog.volume(first)
    assert (record.modality, record.labels, record.added_at) == ("CT", {"x": "2", "y": "3"}, added_at)
    assert catalog.preview(first) == b"p"
    assert (rows(catalog, VolumeRow), rows(catalog, VectorRow), rows(catalog, EmbeddingRow)) == (1, 1, 1)


def test_equal_bytes_at_two_sources_have_two_rows_and_one_vector(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf
) -> None:
    first = catalog.commit_volume(new_volume("a", "same"))
    vector_id = catalog.vector_for(new_volume("a", "same").content_key, stored.id)
    assert vector_id is not None
    second = catalog.commit_volume(new_volume("b", "same", vector=None, intensity_rule=None))
    assert first != second
    assert (rows(catalog, VolumeRow), rows(catalog, VectorRow), rows(catalog, EmbeddingRow)) == (2, 1, 2)
    one, other = catalog.vectors([first, second], stored.id)
    assert np.array_equal(one, other)
    assert len(set(catalog.content_keys([first, second]))) == 1


def test_a_second_vector_of_the_same_bytes_is_not_stored(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf, spec: EmbeddingSpec
) -> None:
    first = catalog.commit_volume(new_volume("a", "same"))
    second = catalog.commit_volume(new_volume("b", "same", vector=np.ones(spec.length)))
    assert rows(catalog, VectorRow) == 1
    assert np.array_equal(catalog.vectors([first], stored.id), catalog.vectors([second], stored.id))


def test_a_vector_that_is_to_be_shared_must_be_there(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf
) -> None:
    with pytest.raises(CatalogError, match="raptor index"):
        catalog.commit_volume(new_volume("a", vector=None))
    assert catalog.count() == 0


def test_changed_bytes_take_a_new_id_and_leave_nothing_of_the_old_behind(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf
) -> None:
    old = catalog.commit_volume(new_volume("a", "before", labels={"x": "1"}, preview=b"p"))
    new = catalog.commit_volume(new_volume("a", "after", labels={"y": "2"}))
    assert new > old
    assert catalog.volumes([old, new]) == [catalog.volume(new)]
    assert catalog.volume(new).labels == {"y": "2"}
    assert catalog.vector_for(new_volume("a", "before").content_key, stored.id) is None
    counts = [rows(catalog, table) for table in (VolumeRow, VectorRow, PrefixRow, EmbeddingRow, LabelRow, PreviewRow)]
    assert counts == [1, 1, 1, 1, 1, 0]
    with pytest.raises(UsageError, match=f"no volume {old}"):
        catalog.volume(old)
    with pytest.raises(UsageError, match=f"no volume {old}"):
        catalog.locator(old)


def test_changed_bytes_leave_a_vector_that_another_source_shares(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf
) -> None:
    catalog.commit_volume(new_volume("a", "before"))
    kept = catalog.commit_volume(new_volume("b", "before", vector=None, intensity_rule=None))
    catalog.commit_volume(new_volume("a", "after"))
    assert rows(catalog, VectorRow) == 2
    assert len(catalog.vectors([kept], stored.id)) == 1


def test_changed_bytes_remove_the_old_vectors_of_every_spec(
    catalog: Catalog, stored: StoredSpec, other: StoredSpec, new_volume: NewVolumeOf, spec: EmbeddingSpec
) -> None:
    volume_id = catalog.commit_volume(new_volume("a", "before"))
    catalog.add_embedding(volume_id, other.id, np.ones(spec.length), "hu")
    catalog.commit_volume(new_volume("a", "after"))
    assert rows(catalog, VectorRow) == 1
    assert catalog.count(other.id) == 0


def test_an_id_is_never_used_twice(catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf) -> None:
    ids, embeddings = [], []
    for content in ("1", "2", "3", "2"):
        ids.append(catalog.commit_volume(new_volume("a", content)))
        embeddings.append(catalog.embedding_high_water(stored.id))
    assert ids == sorted(set(ids))
    assert embeddings == sorted(set(embeddings))


def test_a_second_spec_adds_an_embedding_and_both_stay_apart(
    catalog: Catalog, stored: StoredSpec, other: StoredSpec, new_volume: NewVolumeOf, spec: EmbeddingSpec
) -> None:
    volume_id = catalog.commit_volume(new_volume("a"))
    ones = np.ones(spec.shape, dtype=np.float32)
    embedding_id = catalog.add_embedding(volume_id, other.id, ones, "percentile")
    assert catalog.add_embedding(volume_id, other.id, ones * 2, "percentile") == embedding_id
    assert np.array_equal(catalog.vectors([volume_id], other.id), np.ones((1, spec.length)))
    assert not np.array_equal(catalog.vectors([volume_id], stored.id), np.ones((1, spec.length)))
    known = catalog.known(new_volume("a").source_key)
    assert known is not None
    assert known.spec_ids == {stored.id, other.id}
    with pytest.raises(UsageError, match="no volume 99"):
        catalog.add_embedding(99, other.id, ones, "hu")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e6])
def test_numbers_that_are_not_finite_in_float16_are_refused(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf, spec: EmbeddingSpec, bad: float
) -> None:
    vector = np.zeros(spec.shape, dtype=np.float32)
    vector[0, 0, 0] = bad
    with pytest.raises(ReadError, match="1 of the embedding's 72 numbers") as caught:
        catalog.commit_volume(new_volume("a", vector=vector))
    assert caught.value.code == "not-finite"
    assert catalog.count() == 0


def test_a_vector_of_the_wrong_length_is_refused(catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf) -> None:
    with pytest.raises(SpecError, match="71 numbers; expected 72"):
        catalog.commit_volume(new_volume("a", vector=np.zeros(71)))


def test_a_spec_that_is_not_there_is_refused(catalog: Catalog, new_volume: NewVolumeOf) -> None:
    with pytest.raises(CatalogError, match="no spec 1"):
        catalog.commit_volume(new_volume("a"))


def test_raw_identifiers_cannot_be_stored(new_volume: NewVolumeOf) -> None:
    for name in ("source_key", "content_key", "patient_key", "study_key", "series_key", "site_key"):
        with pytest.raises(UsageError, match=f"{name} is not a keyed hash"):
            new_volume("a", **{name: "DOE^JANE"})


def test_neither_locators_nor_their_text_are_in_the_files(
    catalog: Catalog,
    stored: StoredSpec,
    new_volume: NewVolumeOf,
    key: ArchiveKey,
    stored_bytes: Callable[[Path], bytes],
) -> None:
    catalog.commit_volume(new_volume("doe-jane.nii"))
    catalog.quarantine(
        key.digest("source", "x"), locator="/scans/doe-john", size=1, mtime_ns=2, code="unreadable", reason="r"
    )
    content = stored_bytes(catalog.home)
    assert b"doe-" not in content
    assert catalog.volume(1).content_key.encode() in content


def test_text_that_a_database_refuses_is_replaced(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf
) -> None:
    volume_id = catalog.commit_volume(
        new_volume("a", manufacturer="A\0B", model="\udcff", age=float("nan"), labels={"x": "\0\ud800"})
    )
    record = catalog.volume(volume_id)
    assert (record.manufacturer, record.model, record.age) == ("A\ufffdB", "?", None)
    assert record.labels == {"x": "\ufffd?"}


def test_a_failure_within_a_commit_leaves_nothing(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf
) -> None:
    with pytest.raises(UsageError, match="cannot name a label"):
        catalog.commit_volume(new_volume("a", labels={"fine": "1", "": "2"}))
    assert [rows(catalog, table) for table in (VolumeRow, VectorRow, EmbeddingRow, LabelRow)] == [0, 0, 0, 0]


def test_touch_notes_a_new_time(catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf) -> None:
    volume_id = catalog.commit_volume(new_volume("a"))
    catalog.touch(volume_id, 11, 12)
    known = catalog.known(new_volume("a").source_key)
    assert known is not None
    assert (known.size, known.mtime_ns) == (11, 12)


def test_quarantine_counts_attempts_and_ends_with_a_commit(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf
) -> None:
    new = new_volume("a")
    for code in ("unreadable", "not-finite"):
        catalog.quarantine(new.source_key, locator=new.locator, size=1, mtime_ns=2**62, code=code, reason="3 voxels")
    (record,) = catalog.quarantined()
    assert (record.code, record.reason, record.attempts, record.mtime_ns) == ("not-finite", "3 voxels", 2, 2**62)
    assert record.locator == "/scans/a"
    assert record.first_at <= record.last_at
    catalog.commit_volume(new)
    assert catalog.quarantined() == []


def test_a_volume_stays_while_its_source_is_in_quarantine(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf
) -> None:
    new = new_volume("a")
    volume_id = catalog.commit_volume(new)
    catalog.quarantine(new.source_key, locator=new.locator, size=1, mtime_ns=2, code="unreadable", reason="cut")
    assert catalog.count() == 1
    assert len(catalog.vectors([volume_id], stored.id)) == 1
    catalog.release([new.source_key])
    assert catalog.quarantined() == []
