"""Specs, settings, generations, index versions, maps and the audit log."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from raptor_search.catalog import Catalog, NewIndexVersion, NewVolume, StoredSpec
from raptor_search.errors import CatalogError
from raptor_search.specs import PRESETS, EmbeddingSpec

NewVolumeOf = Callable[..., NewVolume]


def version(spec_id: int, generation_id: int, file: str) -> NewIndexVersion:
    return NewIndexVersion(
        spec_id=spec_id,
        generation_id=generation_id,
        file=file,
        sha256="0" * 64,
        factory="Flat",
        volumes=3,
        last_embedding_id=2**40,
        nprobe=0,
        rerank=0,
        measured_recall=None,
    )


def test_the_first_spec_is_the_default_and_one_spec_is_stored_once(catalog: Catalog, spec: EmbeddingSpec) -> None:
    assert catalog.default_spec() is None
    first = catalog.add_spec(spec, {"device": "cpu", "torch": "2.13"})
    second = catalog.add_spec(dataclasses.replace(spec, recipe=PRESETS["official"]), {})
    assert catalog.add_spec(spec, {"device": "cuda"}) == first
    assert catalog.specs() == [first, second]
    assert catalog.default_spec() == first
    assert (first.spec, first.fingerprint, first.provenance) == (
        spec,
        spec.fingerprint,
        {"device": "cpu", "torch": "2.13"},
    )
    assert (first.is_default, second.is_default, second.preset) == (True, False, "official")
    assert catalog.spec(second.fingerprint) == second
    assert catalog.spec("0" * 64) is None


def test_settings_are_replaced(catalog: Catalog) -> None:
    assert catalog.setting("notice") is None
    catalog.set_setting("notice", "one")
    catalog.set_setting("notice", "every scan is derived")
    assert catalog.setting("notice") == "every scan is derived"


def test_the_audit_log_is_read_from_its_end(catalog: Catalog) -> None:
    for number in range(5):
        catalog.audit("ann", "search", f"query {number}")
    assert [entry.detail for entry in catalog.audits(2)] == ["query 4", "query 3"]
    assert [entry.author for entry in catalog.audits()] == ["ann"] * 5


def test_a_mean_comes_back_bit_for_bit(catalog: Catalog, stored: StoredSpec, spec: EmbeddingSpec) -> None:
    mean = np.random.default_rng(0).standard_normal(spec.length, dtype=np.float32)
    generation = catalog.add_generation(stored.id, centring="archive", mean=mean, volumes=30)
    again = catalog.generation(generation.id)
    assert again.mean.tobytes() == mean.tobytes()
    assert (again.centring, again.volumes, again.spec_id) == ("archive", 30, stored.id)
    none = catalog.add_generation(stored.id, centring="none", mean=np.zeros(0), volumes=2)
    assert none.mean.shape == (0,)
    latest = catalog.latest_generation(stored.id)
    assert latest is not None
    assert latest.id == none.id
    with pytest.raises(CatalogError, match="no generation 99"):
        catalog.generation(99)


def test_one_index_version_of_a_spec_is_current(catalog: Catalog, stored: StoredSpec, other: StoredSpec) -> None:
    assert catalog.current_index(stored.id) is None
    mine = catalog.add_generation(stored.id, centring="none", mean=np.zeros(0), volumes=3)
    theirs = catalog.add_generation(other.id, centring="none", mean=np.zeros(0), volumes=3)
    first = catalog.publish_index(version(stored.id, mine.id, "1.faiss"))
    elsewhere = catalog.publish_index(version(other.id, theirs.id, "2.faiss"))
    second = catalog.publish_index(version(stored.id, mine.id, "3.faiss"))
    assert first.is_current
    assert catalog.current_index(stored.id) == second
    assert catalog.current_index(other.id) == elsewhere
    assert [(v.file, v.is_current) for v in catalog.index_versions(stored.id)] == [
        ("3.faiss", True),
        ("1.faiss", False),
    ]
    assert second.last_embedding_id == 2**40


def test_an_index_version_of_a_generation_that_is_not_there_is_refused(catalog: Catalog, stored: StoredSpec) -> None:
    with pytest.raises(CatalogError, match="failed"):
        catalog.publish_index(version(stored.id, 99, "1.faiss"))
    assert catalog.index_versions(stored.id) == []


def test_a_map_comes_back_as_it_was_and_is_shown_instead_of_the_one_before(
    catalog: Catalog, stored: StoredSpec
) -> None:
    assert catalog.latest_map(stored.id) is None
    coordinates = np.random.default_rng(0).standard_normal((3, 2)).astype(np.float32)
    catalog.save_map(stored.id, [1], np.zeros((1, 2)), {})
    catalog.save_map(stored.id, [3, 1, 2**40], coordinates, {"seed": 0, "n_neighbours": 15, "min_dist": 0.1})
    latest = catalog.latest_map(stored.id)
    assert latest is not None
    assert latest.volume_ids.tolist() == [3, 1, 2**40]
    assert latest.coordinates.tobytes() == coordinates.tobytes()
    assert latest.parameters == {"seed": 0, "n_neighbours": 15, "min_dist": 0.1}


def test_a_few_versions_of_a_map_are_kept(catalog: Catalog, stored: StoredSpec) -> None:
    ids = [catalog.save_map(stored.id, [1], np.zeros((1, 2)), {}).id for _ in range(7)]
    assert ids == sorted(set(ids))
    for map_id in ids:
        detail = (map_id, 1, np.array([0]), {"clusters": []})
        if map_id in ids[2:]:
            catalog.save_map_detail(*detail)
            found = catalog.map_detail(map_id)
            assert found is not None
            assert (found.clusters.tolist(), dict(found.document)) == ([0], {"clusters": []})
        else:
            with pytest.raises(CatalogError, match=f"no map {map_id} in the catalog any more"):
                catalog.save_map_detail(*detail)
