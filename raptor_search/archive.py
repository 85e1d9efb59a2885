"""An archive as its user sees it: open it, search it, embed with it, ask how it is.

with Archive.open("raptor-archive") as archive:
    for hit in archive.search("scan.nii.gz").hits:
        print(hit.score, hit.source)
"""

import copy
import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from raptor_search.access import Principal, local_principal
from raptor_search.backups import restore
from raptor_search.catalog import Catalog, IndexVersion, StoredMap, StoredSpec
from raptor_search.catalog import upgrade as upgrade_catalog
from raptor_search.catalog.database import database_url
from raptor_search.catalog.schema import absent_message, current_state
from raptor_search.encoder_cache import EncoderCache
from raptor_search.erasure import Step
from raptor_search.errors import CatalogError, QueryError
from raptor_search.keys import ArchiveKey
from raptor_search.questions import Question, Questioning
from raptor_search.reprojection import reproject, reprojected
from raptor_search.searching.index_files import index_files
from raptor_search.searching.publishing import publish
from raptor_search.searching.serving import IndexCache
from raptor_search.status import SHOWN_DIGITS, ArchiveStatus, describe
from raptor_search.upkeep import Upkeep, silent
from raptor_search.volume import Volume

if TYPE_CHECKING:  # torch takes seconds to import: only what embeds pays for it
    from raptor_search.embedding import Embedding, Encoder, Progress
    from raptor_search.readers.pool import ReadingPool

__all__ = ["NOTICE", "Archive", "ArchiveStatus", "Question"]

NOTICE = "notice"
"""The setting that holds what every reader of results must know, such as that all scans are derived."""


class Archive(Upkeep, Questioning):
    """One archive: its catalog, its key, its indexes and, once a scan is to be embedded, its encoder.

    Threads may share it. Close it, or use it in a `with` statement.

    Attributes:
        home: its folder.
        key: what hashes identifiers and decrypts sources.
        catalog: what it knows.
        principal: who acts through it: whoever runs the program, until `acting_as` names another.
    """

    def __init__(self, home: Path, key: ArchiveKey, catalog: Catalog, *, device: str = "auto") -> None:
        self.principal = local_principal()
        self.home = home
        self.key = key
        self.catalog = catalog
        self._indexes = IndexCache(home.absolute())
        self._encoders = EncoderCache(catalog, device)
        self._reading: list[ReadingPool] = []  # one at most; a list, so that `acting_as` shares it
        self._reading_lock = threading.Lock()

    @classmethod
    def open(
        cls,
        home: Path | str,
        *,
        create: bool = False,
        upgrade: bool = False,
        url: str | None = None,
        device: str = "auto",
    ) -> "Archive":
        """Open the archive in a folder.

        Args:
            home: its folder.
            create: make it, and the key, where there is none yet; bring an older one up to date.
            upgrade: bring an older one up to date, after a backup.
            url: of its database; None means `RAPTOR_DATABASE_URL`, else `home`/catalog.db.
            device: where the encoder runs, as torch names it; "auto" as in `load_encoder`.

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

    @classmethod
    def restore(
        cls, file: Path | str, home: Path | str, *, url: str | None = None, progress: Step | None = None
    ) -> "Archive":
        """Make a new archive of a backup, all or nothing, and open it; its key must be at hand.

        Args:
            file: from `backup`.
            home: a folder that is empty or not there.
            url: of an empty database, which may be another kind than the one that was backed up; None as in `open`.
            progress: hears what is done.

        Raises:
            UsageError: the folder or the database is not empty, or the file cannot be read.
            KeyMismatchError: the backup is of an archive with another key.
            CatalogError: the file is no backup, damaged, or made by a newer program.
        """
        home = Path(home).expanduser()
        restore(Path(file).expanduser(), home, ArchiveKey.load(create=False, home=home), url, progress or silent)
        archive = cls.open(home, url=url)
        for stored in archive.catalog.specs():
            version = archive.catalog.current_index(stored.id)
            if version and version.file not in index_files(home, stored.fingerprint):
                publish(archive.catalog, home, stored)  # the backup held no sound file of it
        return archive

    @property
    def reading(self) -> "ReadingPool":
        """The process that reads scans for this archive, started when it is first asked."""
        from raptor_search.readers.pool import ReadingPool

        with self._reading_lock:
            if not self._reading:
                self._reading.append(ReadingPool())
            return self._reading[0]

    def close(self) -> None:
        """Give back the database's connections, and end the process that reads."""
        with self._reading_lock:
            while self._reading:
                self._reading.pop().close()
        self.catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def acting_as(self, principal: Principal) -> Self:
        """The same archive, its caches and processes shared, in the hands of somebody whose role is asked from now on.

        Raises:
            AccessError: they may not even see it.
        """
        principal.require("view")
        theirs = copy.copy(self)
        theirs.principal = principal
        return theirs

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

    def embed(
        self, volume: Volume | Path | str, *, spec: str | None = None, progress: "Progress | None" = None
    ) -> "Embedding":
        """The embedding of a scan under a spec of the archive.

        Raises:
            UsageError, ReadError, WeightsError: as `search`.
            SpecError: the spec has no rule for this kind of file.
        """
        from raptor_search.embedding import embed

        self.require("search")
        if not isinstance(volume, Volume):
            volume = self.reading.read_file(Path(volume))[1].scan.volume
        stored = self.spec(spec)
        return embed(volume, self.encoder(stored), stored.spec, progress=progress)

    def encoder(self, stored: StoredSpec) -> "Encoder":
        """The encoder of a spec, loaded on first use; other threads wait for it.

        Raises:
            WeightsError: its weights cannot be had, or are not the ones that the spec was made with.
        """
        return self._encoders.get(stored)

    def weights(self, stored: StoredSpec) -> Path | None:
        """Where the weights of a spec's encoder lay when it was last indexed; None where the encoder finds its own."""
        return self._encoders.remembered(stored)

    def use_encoder(self, stored: StoredSpec, encoder: "Encoder", *, weights: Path | None = None) -> None:
        """Take an encoder that is loaded already, and remember where its weights lie for later searches.

        Raises:
            WeightsError: its weights are not the ones that the spec was made with.
        """
        self._encoders.put(stored, encoder, weights)

    def publish(self, spec: str | None = None, *, factory: str | None = None) -> int | None:
        """Bring the index of a spec up to date; returns the version that serves.

        Args:
            spec: fingerprint, or its start; None for the default spec.
            factory: FAISS factory string of the kind of index to be; None keeps the kind, or chooses by size.

        Raises:
            IndexFileError: the file could not be written, or FAISS refuses the factory; the one before still serves.
            LockedError: another process writes to the archive.
        """
        self.require("index")
        version = publish(self.catalog, self.home, self.spec(spec), factory=factory)
        return version.id if version else None

    def rebuild(
        self, *, spec: str | None = None, factory: str | None = None, progress: Step | None = None
    ) -> list[IndexVersion]:
        """Make the indexes anew from the vectors, with means of what is there now: scores may move.

        Args:
            spec: fingerprint, or its start, of one spec; None means all.
            factory: FAISS factory string; None chooses by size.
            progress: hears what is done.

        Raises:
            QueryError: no such spec.
            IndexFileError: a file could not be written; the version before still serves.
            LockedError: another process writes to the archive.
        """
        self.require("index")
        hear = progress or silent
        with self.writing(hear):
            chosen = self.catalog.specs() if spec is None else [self.spec(spec)]
            built = []
            for done, stored in enumerate(chosen):
                hear("Training", done, len(chosen))
                built.append(publish(self.catalog, self.home, stored, factory=factory, retrain=True))
            hear("Training", len(chosen), len(chosen))
        return [version for version in built if version is not None]

    def reproject(
        self,
        *,
        components: int | None = None,
        seed: int | None = None,
        spec: str | None = None,
        progress: Step | None = None,
    ) -> tuple[StoredSpec, int]:
        """Add a spec of another K or seed, its vectors projected from the mean tokens that were kept; publish it.

        Args:
            components: K of the new spec; None means as it is.
            seed: likewise.
            spec: fingerprint, or its start, of the spec whose tokens were kept.
            progress: hears what is done.

        Returns:
            The new spec, and how many volumes were given a vector.

        Raises:
            QueryError: no tokens were kept, or nothing would differ.
            SpecError: a value out of range.
            LockedError: another process writes to the archive.
        """
        self.require("index")
        hear, source = progress or silent, self.spec(spec)
        wanted = reprojected(source.spec, components=components, seed=seed)
        with self.writing(hear):
            target = self.catalog.add_spec(wanted, source.provenance)
            self._encoders.share(source, target)
            done = reproject(self.catalog, source, target, progress=hear)
            self.publish(target.fingerprint)
        return target, done

    def status(self) -> ArchiveStatus:
        """What the archive holds, whether its indexes are sound, and what is quarantined."""
        return describe(self.catalog, self.home, self.notice)

    def draw_map(self, spec: str | None = None) -> StoredMap:
        """Lay the archive's scans out as a map, and store it.

        Raises:
            QueryError: too few scans.
        """
        from raptor_search.cohorts.mapping import draw_map

        self.require("evaluate")
        return draw_map(self.catalog, self.spec(spec)).drawn

    def latest_map(self, spec: str | None = None) -> StoredMap | None:
        """The map that was drawn last, or None; scans may have come and gone since."""
        return self.catalog.latest_map(self.spec(spec).id)
