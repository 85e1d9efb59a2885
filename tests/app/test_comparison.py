import re
from dataclasses import replace
from typing import Any

import pytest

from app.comparison import comparison_html
from app.filters import Asked
from app.querying import of_case
from app.standing import above_pairs
from app.words import literal_html
from raptor_search.archive import Archive
from raptor_search.searching.background import least_percentile
from tests.app.archive import CANARY, SmallArchive
from tests.app.conftest import OpenPage
from tests.app.test_login import claims  # noqa: F401 - a fixture


def test_the_record_holds_every_hit_with_its_picture_and_needs_nothing_beside_it(small: SmallArchive) -> None:
    with Archive.open(small.home) as archive:
        (remarked,) = [record.volume_id for record in archive.catalog.labels("remark")]
        query = replace(of_case(archive, archive.spec(), 2), title=CANARY)
        result = archive.search(2, k=36)
        previews = {hit.volume_id: archive.catalog.preview(hit.volume_id) for hit in result.hits}
    asked = Asked(
        where=None,
        k=36,
        other_patients=False,
        collapse=False,
        like=(7,),
        unlike=(),
        region=(),
        narrowed=("Sex: F", "age < 40"),
    )
    document = comparison_html(
        query, result, previews | {5: None}, asked=asked, steered="more like case 7", notice=f"Demo {CANARY}"
    )
    assert remarked in previews
    assert re.findall(r"· (Case \d+)</p>", document) == [f"Case {hit.volume_id}" for hit in result.hits]
    for hit in result.hits:
        assert f"<strong>{hit.rank}. {hit.score:.3f}</strong>, {above_pairs(hit.percentile or 0)} · " in document
    weak = [hit.rank for hit in result.hits if (hit.percentile or 0) < least_percentile(result.passed)]
    assert weak
    assert document.count(" · does not stand out</p>") == len(weak)
    assert document.count("<img ") == len(result.hits)  # the query's, and all but one of the hits'
    assert document.count(literal_html(CANARY)) >= 3
    assert CANARY not in document
    assert "more like case 7" in document
    assert "(Sex: F; age &lt; 40)" in document
    assert "Research use only; not a medical device." in document
    assert "/scans/" not in document
    assert not re.search(r'(src|href)="(?!data:)|@import|url\(|<script', document)


def test_the_page_offers_both_files(small: SmallArchive, page: OpenPage) -> None:
    app = page(case="1")
    assert [button.label for button in app.download_button] == ["Hits as CSV", "For the record"]


@pytest.mark.parametrize(("user", "may"), [("vic", False), ("rae", True)])
def test_what_is_taken_away_takes_its_role(
    small: SmallArchive,
    page: OpenPage,
    claims: dict[str, Any],  # noqa: F811
    user: str,
    may: bool,
) -> None:
    claims.update(email=f"{user}@clinic.example", exp=4e9)
    buttons = page(case="1").download_button
    assert [button.disabled for button in buttons] == [not may] * 2
