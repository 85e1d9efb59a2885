from dataclasses import replace
from pathlib import Path

from raptor_search.archive import Archive
from raptor_search.kept_proposals import kept_proposals
from raptor_search.labelling import proposals, store
from tests.archives import draw, drawn_archive


def test_stored_proposals_are_those_that_were_made(tmp_path: Path) -> None:
    made = drawn_archive(tmp_path / "home")
    ids = made.add(draw(1, 24)).ids.tolist()
    for place, volume_id in enumerate(ids[:16]):
        made.catalog.set_label(volume_id, "grade", "I" if place % 2 else "II", origin="accepted", author="ann")
    archive = Archive(made.home, made.catalog.key, made.catalog)
    assert kept_proposals(archive, "grade") is None
    found = proposals(archive, "grade", k=5)
    store(archive, "grade", found, method="knn", author="bob")
    kept = kept_proposals(archive, "grade")
    assert kept is not None
    assert (kept.author, kept.method) == ("bob", "knn")
    assert kept.proposed_at == made.catalog.proposals_moment("grade") > 0
    assert made.catalog.proposals_moment("parity") is None
    assert kept.found.items == found.items
    assert kept.found == replace(found, subjects=0, notes=(), classes=kept.found.classes)
    assert set(kept.found.classes) <= set(found.classes)
