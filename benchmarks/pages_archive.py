"""An archive of many drawn scans for the pages: metadata, labels, pictures, a map with clusters. Nothing is real."""

import base64
import sqlite3
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from search_data import drawn
from search_store import filled, spec_of

from raptor_search.catalog import Catalog, NewIndexVersion, NewProposal, StoredSpec
from raptor_search.keys import VERSION_LINE, ArchiveKey

__all__ = ["make"]

GRID = (2, 3)
GROUPS = 12
MODALITIES = ("MR", "CT", "PT", "US")
PARTS = ("HEAD", "CHEST", "ABDOMEN", "PELVIS", "SPINE", "KNEE")
LABELLED = 0.5
ACCEPTED = 0.05


def make(home: Path, scans: int) -> StoredSpec:
    """Fill an archive in bulk; its key lies beside it."""
    key = ArchiveKey(home.with_name(f"{home.name}.key"), bytes(range(32)))
    key.path.write_text(f"{VERSION_LINE}\n{base64.b64encode(key.secret).decode()}\n")
    catalog, stored = filled(home, drawn("clusters", scans, spec_of(1, GRID).length), spec_of(1, GRID))
    catalog.close()
    rng = np.random.default_rng(23)
    groups = rng.integers(0, GROUPS, scans)
    _describe(home, rng, groups)
    catalog = Catalog.open(home, key, mode="write")
    version = catalog.publish_index(
        NewIndexVersion(
            spec_id=stored.id,
            generation_id=catalog.add_generation(stored.id, centring="none", mean=np.empty(0), volumes=scans).id,
            file="none",
            sha256="0" * 64,
            factory="none",
            volumes=scans,
            last_embedding_id=scans,
            nprobe=1,
            rerank=1,
            measured_recall=None,
        )
    )
    centres = rng.normal(0, 6, (GROUPS, 2))
    places = (centres[groups] + rng.normal(0, 1.2, (scans, 2))).astype(np.float32)
    row = catalog.save_map(stored.id, catalog.ids(stored.id), places, {"seed": 0})
    catalog.save_map_detail(row.id, version.id, np.where(rng.random(scans) < 0.1, -1, groups), _document(groups))
    _propose(catalog, groups)
    catalog.close()
    return stored


def _propose(catalog: Catalog, groups: NDArray[np.int64]) -> None:
    """A stored proposal for each scan without a kind."""
    done = set(catalog.decided_ids("kind").tolist())
    document = {
        "for": [1, 2, 3, 4],
        "against": [5],
        "plausible": None,
        "method": "diffusion",
        "confidence": "vote share",
    }
    rng = np.random.default_rng(29)
    catalog.save_proposals(
        "kind",
        [
            NewProposal(
                volume_id=number + 1,
                value=f"kind {group}",
                confidence=float(confidence),
                reason=None,
                document=document,
            )
            for number, (group, confidence) in enumerate(zip(groups.tolist(), rng.random(len(groups)), strict=True))
            if number + 1 not in done
        ],
        author="drawn",
    )


def _describe(home: Path, rng: np.random.Generator, groups: NDArray[np.int64]) -> None:
    scans = len(groups)
    png = _picture(home.with_name("drawn.png"), rng)
    connection = sqlite3.connect(home / "catalog.db")
    connection.execute("PRAGMA synchronous = OFF")
    connection.executemany(
        "UPDATE volume SET modality = ?, body_part = ?, sex = ?, age = ?, patient_key = ? WHERE id = ?",
        (
            (
                MODALITIES[group % 4],
                PARTS[group % 6],
                "FM"[number % 2] if number % 20 else None,
                float(20 + number * 7 % 60),
                f"patient {number // 3}",
                number + 1,
            )
            for number, group in enumerate(groups.tolist())
        ),
    )
    connection.executemany(
        "INSERT INTO label (volume_id, name, value, origin, changed_at) VALUES (?, ?, ?, ?, 0)",
        (
            (number + 1, name, value, "accepted" if draw > 1 - ACCEPTED else "given")
            for number, (group, draw) in enumerate(zip(groups.tolist(), rng.random(scans).tolist(), strict=True))
            for name, value in (("kind", f"kind {group}"), ("grade", f"grade {number % 3}"))
            if draw < LABELLED or draw > 1 - ACCEPTED
        ),
    )
    connection.executemany("INSERT INTO preview VALUES (?, ?)", ((number + 1, png) for number in range(scans)))
    connection.commit()
    connection.close()


def _picture(file: Path, rng: np.random.Generator) -> bytes:
    Image.fromarray(rng.integers(0, 200, (64, 192), np.uint8)).save(file)
    return file.read_bytes()


def _document(groups: NDArray[np.int64]) -> dict[str, object]:
    return {
        "clusters": [
            {
                "number": number,
                "name": f"drawn {number}",
                "scans": int((groups == number).sum()),
                "medoid": int(np.flatnonzero(groups == number)[0]) + 1,
                "traits": [
                    {"column": "modality", "value": MODALITIES[number % 4], "inside": 90, "cluster": 100}
                    | {"overall": 300, "known": 1200, "p": 1e-9}
                ],
            }
            for number in range(GROUPS)
        ],
        "unclustered": int(len(groups) / 10),
        "outliers": list(range(1, 101)),
        "quality": {"trustworthiness": 0.9, "preservation": 0.4, "k": 15, "scans": 2000},
    }
