from pathlib import Path

import pytest

from raptor_search.archive import Archive
from raptor_search.deciding import accept_many, label_many, label_one, outlook, undo_many
from raptor_search.errors import QueryError, UsageError
from raptor_search.labelling import LabelProposal
from tests.archives import DrawnArchive, draw, drawn_archive


@pytest.fixture
def drawn(tmp_path: Path) -> tuple[Archive, list[int]]:
    """Six scans: `parity` is given to all, `grade` was accepted for the first."""
    made: DrawnArchive = drawn_archive(tmp_path / "home")
    ids = made.add(draw(1, 6)).ids.tolist()
    made.catalog.set_label(ids[0], "grade", "I", origin="accepted", author="ann")
    return Archive(made.home, made.catalog.key, made.catalog), ids


def grades(archive: Archive) -> dict[int, tuple[str, str | None]]:
    return {one.volume_id: (one.value, one.author) for one in archive.catalog.labels("grade")}


def test_scans_that_have_a_value_keep_it_and_the_outlook_said_so(drawn: tuple[Archive, list[int]]) -> None:
    archive, ids = drawn
    assert outlook(archive, "grade", ids) == outlook(archive, "grade", ids[::-1])
    assert (outlook(archive, "grade", ids).open, outlook(archive, "grade", ids).accepted) == (5, 1)
    assert outlook(archive, "parity", ids).given == 6
    assert label_many(archive, "grade", " II ", ids, author="bob") == ids[1:]
    assert grades(archive) == {ids[0]: ("I", "ann")} | dict.fromkeys(ids[1:], ("II", "bob"))
    assert label_many(archive, "parity", "both", ids, author="bob") == []
    (last, first) = archive.catalog.audits(2)
    assert (first.author, first.action) == ("bob", "labels given by hand")
    assert last.detail.startswith("6 volumes: ")
    assert last.detail.endswith(", parity")


def test_decisions_on_many_are_taken_back_together(drawn: tuple[Archive, list[int]]) -> None:
    archive, ids = drawn
    before = grades(archive)
    done = label_many(archive, "grade", "II", ids, author="bob")
    assert undo_many(archive, "grade", done, author="bob") == 5
    assert grades(archive) == before


def test_proposals_are_accepted_with_value_and_confidence(drawn: tuple[Archive, list[int]]) -> None:
    archive, ids = drawn
    chosen = [proposal(i, "II", 0.5 + i / 100) for i in ids[:3]]
    assert accept_many(archive, "grade", chosen, author="bob") == ids[1:3]
    confidence = {one.volume_id: one.confidence for one in archive.catalog.labels("grade")}
    assert confidence == {ids[0]: None, ids[1]: 0.5 + ids[1] / 100, ids[2]: 0.5 + ids[2] / 100}


def test_one_scan_is_labelled_anew_but_never_over_a_given_value(drawn: tuple[Archive, list[int]]) -> None:
    archive, ids = drawn
    label_one(archive, "grade", " III ", ids[0], author="bob")
    assert grades(archive) == {ids[0]: ("III", "bob")}
    with pytest.raises(UsageError, match="never overwritten"):
        label_one(archive, "parity", "both", ids[0], author="bob")
    with pytest.raises(QueryError, match="blank"):
        label_one(archive, "grade", "", ids[0], author="bob")


def test_a_value_that_is_none_is_refused_before_anything_is_stored(drawn: tuple[Archive, list[int]]) -> None:
    archive, ids = drawn
    with pytest.raises(QueryError, match="blank"):
        label_many(archive, "grade", " ", ids, author="bob")
    with pytest.raises(QueryError, match="no value"):
        accept_many(archive, "grade", [proposal(ids[1], "II", 0.9), proposal(ids[2], None, 0.0)], author="bob")
    assert list(grades(archive)) == ids[:1]


def proposal(volume_id: int, value: str | None, confidence: float) -> LabelProposal:
    return LabelProposal(
        volume_id=volume_id, value=value, confidence=confidence, speak_for=(), speak_against=(), abstained=None
    )
