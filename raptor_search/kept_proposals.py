"""Proposals that were stored by an earlier run, as if they had just been made."""

from dataclasses import dataclass

from raptor_search.archive import Archive
from raptor_search.labelling import LabelProposal, LabelProposals

__all__ = ["KeptProposals", "kept_proposals"]


@dataclass(frozen=True, kw_only=True)
class KeptProposals:
    """Stored proposals, with who asked for them, when (UTC seconds) and by which method."""

    found: LabelProposals
    author: str
    proposed_at: float
    method: str


def kept_proposals(archive: Archive, label: str) -> KeptProposals | None:
    """The proposals that `labelling.store` kept for a label, or None.

    Scans that were decided on since are still among them. How many subjects are labelled is not stored: it is 0.
    """
    stored = archive.catalog.proposals(label)
    if not stored:
        return None
    items = tuple(
        LabelProposal(
            volume_id=one.volume_id,
            value=one.value,
            confidence=one.confidence,
            speak_for=tuple(one.document["for"]),
            speak_against=tuple(one.document["against"]),
            abstained=one.reason,
            plausible=None if one.document["plausible"] is None else tuple(one.document["plausible"]),
        )
        for one in stored
    )
    origins = archive.catalog.origin_counts(label)
    found = LabelProposals(
        items=items,
        classes=tuple(sorted({item.value for item in items if item.value is not None})),
        confidence_kind=stored[0].document["confidence"],
        labelled=origins.get("given", 0) + origins.get("accepted", 0),
        subjects=0,
        notes=(),
    )
    return KeptProposals(
        found=found,
        author=stored[0].author,
        proposed_at=stored[0].proposed_at,
        method=str(stored[0].document["method"]),
    )
