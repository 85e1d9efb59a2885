"""What an archive is asked: a scan becomes a question once, and is answered as often as filters change.

`Archive` has these methods. Each answer is preceded by a row in the audit log.
"""

import dataclasses
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from raptor_search.catalog import StoredSpec
from raptor_search.catalog.unmet import unmet
from raptor_search.comparing import Comparing
from raptor_search.explain import Shares, shares
from raptor_search.filters import Filter, parse_where
from raptor_search.search import Hit, SearchResult, check_k, search
from raptor_search.searching.region import Region, region_columns
from raptor_search.searching.selecting import PSEUDONYM
from raptor_search.status import SHOWN_DIGITS
from raptor_search.volume import Volume

if TYPE_CHECKING:  # torch takes seconds to import: only what embeds pays for it
    from raptor_search.embedding import Embedding, Progress
    from raptor_search.readers import Scan

__all__ = ["Question", "Questioning"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """What is compared with the archive.

    Attributes:
        vector: raw embedding, flat.
        stored: the spec it was embedded under.
        content_key: keyed hash of the scan's bytes, by which duplicates are known.
        patient_key: keyed hash of its patient, or None.
        volume_id: its id where it is a scan of the archive, which is then left out of the hits.
    """

    vector: Float[np.ndarray, " length"] = dataclasses.field(repr=False)
    stored: StoredSpec
    content_key: str
    patient_key: str | None
    volume_id: int | None = None


class Questioning(Comparing):
    """The part of an archive that answers: see `Comparing` for what it works on."""

    @abstractmethod
    def spec(self, fingerprint: str | None = None) -> StoredSpec:
        """The spec with this fingerprint, or the default one."""

    @abstractmethod
    def embed(
        self, volume: Volume | Path | str, *, spec: str | None = None, progress: "Progress | None" = None
    ) -> "Embedding":
        """The embedding of a scan under a spec of the archive."""

    def search(
        self,
        query: Path | str | int,
        *,
        k: int = 10,
        where: str | Filter | None = None,
        exclude_patient: str | None = None,
        exclude_same_patient: bool = False,
        like: Sequence[int] = (),
        unlike: Sequence[int] = (),
        region: Sequence[Region] = (),
        collapse: bool = False,
        spec: str | None = None,
        progress: "Progress | None" = None,
    ) -> SearchResult:
        """The k scans of the archive most similar to a scan. Written into the audit log before it is answered.

        Args:
            query: a file, a folder or zip of one DICOM series, or the id of a volume of the archive, which is then
                left out of the hits.
            k: hits; never fewer while k scans pass the filters.
            where: a filter, such as "modality = 'CT' and age > 60".
            exclude_patient: a patient id, as the files have it, or the pseudonym in a hit, whose scans are left out.
            exclude_same_patient: leave out the scans of the query's own patient.
            like: ids of volumes that pull the query towards them; they are left out of the hits.
            unlike: ids of volumes that push it away; likewise.
            region: cells that the score is confined to, such as `parse_region("axial:4-7,9-11")`; none means all.
            collapse: let the best of equal scans stand for the others.
            spec: fingerprint, or its start, of a spec that is not the default.
            progress: hears how many slices are embedded.

        Raises:
            QueryError: a filter, region or k that cannot be, or no such spec.
            UsageError: a path that does not hold exactly one scan, or no such volume.
            ReadError: a scan that cannot be read.
            WeightsError: the spec's encoder cannot be had.
        """
        check_k(k)
        condition = parse_where(where) if isinstance(where, str) else where
        self._refuse(self.spec(spec), condition, region, [*like, *unlike])
        question = self.ask(query, spec=spec, progress=progress)
        return self.answer(
            question,
            k=k,
            where=condition,
            exclude_patient=exclude_patient,
            exclude_same_patient=exclude_same_patient,
            like=like,
            unlike=unlike,
            region=region,
            collapse=collapse,
        )

    def ask(self, query: Path | str | int, *, spec: str | None = None, progress: "Progress | None" = None) -> Question:
        """The question that a scan puts to the archive, embedded once, to be answered as often as filters change.

        Args:
            query: as `search` takes it.
            spec: likewise.
            progress: likewise.

        Raises:
            UsageError, ReadError, WeightsError: as `search`.
        """
        stored = self.spec(spec)
        if isinstance(query, Path | str):
            _, read = self.reading.read_file(Path(query))
            return self.ask_scan(read.scan, read.digest, spec=stored.fingerprint, progress=progress)
        record = self.catalog.volume(int(query))
        return Question(
            vector=self.catalog.vectors([record.id], stored.id)[0],
            stored=stored,
            content_key=record.content_key,
            patient_key=record.patient_key,
            volume_id=record.id,
        )

    def ask_scan(
        self,
        scan: "Scan",
        digest: bytes,
        *,
        spec: str | None = None,
        progress: "Progress | None" = None,
        vector: Float[np.ndarray, " length"] | None = None,
    ) -> Question:
        """As `ask`, of a scan that is read already.

        Args:
            scan: as it was read.
            digest: `readers.content_digest` of its source.
            spec: as `search` takes it.
            progress: likewise.
            vector: its embedding under the spec as it would be stored, where another process made it.

        Raises:
            ReadError, SpecError, WeightsError: it cannot be embedded.
        """
        stored = self.spec(spec)
        patient = scan.identity.scoped_patient
        if vector is None:
            # As stored: a scan that is in the archive then scores exactly 1.
            vector = self.embed(scan.volume, spec=stored.fingerprint, progress=progress).stored
        return Question(
            vector=vector,
            stored=stored,
            content_key=self.key.digest("content", digest),
            patient_key=self.key.digest("patient", patient) if patient else None,
        )

    def answer(
        self,
        question: Question,
        *,
        k: int = 10,
        where: Filter | None = None,
        exclude_patient: str | None = None,
        exclude_same_patient: bool = False,
        like: Sequence[int] = (),
        unlike: Sequence[int] = (),
        region: Sequence[Region] = (),
        collapse: bool = False,
        author: str | None = None,
    ) -> SearchResult:
        """The k scans most similar to a question, after a row in the audit log.

        Args:
            question: from `ask` or `ask_scan`.
            k: as `search` takes it.
            where: likewise.
            exclude_patient: likewise.
            exclude_same_patient: likewise.
            like: likewise.
            unlike: likewise.
            region: likewise.
            collapse: likewise.
            author: who asks; None for whoever acts through this archive.

        Raises:
            AccessError: the role does not suffice.
            QueryError: a filter, region or k that cannot be.
            UsageError: an example that is not in the archive.
        """
        self.principal.require("search")
        left_out, notes = self._left_out(question, exclude_patient, exclude_same_patient)
        result = search(
            self.catalog,
            self._indexes,
            question.stored,
            question.vector,
            k=k,
            where=where,
            exclude_patients=left_out,
            exclude_ids=[] if question.volume_id is None else [question.volume_id],
            like=like,
            unlike=unlike,
            region=region,
            collapse=collapse,
            content_key=question.content_key,
        )
        if where is not None and not result.passed:
            notes += unmet(self.catalog, question.stored.id, where)
        what = "a file" if question.volume_id is None else f"volume {question.volume_id}"
        manner = "filtered" if where else "unfiltered"
        fingerprint = question.stored.fingerprint[:SHOWN_DIGITS]
        self.catalog.audit(author or self.principal.name, "search", f"{what}, k {k}, {manner}, spec {fingerprint}")
        return dataclasses.replace(result, notes=(*result.notes, *notes))

    def explain(self, result: SearchResult, hit: Hit) -> Shares:
        """The score of a hit taken apart into the cells that it is the sum of.

        Raises:
            CatalogError: the hit is gone from the archive.
        """
        self.principal.require("search")
        vector = self.catalog.vectors([hit.volume_id], self.spec(result.spec_fingerprint).id)[0]
        return shares(result.query, vector, result.mean, result.spec, result.region)

    def _refuse(
        self, stored: StoredSpec, where: Filter | None, region: Sequence[Region], examples: Sequence[int]
    ) -> None:
        """Say what cannot be before a minute of work: a column, a region, an example that is not there."""
        self._indexes.passing(self.catalog, stored, where, self.catalog.moment(stored.id))
        if region:
            region_columns(region, stored.spec, 1)
        for volume_id in examples:
            self.catalog.volume(volume_id)

    def _left_out(self, question: Question, patient: str | None, same_patient: bool) -> tuple[set[str], list[str]]:
        """Keys of the patients that a search leaves out, and what is to be said where nothing comes of it."""
        keys, notes = set(), []
        if same_patient and question.patient_key is None:
            notes.append("the query names no patient, so that none is left out as its own")
        elif same_patient and question.patient_key:
            keys.add(question.patient_key)
        if patient is not None:
            named = {self.key.digest("patient", patient.strip())}
            if found := PSEUDONYM.fullmatch(patient.strip()):
                named |= set(self.catalog.patients_called(found[1]))
            keys |= named
            if not any(self.catalog.patient_volumes(question.stored.id, key).size for key in named):
                notes.append("no scan of the archive is of the patient to be left out")
        return keys, notes
