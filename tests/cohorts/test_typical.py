from pathlib import Path

import numpy as np
import pytest

from raptor_search.cohorts.typical import SAMPLE, typical
from raptor_search.errors import QueryError
from tests.archives import SPEC, draw, drawn_archive


def test_the_most_typical_scan_is_the_medoid_of_centred_cosines(tmp_path: Path) -> None:
    archive = drawn_archive(tmp_path / "home")
    vectors = draw(3, 30)
    drawn = archive.add(vectors)
    archive.publish()
    some = drawn.ids[4:19]
    mean = archive.catalog.serving(archive.stored.id)[1].mean
    away = vectors[4:19].astype(np.float64) - mean
    units = away / np.linalg.norm(away, axis=1, keepdims=True)
    medoid = int(some[(1 - units @ units.T).sum(axis=1).argmin()])
    assert SPEC.components_kept < 10  # so that the first ten components are all
    assert typical(archive.catalog, archive.stored, some, count=1) == [medoid]
    found = typical(archive.catalog, archive.stored, some, count=5)
    assert found[0] == medoid
    assert len(set(found)) == 5
    assert set(found) < set(some.tolist())
    assert sorted(typical(archive.catalog, archive.stored, some, count=99)) == some.tolist()
    assert SAMPLE > 30


def test_scans_that_are_gone_have_no_typical_one(tmp_path: Path) -> None:
    archive = drawn_archive(tmp_path / "home")
    archive.add(draw(3, 2))
    with pytest.raises(QueryError, match="none of 2 scans"):
        typical(archive.catalog, archive.stored, [77, 78], count=3)
