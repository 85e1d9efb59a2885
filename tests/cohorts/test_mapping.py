import numpy as np
import pytest

from raptor_search.archive import Archive
from raptor_search.catalog import NewVolume
from raptor_search.cohort import cohort_map
from raptor_search.cohorts import landmarks
from raptor_search.cohorts.graph import build_graph
from raptor_search.cohorts.landmarks import landmark_map
from raptor_search.cohorts.mapping import draw_map, graph_of, place_scan, stored_cohort
from raptor_search.errors import QueryError
from raptor_search.knn import neighbours
from raptor_search.labelling import comparison, proposals
from tests.labelled import LabelledArchive, labelled_archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> LabelledArchive:
    folder = tmp_path_factory.mktemp("mapping")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAPTOR_KEY_FILE", str(folder / "archive.key"))
        return labelled_archive(folder / "home", signal=3)


def test_one_exact_graph_an_index_version_is_stored_and_read_again(archive: LabelledArchive, monkeypatch) -> None:
    with archive.open() as catalog:
        version, graph = graph_of(catalog, archive.stored)
        vectors = catalog.vectors(graph.ids, archive.stored.id)
        mean = catalog.generation(version.generation_id).mean
        exact = neighbours(vectors, k=50, mean=mean)
        np.testing.assert_allclose(graph.scores, exact.scores, atol=1e-5)
        assert graph.is_exact
        monkeypatch.setattr("raptor_search.cohorts.mapping.build_graph", None)
        again_version, again = graph_of(catalog, archive.stored)
        assert again_version.id == version.id
        assert (again.indices == graph.indices).all()
        assert (again.scores == graph.scores).all()


def test_a_map_is_bit_identical_for_a_seed_and_stored_with_its_findings(archive: LabelledArchive) -> None:
    with archive.open() as catalog:
        first = draw_map(catalog, archive.stored, seed=1)
        second = draw_map(catalog, archive.stored, seed=1)
        assert (first.drawn.coordinates == second.drawn.coordinates).all()
        assert second.drawn.id > first.drawn.id
        found = stored_cohort(catalog, archive.stored)
        assert found is not None
        assert found.drawn.parameters["seed"] == 1
        assert found.drawn.parameters["index_version"] == catalog.current_index(archive.stored.id).id
        assert len(found.detail.clusters) == 120
        document = found.detail.document
        assert {one["name"] for one in document["clusters"]} == {"adenoma", "cyst", "none"}
        for one in document["clusters"]:
            members = found.drawn.volume_ids[found.detail.clusters == one["number"]]
            assert one["medoid"] in members
            assert one["scans"] == len(members)
        assert document["unclustered"] == int((found.detail.clusters < 0).sum())
        assert 0.8 < document["quality"]["trustworthiness"] <= 1


def test_a_new_scan_is_placed_among_its_own_and_moves_nobody(archive: LabelledArchive) -> None:
    with archive.open() as catalog:
        drawn = draw_map(catalog, archive.stored).drawn
        row = 7
        vector = catalog.vectors(drawn.volume_ids[row : row + 1], archive.stored.id)[0]
        placed = place_scan(catalog, archive.stored, vector.astype(np.float32) + 0.001)
        assert np.linalg.norm(drawn.coordinates[row] - [placed.x, placed.y]) < 0.5
        assert placed.confidence > 0.05
        stranger = place_scan(catalog, archive.stored, np.random.default_rng(1).normal(size=len(vector)) * 5)
        assert stranger.confidence < 0.05
        assert (stored_cohort(catalog, archive.stored).drawn.coordinates == drawn.coordinates).all()


def test_scans_above_a_number_are_placed_among_landmarks(archive: LabelledArchive) -> None:
    with archive.open() as catalog:
        found = draw_map(catalog, archive.stored, landmarks_from=80)
        assert found.drawn.parameters["landmarks"] == 80
        assert len(found.drawn.volume_ids) == 120
        assert np.isfinite(found.drawn.coordinates).all()
        truth = np.array(archive.truth)
        distance = np.linalg.norm(found.drawn.coordinates[:, None] - found.drawn.coordinates, axis=2)
        np.fill_diagonal(distance, np.inf)
        assert (truth[distance.argmin(axis=1)] == truth).mean() > 0.9


def test_a_placed_scan_lies_where_its_landmarks_are(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    group = np.arange(90) % 3
    vectors = (4 * rng.normal(size=(3, 16))[group] + rng.normal(size=(90, 16))).astype(np.float32)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    monkeypatch.setattr(landmarks, "BLOCK", 7)
    found = landmark_map(unit, np.arange(90), landmarks=60, n_neighbours=10, min_dist=0.1, seed=4)
    chosen = np.sort(np.random.default_rng(4).choice(90, 60, replace=False))
    own = unit[chosen]
    graph = build_graph(chosen, lambda rows: own[rows], np.zeros(16), k=10)
    alone = cohort_map(own, chosen, mean=np.zeros(16), graph=graph, n_neighbours=10, seed=4)
    assert (found.coordinates[chosen] == alone.coordinates).all()
    assert (found.ids == np.arange(90)).all()


def test_what_is_not_there_is_said(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RAPTOR_KEY_FILE", str(tmp_path / "archive.key"))
    few = labelled_archive(tmp_path / "few", patients=2, labelled=2)
    with few.open() as catalog:
        with pytest.raises(QueryError, match="4 scans; a map takes at least 5"):
            draw_map(catalog, few.stored)
        with pytest.raises(QueryError, match="seed 4294967296; expected 0 to 4294967295"):
            draw_map(catalog, few.stored, seed=2**32)
        for count in (1, 52):
            with pytest.raises(QueryError, match=f"a map of {count} neighbours; expected 2 to 51"):
                draw_map(catalog, few.stored, n_neighbours=count)
        with pytest.raises(QueryError, match="no map is drawn for this archive: run `raptor map"):
            place_scan(catalog, few.stored, np.zeros(72))


def test_a_map_keeps_the_findings_that_were_made_with_it(archive: LabelledArchive) -> None:
    with archive.open() as catalog:
        version, _ = graph_of(catalog, archive.stored)
        first = draw_map(catalog, archive.stored, min_cluster=30).drawn
        later = draw_map(catalog, archive.stored).drawn
        found = catalog.map_detail(first.id), catalog.map_detail(later.id)
        assert [one.version_id for one in found] == [version.id] * 2
        assert stored_cohort(catalog, archive.stored).detail.map_id == later.id
        assert catalog.graph(version.id + 99) is None


def test_removed_scans_leave_the_graph_the_next_map_and_what_is_proposed(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RAPTOR_KEY_FILE", str(tmp_path / "archive.key"))
    made = labelled_archive(tmp_path / "home", signal=3)
    with made.open() as catalog:
        draw_map(catalog, made.stored)
        gone = [made.ids[row] for row, value in enumerate(made.truth) if value == "cyst"][:2]
        catalog.remove(gone, author="test")
        with monkeypatch.context() as patch:
            patch.setattr("raptor_search.cohorts.mapping.build_graph", None)  # two of 120 are no reason
            _, graph = graph_of(catalog, made.stored)
        assert set(graph.ids.tolist()) == set(made.ids) - set(gone)
        assert (graph.indices >= 0).sum(axis=1).min() >= 48

        none = [made.ids[row] for row, value in enumerate(made.truth) if value == "none"]
        others = [made.ids[row] for row, value in enumerate(made.truth) if value == "cyst"][2:]
        catalog.remove([*others, *none[6:]], author="test")
        stay = sorted(set(made.ids) - set(gone) - set(others) - set(none[6:]))
        archive = Archive(made.home, made.key, catalog)
        found = proposals(archive, "finding", method="diffusion")
        assert {item.volume_id for item in found.items} < set(stay)
        assert comparison(archive, "finding").subjects == found.subjects == 18

        version, graph = graph_of(catalog, made.stored)
        assert graph.ids.tolist() == stay
        mean = catalog.generation(version.generation_id).mean
        exact = neighbours(catalog.vectors(graph.ids, made.stored.id), k=len(stay) - 1, mean=mean)
        np.testing.assert_allclose(graph.scores, exact.scores, atol=1e-5)
        vector = catalog.vectors(stay[:1], made.stored.id)[0]
        assert place_scan(catalog, made.stored, vector).confidence > 0.05  # on the map of all 120
        again = draw_map(catalog, made.stored)
        assert again.drawn.volume_ids.tolist() == stay
        assert place_scan(catalog, made.stored, vector).confidence > 0.05


def test_diffusion_says_which_scans_came_after_the_index(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RAPTOR_KEY_FILE", str(tmp_path / "archive.key"))
    made = labelled_archive(tmp_path / "home", patients=9, labelled=6)
    with made.open() as catalog:
        archive = Archive(made.home, made.key, catalog)
        assert not any("came after" in note for note in proposals(archive, "finding", method="diffusion").notes)
        later = catalog.commit_volume(
            NewVolume(
                source_key=made.key.digest("source", "later"),
                locator="/scans/later.nii.gz",
                size=1,
                mtime_ns=1,
                content_key=made.key.digest("content", "later"),
                format="nifti",
                shape=(4, 5, 6),
                spacing=(1.0, 1.0, 2.0),
                orientation="RAS",
                oriented=True,
                spec_id=made.stored.id,
                vector=catalog.vectors(made.ids[:1], made.stored.id)[0] + 1,
                intensity_rule="percentile",
            )
        )
        found = proposals(archive, "finding", method="diffusion")
        assert later not in {item.volume_id for item in found.items}
        assert "1 scans came after the index and take no part: `raptor index` takes them in" in found.notes
        assert later in {item.volume_id for item in proposals(archive, "finding").items}
