import tempfile
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.words import literal
from raptor_search.archive import Archive
from tests.app.archive import CANARY, SmallArchive
from tests.app.conftest import OpenPage
from tests.app.test_main import said


def hits(app: AppTest) -> list[tuple[str, ...]]:
    """Rank, score, percentile where there is one, manner and case of each card."""
    cards = [html.value for html in app.html if 'class="rs-rank"' in html.value]
    return [tuple(part.split("<")[0] for part in card.split(">") if part.split("<")[0]) for card in cards]


def cases(app: AppTest) -> list[int]:
    return [int(words[-1].removeprefix("Case ")) for words in hits(app)]


def upload(app: AppTest, path: Path, name: str | None = None) -> AppTest:
    app.file_uploader[0].upload(name or path.name, path.read_bytes())
    return app.run()


def left_behind() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob("raptor-upload-*"))


def test_an_uploaded_scan_gives_ten_cards_its_own_bytes_first(small: SmallArchive, page: OpenPage) -> None:
    app = upload(page(), small.scan)
    assert not app.exception
    assert not app.error
    assert len(hits(app)) == 10
    assert hits(app)[0] == ("1", "1.000", "above all unrelated pairs", "exact", f"Case {small.scan_case}")
    scores = [float(words[1]) for words in hits(app)]
    assert scores == sorted(scores, reverse=True)
    assert len(app.image) == 11  # the query's and one a card
    assert "same bytes as the query" in said(app)
    assert "same patient" in said(app)
    assert "centred on the mean of this archive" in said(app)
    assert left_behind() == []


def test_the_pages_answer_is_the_librarys(small: SmallArchive, page: OpenPage) -> None:
    app = upload(page(), small.scan)
    with Archive.open(small.home) as archive:
        found = archive.search(small.scan, k=10)
    assert cases(app) == [hit.volume_id for hit in found.hits]
    assert [words[1] for words in hits(app)] == [f"{hit.score:.3f}" for hit in found.hits]


def test_a_case_of_the_archive_can_be_the_query_and_a_link_opens_it(small: SmallArchive, page: OpenPage) -> None:
    app = page(case="1")
    with Archive.open(small.home) as archive:
        assert cases(app) == [hit.volume_id for hit in archive.search(1).hits]
    picked = page()
    picked.selectbox[0].select(1)
    picked.run()
    assert picked.query_params["case"] == "1"
    assert cases(picked) == cases(app)


def test_a_filter_asks_again_without_embedding_again(
    small: SmallArchive, page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = upload(page(), small.scan)
    monkeypatch.setattr("app.worker.Worker.order", _never)
    app.multiselect(key="filter modality").select("CT").run()
    assert not app.exception
    with Archive.open(small.home) as archive:
        expected = archive.catalog.ids(archive.spec().id).tolist()
        modality = dict(zip(expected, archive.catalog.column_values("modality", expected), strict=True))
    assert cases(app)
    assert {modality[case] for case in cases(app)} == {"CT"}
    app.text_input(key="condition").input("age < 33 AND kind = 'T1w'").run()
    assert set(cases(app)) <= set(expected)


def _never(*args: object, **settings: object) -> None:
    raise AssertionError("embedded again")


def test_all_filters_together_are_one_condition(small: SmallArchive, page: OpenPage) -> None:
    app = page(case="1")
    app.number_input(key="hits").set_value(3)
    app.multiselect(key="filter labels").select(("kind", "T2w"))
    app.multiselect(key="filter sex").select("F")
    app.slider[0].set_range(31.0, 36.0)
    app.run()
    with Archive.open(small.home) as archive:
        where = "sex = 'F' AND kind = 'T2w' AND age BETWEEN 31 AND 36"
        assert cases(app) == [hit.volume_id for hit in archive.search(1, k=3, where=where).hits]
    assert cases(app)
    assert literal("Sex: F; Age 31 to 36; kind: T2w") in said(app)


def test_other_patients_only_leaves_the_querys_patient_out(small: SmallArchive, page: OpenPage) -> None:
    app = page(case="1")
    assert "same patient" in said(app)
    app.toggle(key="other_patients").set_value(True).run()
    assert "same patient" not in said(app)
    with Archive.open(small.home) as archive:
        assert cases(app) == [hit.volume_id for hit in archive.search(1, exclude_same_patient=True).hits]


def test_an_upload_that_names_no_patient_says_that_none_is_marked(small: SmallArchive, page: OpenPage) -> None:
    app = upload(page(), small.scan, "head.nii.gz")
    assert len(hits(app)) == 10
    assert "It names no patient" in said(app)
    assert "same patient" not in said(app)
    assert "It names no patient" not in said(page(case="1"))


@pytest.mark.parametrize("condition", ["nothing = 'x'", "modality = ", "1; DROP TABLE volume", "a = 'b' " * 2000])
def test_a_condition_that_cannot_be_is_one_sentence(small: SmallArchive, page: OpenPage, condition: str) -> None:
    app = page(case="1")
    app.text_input(key="condition").input(condition).run()
    assert not app.exception
    assert len(app.error) == 1
    assert hits(app) == []
    assert app.text_input(key="like")
    app.text_input(key="condition").input("").run()
    assert len(hits(app)) == 10


def test_a_filter_that_nothing_passes_says_so(small: SmallArchive, page: OpenPage) -> None:
    app = page(case="1")
    app.text_input(key="condition").input("age > 200").run()
    assert hits(app) == []
    assert "No scan of this archive passes the filters." in [info.value for info in app.info]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("letter.txt", b"Dear colleague"),
        ("empty.nii.gz", b""),
        ("cut.nii.gz", b"\x1f\x8b\x08\x00"),
        ("cut.zip", b"PK\x03\x04 and no more"),
        ("<b>x.dcm", b"\0" * 128 + b"DICM" + b"\xff" * 64),
    ],
)
def test_an_upload_that_is_no_scan_is_one_sentence_and_the_session_lives_on(
    small: SmallArchive, page: OpenPage, name: str, content: bytes
) -> None:
    app = page()
    app.file_uploader[0].upload(name, content)
    app.run()
    assert not app.exception
    (error,) = app.error
    assert "\n" not in error.value
    assert literal(name) in error.value
    assert "raptor-upload-" not in error.value
    assert left_behind() == []
    assert len(hits(upload(app, small.scan))) == 10
    assert not app.error


def test_several_files_that_are_no_series_are_one_sentence(small: SmallArchive, page: OpenPage) -> None:
    app = page()
    app.file_uploader[0].set_value([("a.txt", b"a", "text/plain"), ("b.txt", b"b", "text/plain")])
    app.run()
    assert not app.exception
    assert len(app.error) == 1


def test_a_link_to_a_case_that_is_not_there_is_one_sentence(small: SmallArchive, page: OpenPage) -> None:
    app = page(case="4711")
    assert not app.exception
    assert "4711" in app.error[0].value
    assert app.file_uploader


@pytest.mark.parametrize("case", ["", "x", "-1", "9" * 40, "1 OR 1=1"])
def test_a_link_to_no_case_at_all_opens_the_start(small: SmallArchive, page: OpenPage, case: str) -> None:
    app = page(case=case)
    assert not app.exception
    assert app.file_uploader


def test_a_new_search_forgets_the_upload(small: SmallArchive, page: OpenPage) -> None:
    app = upload(page(), small.scan)
    next(button for button in app.button if button.label == "New search").click().run()
    assert hits(app) == []
    assert app.file_uploader
    assert "uploaded" not in app.session_state


def test_one_users_upload_is_in_no_other_session(small: SmallArchive, page: OpenPage) -> None:
    upload(page(), small.scan)
    other = page()
    assert hits(other) == []
    assert small.scan.name not in said(other)


def test_labels_with_markup_are_shown_as_they_are(small: SmallArchive, page: OpenPage) -> None:
    with Archive.open(small.home) as archive:
        (case,) = [record.volume_id for record in archive.catalog.labels("remark")]
    app = page(case=str(case + 1))
    app.text_input(key="condition").input("NOT remark IS NULL").run()
    assert cases(app) == [case]
    shown = said(app)
    assert "&lt;img src=x onerror=alert(1)&gt;" in shown
    assert CANARY not in shown


def test_details_and_why_they_match_open_over_the_hits(small: SmallArchive, page: OpenPage) -> None:
    app = page(case="1")
    app.button(key="why 1").click().run()
    assert not app.exception
    assert len([chart for chart in app.get("plotly_chart") if "match " in chart.proto.id]) == 2
    app = page(case="1")
    app.button(key="details 1").click().run()
    assert not app.exception
    assert len(app.table) == 1


def test_a_search_is_audited_once_however_often_the_page_is_drawn(small: SmallArchive, page: OpenPage) -> None:
    app = page(case="1")
    app.run()
    app.button(key="details 1").click().run()
    with Archive.open(small.home) as archive:
        rows = [row for row in archive.catalog.audits() if row.action == "search"]
    assert len(rows) == 1
    assert "volume 1" in rows[0].detail
