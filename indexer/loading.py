"""What is done with one source before it is embedded: is it known, are its bytes, what does it hold."""

from dataclasses import dataclass

from indexer.joining import JoinedTables
from raptor_search.archive import Archive
from raptor_search.catalog import KnownSource, NewVolume, StoredSpec
from raptor_search.embedding import Embedding
from raptor_search.intensity import IntensityRule
from raptor_search.keys import ArchiveKey
from raptor_search.readers import READER_VERSION, Scan, Source
from raptor_search.readers.pool import ReadingPool
from raptor_search.readers.tables import annotate

__all__ = ["Loaded", "Loader", "new_volume"]


@dataclass(frozen=True)
class Loaded:
    """A source that was read, or whose bytes turned out to be embedded already.

    Attributes:
        source: where it came from.
        content_key: keyed hash of its bytes.
        known: what the archive has at this source.
        was_embedded: whether that is these bytes, embedded under the run's spec.
        scan: voxels and metadata; None where nothing about it can have changed.
        preview: PNG of the three middle planes.
        rule: the window that the voxels choose.
        seconds: that reading took.
    """

    source: Source
    content_key: str
    known: KnownSource | None
    was_embedded: bool
    scan: Scan | None
    preview: bytes | None = None
    rule: IntensityRule | None = None
    seconds: float = 0.0


class Loader:
    """Reads sources for one run: safe to call from the threads that wait for the reading processes."""

    def __init__(self, archive: Archive, stored: StoredSpec, joined: JoinedTables) -> None:
        self._catalog = archive.catalog
        self._key = archive.key
        self._stored = stored
        self._joined = joined

    def is_present(self, source: Source) -> bool:
        """Whether this source, by size and time, is embedded under the run's spec and its metadata stand."""
        if self._joined.is_new:
            return False
        known = self._catalog.known(self._key.digest("source", source.uri))
        return (
            known is not None
            and self._stored.id in known.spec_ids
            and known.reader == READER_VERSION
            and (known.size, known.mtime_ns) == (source.size, source.mtime_ns)
        )

    def load(self, pool: ReadingPool, source: Source) -> Loaded:
        """Read the scan and hash its bytes, in a process of the pool; no more than that where these are embedded.

        Raises:
            ReadError: where the source cannot be read.
        """
        known = self._catalog.known(self._key.digest("source", source.uri))
        if known and self._stored.id in known.spec_ids and known.reader == READER_VERSION and not self._joined.is_new:
            content_key = self._key.digest("content", pool.digest(source))
            if known.content_key == content_key:  # touched, and no more
                return Loaded(source, content_key, known, True, None)
        result = pool.read(source)
        content_key = self._key.digest("content", result.digest)
        embedded = bool(known and known.content_key == content_key and self._stored.id in known.spec_ids)
        scan = annotate(result.scan, source, self._joined.about(source))
        return Loaded(source, content_key, known, embedded, scan, result.preview, result.rule, result.seconds)


def new_volume(loaded: Loaded, key: ArchiveKey, stored: StoredSpec, embedding: Embedding | None) -> NewVolume:
    """The row that a read scan becomes; without `embedding` it shares the vector of equal bytes."""
    if loaded.scan is None:
        raise ValueError("a scan that was not read cannot be committed")
    source, scan = loaded.source, loaded.scan
    volume, metadata, identity = scan.volume, scan.metadata, scan.identity
    return NewVolume(
        source_key=key.digest("source", source.uri),
        locator=source.uri,
        size=source.size,
        mtime_ns=source.mtime_ns,
        content_key=loaded.content_key,
        format=volume.format,
        shape=volume.shape,
        spacing=volume.spacing,
        orientation=volume.orientation,
        oriented=volume.oriented,
        spec_id=stored.id,
        vector=embedding.stored if embedding else None,
        intensity_rule=embedding.intensity_rule.name if embedding else None,
        tokens=embedding.tokens if embedding else None,
        labels=scan.labels,
        cleared=scan.cleared,
        preview=loaded.preview,
        patient_key=key.digest("patient", identity.scoped_patient) if identity.scoped_patient else None,
        subject_key=key.digest("patient", identity.patient) if identity.patient else None,
        study_key=key.digest("study", identity.study) if identity.study else None,
        series_key=key.digest("series", identity.series) if identity.series else None,
        site_key=key.digest("site", identity.site) if identity.site else None,
        reader=READER_VERSION,
        **vars(metadata),
        **vars(scan.geometry),
    )
