from pathlib import Path

import numpy as np
import pytest

from raptor_search.archive import Archive
from raptor_search.errors import QueryError
from raptor_search.evaluation import leave_one_out
from raptor_search.leaving_out import leave_out, majority_confusion
from tests.archives import Drawn, draw, drawn_archive


@pytest.fixture
def labelled(tmp_path: Path) -> tuple[Archive, Drawn]:
    """Forty scans; `finding` has a class of two patients and one that a single patient has."""
    made = drawn_archive(tmp_path / "home")
    drawn = made.add(draw(4, 40))
    for row, volume_id in enumerate(drawn.ids.tolist()):
        rare = {12: "rare", 15: "rare", 18: "alone", 19: "alone"}
        made.catalog.give_labels(volume_id, {"finding": rare.get(row, "common" if row % 2 else "usual")})
    return Archive(made.home, made.catalog.key, made.catalog), drawn


def test_it_is_leave_one_subject_out_of_the_archives_own_scans(labelled: tuple[Archive, Drawn]) -> None:
    archive, drawn = labelled
    found = leave_out(archive, "finding", k=5, author="ann")
    values = archive.catalog.column_values("finding", drawn.ids)
    oracle = leave_one_out(drawn.vectors, values, archive.catalog.patient_keys(drawn.ids), name="finding", k=5)
    assert found.classes == ("common", "rare", "usual")
    assert found.left_out == ("alone",)
    assert [(one.value, one.low, one.high) for one in found.figures] == [
        (one.value, one.low, one.high) for one in oracle.figures
    ]
    np.testing.assert_array_equal(found.confusion, oracle.confusion)
    (entry,) = archive.catalog.audits(1)
    assert (entry.author, entry.action, entry.detail) == ("ann", "evaluation", "finding, leave-one-out, 40 scans")


def test_the_majority_answers_one_class_alone(labelled: tuple[Archive, Drawn]) -> None:
    found = leave_out(labelled[0], "finding", k=5)
    matrix = majority_confusion(found)
    assert matrix.sum(axis=1).tolist() == found.confusion.sum(axis=1).tolist()
    assert np.count_nonzero(matrix.sum(axis=0)) == 1
    assert np.trace(matrix) / matrix.sum() == pytest.approx(found.accuracy.majority)


def test_a_filter_narrows_it_and_accepted_values_are_pointed_out(labelled: tuple[Archive, Drawn]) -> None:
    archive, drawn = labelled
    archive.catalog.set_label(int(drawn.ids[0]), "grade", "I", origin="accepted")
    for row, volume_id in enumerate(drawn.ids[1:30].tolist()):
        archive.catalog.give_labels(volume_id, {"grade": "I" if row % 2 else "II"})
    assert "1 values of 'grade' were accepted" in " ".join(leave_out(archive, "grade", k=3).notes)
    narrowed = leave_out(archive, "grade", k=3, where="modality = 'CT' or modality = 'MR'")
    assert narrowed.scans < 30


@pytest.mark.parametrize(("label", "where"), [("finding", "age > 900"), ("modality", "modality = 'CT'")])
def test_what_cannot_be_judged_so_either_is_refused(labelled: tuple[Archive, Drawn], label: str, where: str) -> None:
    with pytest.raises(QueryError):
        leave_out(labelled[0], label, where=where)
