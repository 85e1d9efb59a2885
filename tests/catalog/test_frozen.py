"""A database file that the first revision left behind, brought up to date: nothing in it may be lost."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Connection, MetaData, create_engine, insert, select

from raptor_search.catalog import Catalog, upgrade
from raptor_search.catalog.database import database_url
from raptor_search.catalog.schema import migrate
from raptor_search.errors import CatalogError
from tests.data.make_catalog_0001 import AT, KEY, SPEC, VOLUMES, vector_of
from tests.databases import Postgres

FROZEN = Path(__file__).parents[1] / "data" / "catalog-0001.db.gz"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    (home / "catalog.db").write_bytes(gzip.decompress(FROZEN.read_bytes()))
    return home


def check_whole(catalog: Catalog) -> None:
    """Every row of the frozen file, as the code of today sees it."""
    (stored,) = catalog.specs()
    assert (stored.spec, stored.is_default, stored.provenance) == (SPEC, True, {"device": "cpu"})
    ids = catalog.ids(stored.id)
    assert ids.tolist() == list(range(1, VOLUMES + 1))
    assert np.array_equal(
        catalog.vectors(ids, stored.id), np.stack([vector_of(i).ravel().astype(np.float16) for i in ids])
    )
    for record in catalog.volumes(ids):
        assert (record.age, record.added_at, record.shape) == (40.0 + record.id, AT, (4, 4, 4))
        assert record.split == ("train" if record.id < 4 else "test")
        assert record.labels["score"] == f"{record.id}.5"
        assert catalog.preview(record.id) == b"\x89PNG drawn"
        assert catalog.locator(record.id) == f"/scans/{record.id}.nii"
    assert [(label.volume_id, label.origin, label.author) for label in catalog.labels("grade")] == [
        (1, "accepted", "ann"),
        (2, "rejected", "ann"),
    ]
    (refused,) = catalog.quarantined()
    assert (refused.locator, refused.attempts) == ("/scans/bad.nii", 2)
    current = catalog.current_index(stored.id)
    assert current is not None
    assert (current.volumes, current.last_embedding_id) == (VOLUMES, VOLUMES)
    assert catalog.setting("notice") == "drawn numbers"


def test_a_file_of_the_first_revision_is_upgraded_without_loss(home: Path) -> None:
    assert upgrade(home)
    with Catalog.open(home, KEY) as catalog:
        check_whole(catalog)


def test_the_first_writer_upgrades_it_too(home: Path) -> None:
    with Catalog.open(home, KEY, mode="write") as catalog:
        check_whole(catalog)


def test_the_rows_of_the_first_revision_are_upgraded_on_postgresql_too(
    home: Path, tmp_path: Path, postgres: Postgres
) -> None:
    url = postgres.create()
    place = database_url(tmp_path, url)
    migrate(tmp_path / "server", place, revision="0001", then=lambda target: copy_rows(home / "catalog.db", target))
    with pytest.raises(CatalogError, match="older raptor-search"):
        Catalog.open(tmp_path / "server", KEY, url=url)
    assert upgrade(tmp_path / "server", url)
    with Catalog.open(tmp_path / "server", KEY, url=url) as catalog:
        check_whole(catalog)
        assert catalog.check_database() == []
    postgres.drop(url)


def copy_rows(file: Path, target: Connection) -> None:
    """Write the frozen rows into tables of the same revision, and let the counters go on from there."""
    engine = create_engine(f"sqlite:///{file}")
    meta = MetaData()
    with engine.connect() as source:
        meta.reflect(source)
        own = MetaData()
        own.reflect(target)
        for table in meta.sorted_tables:
            rows = [dict(row) for row in source.execute(select(table)).mappings()]
            if rows and table.name in own.tables and table.name != "alembic_version":
                target.execute(insert(own.tables[table.name]), rows)
    engine.dispose()
