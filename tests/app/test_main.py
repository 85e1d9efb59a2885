import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.words import literal_html
from raptor_search.archive import Archive
from raptor_search.catalog import Catalog
from raptor_search.keys import ArchiveKey
from tests.app.archive import CANARY, SmallArchive
from tests.app.conftest import OpenPage

BANNER = "Research use only; not a medical device."
VIEWS = ("search", "compare", "cohort", "labels", "evaluate", "archive")


def said(app: AppTest) -> str:
    """All text of a page, the markup of its own HTML included."""
    parts = (app.html, app.markdown, app.caption, app.error, app.warning, app.info, app.title, app.subheader, app.code)
    return "\n".join(str(element.value) for part in parts for element in part)


@pytest.mark.parametrize("name", VIEWS)
def test_every_page_carries_the_banner_and_the_archives_notice(small: SmallArchive, page: OpenPage, name: str) -> None:
    with Archive.open(small.home) as archive:
        archive.catalog.set_setting("notice", f"Derived scans {CANARY}")
    app = page(name)
    assert not app.exception
    assert not app.error
    assert BANNER in said(app)
    assert literal_html(f"Derived scans {CANARY}") in said(app)
    assert CANARY not in said(app)


@pytest.mark.parametrize("name", VIEWS)
def test_without_an_archive_each_page_says_which_commands_to_run(
    page: OpenPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    home = tmp_path / "no archive"
    monkeypatch.setenv("RAPTOR_HOME", str(home))
    monkeypatch.delenv("RAPTOR_DATABASE_URL", raising=False)
    app = page(name)
    assert not app.exception
    assert BANNER in said(app)
    assert [code.value.split()[:2] for code in app.code] == [["raptor", "index"], ["raptor", "demo"]]
    assert all(f"--home '{home}'" in code.value for code in app.code)
    assert not home.exists()


@pytest.mark.parametrize("name", VIEWS)
def test_an_archive_without_scans_says_the_same(
    page: OpenPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("RAPTOR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAPTOR_KEY_FILE", str(tmp_path / "archive.key"))
    Archive.open(tmp_path / "home", create=True).close()
    app = page(name)
    assert not app.exception
    assert app.code[0].value.startswith("raptor index")


def test_a_wrong_key_is_one_sentence_that_names_the_variable(
    small: SmallArchive, page: OpenPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.key"
    monkeypatch.setenv("RAPTOR_KEY_FILE", str(other))
    ArchiveKey.load(create=True)
    app = page()
    assert not app.exception
    assert BANNER in said(app)
    (error,) = app.error
    assert "RAPTOR\\_KEY\\_FILE" in error.value
    assert "\n" not in error.value


def test_a_damaged_catalog_is_one_sentence(small: SmallArchive, page: OpenPage) -> None:
    (small.home / "catalog.db").write_bytes(b"not a database" * 100)
    app = page()
    assert not app.exception
    assert len(app.error) == 1


def test_an_archive_made_anew_is_opened_anew(small: SmallArchive, page: OpenPage, tmp_path: Path) -> None:
    app = page("archive")
    assert app.metric[0].value == "37"
    empty = tmp_path / "empty"
    key = ArchiveKey.load(create=False)
    Catalog.open(empty, key, mode="write").close()
    shutil.rmtree(small.home)
    empty.rename(small.home)
    app.run()
    assert not app.exception
    assert app.code[0].value.startswith("raptor index")
