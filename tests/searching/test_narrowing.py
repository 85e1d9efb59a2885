from hashlib import sha256

import numpy as np
import pytest

from raptor_search.index import Selection, build, is_narrowed, load
from raptor_search.scoring import centred
from raptor_search.searching import publishing, surveying
from raptor_search.searching.index_files import read_index
from raptor_search.searching.narrowing import NARROW, narrowing
from tests.archives import volumes_in

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
    data = build(rows[:500], ids[:500], factory="IVF8,SQ8", narrowed=matrix)
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
    assert (version.factory, read_index(archive.home, version.file, version.sha256).code_bytes) == ("IVF4,SQ8", NARROW)
    archive.publish("IVF4,SQ8")
    version = archive.catalog.current_index(archive.stored.id)
    assert (version.factory, read_index(archive.home, version.file, version.sha256).code_bytes) == ("IVF4,SQ8", 1024)
    archive.catalog.close()
