"""Decisions on many scans at once: one audit row, one transaction, and never over a value that is there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raptor_search.archive import Archive
from raptor_search.catalog import Ids
from raptor_search.errors import QueryError
from raptor_search.labelling import LabelProposal

__all__ = ["Outlook", "accept_many", "drop_label", "label_many", "label_one", "outlook", "undo_many"]

NAMED = 20
"""Volumes that an audit row names."""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What labelling some scans would do.

    Attributes:
        open: scans that would get the value.
        given: scans that keep a value from their files.
        accepted: scans that keep a value that somebody accepted.
    """

    open: int
    given: int
    accepted: int


def outlook(archive: Archive, label: str, ids: Sequence[int] | Ids) -> Outlook:
    """How many of the scans have no value of a label yet."""
    given = int(np.isin(ids, archive.catalog.decided_ids(label, ["given"])).sum())
    accepted = int(np.isin(ids, archive.catalog.decided_ids(label, ["accepted"])).sum())
    return Outlook(open=len(ids) - given - accepted, given=given, accepted=accepted)


def label_many(archive: Archive, label: str, value: str, ids: Sequence[int] | Ids, *, author: str) -> list[int]:
    """Give scans a value, kept as accepted by `author`; those that have one keep it.

    Returns:
        The volumes that got it.

    Raises:
        UsageError: the label's name is no name.
        QueryError: the value is blank.
    """
    if not value.strip():
        raise QueryError(f"label '{label}': a blank value; expected some text")
    archive.require("label")
    archive.catalog.audit(author, "labels given by hand", f"{_named(ids)}, {label}")
    return archive.catalog.set_labels(
        label, [(int(i), value.strip(), None) for i in ids], origin="accepted", author=author
    )


def drop_label(archive: Archive, label: str, *, author: str) -> int:
    """Take a label out of the archive with all its values, given ones too, and all that is proposed for it.

    Returns:
        How many volumes had it.

    Raises:
        QueryError: the archive has no such label.
    """
    archive.require("remove")
    if not archive.catalog.origin_counts(label):
        raise QueryError(f"no label '{label}'; expected one of {', '.join(archive.catalog.label_names()) or 'none'}")
    archive.catalog.audit(author, "label taken out", label)
    return archive.catalog.drop_label(label)


def label_one(archive: Archive, label: str, value: str, volume_id: int, *, author: str) -> None:
    """Give one scan a value, kept as accepted by `author`; it replaces one that was accepted or turned down before.

    Raises:
        UsageError: the scan is not there or has a given value, or the label's name is no name.
        QueryError: the value is blank.
    """
    if not value.strip():
        raise QueryError(f"label '{label}': a blank value; expected some text")
    archive.require("label")
    archive.catalog.audit(author, "label given by hand", f"volume {volume_id}, {label}")
    archive.catalog.set_label(volume_id, label, value.strip(), origin="accepted", author=author)


def accept_many(archive: Archive, label: str, chosen: Sequence[LabelProposal], *, author: str) -> list[int]:
    """Store proposed values as accepted; scans that have a value by now keep it.

    Returns:
        The volumes that got theirs.

    Raises:
        QueryError: a proposal without a value.
    """
    decisions = [(one.volume_id, one.value, one.confidence) for one in chosen if one.value is not None]
    if len(decisions) < len(chosen):
        raise QueryError(f"label '{label}': some proposals have no value; expected values alone")
    archive.require("label")
    archive.catalog.audit(author, "labels accepted", f"{_named([one.volume_id for one in chosen])}, {label}")
    return archive.catalog.set_labels(label, decisions, origin="accepted", author=author)


def undo_many(archive: Archive, label: str, ids: Sequence[int], *, author: str) -> int:
    """Take decisions back; returns how many there were. Given values stay."""
    archive.require("label")
    archive.catalog.audit(author, "label decisions undone", f"{_named(ids)}, {label}")
    return archive.catalog.clear_labels(label, ids)


def _named(ids: Sequence[int] | Ids) -> str:
    first = ", ".join(str(int(i)) for i in ids[:NAMED])
    return f"{len(ids)} volumes: {first}{', ...' if len(ids) > NAMED else ''}"
