"""The scan that similar ones are sought for: embedded once, kept in the session, asked again as filters change."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, cast

import numpy as np
import streamlit as st
from jaxtyping import Float16

from app.filters import Asked
from app.session import author, identity
from app.uploads import on_disk
from app.words import shown
from raptor_search.archive import Archive, Question
from raptor_search.catalog import StoredSpec
from raptor_search.readers import Scan
from raptor_search.readers.result import ReadResult
from raptor_search.search import SearchResult
from raptor_search.viewing import View, view_of

__all__ = ["Query", "answer", "of_case", "of_upload", "read_files", "seen"]

Vector = Float16[np.ndarray, " length"]

SEEN = "view of the upload"
"""Where the session keeps it until the upload is embedded."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Query:
    """A scan to compare with.

    Attributes:
        title: what the page calls it.
        facts: what is known of it, one short phrase each.
        picture: its three planes, PNG, or None.
        question: what the library answers.
        view: its voxels, of an upload.
    """

    title: str
    facts: tuple[str, ...]
    picture: bytes | None = field(repr=False)
    question: Question
    view: View | None = field(default=None, repr=False)

    @property
    def case(self) -> int | None:
        """Its id where it is a scan of the archive."""
        return self.question.volume_id


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
        question=archive.ask(case, spec=stored.fingerprint),
    )


def read_files(archive: Archive, files: Sequence[BinaryIO]) -> ReadResult:
    """An uploaded scan, read and not embedded yet. Its bytes lie on disk only while they are read.

    Raises:
        UsageError: no scan, or several, or more bytes than an upload may have.
        ReadError: a scan that cannot be read.
    """
    with on_disk(files) as path:
        return archive.reading.read_file(path)[1]


def seen(read: ReadResult) -> View:
    """The view of an upload: made once, though the page is drawn again while the upload waits."""
    kept = st.session_state.get(SEEN)
    if kept is None or kept[0] != read.digest:
        kept = read.digest, view_of(read.scan.volume, modality=read.scan.metadata.modality)
        st.session_state[SEEN] = kept
    return cast(View, kept[1])


def of_upload(archive: Archive, stored: StoredSpec, name: str, read: ReadResult, vector: Vector) -> Query:
    """An uploaded scan as the query, with its embedding as it would be stored."""
    view = seen(read)
    del st.session_state[SEEN]
    return Query(
        title=name,
        facts=_facts(read.scan),
        picture=read.preview,
        question=archive.ask_scan(read.scan, read.digest, spec=stored.fingerprint, vector=vector),
        view=view,
    )


def answer(archive: Archive, query: Query, asked: Asked) -> SearchResult:
    """The scans most similar to a query, after a row in the audit log.

    The last answer stays in the session until the catalog changes, so that opening a hit does not search again.

    Raises:
        QueryError: the filter names a column that is not there, or the region reaches beyond the grid.
        UsageError: an example that is not in the archive.
    """
    question = query.question
    moment = archive.catalog.moment(question.stored.id)
    wanted = (query.case, question.content_key, question.stored.fingerprint, asked, identity(), moment)
    kept = st.session_state.get("answer")
    if kept is None or kept[0] != wanted:
        found = archive.answer(
            question,
            k=asked.k,
            where=asked.where,
            exclude_same_patient=asked.other_patients,
            like=asked.like,
            unlike=asked.unlike,
            region=asked.region,
            collapse=asked.collapse,
            author=author(),
        )
        kept = wanted, found
        st.session_state["answer"] = kept
    return cast(SearchResult, kept[1])


def _facts(scan: Scan) -> tuple[str, ...]:
    known = [scan.metadata.modality, scan.metadata.body_part]
    shape = scan.volume.voxels.shape
    return *(fact for fact in known if fact), _size((shape[0], shape[1], shape[2])), _spacing(scan.volume.spacing)


def _size(shape: tuple[int, int, int]) -> str:
    return "{} x {} x {} voxels".format(*shape)


def _spacing(spacing: tuple[float, float, float]) -> str:
    return "{:.2f} x {:.2f} x {:.2f} mm".format(*spacing)
