import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raptor_search.errors import IndexFileError
from raptor_search.index import Selection, build, default_factory, load


def sketches(seed, n, dim=32):
    rows = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def opened(data):
    return load(data, sha256=sha256(data).hexdigest())


def selected(allowed):
    return Selection() if allowed is None else Selection.of(allowed)


def nearest(rows, ids, query, k, allowed=None):
    """The naive oracle: sort all inner products."""
    keep = np.ones(len(ids), bool) if allowed is None else np.isin(ids, allowed)
    return ids[keep][np.argsort(-(rows[keep] @ query), kind="stable")][:k].tolist()


@pytest.mark.parametrize(
    ("volumes", "factory"),
    [
        (1, "Flat"),
        (9_999, "Flat"),
        (10_000, "IVF400,SQ8"),
        (199_999, "IVF1789,SQ8"),
        (200_000, "IVF4096,SQ8"),
        (1_999_999, "IVF4096,SQ8"),
        (4_999_999, "IVF16384,SQ8"),
        (5_000_000, "IVF65536_HNSW32,SQ8"),
    ],
)
def test_factory_grows_with_the_archive(volumes, factory):
    assert default_factory(volumes) == factory


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 80), st.booleans())
def test_flat_search_equals_sorting_all_products(seed, n, k, filtered):
    rng = np.random.default_rng(seed)
    rows, ids = sketches(seed, n), rng.permutation(500)[:n].astype(np.int64)
    allowed = np.sort(rng.choice(ids, rng.integers(0, n + 1), replace=False)) if filtered else None
    queries = sketches(seed + 1, 3)
    found = opened(build(rows, ids)).search(queries, k, selection=selected(allowed))
    assert [f.tolist() for f in found] == [nearest(rows, ids, q, k, allowed) for q in queries]


@pytest.mark.parametrize("factory", ["IVF16,SQ8", "IVF16,RaBitQ", "IVF16_HNSW8,RaBitQ"])
def test_inverted_lists_return_allowed_ids_alone_and_never_padding(factory):
    rows, ids = sketches(1, 600), np.arange(600) * 3 + 11
    index = opened(build(rows, ids, factory=factory))
    allowed = ids[::7]
    for nprobe in (1, 4, 16, 99):
        for found in index.search(sketches(2, 5), 50, nprobe=nprobe, selection=selected(allowed)):
            assert len(set(found.tolist())) == len(found) <= 50
            assert np.isin(found, allowed).all()
    assert index.lists == 16
    assert all(
        len(found) == len(allowed)
        for found in index.search(sketches(2, 5), 999, nprobe=16, selection=selected(allowed))
    )


def test_all_lists_of_eight_bit_codes_find_nearly_what_exact_search_finds():
    rows, ids = sketches(3, 2_000), np.arange(1, 2_001)
    queries = sketches(4, 20)
    found = opened(build(rows, ids, factory="IVF32,SQ8")).search(queries, 20, nprobe=32)
    hits = [np.isin(nearest(rows, ids, q, 10), f).mean() for q, f in zip(queries, found, strict=True)]
    assert np.mean(hits) > 0.99


def test_search_settings_of_one_query_do_not_reach_another():
    rows, ids = sketches(5, 500), np.arange(1, 501)
    index = opened(build(rows, ids, factory="IVF8,SQ8"))
    query = sketches(6, 1)
    alone = {nprobe: index.search(query, 40, nprobe=nprobe)[0].tolist() for nprobe in (1, 3, 8)}
    assert alone[1] != alone[8]
    with ThreadPoolExecutor(8) as pool:
        asked = [1, 3, 8] * 30
        answers = list(pool.map(lambda n: index.search(query, 40, nprobe=n)[0].tolist(), asked))
    assert answers == [alone[n] for n in asked]


def test_an_empty_selection_finds_nothing():
    assert (
        opened(build(sketches(7, 9), np.arange(9)))
        .search(sketches(8, 1), 5, selection=selected(np.empty(0, np.int64)))[0]
        .size
        == 0
    )


def test_equal_input_builds_equal_bytes():
    rows, ids = sketches(9, 300), np.arange(300)
    assert build(rows, ids, factory="IVF8,SQ8") == build(rows, ids, factory="IVF8,SQ8")


def test_held_out_rows_are_found_though_not_trained_on():
    rows, ids = sketches(10, 400), np.arange(400)
    data = build(rows, ids, factory="IVF8,SQ8", held_out=np.arange(0, 400, 4))
    assert data != build(rows, ids, factory="IVF8,SQ8")
    assert opened(data).ids.tolist() == ids.tolist()


@pytest.mark.parametrize("factory", ["Flat", "IVF8,SQ8"])
def test_extending_adds_volumes_and_leaves_the_index_alone(factory):
    rows, ids = sketches(11, 200), np.arange(200)
    index = opened(build(rows[:150], ids[:150], factory=factory))
    longer = opened(index.extended(rows[150:], ids[150:]))
    assert index.ids.tolist() == ids[:150].tolist()
    assert longer.ids.tolist() == ids.tolist()
    assert [longer.search(rows[i : i + 1], 1, nprobe=8)[0].tolist() for i in (3, 170)] == [[3], [170]]


def test_a_damaged_file_is_never_loaded():
    data = build(sketches(12, 50), np.arange(50))
    digest = sha256(data).hexdigest()
    other = build(sketches(13, 50), np.arange(50))
    rng = np.random.default_rng(0)
    flipped = (
        data[:i] + bytes([data[i] ^ (1 << rng.integers(8))]) + data[i + 1 :] for i in rng.integers(0, len(data), 1_000)
    )
    for mutant in (b"", data[:-1], data[: len(data) // 2], data + b"\0", other, *flipped):
        with pytest.raises(IndexFileError, match="SHA-256"):
            load(mutant, sha256=digest)


def test_bytes_that_are_no_index_of_ours_are_refused(tmp_path):
    faiss.write_index(faiss.IndexFlatIP(8), str(tmp_path / "plain"))
    with pytest.raises(IndexFileError, match="no volume ids"):
        opened((tmp_path / "plain").read_bytes())
    with pytest.raises(IndexFileError, match="could not load"):
        opened(b"not an index at all")


def test_a_sketch_of_another_length_is_refused_in_words():
    index = opened(build(sketches(14, 20), np.arange(20)))
    with pytest.raises(IndexFileError, match="31 numbers for an index that takes 32"):
        index.search(sketches(15, 1, dim=31), 3)
    with pytest.raises(IndexFileError, match="could not extend"):
        index.extended(sketches(15, 1, dim=31), np.array([99]))


@pytest.mark.parametrize("factory", ["IVF64,SQ8", "NoSuchIndex"])
def test_an_index_that_cannot_be_built_says_so(factory):
    with pytest.raises(IndexFileError, match=f"could not build '{factory}'"):
        build(sketches(16, 40), np.arange(40), factory=factory)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_ids_taken_out_of_a_selection_never_come_back(seed, filtered):
    rng = np.random.default_rng(seed)
    rows, ids = sketches(seed, 60), rng.permutation(500)[:60].astype(np.int64)
    allowed = rng.choice(ids, 40, replace=False) if filtered else ids
    excluded = rng.choice(600, 30, replace=False)
    selection = selected(allowed if filtered else None).without(excluded[:10]).without(excluded[10:])
    left = allowed[~np.isin(allowed, excluded)]
    query = sketches(seed + 1, 1)
    for factory in ("Flat", "IVF4,SQ8"):
        (found,) = opened(build(rows, ids, factory=factory)).search(query, 60, nprobe=4, selection=selection)
        assert sorted(found.tolist()) == sorted(left.tolist())
    assert not selection.is_all


def test_lists_know_how_uneven_they_are():
    even = opened(build(sketches(20, 400), np.arange(400), factory="IVF4,SQ8")).imbalance
    piled = np.concatenate([sketches(20, 100), np.repeat(sketches(21, 1), 300, axis=0)])
    assert 1 <= even < opened(build(piled, np.arange(400), factory="IVF4,SQ8")).imbalance
    assert opened(build(piled, np.arange(400))).imbalance == 1


@pytest.mark.parametrize(("factory", "size"), [("Flat", 128), ("IVF4,SQ8", 32), ("IVF4,RaBitQ", 12)])
def test_an_index_says_what_a_sketch_takes(factory, size):
    index = opened(build(sketches(22, 100), np.arange(100), factory=factory))
    assert (index.code_bytes, index.size) == (size, 100)


def test_an_index_is_made_and_read_where_simpleitk_is_imported_too():
    """Both are wrapped by SWIG and share its table of C++ types within a process, whichever comes first."""
    made = (
        "import numpy as np; from raptor_search.index import build, load; import hashlib\n"
        "rng = np.random.default_rng(0); rows = rng.standard_normal((60, 16)).astype(np.float32)\n"
        "for factory in ('Flat', 'IVF4,SQ8'):\n"
        "    data = build(rows, np.arange(60) + 7, factory=factory)\n"
        "    index = load(data, sha256=hashlib.sha256(data).hexdigest())\n"
        "    assert index.ids.tolist() == list(range(7, 67)), factory\n"
        "eye = np.eye(8, 16, dtype=np.float32)\n"
        "data = build(rows @ eye.T, np.arange(60), factory='IVF4,SQ8', narrowed=eye)\n"
        "index = load(data, sha256=hashlib.sha256(data).hexdigest())\n"
        "assert (index.code_bytes, index.search(rows[:1], 60, nprobe=4)[0].size) == (8, 60)\n"
    )
    for order in ("import SimpleITK, faiss\n", "import faiss, SimpleITK\n"):
        done = subprocess.run([sys.executable, "-c", order + made], capture_output=True, text=True, check=False)
        assert done.returncode == 0, order + done.stderr
