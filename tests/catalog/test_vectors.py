"""Vectors on their way to bytes and back."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sqlalchemy import update

from raptor_search.catalog import Catalog, NewVolume, StoredSpec
from raptor_search.catalog.tables import VectorRow
from raptor_search.catalog.vectors import decode, encode, prefix
from raptor_search.errors import CatalogError
from raptor_search.specs import EmbeddingSpec

NewVolumeOf = Callable[..., NewVolume]
SPEC = EmbeddingSpec(
    encoder="tiny", layer="last", weights_sha256="0" * 64, grid=(1, 2), components_drawn=12, components_kept=12
)


@given(npst.arrays(np.float16, (3, 12, 2), elements=st.floats(width=16, allow_nan=False, allow_infinity=False)))
@settings(deadline=None)
def test_float16_numbers_come_back_bit_for_bit(values: np.ndarray) -> None:
    restored = decode(encode(values, SPEC), SPEC.length)
    assert restored.dtype == np.float16
    assert restored.tobytes() == values.tobytes()


@given(npst.arrays(np.float32, (3, 12, 2), elements=st.floats(-65504, 65504, width=32)))
@settings(deadline=None)
def test_float32_numbers_are_rounded_as_numpy_rounds_them(values: np.ndarray) -> None:
    assert np.array_equal(decode(encode(values, SPEC), SPEC.length), values.ravel().astype(np.float16))


def test_the_bytes_are_little_endian_whatever_the_callers_order() -> None:
    values = np.arange(72, dtype=">f4").reshape(3, 12, 2)
    assert encode(values, SPEC)[:6] == b"\x00\x00\x00\x3c\x00\x40"  # 0, 1, 2 in binary16
    assert encode(np.asfortranarray(values), SPEC) == encode(values, SPEC)


def test_the_prefix_is_the_first_ten_components_of_every_plane() -> None:
    values = np.arange(72, dtype=np.float16).reshape(3, 12, 2)
    expected = [values[plane, component, token] for plane in range(3) for component in range(10) for token in range(2)]
    assert np.frombuffer(prefix(encode(values, SPEC), SPEC), "<f2").tolist() == expected


def test_bytes_of_another_length_are_damage() -> None:
    with pytest.raises(CatalogError, match="damaged"):
        decode(b"\0" * 10, 72)


def fill(catalog: Catalog, new_volume: NewVolumeOf, names: str) -> dict[int, np.ndarray]:
    stored = {}
    for name in names:
        new = new_volume(name)
        assert new.vector is not None
        stored[catalog.commit_volume(new)] = new.vector.ravel().astype(np.float16)
    return stored


def test_vectors_come_in_the_order_asked_for_repeats_included(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf
) -> None:
    expected = fill(catalog, new_volume, "abcde")
    ids = [4, 1, 5, 1]
    assert np.array_equal(catalog.vectors(ids, stored.id), np.stack([expected[i] for i in ids]))
    assert np.array_equal(catalog.vectors(np.array(ids), stored.id), catalog.vectors(ids, stored.id))
    assert catalog.vectors([], stored.id).shape == (0, 72)
    assert catalog.vectors(ids, stored.id).flags.writeable


def test_more_vectors_than_one_query_takes(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raptor_search.catalog.vectors.VECTOR_BLOCK", 2)
    expected = fill(catalog, new_volume, "abcde")
    ids = [5, 3, 1, 2, 4]
    assert np.array_equal(catalog.vectors(ids, stored.id), np.stack([expected[i] for i in ids]))


def test_a_volume_that_is_gone_is_an_error_or_left_out_as_asked(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf
) -> None:
    expected = fill(catalog, new_volume, "abc")
    with pytest.raises(CatalogError, match="no vector for 1 of the volumes, such as 9"):
        catalog.vectors([3, 9, 1], stored.id)
    found, values = catalog.found_vectors([3, 9, 1], stored.id)
    assert found.tolist() == [3, 1]
    assert np.array_equal(values, np.stack([expected[3], expected[1]]))


def test_prefixes_are_cut_from_the_vectors(catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf) -> None:
    expected = fill(catalog, new_volume, "ab")
    cut = {i: vector.reshape(3, 12, 2)[:, :10].ravel() for i, vector in expected.items()}
    assert np.array_equal(catalog.prefixes([2, 1], stored.id), np.stack([cut[2], cut[1]]))
    with pytest.raises(CatalogError, match="no vector"):
        catalog.prefixes([3], stored.id)


@pytest.mark.parametrize("block", [1, 2, 5, 100])
def test_blocks_hold_every_vector_once_in_the_order_of_commit(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf, block: int
) -> None:
    expected = fill(catalog, new_volume, "abcde")
    pairs = [
        (int(i), v) for ids, values in catalog.iter_vectors(stored.id, block) for i, v in zip(ids, values, strict=True)
    ]
    assert [i for i, _ in pairs] == list(expected)
    assert all(np.array_equal(v, expected[i]) for i, v in pairs)


def test_a_high_water_mark_makes_a_snapshot_and_the_rest_is_newer(
    catalog: Catalog, stored: StoredSpec, other: StoredSpec, new_volume: NewVolumeOf
) -> None:
    assert catalog.embedding_high_water(stored.id) == 0
    fill(catalog, new_volume, "abc")
    mark = catalog.embedding_high_water(stored.id)
    fill(catalog, new_volume, "de")
    replaced = catalog.commit_volume(new_volume("a", "changed"))
    in_snapshot = [int(i) for ids, _ in catalog.iter_vectors(stored.id, 2, up_to=mark) for i in ids]
    assert in_snapshot == [2, 3]
    assert catalog.newer_than(stored.id, mark).tolist() == [4, 5, replaced]
    assert catalog.newer_than(stored.id, 0).tolist() == catalog.ids(stored.id).tolist() == [2, 3, 4, 5, replaced]
    assert catalog.newer_than(other.id, 0).tolist() == []


def test_equal_vectors_have_equal_digests(catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf) -> None:
    catalog.commit_volume(new_volume("a", "same"))
    catalog.commit_volume(new_volume("b", "same", vector=None, intensity_rule=None))
    catalog.commit_volume(new_volume("c"))
    digests = catalog.vector_digests(stored.id)
    assert list(digests) == [1, 2, 3]
    assert digests[1] == digests[2] != digests[3]


def test_a_truncated_vector_in_the_database_is_reported(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf
) -> None:
    fill(catalog, new_volume, "a")
    with catalog._database.write() as session:
        session.execute(update(VectorRow).values(data=b"\0" * 142))
    with pytest.raises(CatalogError, match="damaged"):
        catalog.vectors([1], stored.id)
