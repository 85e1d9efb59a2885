import dataclasses
from hashlib import sha256

import numpy as np
import pytest

from raptor_search.catalog import NewIndexVersion
from raptor_search.index import Selection, build, is_narrowed, load
from raptor_search.scoring import centred
from raptor_search.searching import drift, publishing, surveying
from raptor_search.searching.index_files import read_index, write_index
from raptor_search.searching.narrowing import NARROW, narrowing
from raptor_search.searching.sketching import unit_sketches
from raptor_search.sketch import SKETCH_LENGTH
from raptor_search.specs import EmbeddingSpec
from raptor_search.verifying import verify
from tests.archives import draw, drawn_archive, exact_scores, volumes_in

NO_MEAN = np.empty(0)
DIM = 256


def unit_rows(seed, n, dim=DIM):
    return centred(np.random.default_rng(seed).normal(size=(n, dim)), NO_MEAN)


def blurred_archive(n):
    """Scans that differ mostly along 24 of 2,000 directions, and their unit sketches."""
    rng = np.random.default_rng(0)
    along = rng.normal(size=(n, 24)) @ rng.normal(size=(24, 2_000)) / 24**0.5
    vectors = centred(along + rng.normal(size=(n, 2_000)), NO_MEAN)
    blur = rng.normal(size=(2_000, DIM)) / DIM**0.5
    return vectors, centred(vectors @ blur, NO_MEAN)


def root_mean_square(values):
    return float(np.sqrt(np.mean(values**2)))


def test_the_fewer_numbers_tell_the_scores_of_other_scans_better_than_the_sketch_does():
    vectors, sketches = blurred_archive(1_000)
    one, other, unseen = slice(0, 200), slice(200, 700), slice(700, 1_000)
    mapped = sketches[unseen] @ narrowing(sketches[one], sketches[other], vectors[other] @ vectors[one].T).T
    assert mapped.shape == (300, NARROW)
    pairs = np.triu_indices(300, 1)
    true = (vectors[unseen] @ vectors[unseen].T)[pairs]
    sketched = (sketches[unseen] @ sketches[unseen].T)[pairs]
    narrowed = (mapped @ mapped.T)[pairs]
    assert root_mean_square(narrowed - true) < 0.85 * root_mean_square(sketched - true)


def test_where_nothing_is_blurred_and_all_has_room_the_products_stay_as_they_are():
    rows = np.pad(unit_rows(1, 700, 40), ((0, 0), (0, DIM - 40)))
    mapped = rows @ narrowing(rows[:200], rows[200:], rows[200:] @ rows[:200].T).T
    np.testing.assert_allclose(mapped @ mapped[:50].T, rows @ rows[:50].T, atol=1e-4)


def test_an_index_that_is_narrowed_finds_what_the_mapped_sketches_say_and_grows():
    rows, ids = unit_rows(2, 600), np.arange(600) + 5
    matrix = np.ascontiguousarray(np.random.default_rng(3).normal(size=(NARROW, DIM)), np.float32)
    data = build(rows[:500] @ matrix.T, ids[:500], factory="IVF8,SQ8", narrowed=matrix)
    index = load(data, sha256=sha256(data).hexdigest())
    assert (index.dim, index.code_bytes, index.lists, index.size) == (DIM, NARROW, 8, 500)
    longer = index.extended(rows[500:], ids[500:], removed=ids[:10])
    index = load(longer, sha256=sha256(longer).hexdigest())
    assert index.ids.tolist() == ids[10:].tolist()
    allowed = ids[10::3]
    products = (rows @ matrix.T) @ (rows[550] @ matrix.T)
    best = allowed[np.argsort(-products[allowed - 5])][:20]
    (found,) = index.search(rows[550:551], 20, nprobe=8, selection=Selection.of(allowed))
    assert np.isin(best, found).mean() >= 0.9  # a byte a number rounds
    assert np.isin(found, allowed).all()


@pytest.mark.parametrize(
    ("factory", "narrow"), [("Flat", False), ("IVF400,SQ8", True), ("IVF4096,RaBitQ", False), ("IVF8,SQ4", False)]
)
def test_lists_of_bytes_are_narrowed(factory, narrow):
    assert is_narrowed(factory) == narrow


def test_an_index_is_narrowed_by_default_and_not_where_its_kind_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(publishing, "default_factory", lambda volumes: "IVF4,SQ8")
    monkeypatch.setattr(publishing, "NARROW_FROM", 60)
    monkeypatch.setattr(surveying, "PAIRED", (20, 40))
    archive, _ = volumes_in(tmp_path / "home", 70)
    archive.publish()
    version = archive.catalog.current_index(archive.stored.id)
    index = read_index(archive.home, version.file, version.sha256)
    # No more numbers than there are scans to learn them from.
    assert (version.factory, index.dim, index.code_bytes) == ("IVF4,SQ8", 72, 60)
    archive.publish("IVF4,SQ8")
    version = archive.catalog.current_index(archive.stored.id)
    assert (version.factory, read_index(archive.home, version.file, version.sha256).code_bytes) == ("IVF4,SQ8", 1024)
    archive.catalog.close()


LONGER = EmbeddingSpec(
    encoder="drawn", layer="last", weights_sha256="0" * 64, grid=(2, 3), components_drawn=12, components_kept=12
)
"""216 numbers, of which the first components have 180."""


def test_a_narrowed_archive_is_searched_by_first_components_and_grows_in_parts(tmp_path, monkeypatch):
    for module in (drift, publishing):
        monkeypatch.setattr(module, "default_factory", lambda volumes: "IVF4,SQ8")
    monkeypatch.setattr(publishing, "NARROW_FROM", 100)
    monkeypatch.setattr(publishing, "ADDED_AT_ONCE", 3)
    monkeypatch.setattr(surveying, "PAIRED", (60, 100))
    archive = drawn_archive(tmp_path / "home", LONGER)
    vectors = draw(0, 168, LONGER)
    archive.add(vectors[:160])
    archive.publish()
    before = archive.catalog.current_index(archive.stored.id)
    drawn = archive.add(vectors[160:], start=160)
    archive.catalog.remove([2], author="test")
    archive.publish()
    version = archive.catalog.current_index(archive.stored.id)
    index = read_index(archive.home, version.file, version.sha256)
    assert (index.dim, index.code_bytes, index.size) == (180, NARROW, 167)
    assert version.generation_id == before.generation_id
    ids = np.array([n for n in range(1, 169) if n != 2])
    mean = archive.catalog.generation(version.generation_id).mean.astype(np.float64)
    for row in (5, 163):
        result = archive.search(vectors[row], 5, exact_limit=0)
        values = exact_scores(vectors[row], vectors[ids - 1], mean)
        assert [hit.volume_id for hit in result.hits] == ids[np.argsort(-values, kind="stable")][:5].tolist()
    assert set(drawn.ids.tolist()) <= set(index.ids.tolist())
    assert verify(archive.catalog, archive.home, lambda *_: None).problems == ()
    archive.catalog.close()


def test_an_index_over_narrowed_sketches_still_serves(tmp_path, monkeypatch):
    archive, drawn = volumes_in(tmp_path / "home", 70)
    archive.publish()
    version = archive.catalog.current_index(archive.stored.id)
    mean = archive.catalog.generation(version.generation_id).mean
    matrix = np.ascontiguousarray(np.random.default_rng(3).normal(size=(NARROW, SKETCH_LENGTH)), np.float32)
    rows = unit_sketches(drawn.vectors, mean) @ matrix.T
    data = build(rows, drawn.ids, factory="IVF4,SQ8", narrowed=matrix)
    file, digest = write_index(archive.home, archive.stored.fingerprint, data)
    fields = {field.name: getattr(version, field.name) for field in dataclasses.fields(NewIndexVersion)}
    older = NewIndexVersion(**fields | {"file": file, "sha256": digest, "factory": "IVF4,SQ8"})
    archive.catalog.publish_index(older, archive.catalog.measures(version.id))
    result = archive.search(drawn.vectors[7], 3)
    assert (result.hits[0].volume_id, result.index_version) == (drawn.ids[7], version.id + 1)
    archive.add(draw(5, 2), start=70)
    archive.publish()
    version = archive.catalog.current_index(archive.stored.id)
    index = read_index(archive.home, version.file, version.sha256)
    assert (index.dim, index.size) == (SKETCH_LENGTH, 72)
    archive.catalog.close()
