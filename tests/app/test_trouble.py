"""What happens beside a session, and that it lives on: the database cut off, the index made anew meanwhile."""

import threading
from pathlib import Path

import psycopg
import pytest

from raptor_search.archive import Archive
from tests.app.archive import SmallArchive, make
from tests.app.conftest import OpenPage
from tests.app.test_search_page import hits, upload
from tests.databases import running_postgres


def test_a_database_that_is_cut_off_is_one_sentence_and_the_session_goes_on_when_it_is_back(
    page: OpenPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_postgres() as server:
        url = server.create()
        monkeypatch.setenv("RAPTOR_DATABASE_URL", url)
        monkeypatch.setenv("RAPTOR_KEY_FILE", str(tmp_path / "archive.key"))
        small = make(tmp_path)
        monkeypatch.setenv("RAPTOR_HOME", str(small.home))
        app = page(case="1")
        found = hits(app)
        assert len(found) == 10
        name = url.partition("?")[0].rpartition("/")[2]
        with psycopg.connect(server.create(), autocommit=True) as admin:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            for view in ("search", "cohort", "labels", "evaluate", "archive"):
                app.switch_page(f"views/{view}.py").run()
                assert not app.exception
                (error,) = app.error
                assert "\n" not in error.value
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        app.switch_page("views/search.py")
        app.query_params["case"] = "1"
        app.run()
        assert not app.exception
        assert hits(app) == found


def test_uploads_are_answered_while_the_index_is_made_anew(small: SmallArchive, page: OpenPage) -> None:
    done = threading.Event()
    made: list[int] = []

    def rebuild() -> None:
        with Archive.open(small.home) as archive:
            while not done.is_set():
                made.extend(version.id for version in archive.rebuild())

    thread = threading.Thread(target=rebuild)
    thread.start()
    try:
        app = upload(page(), small.scan)
        for _ in range(3):
            assert not app.exception
            assert not app.error
            assert len(hits(app)) == 10
            assert hits(app)[0][-1] == f"Case {small.scan_case}"
            app.run()
    finally:
        done.set()
        thread.join()
    assert len(made) > 1
