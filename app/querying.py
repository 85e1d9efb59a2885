"""The scan that similar ones are sought for: embedded once, kept in the session, asked again as filters change."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, cast

import numpy as np
import streamlit as st
from jaxtyping import Float

from app.filters import Asked
from app.session import author, identity
from app.uploads import on_disk, title
from app.words import shown
from raptor_search.archive import Archive
from raptor_search.catalog import StoredSpec
from raptor_search.readers import Scan
from raptor_search.search import SearchResult, search
from raptor_search.serving import IndexCache

__all__ = ["Query", "answer", "forget_answer", "of_case", "of_files"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Query:
    """A scan to compare with.

    Attributes:
        title: what the page calls it.
        facts: what is known of it, one short phrase each.
        picture: its three planes, PNG, or None.
        vector: raw embedding, flat.
        fingerprint: of the spec it was embedded under.
        content_key: keyed hash of its bytes, by which duplicates are known.
        patient_key: keyed hash of its patient, or None.
        case: its id where it is a scan of the archive.
    """

    title: str
    facts: tuple[str, ...]
    picture: bytes | None = field(repr=False)
    vector: Float[np.ndarray, " length"] = field(repr=False)
    fingerprint: str
    content_key: str
    patient_key: str | None
    case: int | None = None


def of_case(archive: Archive, stored: StoredSpec, case: int) -> Query:
    """A scan of the archive as the query.

    Raises:
        UsageError: there is no such case.
        CatalogError: it is not embedded under the spec.
    """
    record = archive.catalog.volume(case)
    return Query(
        title=f"Case {case}",
        facts=(shown(record.modality), shown(record.body_part), _size(record.shape), _spacing(record.spacing)),
        picture=archive.catalog.preview(case),
        vector=archive.catalog.vectors([case], stored.id)[0],
        fingerprint=stored.fingerprint,
        content_key=record.content_key,
        patient_key=record.patient_key,
        case=case,
    )


def of_files(
    archive: Archive,
    stored: StoredSpec,
    files: Sequence[BinaryIO],
    *,
    on_read: Callable[[bytes], None],
    progress: Progress,
) -> Query:
    """An uploaded scan as the query. Its bytes lie on disk only while they are read.

    Args:
        archive: whose spec and encoder are taken.
        stored: the spec.
        files: one scan in one file or several.
        on_read: hears the picture as soon as there is one.
        progress: hears how many slices are embedded.

    Raises:
        UsageError: no scan, or several.
        ReadError: a scan that cannot be read.
        WeightsError: the encoder cannot be had.
        SpecError: the spec has no rule for this kind of file.
    """
    with on_disk(files) as path:
        _, read = archive.reading.read_file(path)
    scan = read.scan
    on_read(read.preview)
    embedding = archive.embed(scan.volume, spec=stored.fingerprint, progress=progress)
    patient = scan.identity.scoped_patient
    return Query(
        title=title(files),
        facts=_facts(scan),
        picture=read.preview,
        # As stored, so that a scan that is in the archive scores exactly 1.
        vector=embedding.stored,
        fingerprint=stored.fingerprint,
        content_key=archive.key.digest("content", read.digest),
        patient_key=archive.key.digest("patient", patient) if patient else None,
    )


def answer(archive: Archive, stored: StoredSpec, query: Query, asked: Asked) -> SearchResult:
    """The scans most similar to a query, after a row in the audit log.

    The last answer stays in the session, so that opening a hit does not search again.

    Raises:
        QueryError: the filter names a column that is not there.
    """
    question = (query.case, query.content_key, stored.id, asked, archive.catalog.embedding_high_water(stored.id))
    kept = st.session_state.get("answer")
    if kept is None or kept[0] != question:
        kept = question, _search(archive, stored, query, asked)
        st.session_state["answer"] = kept
    return cast(SearchResult, kept[1])


def forget_answer() -> None:
    """A label was changed: the hits that are kept may show another."""
    st.session_state.pop("answer", None)


def _search(archive: Archive, stored: StoredSpec, query: Query, asked: Asked) -> SearchResult:
    what = "an upload" if query.case is None else f"volume {query.case}"
    manner = "filtered" if asked.where else "unfiltered"
    archive.catalog.audit(author(), "search", f"{what}, k {asked.k}, {manner}, page")
    own_patient = [query.patient_key] if asked.other_patients and query.patient_key else []
    return search(
        archive.catalog,
        _indexes(archive, identity()),
        stored,
        query.vector,
        k=asked.k,
        where=asked.where,
        exclude_patients=own_patient,
        exclude_ids=[] if query.case is None else [query.case],
        content_key=query.content_key,
    )


@st.cache_resource(show_spinner=False, max_entries=1)
def _indexes(_archive: Archive, identity: tuple[int, int] | None) -> IndexCache:
    return IndexCache(_archive.home)


def _facts(scan: Scan) -> tuple[str, ...]:
    known = [scan.metadata.modality, scan.metadata.body_part]
    shape = scan.volume.voxels.shape
    return *(fact for fact in known if fact), _size((shape[0], shape[1], shape[2])), _spacing(scan.volume.spacing)


def _size(shape: tuple[int, int, int]) -> str:
    return "{} x {} x {} voxels".format(*shape)


def _spacing(spacing: tuple[float, float, float]) -> str:
    return "{:.2f} x {:.2f} x {:.2f} mm".format(*spacing)
