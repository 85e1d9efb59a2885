import dataclasses

import numpy as np
import pytest

from raptor_search.errors import CatalogError, QueryError, SpecError
from raptor_search.projection import gaussian_matrix, project
from raptor_search.reprojection import reproject, reprojected
from tests.archives import SPEC, drawn_archive

DIM = 8


def silent(what, done, total):
    pass


def committed(archive, number, tokens):
    """A volume whose vector is projected from drawn tokens, kept beside it or not."""
    means = np.random.default_rng(number).standard_normal((3, SPEC.tokens_per_plane, DIM)).astype(np.float32)
    key = archive.catalog.key
    drawn = archive.add(np.zeros((1, SPEC.length), np.float16), start=number)
    record = archive.catalog.volume(int(drawn.ids[0]))
    archive.catalog.remove([record.id], author="test")
    new = archive._new(drawn, 0, number)
    vector = project(means, gaussian_matrix(DIM, SPEC)).reshape(-1)
    new = dataclasses.replace(
        new, content_key=key.digest("content", f"t{number}"), vector=vector, tokens=means if tokens else None
    )
    return archive.catalog.commit_volume(new), means


@pytest.fixture
def archive(tmp_path):
    return drawn_archive(tmp_path / "home")


def test_vectors_of_another_k_and_seed_are_those_of_the_tokens(archive):
    kept = dict(committed(archive, n, True) for n in range(5))
    wanted = reprojected(SPEC, components=7, seed=3)
    target = archive.catalog.add_spec(wanted, {})
    assert reproject(archive.catalog, archive.stored, target, progress=silent) == 5
    for volume_id, means in kept.items():
        got = archive.catalog.vectors([volume_id], target.id)[0].astype(np.float64)
        want = project(means, gaussian_matrix(DIM, wanted)).reshape(-1)
        assert got @ want / np.linalg.norm(got) / np.linalg.norm(want) > 0.999999
    # Again: nothing is left to do.
    assert reproject(archive.catalog, archive.stored, target, progress=silent) == 0


def test_tokens_go_with_their_vector(archive):
    volume_id, means = committed(archive, 0, True)
    np.testing.assert_allclose(archive.catalog.token_means([volume_id], archive.stored.id)[0], means, atol=4e-3)
    archive.catalog.remove([volume_id], author="test")
    assert archive.catalog.with_tokens(archive.stored.id).size == 0


def test_an_archive_without_all_tokens_is_refused_before_anything_is_written(archive):
    committed(archive, 0, True)
    committed(archive, 1, False)
    target = archive.catalog.add_spec(reprojected(SPEC, components=2, seed=None), {})
    with pytest.raises(QueryError, match=r"1 of the 2 scans .* --keep-tokens"):
        reproject(archive.catalog, archive.stored, target, progress=silent)
    assert archive.catalog.count(target.id) == 0


def test_an_empty_archive_is_refused(archive):
    with pytest.raises(QueryError, match="0 of the 0"):
        reproject(archive.catalog, archive.stored, archive.stored, progress=silent)


def test_tokens_that_do_not_fit_are_refused(archive):
    drawn = archive.add(np.zeros((1, SPEC.length), np.float16))
    huge = np.full((3, SPEC.tokens_per_plane, DIM), 1e6, np.float32)
    new = dataclasses.replace(archive._new(drawn, 0, 9), tokens=huge)
    with pytest.raises(CatalogError, match="do not fit float16"):
        archive.catalog.commit_volume(new)


def test_nothing_to_change_and_values_out_of_range_are_refused():
    with pytest.raises(QueryError, match="nothing to project anew"):
        reprojected(SPEC, components=None, seed=0)
    with pytest.raises(SpecError, match="--components 5000"):
        reprojected(SPEC, components=5000, seed=None)
