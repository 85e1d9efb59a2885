"""The real store, filled fast: the archive's own tables on SQLite, written in bulk, then published as always."""

import hashlib
import sqlite3
from pathlib import Path

import numpy as np
from jaxtyping import Float16
from search_data import Drawn

from raptor_search.catalog import Catalog, NewVolume, StoredSpec
from raptor_search.catalog.vectors import prefix
from raptor_search.keys import ArchiveKey
from raptor_search.specs import EmbeddingSpec

__all__ = ["AGES", "SPEC_GRID", "filled", "new_volume", "reopened", "spec_of"]

SPEC_GRID = (16, 16)

AGES = 1000.0
"""`age` of a scan is uniform below it, drawn for each scan; `year` likewise, drawn for each group."""


def spec_of(components: int, grid: tuple[int, int] = SPEC_GRID) -> EmbeddingSpec:
    """The spec of drawn vectors."""
    return EmbeddingSpec(
        encoder="drawn",
        layer="last",
        weights_sha256="0" * 64,
        grid=grid,
        components_drawn=components,
        components_kept=components,
    )


def filled(home: Path, drawn: Drawn, spec: EmbeddingSpec) -> tuple[Catalog, StoredSpec]:
    """A new archive that holds the drawn vectors as volumes 1 to n, not yet published.

    The first row goes through `Catalog.commit_volume`; the others are copies of it but for keys, metadata and vector,
    without a sync for each.
    """
    catalog = _opened(home)
    stored = catalog.add_spec(spec, {})
    catalog.commit_volume(new_volume("0", stored, next(drawn.blocks())[1][0]))
    catalog.close()
    connection = sqlite3.connect(home / "catalog.db", isolation_level=None)
    for statement in ("synchronous = OFF", "journal_mode = OFF", "cache_size = -200000", "locking_mode = EXCLUSIVE"):
        connection.execute(f"PRAGMA {statement}").fetchall()
    columns = [row[1] for row in connection.execute("PRAGMA table_info(volume)")]
    pattern = dict(zip(columns, connection.execute("SELECT * FROM volume").fetchone(), strict=True))
    ages = np.random.default_rng(17).uniform(0, AGES, len(drawn))
    years = np.random.default_rng(19).integers(0, int(AGES), int(drawn.groups.max()) + 1)
    insert_volume = f"INSERT INTO volume VALUES ({', '.join('?' * len(columns))})"
    connection.execute("BEGIN")
    connection.execute("UPDATE volume SET age = ?, year = ?", (ages[0], int(years[drawn.groups[0]])))
    for start, rows in drawn.blocks():
        numbers = range(max(start, 1), start + len(rows))
        facts = [
            pattern
            | {
                "id": n + 1,
                "source_key": _digest(f"source {n}"),
                "content_key": _digest(f"content {n}"),
                "patient_key": _digest(f"patient {n}"),
                "age": float(ages[n]),
                "year": int(years[drawn.groups[n]]),
            }
            for n in numbers
        ]
        data = [rows[n - start].tobytes() for n in numbers]
        connection.executemany(insert_volume, (tuple(row.values()) for row in facts))
        connection.executemany(
            "INSERT INTO vector (id, spec_id, content_key, sha256, data) VALUES (?, ?, ?, ?, ?)",
            (
                (row["id"], stored.id, row["content_key"], hashlib.sha256(d).hexdigest(), d)
                for row, d in zip(facts, data, strict=True)
            ),
        )
        connection.executemany(
            "INSERT INTO prefix (vector_id, data) VALUES (?, ?)",
            ((row["id"], prefix(d, spec)) for row, d in zip(facts, data, strict=True)),
        )
        connection.executemany(
            "INSERT INTO embedding (id, volume_id, spec_id, vector_id, intensity_rule) VALUES (?, ?, ?, ?, 'drawn')",
            ((row["id"], row["id"], stored.id, row["id"]) for row in facts),
        )
    connection.execute("COMMIT")
    connection.close()
    return _opened(home), stored


def reopened(home: Path) -> tuple[Catalog, StoredSpec]:
    """An archive that `filled` has made before."""
    catalog = _opened(home)
    (stored,) = catalog.specs()
    return catalog, stored


def _opened(home: Path) -> Catalog:
    return Catalog.open(home, ArchiveKey(home.with_name(f"{home.name}.key"), bytes(range(32))), mode="write")


def new_volume(name: str, stored: StoredSpec, vector: Float16[np.ndarray, " length"]) -> NewVolume:
    """A scan of a patient of its own, as the indexer would hand it to the catalog."""
    return NewVolume(
        source_key=_digest(f"source {name}"),
        locator="/drawn/volume",
        size=1,
        mtime_ns=1,
        content_key=_digest(f"content {name}"),
        format="nifti",
        shape=(4, 5, 6),
        spacing=(1.0, 1.0, 2.0),
        orientation="RAS",
        oriented=True,
        spec_id=stored.id,
        vector=vector,
        intensity_rule="drawn",
        patient_key=_digest(f"patient {name}"),
        modality="MR",
        age=0.0,
        year=0,
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
