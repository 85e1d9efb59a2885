"""Labels: given by files, accepted or rejected by people. What a person decided is never overwritten by a file."""

import math
import re
import time
from collections.abc import Mapping

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from raptor_search.catalog.database import MAX_ID, Queries
from raptor_search.catalog.filtering import REJECTED
from raptor_search.catalog.records import LabelOrigin, LabelRecord
from raptor_search.catalog.tables import LabelRow, VolumeRow
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

    def clear_label(self, volume_id: int, name: str) -> bool:
        """Take back a person's decision; False where there is none. Given labels stay."""
        with self._database.write() as session:
            row = _row(session, volume_id, name)
            if row is None or row.origin == "given":
                return False
            session.execute(delete(LabelRow).where(LabelRow.id == row.id))
            return True


def give_labels(session: Session, volume_id: int, labels: Mapping[str, str]) -> None:
    """`LabelQueries.give_labels` within a transaction.

    Raises:
        UsageError: a name is empty or too long.
    """
    for name, value in labels.items():
        check_name(name)
        row = _row(session, volume_id, name)
        if row is None or row.origin != "accepted":
            _write(session, row, volume_id, name, value, origin="given", confidence=None, author=None)


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
    confidence: float | None,
    author: str | None,
) -> None:
    if row is None:
        row = LabelRow(volume_id=volume_id, name=name)
        session.add(row)
    row.value = storable(value)
    row.number = as_number(row.value)
    row.origin, row.confidence, row.author = origin, confidence, author
    row.changed_at = time.time()
    session.flush()


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
