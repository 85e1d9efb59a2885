"""What `raptor propagate` decides: all that is asked is checked before anything is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from raptor_search.errors import UsageError

if TYPE_CHECKING:
    from raptor_search.archive import Archive
    from raptor_search.labelling import LabelProposal, LabelProposals

__all__ = ["Asked", "Decision", "check", "decide", "take_back"]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The decisions that a user asks for.

    Attributes:
        threshold: confidence from which every proposal is accepted; None for none.
        accepted: cases whose proposal is accepted.
        rejected: cases whose proposal is turned down.
        undone: cases whose decision is taken back.
        undo_all: whether every decision is.
        with_abstained: whether `accepted` may name proposals that abstained.
    """

    threshold: float | None
    accepted: Sequence[int]
    rejected: Sequence[int]
    undone: Sequence[int]
    undo_all: bool
    with_abstained: bool


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What was decided on one proposal."""

    proposal: "LabelProposal"
    what: Literal["accepted", "rejected"]


def check(asked: Asked) -> None:
    """Refuse what contradicts itself.

    Raises:
        UsageError: a case that is to be accepted and turned down, or decided on what is only proposed after an undo.
    """
    if both := sorted(set(asked.accepted) & set(asked.rejected)):
        raise UsageError(f"case {both[0]} is in both --accept-case and --reject-case; expected one of them")
    if (asked.undone or asked.undo_all) and (asked.accepted or asked.rejected):
        raise UsageError(
            "decisions are taken back and made in one run; values are proposed anew after an undo: "
            "undo first, see what is proposed, then decide"
        )
    if asked.undo_all and asked.undone:
        raise UsageError("--undo-case and --undo-all are both given; expected one of them")
    if asked.with_abstained and not asked.accepted:
        raise UsageError("--accept-abstained allows an --accept-case, and none is given")


def take_back(archive: "Archive", label: str, asked: Asked, *, author: str) -> int:
    """Take decisions back, all or none; returns how many there were.

    Raises:
        UsageError: a case without a decision.
    """
    from raptor_search import labelling
    from raptor_search.deciding import undo_many

    if asked.undo_all:
        return labelling.undo_all(archive, label, author=author)
    cases = list(dict.fromkeys(asked.undone))
    decided = set(archive.catalog.decided_ids(label, ("accepted", "rejected")).tolist())
    for case in cases:
        if case not in decided:
            raise UsageError(
                f"case {case} has no decision on '{label}' to take back, so that none is; given labels stay as they are"
            )
    return undo_many(archive, label, cases, author=author) if cases else 0


def decide(
    archive: "Archive", label: str, found: "LabelProposals", asked: Asked, *, author: str
) -> tuple[Decision, ...]:
    """Accept and turn down proposals, all that are asked for or none.

    Raises:
        UsageError: nothing is proposed for a case, or what is proposed abstained and that was not allowed.
    """
    from raptor_search import labelling

    by_case = {item.volume_id: item for item in found.items}
    for case in (*asked.accepted, *asked.rejected):
        if case not in by_case or by_case[case].value is None:
            raise UsageError(f"nothing is proposed for case {case}; expected a case without a value of '{label}'")
    for case in asked.accepted:
        one = by_case[case]
        if one.abstained is not None and not asked.with_abstained:
            raise UsageError(
                f"case {case}: {one.value}, confidence {one.confidence:.2f}, abstained: {one.abstained}; "
                "give --accept-abstained to accept it all the same"
            )
    chosen = {case: by_case[case] for case in asked.accepted}
    if asked.threshold is not None:
        chosen |= {
            item.volume_id: item
            for item in found.items
            if item.abstained is None and item.confidence >= asked.threshold and item.volume_id not in asked.rejected
        }
    refused = {case: by_case[case] for case in asked.rejected}
    labelling.accept(archive, label, list(chosen.values()), author=author)
    labelling.reject(archive, label, list(refused.values()), author=author)
    return (
        *(Decision(proposal=one, what="accepted") for one in chosen.values()),
        *(Decision(proposal=one, what="rejected") for one in refused.values()),
    )
