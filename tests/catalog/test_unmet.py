"""What a filter that nothing passes is answered with."""

from collections.abc import Iterator

import pytest

from raptor_search.catalog.unmet import unmet
from raptor_search.filters import parse_where
from tests.archives import DrawnArchive, volumes_in


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DrawnArchive]:
    drawn, _ = volumes_in(tmp_path_factory.mktemp("unmet") / "home", 8)
    yield drawn
    drawn.catalog.close()


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("modality = 'mr'", ["no scan has modality = 'mr'; there are 'MR', 'CT', 'PT'"]),
        ("modality = 'CT'", []),
        ("Parity IN ('od', 'it''s')", ["no scan has Parity IN ('od', 'it''s'); there are 'odd', 'even'"]),
        ("age > 90 AND modality = 'CT'", ["no scan has age > 90; age goes from 27 to 69"]),
        ("age BETWEEN 1 AND 2.5", ["no scan has age BETWEEN 1 AND 2.5; age goes from 27 to 69"]),
        ("sex = 'F' OR parity = 'odd'", ["no scan has sex = 'F'; none has a value of sex"]),
        ("parity > 3", ["no scan has parity > 3; there are 'even', 'odd'"]),
        ("year = 1999", ["no scan has year = 1999; none has a value of year"]),
        ("NOT modality = 'ct' OR oriented = FALSE", []),
    ],
)
def test_what_no_scan_has_is_answered_with_what_is_there(
    archive: DrawnArchive, where: str, expected: list[str]
) -> None:
    assert unmet(archive.catalog, archive.stored.id, parse_where(where)) == expected


def test_many_values_are_cut_short_with_the_likest_first(archive: DrawnArchive) -> None:
    for volume_id in range(1, 9):
        archive.catalog.set_label(volume_id, "stage", f"stage {volume_id}x", origin="accepted")
    (said,) = unmet(archive.catalog, archive.stored.id, parse_where("stage = 'STAGE 7'"))
    assert said.startswith("no scan has stage = 'STAGE 7'; there are 'stage 7x', 'stage ")
    assert said.endswith(", ...")
    assert said.count("'stage ") == 5
