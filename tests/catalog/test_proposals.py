"""Proposals are no labels: they are stored beside them and go with their volumes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from raptor_search.catalog import Catalog, NewProposal
from tests.labelled import LabelledArchive, labelled_archive


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabelledArchive:
    monkeypatch.setenv("RAPTOR_KEY_FILE", str(tmp_path / "archive.key"))
    monkeypatch.delenv("RAPTOR_DATABASE_URL", raising=False)
    return labelled_archive(tmp_path / "home", patients=8, labelled=4)


@pytest.fixture
def catalog(archive: LabelledArchive) -> Iterator[Catalog]:
    with archive.open() as opened:
        yield opened


def proposal(volume_id: int, value: str | None = "cyst", reason: str | None = None) -> NewProposal:
    return NewProposal(volume_id=volume_id, value=value, confidence=0.7, reason=reason, document={"for": [1, 2]})


def test_a_proposal_is_stored_with_who_asked_and_why_it_abstains(archive: LabelledArchive, catalog: Catalog) -> None:
    ids = archive.ids[8:10]
    assert catalog.save_proposals("finding", [proposal(ids[0]), proposal(ids[1], None, "far")], author="ann") == 2
    first, second = catalog.proposals("finding")
    assert (first.volume_id, first.value, first.confidence, first.author) == (ids[0], "cyst", 0.7, "ann")
    assert (second.value, second.reason) == (None, "far")
    assert first.document == {"for": [1, 2]}
    assert first.proposed_at > 1e9


def test_a_proposal_is_neither_label_nor_column_nor_filter(archive: LabelledArchive, catalog: Catalog) -> None:
    catalog.save_proposals("new", [proposal(archive.ids[8])], author="ann")
    assert "new" not in catalog.label_names()
    assert "new" not in catalog.columns()
    assert catalog.labels("new") == []
    assert "new" not in catalog.volume(archive.ids[8]).labels


def test_what_has_a_value_or_a_decision_gets_no_proposal(archive: LabelledArchive, catalog: Catalog) -> None:
    given, turned_down, open_ = archive.ids[0], archive.ids[8], archive.ids[9]
    catalog.set_label(turned_down, "finding", "cyst", origin="rejected", author="ann")
    stored = catalog.save_proposals("finding", [proposal(one) for one in (given, turned_down, open_, 999)], author="b")
    assert stored == 1
    assert [one.volume_id for one in catalog.proposals("finding")] == [open_]


def test_proposals_are_replaced_label_by_label(archive: LabelledArchive, catalog: Catalog) -> None:
    catalog.save_proposals("finding", [proposal(archive.ids[8])], author="ann")
    catalog.save_proposals("side", [proposal(archive.ids[8], "left")], author="ann")
    catalog.save_proposals("finding", [proposal(archive.ids[9])], author="ann")
    assert [one.volume_id for one in catalog.proposals("finding")] == [archive.ids[9]]
    assert [one.value for one in catalog.proposals("side")] == ["left"]
