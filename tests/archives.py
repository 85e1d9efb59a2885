"""Small archives of drawn vectors, stored through the real catalog."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float16
from numpy.typing import NDArray

from raptor_search.catalog import Catalog, NewVolume, StoredSpec
from raptor_search.keys import ArchiveKey
from raptor_search.search import SearchResult, search
from raptor_search.searching.publishing import publish
from raptor_search.searching.serving import IndexCache
from raptor_search.specs import EmbeddingSpec

SPEC = EmbeddingSpec(
    encoder="drawn", layer="last", weights_sha256="0" * 64, grid=(2, 3), components_drawn=4, components_kept=4
)
"""72 numbers: enough for geometry, little to store."""

MODALITIES = ("CT", "MR", "PT", None)


@dataclass(frozen=True)
class Drawn:
    """What was stored, kept apart from the catalog, so that an oracle can be computed from it."""

    ids: NDArray[np.int64]
    vectors: Float16[np.ndarray, "n length"]
    modalities: list[str | None]
    ages: list[float | None]
    patients: list[str | None]


@dataclass
class DrawnArchive:
    """An archive under test, with its parts at hand."""

    home: Path
    catalog: Catalog
    stored: StoredSpec

    def copied_to(self, home: Path) -> "DrawnArchive":
        """The same archive in another folder, free to be changed."""
        shutil.copytree(self.home, home)
        return opened_archive(home)

    def add(self, drawn_vectors: Float16[np.ndarray, "n length"], start: int = 0, **fixed: str | bytes) -> Drawn:
        """Commit vectors with metadata that follow from their number, counted from `start`.

        Args:
            drawn_vectors: one a volume.
            start: number of the first.
            fixed: of all, `content` of their bytes; `preview` and the label `remark` have "%d" for the number.
        """
        numbers = range(start, start + len(drawn_vectors))
        drawn = Drawn(
            ids=np.empty(len(drawn_vectors), np.int64),
            vectors=drawn_vectors,
            modalities=[MODALITIES[n % 4] for n in numbers],
            ages=[None if n % 5 == 0 else float(20 + n * 7 % 60) for n in numbers],
            patients=[None if n % 11 == 0 else f"patient-{n // 3}" for n in numbers],
        )
        for row, number in enumerate(numbers):
            drawn.ids[row] = self.catalog.commit_volume(self._new(drawn, row, number, **fixed))
        return drawn

    def _new(
        self,
        drawn: Drawn,
        row: int,
        number: int,
        content: str | None = None,
        preview: bytes | None = None,
        remark: str | None = None,
    ) -> NewVolume:
        key, patient = self.catalog.key, drawn.patients[row]
        return NewVolume(
            source_key=key.digest("source", f"/scans/{number}.nii.gz"),
            locator=f"/scans/{number}.nii.gz",
            size=1,
            mtime_ns=1,
            content_key=key.digest("content", content or f"{number}"),
            format="nifti",
            shape=(4, 5, 6),
            spacing=(1.0, 1.0, 2.0),
            orientation="RAS",
            oriented=True,
            spec_id=self.stored.id,
            vector=drawn.vectors[row],
            intensity_rule="percentile",
            labels={"parity": "odd" if number % 2 else "even"} | ({"remark": remark % number} if remark else {}),
            preview=preview % number if preview else None,
            patient_key=key.digest("patient", patient) if patient else None,
            modality=drawn.modalities[row],
            age=drawn.ages[row],
        )

    def publish(self, factory: str | None = None, exact_limit: int = 0) -> int:
        """Publish, with settings measured however small the archive is; returns the version."""
        version = publish(self.catalog, self.home, self.stored, factory=factory, exact_limit=exact_limit)
        assert version is not None
        return version.id

    def search(self, query: Float16[np.ndarray, " length"], k: int = 10, **settings: object) -> SearchResult:
        """Search through the index however small the archive is, unless `exact_limit` says otherwise."""
        settings = {"exact_limit": 0, **settings}
        return search(self.catalog, IndexCache(self.home), self.stored, query, k=k, **settings)

    def index_file(self) -> Path:
        """The file that serves."""
        version = self.catalog.current_index(self.stored.id)
        assert version is not None
        return self.home / "indexes" / version.file


def drawn_archive(home: Path, spec: EmbeddingSpec = SPEC) -> DrawnArchive:
    """An empty archive in a new folder."""
    catalog = Catalog.open(home, _key(home), mode="write")
    return DrawnArchive(home, catalog, catalog.add_spec(spec, {}))


def opened_archive(home: Path) -> DrawnArchive:
    """An archive that is there."""
    catalog = Catalog.open(home, _key(home))
    return DrawnArchive(home, catalog, catalog.specs()[0])


def _key(home: Path) -> ArchiveKey:
    return ArchiveKey(home.with_name(f"{home.name}.key"), bytes(range(32)))


def volumes_in(home: Path, n: int) -> tuple[DrawnArchive, Drawn]:
    """An archive of n drawn volumes, not published."""
    archive = drawn_archive(home)
    return archive, archive.add(draw(0, n))


def draw(seed: int, n: int, spec: EmbeddingSpec = SPEC, clusters: int = 12) -> Float16[np.ndarray, "n length"]:
    """Vectors as Raptor's are: nearly alike, in clusters, float16."""
    rng = np.random.default_rng(seed)
    common = np.random.default_rng(99).normal(0, 5, spec.length)
    centres = np.random.default_rng(98).normal(0, 1, (clusters, spec.length))
    return (common + centres[rng.integers(clusters, size=n)] + rng.normal(0, 0.5, (n, spec.length))).astype(np.float16)


def exact_scores(
    query: Float16[np.ndarray, " length"], vectors: Float16[np.ndarray, "n length"], mean: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The oracle: centred cosines in double precision, one by one."""
    one = query.astype(np.float64) - mean
    others = (v.astype(np.float64) - mean for v in vectors)
    return np.array([one @ o / np.sqrt((one @ one) * (o @ o)) for o in others])


def exact_ids(
    query: Float16[np.ndarray, " length"], drawn: Drawn, mean: NDArray[np.float64], keep: Iterable[bool], k: int
) -> list[int]:
    """The oracle's hits: sort the scores of what is kept."""
    values = exact_scores(query, drawn.vectors, mean)
    kept = np.flatnonzero(list(keep))
    return drawn.ids[kept[np.argsort(-values[kept], kind="stable")]][:k].tolist()
