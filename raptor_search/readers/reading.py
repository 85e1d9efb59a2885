"""One door for all formats: a source to a scan, a path to the one scan that it holds."""

import dataclasses
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from raptor_search.errors import ReadError, UsageError
from raptor_search.readers.bids import bids_dataset, bids_modality, bids_session, bids_subject, kept_session
from raptor_search.readers.dicom import read_dicom
from raptor_search.readers.dicom_metadata import dicom_identity
from raptor_search.readers.digests import digest_of
from raptor_search.readers.discovery import discover
from raptor_search.readers.geometry import geometry_of
from raptor_search.readers.mha import read_mha
from raptor_search.readers.nifti import read_nifti
from raptor_search.readers.npz import npz_labels, read_npz
from raptor_search.readers.nrrd import read_nrrd
from raptor_search.readers.scan import Identity, Scan, ScanMetadata
from raptor_search.readers.source import Refused, Skipped, Source, Unpacked
from raptor_search.readers.volumes4d import number_of
from raptor_search.readers.zips import is_zip, unpacked
from raptor_search.volume import Volume

__all__ = ["content_digest", "find_file", "read", "read_file", "read_identity", "read_with_digest"]

NAMED = 10
"""Members that a message lists before it stops."""


def read(source: Source) -> Scan:
    """The scan at a source that `discover` or `read_file` gave.

    Raises:
        ReadError: where it cannot be read; the message names no path and no identifier.
    """
    with _on_disk(source) as inner:
        return _read(inner)


def read_with_digest(source: Source) -> tuple[Scan, bytes]:
    """As `read` and `content_digest`, with a zip unpacked once.

    Raises:
        ReadError: as `read`.
    """
    with _on_disk(source) as inner:
        return _read(inner), _digest(inner)


def read_file(path: Path) -> tuple[Source, Scan]:
    """The one scan of a file, a folder or a zip; "FILE.npz#train_0" or "FILE.nii#t3" names one of several.

    Raises:
        UsageError: no such path, no scan there, or more than one (the message lists them).
        ReadError: a scan that cannot be read.
    """
    with find_file(path) as (source, inner):
        return source, _read(inner)


@contextmanager
def find_file(path: Path) -> Iterator[tuple[Source, Source]]:
    """The source that `read_file` reads, and where it lies while the context lasts: a zip is unpacked.

    Raises:
        UsageError, ReadError: as `read_file`.
    """
    if not os.path.exists(path) and (outer := _holder(path)):
        found = [one for one in discover([outer], volume_index="all") if isinstance(one, Source)]
        named = [one for one in found if one.uri == os.path.abspath(path)]
        if found and not named:
            raise UsageError(_absent(path, outer, found))
        source = _only(named, path)
        with _on_disk(source) as inner:
            yield source, inner
    elif is_zip(path):
        with unpacked(path) as folder:
            inner = _only(discover([folder], in_zip=True), path)
            whole = dataclasses.replace(Source.at(path, inner.format), inner=inner.path_below(folder))
            yield whole, dataclasses.replace(inner, unpacked=Unpacked(Path(os.path.abspath(path)), folder))
    else:
        source = _only(discover([path]), path)
        yield source, source


def _holder(path: Path) -> Path | None:
    """What lies on the disk of a URI that names a volume in it, such as "scans.zip#000001"; None where it is none."""
    text = str(path)
    places = [place for place, letter in enumerate(text) if letter == "#"]
    named = next((Path(text[:place]) for place in places if os.path.exists(text[:place])), None)
    # Nothing there: the sentence is about the file, not about a volume within it.
    return named or (path.with_name(path.name.partition("#")[0]) if "#" in path.name else None)


def read_identity(path: Path) -> Identity:
    """The raw identifiers of the one scan of a path, as `read_file` takes it, from headers alone.

    Raises:
        UsageError: as `read_file`.
        ReadError: the header cannot be read; not a DICOM series.
    """
    with find_file(path) as (_, source):
        if source.format != "dicom":
            raise ReadError("unsupported", f"the scan is {source.format}, which has no UIDs; expected a DICOM series")
        return dicom_identity(source.files[0])


def content_digest(source: Source) -> bytes:
    """SHA-256 over the bytes of a source, names aside; for a zip that of the scan within.

    Raises:
        ReadError: a damaged or vanished file.
    """
    with _on_disk(source) as inner:
        return _digest(inner)


def _digest(source: Source) -> bytes:
    try:
        return digest_of(source)
    except OSError as error:
        raise ReadError("unreadable", f"cannot be read: {error.strerror or 'input/output error'}") from error


@contextmanager
def _on_disk(source: Source) -> Iterator[Source]:
    """The source itself, or while the context lasts the one unpacked from its zip."""
    if source.files == (source.path,) and is_zip(source.path):
        with unpacked(source.path) as folder:
            found = discover([folder], volume_index="all" if source.member else None, in_zip=True)
            if source.member:
                found = (o for o in found if isinstance(o, Source) and o.uri_below(folder) == source.member)
            yield dataclasses.replace(_only(found, source.path), unpacked=Unpacked(source.path, folder))
    else:
        yield source


def _read(source: Source) -> Scan:
    match source.format:
        case "dicom":
            scan = read_dicom(source.files, source.stack)
            return dataclasses.replace(scan, identity=_of_participant(scan.identity, source))
        case "npz":
            volume = read_npz(source.path, source.member)
            labels = npz_labels(source.path, source.member)
            return Scan(volume, ScanMetadata(split=source.member.rpartition("_")[0]), labels=labels)
        case "nrrd":
            return _named(read_nrrd(source.path), source)
        case "nifti":
            return _named(read_nifti(source.path, source.member), source)
        case "mha":
            return _named(read_mha(source.path, source.member), source)


def _dataset(source: Source) -> str | None:
    return bids_dataset(source.place, source.unpacked.on_disk) if source.unpacked else bids_dataset(source.place)


def _of_participant(identity: Identity, source: Source) -> Identity:
    """A DICOM series in a participant's folder of a BIDS data set: theirs, unless its PatientID names somebody else.

    Without this a participant's DICOM and NIfTI files would be two patients, and could be told from each other.
    """
    subject, dataset = bids_subject(source.place), _dataset(source)
    named = (identity.patient or "").removeprefix("sub-")
    if subject is None or dataset is None or named not in ("", subject.removeprefix("sub-")):
        return identity
    return dataclasses.replace(identity, patient=subject, dataset=dataset)


def _named(volume: Volume, source: Source) -> Scan:
    """A scan of which the file tells its geometry alone, and its path in BIDS the rest."""
    place = source.place
    subject = bids_subject(place)
    return Scan(
        volume,
        ScanMetadata(
            modality=bids_modality(place),
            session=kept_session(bids_session(place)),
            t=number_of(source.member) if source.member else None,
        ),
        Identity(patient=subject, dataset=_dataset(source) if subject else None),
        geometry=geometry_of(volume.affine, oriented=volume.oriented),
    )


def _only(found: Iterable[Source | Refused | Skipped], path: Path) -> Source:
    """The one source among what was found at `path`."""
    sources: list[Source] = []
    refused: list[Refused] = []
    for one in found:
        if isinstance(one, Source):
            sources.append(one)
        elif isinstance(one, Refused):
            refused.append(one)
    if len(sources) > 1:
        raise UsageError(f"{path.name} holds {len(sources)} volumes, expected one: {_listed(sources)}")
    if refused:
        # Also beside a good source: a slice that cannot be read would leave its series cut short.
        raise refused[0].error
    if sources:
        return sources[0]
    raise UsageError(f"{path.name}: no scan there; expected NIfTI, NRRD, MHA, npz, a DICOM series, or a zip of one")


def _absent(path: Path, outer: Path, there: list[Source]) -> str:
    """What to say where a file holds other volumes than the one that was named."""
    if not any(one.member for one in there):
        return f"{path.name}: {outer.name} holds one volume, which is not named; expected the path alone"
    if all(one.format in ("nifti", "mha") and one.path == outer and not one.is_zipped for one in there):
        return f"{path.name}: no such volume; {outer.name} has {len(there)}, expected 0 to {len(there) - 1}"
    return f"{path.name}: no such volume; {outer.name} holds {_listed(there)}"


def _listed(sources: list[Source]) -> str:
    names = [
        f"a series of {len(one.files)} files" if one.format == "dicom" else f"#{one.member}" if one.member else one.name
        for one in sources[:NAMED]
    ]
    return ", ".join(names) + (", ..." if len(sources) > NAMED else "")
