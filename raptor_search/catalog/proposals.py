"""Proposed values: kept apart from labels, so that no filter, figure or search takes a guess for a fact."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select

from raptor_search.catalog.database import Queries
from raptor_search.catalog.labels import check_name, storable
from raptor_search.catalog.tables import LabelRow, ProposalRow, VolumeRow

__all__ = ["NewProposal", "ProposalQueries", "StoredProposal"]


@dataclass(frozen=True, kw_only=True)
class NewProposal:
    """What is proposed for one volume.

    Attributes:
        volume_id: the volume.
        value: the class; None where nobody votes.
        confidence: 0 to 1.
        reason: why it should not be taken; None where it may be.
        document: what else a reader wants to know: neighbours for and against, the method.
    """

    volume_id: int
    value: str | None
    confidence: float
    reason: str | None
    document: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class StoredProposal(NewProposal):
    """A proposal, by whom it was asked for and when (UTC seconds)."""

    author: str
    proposed_at: float


class ProposalQueries(Queries):
    """The proposals for labels."""

    def save_proposals(self, name: str, proposals: Sequence[NewProposal], *, author: str) -> int:
        """Store proposals for a label in place of its earlier ones; returns how many were stored.

        A volume that is gone, or has a value or a decision by now, gets none.

        Raises:
            UsageError: the name is no name.
        """
        check_name(name)
        now = time.time()
        with self._database.write() as session:
            session.execute(delete(ProposalRow).where(ProposalRow.name == name))
            there = set(session.scalars(select(VolumeRow.id)))
            decided = set(session.scalars(select(LabelRow.volume_id).where(LabelRow.name == name)))
            kept = [one for one in proposals if one.volume_id in there and one.volume_id not in decided]
            session.add_all(
                ProposalRow(
                    volume_id=one.volume_id,
                    name=name,
                    value=None if one.value is None else storable(one.value),
                    confidence=one.confidence,
                    reason=one.reason,
                    document=json.dumps(dict(one.document), sort_keys=True),
                    author=author,
                    proposed_at=now,
                )
                for one in kept
            )
            return len(kept)

    def proposals_moment(self, name: str) -> float | None:
        """When the label's proposals were stored (UTC seconds), or None: another moment, other proposals."""
        with self._database.read() as session:
            return session.scalar(select(func.max(ProposalRow.proposed_at)).where(ProposalRow.name == name))

    def proposals(self, name: str) -> list[StoredProposal]:
        """The proposals for a label, by volume; those that were accepted or turned down since are still there."""
        with self._database.read() as session:
            rows = session.scalars(select(ProposalRow).where(ProposalRow.name == name).order_by(ProposalRow.volume_id))
            return [
                StoredProposal(
                    volume_id=row.volume_id,
                    value=row.value,
                    confidence=row.confidence,
                    reason=row.reason,
                    document=json.loads(row.document),
                    author=row.author,
                    proposed_at=row.proposed_at,
                )
                for row in rows
            ]
