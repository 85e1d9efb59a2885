import numpy as np
import pytest

from raptor_search.errors import QueryError
from raptor_search.explain import shares
from raptor_search.scoring import centred
from raptor_search.searching.region import Region, parse_region, region_columns
from raptor_search.searching.rerank import Reranker
from raptor_search.specs import PRESETS, EmbeddingSpec


def spec(preset="default", components=5):
    return EmbeddingSpec(
        encoder="any",
        layer="last",
        weights_sha256="0" * 64,
        recipe=PRESETS[preset],
        grid=(3, 4),
        components_drawn=components,
        components_kept=components,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("axial:4-7,9-11", Region(0, (4, 7), (9, 11))),
        ("Coronal: 0 , 3", Region(1, (0, 0), (3, 3))),
        ("sagittal:2-2,1", Region(2, (2, 2), (1, 1))),
    ],
)
def test_a_region_is_read_and_written(text, expected):
    assert parse_region(text) == expected
    assert parse_region(str(expected)) == expected


@pytest.mark.parametrize(
    "text", ["", "axial", "axial:1,2,3", "oblique:1,2", "axial:3-1,0-2", "axial:-1,2", "axial:1;2"]
)
def test_a_text_that_is_no_region_is_refused_in_one_line(text):
    with pytest.raises(QueryError, match="expected PLANE:ROWS,COLUMNS") as refused:
        parse_region(text)
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("preset", ["default", "official"])
def test_the_columns_of_a_region_are_those_of_its_cells(preset):
    of = spec(preset)
    cells = np.zeros(of.shape)
    first = of.tokens_per_plane - 12  # the CLS token comes first, where there is one
    for row in (1, 2):
        for column in (0, 1):
            cells[1, :, first + row * 4 + column] = 1
    cells[0, :, first + 3] = 1
    regions = [Region(1, (1, 2), (0, 1)), Region(1, (1, 1), (1, 1)), Region(0, (0, 0), (3, 3))]
    assert region_columns(regions, of, 5).tolist() == np.flatnonzero(cells).tolist()


def test_a_region_beyond_the_grid_is_refused():
    for region in (Region(0, (0, 3), (0, 0)), Region(0, (0, 0), (4, 4))):
        with pytest.raises(QueryError, match="rows 0-2, columns 0-3"):
            region_columns([region], spec(), 5)


def test_the_score_of_a_region_is_the_cosine_of_its_cells_and_its_shares_add_up_to_it():
    of, rng = spec("official"), np.random.default_rng(0)
    vectors = rng.normal(2, 1, (6, of.length)).astype(np.float16)
    mean = rng.normal(2, 0.1, of.length).astype(np.float32)
    regions = (Region(2, (0, 1), (1, 3)), Region(0, (2, 2), (0, 0)))

    class Held:
        def found_vectors(self, ids, spec_id):
            return ids, vectors[ids]

    class Stored:
        id = 1

    Stored.spec = of
    ids, values = Reranker(Held(), Stored, vectors[0], mean, regions).full(np.arange(6))
    inside = region_columns(regions, of, 5)
    one = vectors[0].astype(np.float64)[inside] - mean[inside]
    for row, value in zip(ids, values, strict=True):
        other = vectors[row].astype(np.float64)[inside] - mean[inside]
        assert value == pytest.approx(one @ other / np.sqrt((one @ one) * (other @ other)), abs=1e-6)
        parts = shares(vectors[0], vectors[row], mean, of, regions)
        assert parts.score == pytest.approx(value, abs=1e-5)
        touched = {(0, 2, 0), *((2, r, c) for r in (0, 1) for c in (1, 2, 3))}
        assert set(zip(*np.nonzero(parts.cells), strict=True)) <= touched
        assert not parts.cls.any()
    whole = Reranker(Held(), Stored, vectors[0], mean).full(np.arange(6))[1]
    assert whole == pytest.approx(centred(vectors, mean) @ centred(vectors[:1], mean)[0], abs=1e-6)
