import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raptor_search.catalog import NewIndexVersion
from raptor_search.errors import QueryError
from raptor_search.filters import parse_where
from raptor_search.index import SketchIndex
from raptor_search.search import search
from raptor_search.searching.measures import Measures
from raptor_search.searching.serving import IndexCache
from raptor_search.searching.tuning import Setting, Tuning
from tests.archives import draw, drawn_archive, exact_ids, exact_scores, volumes_in

N = 150

FILTERS = {
    None: lambda d, i: True,
    "modality = 'CT'": lambda d, i: d.modalities[i] == "CT",
    "modality IS NULL": lambda d, i: d.modalities[i] is None,
    "age > 50": lambda d, i: d.ages[i] is not None and d.ages[i] > 50,
    "modality = 'MR' AND NOT age <= 40": lambda d, i: d.modalities[i] == "MR" and d.ages[i] and d.ages[i] > 40,
    "parity = 'odd' OR age BETWEEN 20 AND 30": lambda d, i: i % 2 or (d.ages[i] is not None and 20 <= d.ages[i] <= 30),
    "modality = 'US'": lambda d, i: False,
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The archive that the tests of this file copy or only read: 150 volumes behind eight inverted lists."""
    archive, drawn = volumes_in(tmp_path_factory.mktemp("search") / "home", N)
    archive.publish("IVF8,SQ8")
    yield archive, drawn
    archive.catalog.close()


@pytest.fixture
def changed(stored, tmp_path):
    """A copy of it, free to be changed."""
    archive = stored[0].copied_to(tmp_path / "home")
    yield archive, stored[1]
    archive.catalog.close()


def mean_of(drawn):
    return drawn.vectors.astype(np.float64).mean(axis=0).astype(np.float32)


def ids_of(result):
    return [hit.volume_id for hit in result.hits]


def with_settings(archive, *, share=1.0, nprobe=0, rerank=0, shortlist=0):
    """Publish the current index again under other settings."""
    current = archive.catalog.current_index(archive.stored.id)
    measures = Measures.from_stored(archive.catalog.measures(current.id))
    tuning = Tuning((Setting(share, nprobe, rerank, shortlist, 0.5, 0.4),))
    fields = {name: value for name, value in asdict(current).items() if name in NewIndexVersion.__dataclass_fields__}
    archive.catalog.publish_index(NewIndexVersion(**fields), replace(measures, tuning=tuning).to_stored())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, N + 20), st.sampled_from(list(FILTERS)), st.sampled_from([None, 0, 7, 44]))
def test_exact_hits_equal_a_naive_search(stored, seed, k, where, patient):
    archive, drawn = stored
    query = draw(seed, 1)[0]
    keep = [
        bool(FILTERS[where](drawn, i)) and (patient is None or drawn.patients[i] != f"patient-{patient}")
        for i in range(N)
    ]
    excluded = [] if patient is None else [archive.catalog.key.digest("patient", f"patient-{patient}")]
    result = archive.search(
        query, k, where=parse_where(where) if where else None, exclude_patients=excluded, exact_limit=N
    )
    assert ids_of(result) == exact_ids(query, drawn, mean_of(drawn), keep, k)
    assert result.exact
    assert result.passed == result.candidates == sum(keep)
    values = dict(zip(drawn.ids.tolist(), exact_scores(query, drawn.vectors, mean_of(drawn)), strict=True))
    assert [hit.score for hit in result.hits] == pytest.approx([values[hit.volume_id] for hit in result.hits], abs=1e-6)


@pytest.mark.parametrize("factory", ["Flat", "IVF8,SQ8", "IVF8,RaBitQ"])
def test_hits_through_an_index_equal_a_naive_search(changed, factory):
    archive, drawn = changed
    archive.publish(factory)
    version = archive.catalog.current_index(archive.stored.id)
    assert version.factory == factory
    assert version.measured_recall >= 0.99
    for query in draw(5, 12):
        result = archive.search(query)
        assert not result.exact
        assert 10 < result.candidates == version.rerank < N
        assert ids_of(result) == exact_ids(query, drawn, mean_of(drawn), [True] * N, 10)
        assert any("approximate" in note for note in result.notes)


@pytest.mark.parametrize("where", FILTERS)
def test_never_fewer_than_k_however_narrow_the_index_looks(changed, where):
    archive, drawn = changed
    with_settings(archive, nprobe=1, rerank=1)
    keep = [bool(FILTERS[where](drawn, i)) for i in range(N)]
    passing = set(drawn.ids[np.flatnonzero(keep)].tolist())
    for k in (1, 3, 10, 70, N + 1):
        result = archive.search(draw(6, 1)[0], k, where=parse_where(where) if where else None)
        assert len(result.hits) == min(k, len(passing))
        assert set(ids_of(result)) <= passing
        found = [hit.score for hit in result.hits]
        assert found == sorted(found, reverse=True)
        assert any("were asked for" in note for note in result.notes) == (len(passing) < k)


def test_an_index_that_falls_short_is_passed_over(stored, monkeypatch):
    archive, drawn = stored
    monkeypatch.setattr(SketchIndex, "search", lambda self, *_, **__: [self.ids[:2]])
    result = archive.search(drawn.vectors[1])
    assert result.exact
    assert ids_of(result) == exact_ids(drawn.vectors[1], drawn, mean_of(drawn), [True] * N, 10)


def test_a_filter_through_the_index_finds_what_a_naive_search_finds(changed):
    archive, drawn = changed
    with_settings(archive, nprobe=3, rerank=30)
    keep = [i % 2 == 1 for i in range(N)]
    for query in draw(7, 8):
        result = archive.search(query, 3, where=parse_where("parity = 'odd'"))
        assert result.candidates == 30 < result.passed == sum(keep)
        assert not result.exact
        assert ids_of(result) == exact_ids(query, drawn, mean_of(drawn), keep, 3)


@pytest.mark.parametrize("damage", ["cut", "flipped", "swapped", "gone", "empty"])
def test_a_damaged_index_means_an_exact_search_that_says_so(changed, tmp_path, damage):
    archive, drawn = changed
    file = archive.index_file()
    content = file.read_bytes()
    other = drawn_archive(tmp_path / "other")
    other.add(draw(50, 3))
    other.publish()
    match damage:
        case "cut":
            file.write_bytes(content[: len(content) // 2])
        case "flipped":
            file.write_bytes(content[:900] + bytes([content[900] ^ 1]) + content[901:])
        case "swapped":
            file.write_bytes(other.index_file().read_bytes())
        case "gone":
            file.unlink()
        case "empty":
            file.write_bytes(b"")
    other.catalog.close()
    query = draw(8, 1)[0]
    result = archive.search(query)
    assert result.exact
    assert ids_of(result) == exact_ids(query, drawn, mean_of(drawn), [True] * N, 10)
    assert any("every scan was scored" in note and str(file) in note for note in result.notes)


def test_what_a_filter_lets_through_near_the_query_is_told_apart_from_what_it_lets_through_at_all(
    tmp_path, monkeypatch
):
    """Even scans are of one kind and odd ones of another, ages follow no likeness: a search looks, and says which."""
    archive = drawn_archive(tmp_path / "home")
    kinds = [centre + draw(seed, 80, clusters=1) for seed, centre in ((1, 0), (2, np.repeat([4, -4], 36)))]
    vectors = np.stack(kinds, axis=1).reshape(160, -1).astype(np.float16)
    archive.add(vectors)
    archive.publish("IVF4,SQ8")
    asked, at = [], Tuning.at
    monkeypatch.setattr(Tuning, "is_widest", lambda self, share: False)  # it looks where it would not matter too
    monkeypatch.setattr(
        Tuning, "at", lambda self, share, near=1.0: asked.append((share, near)) or at(self, share, near)
    )
    for where, query, nearby in (
        ("parity = 'even'", vectors[0], 1.0),
        ("parity = 'even'", vectors[1], 0.5),  # none of what is near passes, and fewer than pass at all is no sign
        ("age < 40", vectors[0], 0.25),
    ):
        archive.search(query, 3, where=parse_where(where))
        share, near = asked[-1]
        assert near >= share
        assert near == pytest.approx(nearby, abs=0.07), where
    archive.search(vectors[0], 3)
    assert asked[-1] == (1.0, 1.0)
    archive.catalog.close()


def test_without_a_published_index_every_scan_is_scored(tmp_path):
    archive, drawn = volumes_in(tmp_path / "home", 12)
    result = archive.search(drawn.vectors[4], 3)
    assert result.exact
    assert result.index_version is None
    assert result.centring == "none"
    assert ids_of(result) == exact_ids(drawn.vectors[4], drawn, np.zeros(1), [True] * 12, 3)
    assert any("no index is published" in note for note in result.notes)
    archive.catalog.close()


def test_a_scan_committed_after_publishing_is_found_at_once(changed):
    archive, _ = changed
    version = archive.catalog.current_index(archive.stored.id).id
    new = archive.add(draw(9, 2), start=N)
    result = archive.search(new.vectors[1])
    assert result.index_version == version
    assert result.hits[0].volume_id == new.ids[1]
    assert result.hits[0].score == pytest.approx(1, abs=1e-6)
    assert result.candidates == archive.catalog.current_index(archive.stored.id).rerank + 2


def test_a_replaced_scan_is_never_returned_though_the_index_still_holds_it(changed):
    archive, drawn = changed
    new = archive.add(draw(10, 1), start=4, content="other bytes")
    assert new.ids[0] not in drawn.ids
    result = archive.search(drawn.vectors[4], 20)
    assert drawn.ids[4] not in ids_of(result)
    assert new.ids[0] in ids_of(archive.search(new.vectors[0], 1))
    assert drawn.ids[4] in IndexCache(archive.home).get(archive.catalog.current_index(archive.stored.id)).ids


def test_a_scan_replaced_while_the_hits_are_gathered_is_left_out(changed, monkeypatch):
    archive, drawn = changed
    really = archive.catalog.located_volumes

    def replaced_meanwhile(ids):
        archive.add(draw(10, 1), start=4, content="other bytes")
        return really(ids)

    monkeypatch.setattr(archive.catalog, "located_volumes", replaced_meanwhile)
    hits = archive.search(drawn.vectors[4], 5).hits
    assert drawn.ids[4] not in [hit.volume_id for hit in hits]
    assert [hit.rank for hit in hits] == [1, 2, 3, 4]


def test_scores_do_not_move_as_scans_are_added_and_published(changed):
    archive, _ = changed
    query = draw(11, 1)[0]
    before = {hit.volume_id: hit.score for hit in archive.search(query, N).hits}
    archive.add(draw(12, 5, clusters=2) + np.float16(3), start=N)
    between = {hit.volume_id: hit.score for hit in archive.search(query, N + 5).hits}
    archive.publish()
    after = {hit.volume_id: hit.score for hit in archive.search(query, N + 5).hits}
    assert len(after) == N + 5
    assert between == after
    assert {i: after[i] for i in before} == before


def test_a_query_of_the_archive_leaves_itself_out_and_duplicates_are_marked(changed):
    archive, drawn = changed
    twin = archive.add(drawn.vectors[3:4], start=N, content="3")
    key = archive.catalog.key.digest("content", "3")
    result = archive.search(drawn.vectors[3], 5, exclude_ids=[int(drawn.ids[3])], content_key=key)
    assert drawn.ids[3] not in ids_of(result)
    assert [hit.volume_id for hit in result.hits if hit.duplicate] == [twin.ids[0]]
    assert result.hits[0].volume_id == twin.ids[0]


def test_several_patients_can_be_left_out(stored):
    archive, drawn = stored
    keys = [archive.catalog.key.digest("patient", f"patient-{n}") for n in (1, 2)]
    keep = [p not in ("patient-1", "patient-2") for p in drawn.patients]
    result = archive.search(drawn.vectors[5], 200, exclude_patients=keys)
    assert sorted(ids_of(result)) == sorted(drawn.ids[np.flatnonzero(keep)].tolist())


def test_the_answer_as_json_says_all_that_is_promised(stored):
    archive, drawn = stored
    answer = json.loads(json.dumps(archive.search(drawn.vectors[8], 4).to_dict()))
    assert answer["spec"]["fingerprint"] == archive.stored.fingerprint
    assert answer["spec"]["encoder"] == "drawn"
    assert answer["index_version"] == archive.catalog.current_index(archive.stored.id).id
    assert answer["centring"] == "archive"
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3, 4]
    first = answer["hits"][0]
    assert first["source"] == "/scans/8.nii.gz"
    assert first["metadata"]["modality"] == "CT"
    assert first["metadata"]["labels"] == {"parity": "even"}
    key = archive.catalog.key.digest("patient", "patient-2")
    assert first["metadata"]["patient"] == f"P-{key[:8]}"
    assert "patient-2" not in json.dumps(answer)
    unnamed = archive.search(drawn.vectors[11], 1).hits[0]
    assert unnamed.metadata["patient"] is None


def test_a_small_archive_without_a_reference_says_that_scores_are_not_centred(tmp_path):
    archive, drawn = volumes_in(tmp_path / "home", 6)
    archive.publish()
    result = archive.search(drawn.vectors[0], 3)
    assert result.centring == "none"
    assert any("not centred" in note for note in result.notes)
    assert result.hits[-1].score > 0.9
    archive.catalog.close()


def test_a_file_that_went_with_a_newer_version_is_no_damage(changed, monkeypatch):
    archive, drawn = changed
    stale = archive.catalog.serving(archive.stored.id)
    for factory in ("Flat", "IVF4,SQ8"):
        archive.publish(factory)
    assert not (archive.home / "indexes" / stale[0].file).exists()
    rows, really = iter([stale]), archive.catalog.serving
    monkeypatch.setattr(archive.catalog, "serving", lambda spec_id: next(rows, None) or really(spec_id))
    result = archive.search(drawn.vectors[0])
    assert result.index_version == archive.catalog.current_index(archive.stored.id).id
    assert not any("damaged" in note or "cannot be read" in note for note in result.notes)


def test_threads_that_share_a_cache_get_the_answers_of_one(stored):
    archive, _ = stored
    indexes, queries = IndexCache(archive.home), draw(13, 12)

    def answer(query):
        return ids_of(search(archive.catalog, indexes, archive.stored, query, exact_limit=0))

    alone = [answer(query) for query in queries]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(answer, [*queries, *queries])) == alone * 2


@pytest.mark.parametrize("k", [0, -1, 1_001])
def test_a_number_of_hits_out_of_range_is_refused(stored, k):
    with pytest.raises(QueryError, match="expected 1 to 1000"):
        stored[0].search(draw(0, 1)[0], k)


def test_a_query_that_is_no_embedding_is_refused(stored):
    archive, drawn = stored
    with pytest.raises(QueryError, match="expected 72 finite numbers"):
        archive.search(drawn.vectors[0][:-1])
    with pytest.raises(QueryError, match="finite"):
        archive.search(np.where(np.arange(72) == 5, np.nan, drawn.vectors[0]))


def test_a_filter_on_no_such_column_is_refused(stored):
    with pytest.raises(QueryError, match="modalty"):
        stored[0].search(draw(0, 1)[0], where=parse_where("modalty = 'CT'"))


def test_hits_of_equal_score_come_in_the_order_of_their_ids(changed):
    archive, drawn = changed
    twins = archive.add(np.repeat(drawn.vectors[20:21], 3, axis=0), start=N)
    result = archive.search(drawn.vectors[20], 4)
    assert ids_of(result) == [drawn.ids[20], *twins.ids]
    assert len({hit.score for hit in result.hits}) == 1
