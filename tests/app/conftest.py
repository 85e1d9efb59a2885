"""One small archive for all tests of the pages, copied for each, and a page run on the copy."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from tests.app.archive import SmallArchive, make

MAIN = Path(__file__).parents[2] / "app" / "main.py"
TIMEOUT_S = 120

OpenPage = Callable[..., AppTest]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> SmallArchive:
    folder = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAPTOR_KEY_FILE", str(folder / "archive.key"))
        patch.delenv("RAPTOR_DATABASE_URL", raising=False)
        return make(folder)


@pytest.fixture
def small(template: SmallArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallArchive:
    home = tmp_path / "home"
    shutil.copytree(template.home, home)
    monkeypatch.setenv("RAPTOR_HOME", str(home))
    monkeypatch.setenv("RAPTOR_KEY_FILE", str(template.key_file))
    monkeypatch.delenv("RAPTOR_DATABASE_URL", raising=False)
    return replace(template, home=home)


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an upload leaves behind is looked for: not among what the tests beside it have there meanwhile."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))


@pytest.fixture(autouse=True)
def clean_caches() -> Iterator[None]:
    yield
    st.cache_data.clear()
    st.cache_resource.clear()


@pytest.fixture
def page() -> OpenPage:
    """Opens a page of the app by its name, as the navigation does."""

    def open_page(name: str = "search", **query: str | list[str]) -> AppTest:
        app = AppTest.from_file(str(MAIN), default_timeout=TIMEOUT_S)
        for parameter, value in query.items():
            app.query_params[parameter] = value
        app.run()
        if name != "search":
            app.switch_page(f"views/{name}.py").run()
        return app

    return open_page
