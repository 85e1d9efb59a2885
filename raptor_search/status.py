"""What an archive holds, for people: volumes, specs with their indexes, and what is quarantined."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from raptor_search.catalog import Catalog, IndexVersion, StoredSpec
from raptor_search.errors import IndexFileError
from raptor_search.searching.index_files import read_index
from raptor_search.unfinished import SHOWN_DIGITS, how_to_go_on
from raptor_search.unopened import Unopened, unopened

__all__ = ["SHOWN_DIGITS", "ArchiveStatus", "QuarantinedSource", "SpecStatus", "describe"]


class SpecStatus(NamedTuple):
    """One spec of an archive.

    Attributes:
        fingerprint: all its digits.
        encoder: name of the 2D model, with its precision where that is not exact.
        layer: block whose output is taken, or "last".
        preset: name of the recipe.
        components: K.
        seed: of the Gaussian matrix.
        embedded: volumes embedded under it.
        index_version: that serves, or None.
        index_state: what the index is, and what is wrong with it.
        unfinished: what is lacking and which command adds it, or None.
    """

    fingerprint: str
    encoder: str
    layer: str
    preset: str
    components: int
    seed: int
    embedded: int
    index_version: int | None
    index_state: str
    unfinished: str | None


class QuarantinedSource(NamedTuple):
    """A source that could not be read; it is left as it is and tried again by the next run."""

    source: str
    code: str
    reason: str
    attempts: int


@dataclass(frozen=True)
class ArchiveStatus:
    """The state of an archive.

    Attributes:
        home: its folder.
        volumes: scans in it.
        notice: what every reader of its results must know, or None.
        specs: the default one first.
        quarantined: the latest first.
        unopened: what the latest run of the indexer could not open.
    """

    home: Path
    volumes: int
    notice: str | None
    specs: tuple[SpecStatus, ...]
    quarantined: tuple[QuarantinedSource, ...]
    unopened: Unopened

    def to_dict(self) -> dict[str, Any]:
        """The status for JSON."""
        return {
            "home": os.fspath(self.home),
            "volumes": self.volumes,
            "notice": self.notice,
            "specs": [spec._asdict() for spec in self.specs],
            "quarantined": [source._asdict() for source in self.quarantined],
            "unopened": asdict(self.unopened),
        }


def describe(catalog: Catalog, home: Path, notice: str | None) -> ArchiveStatus:
    """The state of an archive; each index file is read and its hash checked."""
    return ArchiveStatus(
        home=home,
        volumes=catalog.count(),
        notice=notice,
        specs=tuple(_spec(catalog, home, stored) for stored in catalog.specs()),
        quarantined=tuple(
            QuarantinedSource(record.locator, record.code, record.reason, record.attempts)
            for record in catalog.quarantined()
        ),
        unopened=unopened(catalog),
    )


def _spec(catalog: Catalog, home: Path, stored: StoredSpec) -> SpecStatus:
    version = catalog.current_index(stored.id)
    embedded = catalog.count(stored.id)
    return SpecStatus(
        fingerprint=stored.fingerprint,
        encoder=stored.spec.encoder_label,
        layer=stored.spec.layer,
        preset=stored.preset,
        components=stored.spec.components_kept,
        seed=stored.spec.seed,
        embedded=embedded,
        index_version=version.id if version else None,
        index_state=_index_state(home, version, embedded),
        unfinished=how_to_go_on(catalog, home, stored),
    )


def _index_state(home: Path, version: IndexVersion | None, embedded: int) -> str:
    if version is None:
        return "none"
    try:
        read_index(home, version.file, version.sha256)
    except IndexFileError:
        return f"{version.factory}, damaged: run `raptor rebuild`"
    newer = f", {embedded - version.volumes} newer scans beside it" if embedded > version.volumes else ""
    return f"{version.factory}{newer}"
