"""What can be asked beyond the nearest scans: examples, regions, equal scans once, how alike unrelated ones are."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raptor_search.catalog import NewIndexVersion
from raptor_search.errors import QueryError, UsageError
from raptor_search.explain import shares
from raptor_search.filters import parse_where
from raptor_search.search import search
from raptor_search.searching import candidates
from raptor_search.searching.feedback import combined
from raptor_search.searching.measures import Measures
from raptor_search.searching.region import Region, region_columns
from raptor_search.searching.serving import IndexCache
from raptor_search.searching.tuning import Setting, Tuning
from raptor_search.specs import EmbeddingSpec
from tests.archives import draw, drawn_archive, exact_ids, volumes_in

N = 80
WIDE = EmbeddingSpec(
    encoder="drawn", layer="last", weights_sha256="0" * 64, grid=(4, 4), components_drawn=12, components_kept=12
)
"""More components than a prefix has, so that a cascade is one."""


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """80 volumes and the twins of twenty of them, behind an index that is told to look hardly anywhere."""
    archive, drawn = volumes_in(tmp_path_factory.mktemp("asking") / "home", N)
    for number in range(20):  # the same bytes at another place
        archive.add(drawn.vectors[number : number + 1], start=1_000 + number, content=f"{number}")
    archive.publish("IVF8,SQ8")
    current = archive.catalog.current_index(archive.stored.id)
    measures = Measures.from_stored(archive.catalog.measures(current.id))
    fields = {name: value for name, value in asdict(current).items() if name in NewIndexVersion.__dataclass_fields__}
    tuning = Tuning((Setting(1.0, 1, 1, 0, 0.5, 0.4),))
    archive.catalog.publish_index(NewIndexVersion(**fields), replace(measures, tuning=tuning).to_stored())
    yield archive, drawn
    archive.catalog.close()


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """160 volumes of a spec whose prefix is a part of it."""
    archive = drawn_archive(tmp_path_factory.mktemp("wide") / "home", WIDE)
    drawn = archive.add(draw(20, 160, WIDE))
    archive.publish()
    yield archive, drawn
    archive.catalog.close()


def mean_of(archive):
    return archive.catalog.serving(archive.stored.id)[1].mean


def ids_of(result):
    return [hit.volume_id for hit in result.hits]


WHERE = {None: None, "age > 50": "age", "parity = 'odd'": "odd", "modality = 'MR'": "MR"}


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(1, N + 40),
    st.sampled_from(list(WHERE)),
    st.lists(st.integers(1, N + 25), max_size=15),
    st.sampled_from([None, 0, 5]),
    st.booleans(),
)
def test_never_fewer_than_k_while_k_scans_match(narrow, seed, k, where, left_out, patient, collapse):
    archive, _ = narrow
    catalog, spec_id = archive.catalog, archive.stored.id
    condition = parse_where(where) if where else None
    key = None if patient is None else catalog.key.digest("patient", f"patient-{patient}")
    passing = catalog.ids(spec_id, condition).tolist()
    keys = catalog.patient_keys(passing) if key else [None] * len(passing)
    theirs = {number for number, one in zip(passing, keys, strict=True) if one is not None and one == key}
    matching = set(passing) - theirs - set(left_out)
    contents = dict(zip(matching, catalog.content_keys(sorted(matching)), strict=False))
    result = archive.search(
        draw(seed, 1)[0],
        k,
        where=condition,
        exclude_ids=left_out,
        exclude_patients=[key] if key else [],
        collapse=collapse,
    )
    assert result.passed == len(matching)
    assert set(ids_of(result)) <= matching
    assert len(result.hits) == min(k, len(set(contents.values())) if collapse else len(matching))
    found = [hit.score for hit in result.hits]
    assert found == sorted(found, reverse=True)
    if collapse:
        kept = catalog.content_keys(ids_of(result))
        assert len(set(kept)) == len(kept)


def test_equal_scans_are_shown_once_with_their_copies(narrow):
    archive, drawn = narrow
    twin = archive.catalog.ids(archive.stored.id)[N + 4]
    result = archive.search(drawn.vectors[4], 5, collapse=True, exact_limit=10_000)
    assert result.hits[0].volume_id == drawn.ids[4]
    assert result.hits[0].copies == (twin,)
    assert len(result.hits) == 5
    plain = archive.search(drawn.vectors[4], 5, exact_limit=10_000)
    assert ids_of(plain)[:2] == [drawn.ids[4], twin]
    assert all(hit.copies == () for hit in plain.hits)


def test_a_filter_that_is_remembered_follows_labels_and_volumes(narrow, tmp_path):
    archive = narrow[0].copied_to(tmp_path / "home")
    catalog, indexes, where = archive.catalog, IndexCache(archive.home), parse_where("kind = 'odd'")

    def found():
        result = search(catalog, indexes, archive.stored, draw(1, 1)[0], k=5, where=where, exact_limit=0)
        return sorted(ids_of(result)), result.passed

    catalog.set_label(3, "kind", "odd", origin="accepted")
    catalog.set_label(9, "kind", "odd", origin="accepted")
    assert found() == found() == ([3, 9], 2)
    catalog.set_label(5, "kind", "odd", origin="accepted")
    assert found() == ([3, 5, 9], 3)
    catalog.clear_label(9, "kind")
    assert found() == ([3, 5], 2)
    archive.add(draw(2, 1), start=4, content="other bytes")  # volume 5 is replaced; the decision goes with the series
    assert 5 not in found()[0]
    catalog.close()


def test_a_revision_grows_with_what_searches_see_and_with_nothing_else(narrow, tmp_path):
    archive = narrow[0].copied_to(tmp_path / "home")
    catalog = archive.catalog

    def grew(action):
        before = catalog.moment(1).revision
        action()
        return catalog.moment(1).revision > before

    assert not grew(lambda: catalog.audit("ann", "search", "x"))
    assert not grew(lambda: catalog.set_setting("notice", "x"))
    assert not grew(lambda: catalog.volumes([1]))
    assert grew(lambda: catalog.set_label(1, "a", "b", origin="accepted"))
    assert grew(lambda: catalog.clear_label(1, "a"))
    assert grew(lambda: archive.add(draw(3, 1), start=500))
    catalog.close()


def test_examples_pull_and_push_as_the_combined_query_does(narrow):
    archive, drawn = narrow
    query, (a, b, c) = draw(5, 1)[0], drawn.ids[[7, 30, 60]].tolist()
    result = archive.search(query, 8, like=[a, b], unlike=[c], exact_limit=10_000)
    vectors = drawn.vectors
    mixed = combined(query, vectors[[7, 30]], vectors[[60]], mean_of(archive))
    assert (result.query == mixed).all()
    by_hand = archive.search(mixed, 8, exclude_ids=[a, b, c], exact_limit=10_000)
    assert ids_of(result) == ids_of(by_hand)
    assert not {a, b, c} & set(ids_of(result))
    assert all(hit.percentile is None for hit in result.hits)
    assert not result.nothing_similar


def test_an_example_that_is_not_there_is_refused(narrow):
    with pytest.raises(UsageError, match="no volume 9999"):
        narrow[0].search(draw(5, 1)[0], like=[1, 9999])


def test_hits_say_how_many_unrelated_pairs_they_surpass(narrow):
    archive, drawn = narrow
    result = archive.search(drawn.vectors[2], N, exact_limit=10_000)
    percentiles = [hit.percentile for hit in result.hits]
    assert percentiles[0] == 100
    assert percentiles == sorted(percentiles, reverse=True)
    assert percentiles[-1] < 20
    answer = json.loads(json.dumps(result.to_dict()))
    assert answer["hits"][0]["percentile"] == 100
    assert answer["hits"][0]["spec_fingerprint"] == archive.stored.fingerprint
    assert answer["hits"][0]["index_version"] == result.index_version


def test_nothing_similar_is_said(narrow):
    archive, drawn = narrow
    mean = mean_of(archive)
    apart = drawn.vectors.astype(np.float32) - mean
    # As far from everything as can be: the direction that the archive spans least.
    lonely = np.linalg.svd(apart)[2][-1]
    result = archive.search((mean + 3 * lonely).astype(np.float32), 3, exact_limit=10_000)
    assert result.nothing_similar
    percent, score = 100 - result.hits[0].percentile, result.hits[0].score
    assert any(f"no hit stands out: {percent:.0f}% of the pairs" in note for note in result.notes)
    assert any(f"the first hit (score {score:.2f})" in note for note in result.notes)
    near = archive.search(drawn.vectors[2], 3, exact_limit=10_000)
    assert not near.nothing_similar
    assert not any("stands out" in note for note in near.notes)


REGIONS = (Region(0, (1, 2), (0, 1)), Region(2, (3, 3), (1, 3)))


def regional(archive, drawn, query, k):
    """The oracle: the cosine of the regions' cells, in double precision."""
    inside, mean = region_columns(REGIONS, WIDE, 12), mean_of(archive).astype(np.float64)
    part = replace(drawn, vectors=drawn.vectors[:, inside])
    return exact_ids(query[inside], part, mean[inside], [True] * len(drawn.ids), k)


def test_a_region_of_a_small_archive_is_searched_exactly(wide):
    archive, drawn = wide
    for query in draw(21, 5, WIDE):
        result = archive.search(query, 12, region=REGIONS, exact_limit=10_000)
        assert result.exact
        assert ids_of(result) == regional(archive, drawn, query, 12)
        assert result.region == REGIONS
        assert any("not registered" in note for note in result.notes)
        vector = archive.catalog.vectors([result.hits[3].volume_id], archive.stored.id)[0]
        parts = shares(result.query, vector, result.mean, result.spec, result.region)
        assert parts.score == pytest.approx(result.hits[3].score, abs=1e-5)


@pytest.mark.parametrize("by_blocks", [False, True])
def test_candidates_for_a_region_hold_its_nearest_and_the_answer_says_that_it_is_approximate(
    wide, by_blocks, monkeypatch
):
    archive, drawn = wide
    monkeypatch.setattr(candidates, "PREFIX_SCAN", 10 if by_blocks else 10_000)
    monkeypatch.setattr(candidates, "PROPOSED", 100)
    monkeypatch.setattr(candidates, "REGION_SHORTLIST", 60)
    found = []
    for query in draw(22, 8, WIDE):
        result = archive.search(query, 10, region=REGIONS)
        assert not result.exact
        assert result.candidates == 60
        assert any("approximate" in note for note in result.notes)
        found.append(np.isin(regional(archive, drawn, query, 10), ids_of(result)).mean())
    assert np.mean(found) > 0.9


def test_block_sketches_follow_the_catalog_and_its_filters(wide, tmp_path, monkeypatch):
    archive = wide[0].copied_to(tmp_path / "home")
    monkeypatch.setattr(candidates, "PREFIX_SCAN", 10)
    indexes = IndexCache(archive.home)

    def found(query, **settings):
        result = search(archive.catalog, indexes, archive.stored, query, k=3, region=REGIONS, exact_limit=0, **settings)
        return ids_of(result)

    first = found(wide[1].vectors[8])
    assert first[0] == wide[1].ids[8]
    new = archive.add(draw(23, 2, WIDE), start=160)
    assert found(new.vectors[1])[0] == new.ids[1]
    assert first[0] not in found(wide[1].vectors[8], exclude_ids=[first[0]])
    odd = set(archive.catalog.ids(archive.stored.id, parse_where("parity = 'odd'")).tolist())
    assert set(found(wide[1].vectors[8], where=parse_where("parity = 'odd'"))) <= odd
    archive.catalog.close()


def test_a_region_beyond_the_grid_is_refused_before_anything_is_read(wide):
    with pytest.raises(QueryError, match="rows 0-3, columns 0-3"):
        wide[0].search(draw(21, 1, WIDE)[0], region=[Region(0, (0, 4), (0, 0))])


def test_a_cascade_scores_the_best_by_their_first_components(wide, tmp_path):
    archive = wide[0].copied_to(tmp_path / "home")
    current = archive.catalog.current_index(archive.stored.id)
    measures = Measures.from_stored(archive.catalog.measures(current.id))
    fields = {name: value for name, value in asdict(current).items() if name in NewIndexVersion.__dataclass_fields__}
    tuning = Tuning((Setting(1.0, 0, 100, 30, 1.0, 1.0),))
    archive.catalog.publish_index(NewIndexVersion(**fields), replace(measures, tuning=tuning).to_stored())
    every = [True] * 160
    for query in draw(24, 6, WIDE):
        result = archive.search(query, 10)
        assert (result.candidates, result.exact) == (30, False)
        assert ids_of(result) == exact_ids(query, wide[1], mean_of(archive).astype(np.float64), every, 10)
    assert len(archive.search(query, 120).hits) == 120
    archive.catalog.close()
