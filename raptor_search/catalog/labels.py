"""Labels: given by files, accepted or rejected by people. What a person decided is never overwritten by a file."""

import math
import re
import time
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from raptor_search.catalog.database import MAX_ID, Queries, blocks
from raptor_search.catalog.filtering import REJECTED
from raptor_search.catalog.records import Ids, LabelOrigin, LabelRecord
from raptor_search.catalog.tables import LabelRow, ProposalRow, VolumeRow
from raptor_search.errors import UsageError

__all__ = ["LabelQueries", "as_number", "give_labels", "gone_message", "storable"]

MAX_NAME_LENGTH = 100

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class LabelQueries(Queries):
    """The labels of volumes."""

    def labels(self, name: str) -> list[LabelRecord]:
        """Every decision on a label, rejected ones included, by volume."""
        with self._database.read() as session:
            rows = session.scalars(select(LabelRow).where(LabelRow.name == name).order_by(LabelRow.volume_id))
            return [_record(row) for row in rows]

    def label_names(self) -> list[str]:
        """The names of the labels that some volume has, sorted."""
        with self._database.read() as session:
            return sorted(session.scalars(select(LabelRow.name).where(LabelRow.origin != REJECTED).distinct()))

    def drop_label(self, name: str) -> int:
        """Delete a label from every volume, whoever gave it, and what is proposed for it; returns how many had it."""
        with self._database.write() as session:
            had = session.scalar(select(func.count()).select_from(LabelRow).where(LabelRow.name == name)) or 0
            for table in (LabelRow, ProposalRow):
                session.execute(delete(table).where(table.name == name))
            return had

    def give_labels(self, volume_id: int, labels: Mapping[str, str]) -> None:
        """Store the labels of a file as "given": over given and rejected ones, never over accepted ones.

        Raises:
            UsageError: the volume is not there, or a name is empty or too long.
        """
        with self._database.write() as session:
            _check_volume(session, volume_id)
            give_labels(session, volume_id, labels)

    def set_label(
        self,
        volume_id: int,
        name: str,
        value: str,
        *,
        origin: LabelOrigin,
        confidence: float | None = None,
        author: str | None = None,
    ) -> None:
        """Store a person's decision on a proposed label, replacing an earlier decision.

        Raises:
            UsageError: the volume is not there, has a given label of that name, the name is no name, or
                the confidence does not lie between 0 and 1.
        """
        if origin == "given":
            self.give_labels(volume_id, {name: value})
            return
        check_name(name)
        if confidence is not None and not 0 <= confidence <= 1:
            raise UsageError(f"a confidence of {confidence}; expected 0 to 1")
        with self._database.write() as session:
            _check_volume(session, volume_id)
            row = _row(session, volume_id, name)
            if row is not None and row.origin == "given":
                raise UsageError(f"volume {volume_id} has a given label {name!r}, which is never overwritten")
            _write(session, row, volume_id, name, value, origin=origin, confidence=confidence, author=author)

    def origin_counts(self, name: str) -> dict[str, int]:
        """How many volumes have a value of a label, or had one turned down, by its origin."""
        query = select(LabelRow.origin, func.count()).where(LabelRow.name == name).group_by(LabelRow.origin)
        with self._database.read() as session:
            return dict(session.execute(query).all())

    def decisions(self, name: str, *, limit: int, offset: int = 0) -> list[LabelRecord]:
        """What people decided about a label, the latest first."""
        query = select(LabelRow).where(LabelRow.name == name, LabelRow.origin != "given")
        query = query.order_by(LabelRow.changed_at.desc(), LabelRow.id.desc()).limit(limit).offset(offset)
        with self._database.read() as session:
            return [_record(row) for row in session.scalars(query)]

    def decided_ids(self, name: str, origins: Collection[LabelOrigin] = ("given", "accepted", "rejected")) -> Ids:
        """The volumes for which a label has a row of one of the origins, sorted."""
        query = select(LabelRow.volume_id).where(LabelRow.name == name, LabelRow.origin.in_(origins))
        with self._database.read() as session:
            return np.array(list(session.scalars(query.order_by(LabelRow.volume_id))), dtype=np.int64)

    def set_labels(
        self,
        name: str,
        decisions: Sequence[tuple[int, str, float | None]],
        *,
        origin: LabelOrigin,
        author: str,
    ) -> list[int]:
        """Store decisions (volume, value, confidence) in one transaction where there is no value yet.

        A volume that is gone, or has a given or an accepted value, is passed over.

        Returns:
            The volumes that were decided on.

        Raises:
            UsageError: the name is no name, or the origin is "given".
        """
        check_name(name)
        if origin == "given":
            raise UsageError("a decision has the origin 'accepted' or 'rejected'; given values come with files")
        with self._database.write() as session:
            rows: dict[int, LabelRow] = {}
            there: set[int] = set()
            for block in blocks([volume_id for volume_id, _, _ in decisions]):
                there |= set(session.scalars(select(VolumeRow.id).where(VolumeRow.id.in_(block))))
                known = select(LabelRow).where(LabelRow.name == name, LabelRow.volume_id.in_(block))
                rows |= {row.volume_id: row for row in session.scalars(known)}
            decided = []
            for volume_id, value, confidence in decisions:
                row = rows.get(volume_id)
                if volume_id not in there or (row is not None and row.origin != REJECTED):
                    continue
                rows[volume_id] = _write(
                    session, row, volume_id, name, value, origin=origin, confidence=confidence, author=author
                )
                decided.append(volume_id)
            return decided

    def clear_labels(self, name: str, ids: Sequence[int] | Ids) -> int:
        """Take back people's decisions on some volumes, in one transaction; returns how many. Given labels stay."""
        with self._database.write() as session:
            gone = 0
            for block in blocks(ids):
                of_people = LabelRow.volume_id.in_(block), LabelRow.name == name, LabelRow.origin != "given"
                found = list(session.scalars(select(LabelRow.id).where(*of_people)))
                session.execute(delete(LabelRow).where(LabelRow.id.in_(found)))
                gone += len(found)
            return gone

    def clear_label(self, volume_id: int, name: str) -> bool:
        """Take back a person's decision; False where there is none. Given labels stay."""
        with self._database.write() as session:
            row = _row(session, volume_id, name)
            if row is None or row.origin == "given":
                return False
            session.execute(delete(LabelRow).where(LabelRow.id == row.id))
            return True


def give_labels(session: Session, volume_id: int, labels: Mapping[str, str], cleared: Collection[str] = ()) -> None:
    """`LabelQueries.give_labels` within a transaction; given labels of the names in `cleared` go.

    Raises:
        UsageError: a name is empty or too long.
    """
    if cleared:
        gone = LabelRow.volume_id == volume_id, LabelRow.name.in_(cleared), LabelRow.origin == "given"
        session.execute(delete(LabelRow).where(*gone))
    for name, value in labels.items():
        check_name(name)
        row = _row(session, volume_id, name)
        if row is None or row.origin != "accepted":
            _write(session, row, volume_id, name, value, origin="given")


def as_number(text: str) -> float | None:
    """What a label's text reads as, or None: plain decimals and exponents, no "nan" or "inf"."""
    stripped = text.strip()
    number = float(stripped) if _NUMBER.fullmatch(stripped) else math.inf
    return number if math.isfinite(number) else None


def storable(text: str) -> str:
    """The text without what a database refuses: NUL and lone surrogates become U+FFFD or "?"."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def gone_message(volume_id: int) -> str:
    """What to say where a volume is not there."""
    return f"no volume {volume_id} in the archive: it may have been replaced; reload the list"


def check_name(name: str) -> None:
    """Refuse what cannot name a label.

    Raises:
        UsageError: it is empty or too long, or holds a character that is not printed.
    """
    if not name.strip() or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise UsageError(f"{name[:MAX_NAME_LENGTH]!r} cannot name a label: expected 1 to {MAX_NAME_LENGTH} characters")


def _row(session: Session, volume_id: int, name: str) -> LabelRow | None:
    return session.scalar(select(LabelRow).where(LabelRow.volume_id == volume_id, LabelRow.name == name))


def _check_volume(session: Session, volume_id: int) -> None:
    if not 1 <= volume_id <= MAX_ID or session.get(VolumeRow, volume_id) is None:
        raise UsageError(gone_message(volume_id))


def _write(
    session: Session,
    row: LabelRow | None,
    volume_id: int,
    name: str,
    value: str,
    *,
    origin: LabelOrigin,
    confidence: float | None = None,
    author: str | None = None,
) -> LabelRow:
    if row is None:
        row = LabelRow(volume_id=volume_id, name=name)
        session.add(row)
    row.value = storable(value)
    row.number = as_number(row.value)
    row.origin, row.confidence, row.author = origin, confidence, author
    row.changed_at = time.time()
    return row


def _record(row: LabelRow) -> LabelRecord:
    return LabelRecord(
        volume_id=row.volume_id,
        name=row.name,
        value=row.value,
        origin=row.origin,  # type: ignore[arg-type]
        confidence=row.confidence,
        author=row.author,
        changed_at=row.changed_at,
    )
