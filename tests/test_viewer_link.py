import pytest

from raptor_search.errors import ReadError, UsageError
from raptor_search.viewer_link import VIEWER_VARIABLE, filled, viewer_template

OHIF = "https://pacs.example/viewer?StudyInstanceUIDs={study}&initialSeriesInstanceUID={series}"


def test_no_template_no_viewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VIEWER_VARIABLE, raising=False)
    assert viewer_template() is None
    monkeypatch.setenv(VIEWER_VARIABLE, "  ")
    assert viewer_template() is None


@pytest.mark.parametrize("template", [OHIF, "weasis://?{study}", "http://127.0.0.1:3000/{study}"])
def test_a_template_may_name_a_page_or_a_program(monkeypatch: pytest.MonkeyPatch, template: str) -> None:
    monkeypatch.setenv(VIEWER_VARIABLE, template)
    assert viewer_template() == template


@pytest.mark.parametrize(
    "template",
    [
        "pacs.example/{study}",
        "https://pacs.example/",
        "https://pacs.example/{series}",
        "https://pacs.example/{study}/{patient}",
        "javascript:alert('{study}')",
        "DATA:text/html,{study}",
    ],
)
def test_a_template_that_cannot_be_is_one_sentence(monkeypatch: pytest.MonkeyPatch, template: str) -> None:
    monkeypatch.setenv(VIEWER_VARIABLE, template)
    with pytest.raises(UsageError, match=VIEWER_VARIABLE):
        viewer_template()


def test_the_uids_take_their_places() -> None:
    assert filled(OHIF, study="1.2.840.1", series="1.2.840.1.7") == (
        "https://pacs.example/viewer?StudyInstanceUIDs=1.2.840.1&initialSeriesInstanceUID=1.2.840.1.7"
    )
    assert filled("x:{study}", study="1.2", series=None) == "x:1.2"


@pytest.mark.parametrize("uid", [None, "", "1.2&evil=1", "1.2 ", "1..2", "../1", "1" * 65, "1.2\n", "{series}"])
def test_what_is_no_uid_gets_into_no_link(uid: str | None) -> None:
    with pytest.raises(ReadError, match="study"):
        filled(OHIF, study=uid, series="1.2")
