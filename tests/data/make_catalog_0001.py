"""How `catalog-0001.db.gz` was made: a catalog of the first revision, frozen, of drawn numbers and no real scan.

The file stays as it is; this says what is in it. Run once:
`python -m tests.data.make_catalog_0001 FILE`.
"""

import gzip
import hashlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from sqlalchemy import Connection, MetaData, insert

from raptor_search.catalog.database import database_url
from raptor_search.catalog.schema import migrate
from raptor_search.catalog.vectors import encode, prefix
from raptor_search.keys import ArchiveKey
from raptor_search.specs import EmbeddingSpec

KEY = ArchiveKey(Path("/keys/archive.key"), bytes(range(32)))
SPEC = EmbeddingSpec(
    encoder="tiny", layer="last", weights_sha256="0" * 64, grid=(1, 2), components_drawn=12, components_kept=12
)
VOLUMES = 5
"""Of four contents: the last two have the same bytes and share a vector."""

AT = 1_700_000_000.0


def vector_of(number: int) -> np.ndarray:
    """The drawn vector of a volume's content."""
    return np.random.default_rng(min(number, 4)).standard_normal(SPEC.shape, dtype=np.float32)


def fill(connection: Connection) -> None:
    """Write the rows, by the columns that the first revision had."""
    meta = MetaData()
    meta.reflect(connection)

    def add(table: str, **values: object) -> None:
        connection.execute(insert(meta.tables[table]).values(values))

    add("setting", name="key_check", value=KEY.check_value)
    add("setting", name="notice", value="drawn numbers")
    spec = {"fingerprint": SPEC.fingerprint, "document": SPEC.to_json(), "preset": SPEC.recipe.preset}
    add("spec", id=1, **spec, provenance=json.dumps({"device": "cpu"}), created_at=AT, is_default=True)
    for number in range(1, VOLUMES + 1):
        content = KEY.digest("content", str(min(number, 4)))
        add(
            "volume",
            id=number,
            source_key=KEY.digest("source", f"/scans/{number}.nii"),
            locator=KEY.encrypt(f"/scans/{number}.nii"),
            size=10,
            mtime_ns=1,
            content_key=content,
            added_at=AT,
            format="nifti",
            patient_key=KEY.digest("patient", f"P{number // 2}"),
            modality="MR",
            age=40.0 + number,
            **{f"size_{axis}": 4 for axis in "ras"},
            **{f"spacing_{axis}": 1.5 for axis in "ras"},
            orientation="RAS",
            oriented=True,
        )
        if number < VOLUMES:
            data = encode(vector_of(number), SPEC)
            digest = hashlib.sha256(data).hexdigest()
            add("vector", id=number, spec_id=1, content_key=content, sha256=digest, data=data)
            add("prefix", vector_id=number, data=prefix(data, SPEC))
        add("embedding", id=number, volume_id=number, spec_id=1, vector_id=min(number, 4), intensity_rule="percentile")
        add("preview", volume_id=number, png=b"\x89PNG drawn")
        given = {"volume_id": number, "origin": "given", "changed_at": AT}
        add("label", name="split", value="train" if number < 4 else "test", **given)
        add("label", name="score", value=f"{number}.5", number=number + 0.5, **given)
    decided = {"name": "grade", "value": "II", "confidence": 0.8, "author": "ann", "changed_at": AT}
    add("label", volume_id=1, origin="accepted", **decided)
    add("label", volume_id=2, origin="rejected", **decided)
    add(
        "quarantine",
        source_key=KEY.digest("source", "/scans/bad.nii"),
        locator=KEY.encrypt("/scans/bad.nii"),
        size=3,
        mtime_ns=1,
        code="unreadable",
        reason="cut short",
        attempts=2,
        first_at=AT,
        last_at=AT,
    )
    add("generation", id=1, spec_id=1, centring="none", mean=b"", volumes=VOLUMES, created_at=AT)
    add(
        "index_version",
        id=1,
        spec_id=1,
        generation_id=1,
        file=f"{SPEC.fingerprint[:16]}-0123456789abcdef.faiss",
        sha256="0" * 64,
        factory="Flat",
        volumes=VOLUMES,
        last_embedding_id=VOLUMES,
        nprobe=0,
        rerank=0,
        is_current=True,
        created_at=AT,
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        migrate(home, database_url(home), revision="0001", then=fill)
        Path(sys.argv[1]).write_bytes(gzip.compress((home / "catalog.db").read_bytes(), 9, mtime=0))
