import csv
import io

from raptor_search.archive import Archive
from raptor_search.searching.hit_table import hits_csv
from tests.app.archive import SmallArchive


def rows(document: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(document.decode())))


def test_the_csv_holds_every_hit_and_how_it_was_found(small: SmallArchive) -> None:
    with Archive.open(small.home) as archive:
        result = archive.search(1, k=5)
    read = rows(hits_csv("Case 1", result))
    assert [int(row["case"]) for row in read] == [hit.volume_id for hit in result.hits]
    for row, hit in zip(read, result.hits, strict=True):
        assert (row["query"], row["spec"], row["index_version"]) == ("Case 1", result.spec_fingerprint, "1")
        assert float(row["score"]) == round(hit.score, 6)
        assert float(row["percentile"]) == round(hit.percentile or -1, 1)
        assert row["patient"] == hit.metadata["patient"]
        assert row["label kind"] == hit.record.labels.get("kind", "")
        assert row["modality"] == hit.record.modality


def test_no_path_is_in_it_and_no_text_is_a_formula(small: SmallArchive) -> None:
    with Archive.open(small.home) as archive:
        archive.catalog.set_label(2, "remark", '=HYPERLINK("x")', origin="accepted")
        archive.catalog.set_label(3, "=cmd", "-3.5", origin="accepted")
        result = archive.search(1, k=36)
    document = hits_csv("@upload.nii", result)
    assert b"/scans/" not in document
    read = rows(document)
    (formula,) = [row for row in read if row["case"] == "2"]
    (number,) = [row for row in read if row["case"] == "3"]
    assert formula["label remark"] == '\'=HYPERLINK("x")'
    assert formula["query"] == "'@upload.nii"
    assert number["label =cmd"] == "-3.5"
