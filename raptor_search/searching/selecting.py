"""Which volumes of an archive a user means: by where they came from, by patient, or by a filter."""

import os
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raptor_search.catalog import Catalog, Ids
from raptor_search.errors import UsageError
from raptor_search.filters import parse_where
from raptor_search.places import is_gone

__all__ = ["PSEUDONYM", "Selection", "missing", "select"]

PSEUDONYM = re.compile(r"P-([0-9a-f]{8})")
"""A patient as hits show them."""


@dataclass(frozen=True, eq=False)
class Selection:
    """What was meant.

    Attributes:
        ids: of the volumes, sorted.
        source_keys: of the quarantined sources among them: those are no volumes.
        patient_keys: of the patient, where one was named.
    """

    ids: Ids
    source_keys: frozenset[str]
    patient_keys: frozenset[str]


def select(
    catalog: Catalog,
    sources: Sequence[Path | str] = (),
    *,
    patient: str | None = None,
    where: str | None = None,
    ids: Sequence[int] = (),
    even_absent: bool = False,
    only_missing: bool = False,
) -> Selection:
    """The volumes that are meant by exactly one of four ways; `only_missing` goes with sources, or means all.

    Args:
        catalog: of the archive.
        sources: files and folders as they were indexed, which need not be there any more; "FILE#MEMBER" means one
            of the volumes that a file holds, a folder everything below it.
        patient: the id as the files have it, or the pseudonym in a hit.
        where: a filter, as a search takes it.
        ids: of the volumes themselves.
        even_absent: whether the patient may be one of whom the archive has no scan.
        only_missing: of the sources only those whose file or folder is gone (`places.is_gone`).

    Raises:
        UsageError: none or several of the ways, a volume, source or patient that the archive does not know, or a
            patient's name that participants of several data sets have.
        QueryError: a filter that cannot be.
    """
    ways = sum((bool(sources or only_missing), patient is not None, where is not None, bool(ids)))
    if ways != 1:
        raise UsageError(
            "which scans? give sources, or --patient ID, or, to remove, --where FILTER: exactly one of them"
        )
    if patient is not None:
        return _of_patient(catalog, patient.strip(), even_absent)
    if where is not None:
        condition = parse_where(where)
        found = [catalog.ids(stored.id, condition) for stored in catalog.specs()]
        found_ids = np.unique(np.concatenate([np.empty(0, np.int64), *found]))
        return Selection(found_ids, frozenset(), frozenset())
    if ids:
        for volume_id in ids:
            catalog.volume(volume_id)
        return Selection(np.unique(np.array(ids, np.int64)), frozenset(), frozenset())
    return _at(catalog, [_absolute(source) for source in sources], is_gone if only_missing else _any)


def missing(catalog: Catalog, sources: Sequence[Path | str]) -> int:
    """How many volumes from these files and folders, as they were indexed, are no longer there."""
    places = [_absolute(source) for source in sources]
    return sum(1 for _, uri in catalog.located() if _holding(uri, places) and is_gone(uri))


def _of_patient(catalog: Catalog, patient: str, even_absent: bool) -> Selection:
    if not patient:
        raise UsageError("an empty patient id; give it as the files have it")
    pseudonym = PSEUDONYM.fullmatch(patient)
    if pseudonym and not catalog.patient_ids(patient)[1]:
        return _of_pseudonym(catalog, patient, catalog.patients_called(pseudonym[1]))
    ids, keys = catalog.patient_ids(patient)
    key = catalog.key.digest("patient", patient)
    if not keys and not even_absent and not catalog.erased([key]):  # erasing may have been cut short
        raise UsageError(f"no scan of the archive is of a patient {patient!r}: give the id as the files have it")
    if len(keys) > 1:
        raise UsageError(
            f"{len(keys)} data sets have a participant of this name, and they need not be one person: "
            "name the participant's folder instead"
        )
    return Selection(ids, frozenset(), keys | {key})


def _of_pseudonym(catalog: Catalog, pseudonym: str, keys: list[str]) -> Selection:
    if len(keys) != 1:
        many = f"{len(keys)} patients of the archive go" if keys else "no patient of the archive goes"
        raise UsageError(f"{many} by {pseudonym}: give the patient's id as the files have it")
    return Selection(catalog.volumes_of(keys[0]), frozenset(), frozenset(keys))


def _at(catalog: Catalog, places: Sequence[str], is_meant: Callable[[str], bool]) -> Selection:
    """What is meant of all at these places; no place means everywhere."""
    found, keys, met = set(), set(), set()
    for volume_id, uri in catalog.located():
        place = _holding(uri, places)
        met.add(place)
        if (place or not places) and is_meant(uri):
            found.add(volume_id)
    for record in catalog.quarantined():
        place = _holding(record.locator, places)
        met.add(place)
        if (place or not places) and is_meant(record.locator):
            keys.add(record.source_key)
    unknown = [place for place in places if place not in met]
    if unknown:
        raise UsageError(f"the archive has no scan from {unknown[0]}: `raptor search` shows where scans came from")
    return Selection(np.array(sorted(found), dtype=np.int64), frozenset(keys), frozenset())


def _any(uri: str) -> bool:
    return True


def _holding(uri: str, places: Collection[str]) -> str | None:
    """The place that a source is at, below, or a member of."""
    return next((place for place in places if _lies(uri, place)), None)


def _lies(uri: str, place: str) -> bool:
    if uri == place or uri.startswith(f"{place.rstrip(os.sep)}{os.sep}"):
        return True
    if not uri.startswith(f"{place}#") or os.path.exists(uri):  # "#" may be part of a file's name
        return False
    # Nor is a folder "study#1" that is gone a member of "study": only files hold members with folders in them.
    return os.sep not in uri[len(place) :] or os.path.isfile(place) or place.lower().endswith(".zip")


def _absolute(source: Path | str) -> str:
    return os.path.abspath(os.path.expanduser(source))
