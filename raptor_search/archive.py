"""An archive as its user sees it: open it, search it, embed with it, ask how it is.

with Archive.open("raptor-archive") as archive:
    for hit in archive.search("scan.nii.gz").hits:
        print(hit.score, hit.source)
"""

import dataclasses
import getpass
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from jaxtyping import Float

from raptor_search.catalog import Catalog, StoredMap, StoredSpec
from raptor_search.catalog import upgrade as upgrade_catalog
from raptor_search.catalog.database import database_url
from raptor_search.catalog.schema import absent_message, current_state
from raptor_search.errors import CatalogError, QueryError, WeightsError
from raptor_search.explain import Shares, shares
from raptor_search.filters import Filter, parse_where
from raptor_search.index_files import IndexCache
from raptor_search.keys import ArchiveKey
from raptor_search.publishing import publish, sketch_all
from raptor_search.search import Hit, SearchResult, search
from raptor_search.status import SHOWN_DIGITS, ArchiveStatus, describe
from raptor_search.volume import Volume

if TYPE_CHECKING:  # torch takes seconds to import: only what embeds pays for it
    from raptor_search.embedding import Embedding, Encoder, Progress

__all__ = ["Archive", "ArchiveStatus"]

NOTICE = "notice"
"""The setting that holds what every reader of results must know, such as that all scans are derived."""


class Archive:
    """One archive: its catalog, its key, its indexes and, once a scan is to be embedded, its encoder.

    Threads may share it. Close it, or use it in a `with` statement.

    Attributes:
        home: its folder.
        key: what hashes identifiers and decrypts sources.
        catalog: what it knows.
        device: where the encoder runs.
    """

    def __init__(self, home: Path, key: ArchiveKey, catalog: Catalog, *, device: str = "cpu") -> None:
        self.home = home
        self.key = key
        self.catalog = catalog
        self.device = device
        self._indexes = IndexCache(home.absolute())
        self._encoders: dict[tuple[str, str, str], Encoder] = {}
        self._encoder_lock = threading.Lock()

    @classmethod
    def open(
        cls,
        home: Path | str,
        *,
        create: bool = False,
        upgrade: bool = False,
        url: str | None = None,
        device: str = "cpu",
    ) -> "Archive":
        """Open the archive in a folder.

        Args:
            home: its folder.
            create: make it, and the key, where there is none yet; bring an older one up to date.
            upgrade: bring an older one up to date, after a backup.
            url: of its database; None means `RAPTOR_DATABASE_URL`, else `home`/catalog.db.
            device: where the encoder runs, as torch names it.

        Raises:
            CatalogError: there is no archive and `create` is not set, or it is older or newer than this program.
            KeyMismatchError: the key at hand is not the archive's, or is gone.
            UsageError: the folder or the key file cannot be used.
        """
        home = Path(home).expanduser()
        if upgrade:
            upgrade_catalog(home, url)
        is_absent = current_state(database_url(home, url)) == "absent"
        if is_absent and not create:
            raise CatalogError(absent_message(home))
        # An archive that is there has its key: a new one would be the wrong one.
        key = ArchiveKey.load(create=is_absent, home=home)
        catalog = Catalog.open(home, key, url=url, mode="write" if create else "read")
        return cls(home, key, catalog, device=device)

    def close(self) -> None:
        """Give back the database's connections."""
        self.catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def notice(self) -> str | None:
        """What every reader of its results must know, or None."""
        return self.catalog.setting(NOTICE)

    def spec(self, fingerprint: str | None = None) -> StoredSpec:
        """The spec with this fingerprint, or with one that starts so; the default one for None.

        Raises:
            QueryError: there is none, or more than one.
        """
        specs = self.catalog.specs()
        if not specs:
            raise QueryError(f"the archive {self.home} holds no scans yet: run `raptor index PATH --home {self.home}`")
        if fingerprint is None:
            return next(stored for stored in specs if stored.is_default)
        found = [stored for stored in specs if stored.fingerprint.startswith(fingerprint.lower())]
        if len(found) != 1:
            named = ", ".join(f"{s.fingerprint[:SHOWN_DIGITS]} ({s.spec.encoder}, {s.preset})" for s in specs)
            raise QueryError(f"{len(found)} specs start with {fingerprint[:64]!r}; expected one of: {named}")
        return found[0]

    def search(
        self,
        query: Path | str | int,
        *,
        k: int = 10,
        where: str | Filter | None = None,
        exclude_patient: str | None = None,
        exclude_same_patient: bool = False,
        spec: str | None = None,
        progress: "Progress | None" = None,
    ) -> SearchResult:
        """The k scans of the archive most similar to a scan. Written into the audit log before it is answered.

        Args:
            query: a file, a folder or zip of one DICOM series, or the id of a volume of the archive, which is then
                left out of the hits.
            k: hits; never fewer while k scans pass the filters.
            where: a filter, such as "modality = 'CT' and age > 60".
            exclude_patient: a patient id, as the files have it, whose scans are left out.
            exclude_same_patient: leave out the scans of the query's own patient.
            spec: fingerprint, or its start, of a spec that is not the default.
            progress: hears how many slices are embedded.

        Raises:
            QueryError: a filter or k that cannot be, or no such spec.
            UsageError: a path that does not hold exactly one scan, or no such volume.
            ReadError: a scan that cannot be read.
            WeightsError: the spec's encoder cannot be had.
        """
        stored = self.spec(spec)
        condition = parse_where(where) if isinstance(where, str) else where
        self.catalog.ids(stored.id, condition)  # a column that is not there is said before a minute of embedding
        is_volume = isinstance(query, int | np.integer)
        asked = self._ask_volume(int(query), stored) if is_volume else self._ask_file(Path(query), stored, progress)
        left_out, notes = self._left_out(asked, exclude_patient, exclude_same_patient, stored)
        result = search(
            self.catalog,
            self._indexes,
            stored,
            asked.vector,
            k=k,
            where=condition,
            exclude_patients=left_out,
            exclude_ids=asked.own_ids,
            content_key=asked.content_key,
        )
        self._audit("search", f"{asked.words}, k {k}, {'filtered' if where else 'unfiltered'}", stored)
        return dataclasses.replace(result, notes=(*result.notes, *notes))

    def explain(self, result: SearchResult, hit: Hit) -> Shares:
        """The score of a hit taken apart into the cells that it is the sum of.

        Raises:
            CatalogError: the hit is gone from the archive.
        """
        vector = self.catalog.vectors([hit.volume_id], self.spec(result.spec_fingerprint).id)[0]
        return shares(result.query, vector, result.mean, result.spec)

    def embed(
        self, volume: Volume | Path | str, *, spec: str | None = None, progress: "Progress | None" = None
    ) -> "Embedding":
        """The embedding of a scan under a spec of the archive.

        Raises:
            UsageError, ReadError, WeightsError: as `search`.
            SpecError: the spec has no rule for this kind of file.
        """
        from raptor_search.embedding import embed

        if not isinstance(volume, Volume):
            from raptor_search.readers import read_file

            volume = read_file(Path(volume))[1].volume
        stored = self.spec(spec)
        return embed(volume, self.encoder(stored), stored.spec, progress=progress)

    def encoder(self, stored: StoredSpec) -> "Encoder":
        """The encoder of a spec, loaded on first use; other threads wait for it.

        Raises:
            WeightsError: its weights cannot be had, or are not the ones that the spec was made with.
        """
        spec = stored.spec
        with self._encoder_lock:
            name = (spec.encoder, spec.layer, spec.weights_sha256)
            if name not in self._encoders:
                self._encoders[name] = self._load(stored)
            return self._encoders[name]

    def use_encoder(self, stored: StoredSpec, encoder: "Encoder", *, weights: Path | None = None) -> None:
        """Take an encoder that is loaded already, and remember where its weights lie for later searches.

        Raises:
            WeightsError: its weights are not the ones that the spec was made with.
        """
        _check_weights(stored, encoder)
        with self._encoder_lock:
            self._encoders[stored.spec.encoder, encoder.layer, encoder.weights_sha256] = encoder
        if weights is not None:
            self.catalog.set_setting(_weights_setting(stored), os.fspath(weights.absolute()))

    def publish(self, spec: str | None = None) -> int | None:
        """Bring the index of a spec up to date; returns the version that serves. Hold `writer_lock` meanwhile.

        Raises:
            IndexFileError: the file could not be written; the version before still serves.
        """
        version = publish(self.catalog, self.home, self.spec(spec))
        return version.id if version else None

    def status(self) -> ArchiveStatus:
        """What the archive holds, whether its indexes are sound, and what is quarantined."""
        return describe(self.catalog, self.home, self.notice)

    def draw_map(self, spec: str | None = None) -> StoredMap:
        """Lay the archive's scans out as a map, and store it.

        Raises:
            QueryError: too few scans.
        """
        from raptor_search.cohort import cohort_map

        stored = self.spec(spec)
        ids, sketches, _ = sketch_all(self.catalog, stored, self.catalog.ids(stored.id))
        drawn = cohort_map(sketches, ids)
        parameters = dataclasses.asdict(drawn.parameters)
        return self.catalog.save_map(stored.id, drawn.ids, drawn.coordinates, parameters)

    def latest_map(self, spec: str | None = None) -> StoredMap | None:
        """The map that was drawn last, or None; scans may have come and gone since."""
        return self.catalog.latest_map(self.spec(spec).id)

    def _ask_volume(self, volume_id: int, stored: StoredSpec) -> "_Asked":
        record = self.catalog.volume(volume_id)
        vector = self.catalog.vectors([volume_id], stored.id)[0]
        return _Asked(vector, record.content_key, record.patient_key, (volume_id,), f"volume {volume_id}")

    def _ask_file(self, path: Path | str, stored: StoredSpec, progress: "Progress | None") -> "_Asked":
        from raptor_search.embedding import embed
        from raptor_search.readers import content_digest, read_file

        source, scan = read_file(Path(path))
        embedding = embed(scan.volume, self.encoder(stored), stored.spec, progress=progress)
        patient = scan.identity.patient
        return _Asked(
            # As stored: a scan that is in the archive then scores exactly 1.
            vector=embedding.stored,
            content_key=self.key.digest("content", content_digest(source)),
            patient_key=self.key.digest("patient", patient) if patient else None,
            own_ids=(),
            words="a file",
        )

    def _left_out(
        self, asked: "_Asked", patient: str | None, same_patient: bool, stored: StoredSpec
    ) -> tuple[set[str], list[str]]:
        """Keys of the patients that a search leaves out, and what is to be said where nothing comes of it."""
        keys, notes = set(), []
        if same_patient and asked.patient_key is None:
            notes.append("the query names no patient, so that none is left out as its own")
        elif same_patient and asked.patient_key:
            keys.add(asked.patient_key)
        if patient is not None:
            key = self.key.digest("patient", patient.strip())
            keys.add(key)
            if self.catalog.ids(stored.id, None, key).size == self.catalog.count(stored.id):
                notes.append("no scan of the archive is of the patient to be left out")
        return keys, notes

    def _load(self, stored: StoredSpec) -> "Encoder":
        from raptor_search.encoders import load_encoder

        remembered = self.catalog.setting(_weights_setting(stored))
        weights = Path(remembered) if remembered and Path(remembered).exists() else None
        spec = stored.spec
        encoder = load_encoder(spec.encoder, layer=spec.layer, weights=weights, device=self.device)
        _check_weights(stored, encoder)
        return encoder

    def _audit(self, action: str, detail: str, stored: StoredSpec) -> None:
        try:
            author = getpass.getuser()
        except (KeyError, OSError):  # an account without a name, as in some containers
            author = f"uid {os.getuid()}"
        self.catalog.audit(author, action, f"{detail}, spec {stored.fingerprint[:SHOWN_DIGITS]}")


@dataclasses.dataclass(frozen=True)
class _Asked:
    """A query, from a file or from the archive; `words` name it in the audit log without identifying it."""

    vector: Float[np.ndarray, " length"]
    content_key: str
    patient_key: str | None
    own_ids: tuple[int, ...]
    words: str


def _weights_setting(stored: StoredSpec) -> str:
    return f"weights {stored.fingerprint}"


def _check_weights(stored: StoredSpec, encoder: "Encoder") -> None:
    """Refuse weights that would make other numbers than the archive's.

    Raises:
        WeightsError: their hash is not the spec's.
    """
    expected, got = stored.spec.weights_sha256, encoder.weights_sha256
    if got != expected:
        raise WeightsError(
            f"the weights of {stored.spec.encoder} are not the ones that this archive was made with: SHA-256 "
            f"{got[:SHOWN_DIGITS]}, expected {expected[:SHOWN_DIGITS]}; run `raptor index --weights FILE` with those"
        )
