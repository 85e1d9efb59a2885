"""A small spec, a key, and volumes to fill a catalog with."""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from raptor_search.catalog import Catalog, NewVolume, StoredSpec
from raptor_search.keys import ArchiveKey
from raptor_search.specs import EmbeddingSpec
from tests.databases import Postgres

SPEC = EmbeddingSpec(
    encoder="tiny", layer="last", weights_sha256="0" * 64, grid=(1, 2), components_drawn=12, components_kept=12
)
OTHER_SPEC = dataclasses.replace(SPEC, seed=1)

NewVolumeOf = Callable[..., NewVolume]


@pytest.fixture(scope="session")
def key() -> ArchiveKey:
    return ArchiveKey(Path("/keys/archive.key"), bytes(range(32)))


@pytest.fixture(autouse=True)
def own_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAPTOR_DATABASE_URL", raising=False)


@pytest.fixture
def spec() -> EmbeddingSpec:
    return SPEC


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory, key: ArchiveKey) -> Path:
    home = tmp_path_factory.mktemp("template") / "home"
    Catalog.open(home, key, url=f"sqlite:///{home}/catalog.db", mode="write").close()
    return home


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, key: ArchiveKey) -> str:
    url = postgres.create()
    Catalog.open(tmp_path_factory.mktemp("template") / "home", key, url=url, mode="write").close()
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run the test on SQLite, then on PostgreSQL, in an archive that is made already."""
    if request.param == "sqlite":
        yield "sqlite"
        return
    server, template = request.getfixturevalue("postgres"), request.getfixturevalue("empty_database")
    url = server.create(template)
    monkeypatch.setenv("RAPTOR_DATABASE_URL", url)
    yield "postgresql"
    server.drop(url)


@pytest.fixture
def catalog(tmp_path: Path, empty_home: Path, database: str, key: ArchiveKey) -> Iterator[Catalog]:
    if database == "sqlite":
        shutil.copytree(empty_home, tmp_path / "home")
    with Catalog.open(tmp_path / "home", key, mode="write") as opened:
        yield opened


@pytest.fixture
def stored(catalog: Catalog) -> StoredSpec:
    return catalog.add_spec(SPEC, {"device": "cpu"})


@pytest.fixture
def other(catalog: Catalog, stored: StoredSpec) -> StoredSpec:
    return catalog.add_spec(OTHER_SPEC, {"device": "cpu"})


@pytest.fixture
def new_volume(key: ArchiveKey) -> NewVolumeOf:
    """Make a NewVolume of a source's name and its content; the vector is drawn from the content."""

    def make(source: str, content: str = "", **settings: object) -> NewVolume:
        content = content or source
        seed = int.from_bytes(content.encode(), "big") % 2**32
        values: dict[str, object] = {
            "source_key": key.digest("source", source),
            "locator": f"/scans/{source}",
            "size": 10,
            "mtime_ns": 1_700_000_000_123_456_789,
            "content_key": key.digest("content", content),
            "format": "nifti",
            "shape": (4, 5, 6),
            "spacing": (1.0, 1.0, 2.5),
            "orientation": "LPS",
            "oriented": True,
            "spec_id": 1,
            "vector": np.random.default_rng(seed).standard_normal(SPEC.shape, dtype=np.float32),
            "intensity_rule": "hu",
        }
        return NewVolume(**(values | settings))  # type: ignore[arg-type]

    return make
