"""For every test: no deadline of property tests, since a busy machine is no defect; one thread a worker, no GPU."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.databases import Postgres, running_postgres

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the vectors that tests expect are those of float32 on a CPU
settings.register_profile("raptor", deadline=None)
settings.load_profile("raptor")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL, started by the first test that asks for it."""
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run the test on SQLite, then on PostgreSQL: the archives it opens lie in an empty database of its own."""
    if request.param == "sqlite":
        monkeypatch.delenv("RAPTOR_DATABASE_URL", raising=False)
        yield "sqlite"
        return
    server = request.getfixturevalue("postgres")
    url = server.create()
    monkeypatch.setenv("RAPTOR_DATABASE_URL", url)
    yield "postgresql"
    server.drop(url)


@pytest.fixture
def stored_bytes(request: pytest.FixtureRequest) -> Callable[[Path], bytes]:
    """What an archive has on the disk: every file of its home, and the tables' files of its database."""

    def read(home: Path) -> bytes:
        files = [path for path in sorted(home.rglob("*")) if path.is_file()]
        if url := os.environ.get("RAPTOR_DATABASE_URL"):
            files += request.getfixturevalue("postgres").files_of(url)
        return b"".join(path.read_bytes() for path in files)

    return read
