"""Labels of an archive: what kNN makes of them, and what a user decides about its proposals.

The statistics are pure functions of arrays (`evaluation`, `propagation`); this module brings them the
archive's vectors, and takes decisions back to the catalog, where each keeps its origin.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float16, Int

from raptor_search.archive import Archive
from raptor_search.catalog import NewProposal
from raptor_search.cohorts.mapping import graph_of
from raptor_search.diffusion import Comparison, compare, propose_by_spreading
from raptor_search.errors import QueryError
from raptor_search.knn import DEFAULT_NEIGHBOURS
from raptor_search.propagation import MIN_CONFIDENCE, ConfidenceKind, Proposal, Proposals, propose

__all__ = [
    "LabelProposal",
    "LabelProposals",
    "PropagationMethod",
    "accept",
    "comparison",
    "proposals",
    "reject",
    "store",
    "undo",
    "undo_all",
]

PropagationMethod = Literal["knn", "diffusion"]
"""Votes of the nearest labelled scans, or labels spread along the stored graph."""

MAX_BYTES = 2 * 2**30
"""Vectors held at once; a larger archive is judged by the first 10 components, a smaller Raptor in its own right."""


@dataclass(frozen=True, kw_only=True)
class LabelProposal:
    """A value proposed for one volume.

    Attributes:
        volume_id: the unlabelled volume.
        value: what is proposed; None where no neighbour votes.
        confidence: 0 to 1, of the kind that `LabelProposals` names.
        speak_for: volumes that have the value, nearest first.
        speak_against: neighbours that have another, nearest first.
        abstained: why the value should not be taken; None where it may be.
        plausible: the values that the asked coverage leaves open; None where none was asked for, or could be had.
    """

    volume_id: int
    value: str | None
    confidence: float
    speak_for: tuple[int, ...]
    speak_against: tuple[int, ...]
    abstained: str | None
    plausible: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class LabelProposals:
    """Proposals for the volumes without a label; `notes` are sentences that a reader must see."""

    items: tuple[LabelProposal, ...]
    classes: tuple[str, ...]
    confidence_kind: ConfidenceKind
    labelled: int
    subjects: int
    notes: tuple[str, ...]


def proposals(
    archive: Archive,
    label: str,
    *,
    method: PropagationMethod = "knn",
    k: int | None = None,
    min_confidence: float = MIN_CONFIDENCE,
    coverage: float | None = None,
    spec: str | None = None,
) -> LabelProposals:
    """What labelled scans propose for the volumes without a value; rejected ones are not asked about again.

    Args:
        archive: that holds them.
        label: the label.
        method: how.
        k: neighbours that vote, or are named; None for `knn.DEFAULT_NEIGHBOURS`, or fewer where fewer are labelled.
        min_confidence: a proposal below it abstains.
        coverage: of conformal sets; a proposal abstains where its set has no value, or several.
        spec: fingerprint, or its start, of a spec that is not the default.

    Raises:
        QueryError: fewer than two classes, values that look continuous, or fewer labelled scans than k.
    """
    decided = archive.catalog.labels(label)
    turned_down = {record.volume_id for record in decided if record.origin == "rejected"}
    accepted = sum(record.origin == "accepted" for record in decided)
    if method == "knn":
        ids, vectors, notes = _vectors(archive, spec)
        values = archive.catalog.column_values(label, ids)
        found = propose(
            vectors,
            values,
            archive.catalog.patient_keys(ids),
            candidates=_open(ids, values, turned_down),
            name=label,
            k=k,
            min_confidence=min_confidence,
            coverage=coverage,
        )
    else:
        _, graph = graph_of(archive.catalog, archive.spec(spec))
        ids, notes = graph.ids, _not_in(archive, graph.ids, spec)
        values = archive.catalog.column_values(label, ids)
        found = propose_by_spreading(
            graph,
            values,
            archive.catalog.patient_keys(ids),
            candidates=_open(ids, values, turned_down),
            name=label,
            k=DEFAULT_NEIGHBOURS if k is None else k,
            min_confidence=min_confidence,
            coverage=coverage,
        )
    if accepted:
        notes = (
            *notes,
            f"{accepted} accepted values vote and calibrate as given ones do: confidence is too high",
        )
    return _named(found, ids, notes)


def comparison(archive: Archive, label: str, *, k: int | None = None, spec: str | None = None) -> Comparison:
    """Votes and spreading on hidden labels of the archive's own scans; `k` as for `proposals`.

    Raises:
        QueryError: fewer than two classes, or fewer than five labelled subjects.
    """
    _, graph = graph_of(archive.catalog, archive.spec(spec))
    values = archive.catalog.column_values(label, graph.ids)
    voters = DEFAULT_NEIGHBOURS if k is None else k
    return compare(graph, values, archive.catalog.patient_keys(graph.ids), name=label, k=voters)


def store(archive: Archive, label: str, found: LabelProposals, *, method: PropagationMethod, author: str) -> int:
    """Keep proposals, in place of the label's earlier ones; they are no labels until somebody accepts them.

    Returns:
        How many were stored.
    """
    archive.require("label")
    archive.catalog.audit(author, "labels proposed", f"{label}, {method}, {len(found.items)} volumes")
    return archive.catalog.save_proposals(
        label,
        [
            NewProposal(
                volume_id=item.volume_id,
                value=item.value,
                confidence=item.confidence,
                reason=item.abstained,
                document={
                    "for": item.speak_for,
                    "against": item.speak_against,
                    "plausible": item.plausible,
                    "method": method,
                    "confidence": found.confidence_kind,
                },
            )
            for item in found.items
        ],
        author=author,
    )


def accept(archive: Archive, label: str, chosen: Sequence[LabelProposal], *, author: str) -> None:
    """Store proposed values as accepted, with their confidence and who took them.

    Raises:
        UsageError: a volume has a given value by now: those are never overwritten.
        QueryError: a proposal without a value.
    """
    _decide(archive, label, chosen, "accepted", author)


def reject(archive: Archive, label: str, chosen: Sequence[LabelProposal], *, author: str) -> None:
    """Remember that proposed values were turned down, so that they are not proposed again.

    Raises:
        UsageError: a volume has a given value by now.
        QueryError: a proposal without a value.
    """
    _decide(archive, label, chosen, "rejected", author)


def undo(archive: Archive, label: str, volume_id: int, *, author: str) -> bool:
    """Take a decision back; False where there was none. Given labels stay."""
    archive.require("label")
    archive.catalog.audit(author, "label decision undone", f"volume {volume_id}, {label}")
    return archive.catalog.clear_label(volume_id, label)


def undo_all(archive: Archive, label: str, *, author: str) -> int:
    """Take every decision on a label back; returns how many there were. Given labels stay."""
    decided = [record.volume_id for record in archive.catalog.labels(label) if record.origin != "given"]
    return sum(undo(archive, label, volume_id, author=author) for volume_id in decided)


def _decide(
    archive: Archive,
    label: str,
    chosen: Sequence[LabelProposal],
    origin: Literal["accepted", "rejected"],
    author: str,
) -> None:
    archive.require("label")
    for proposal in chosen:
        if proposal.value is None:
            raise QueryError(f"label '{label}': nothing is proposed for volume {proposal.volume_id}; expected a value")
        archive.catalog.audit(author, f"label {origin}", f"volume {proposal.volume_id}, {label}")
        archive.catalog.set_label(
            proposal.volume_id,
            label,
            proposal.value,
            origin=origin,
            confidence=proposal.confidence,
            author=author,
        )


def _vectors(
    archive: Archive, spec: str | None
) -> tuple[Int[np.ndarray, " n"], Float16[np.ndarray, "n d"], tuple[str, ...]]:
    stored = archive.spec(spec)
    ids = archive.catalog.ids(stored.id)
    if not ids.size:
        raise QueryError(f"the archive {archive.home} holds no scans yet: run `raptor index PATH`")
    if ids.size * stored.spec.length * 2 <= MAX_BYTES:
        ids, vectors = archive.catalog.found_vectors(ids, stored.id)
        return ids, vectors, ()
    note = f"{ids.size} scans: judged by the first 10 components of their embeddings"
    return ids, archive.catalog.prefixes(ids, stored.id), (note,)


def _not_in(archive: Archive, ids: Int[np.ndarray, " n"], spec: str | None) -> tuple[str, ...]:
    """What has to be said of the scans that a graph does not hold yet."""
    absent = np.setdiff1d(archive.catalog.ids(archive.spec(spec).id), ids).size
    return (f"{absent} scans came after the index and take no part: `raptor index` takes them in",) if absent else ()


def _open(ids: Int[np.ndarray, " n"], values: Sequence[object], turned_down: set[int]) -> list[int]:
    return [row for row, id_ in enumerate(ids.tolist()) if values[row] is None and id_ not in turned_down]


def _named(found: Proposals, ids: Int[np.ndarray, " n"], notes: tuple[str, ...]) -> LabelProposals:
    return LabelProposals(
        items=tuple(_by_volume(item, ids) for item in found.items),
        classes=found.classes,
        confidence_kind=found.confidence_kind,
        labelled=found.labelled,
        subjects=found.subjects,
        notes=(*notes, *found.notes),
    )


def _by_volume(proposal: Proposal, ids: Int[np.ndarray, " n"]) -> LabelProposal:
    return LabelProposal(
        volume_id=int(ids[proposal.index]),
        value=proposal.value,
        confidence=proposal.confidence,
        speak_for=tuple(int(ids[voter.index]) for voter in proposal.supporting),
        speak_against=tuple(int(ids[voter.index]) for voter in proposal.opposing),
        abstained=proposal.abstained,
        plausible=proposal.plausible,
    )
