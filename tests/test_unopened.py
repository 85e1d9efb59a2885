"""What the latest run could not open: kept until the next one, in clear for nobody without the key."""

from pathlib import Path

from raptor_search.unopened import KEPT_PATHS, Unopened, keep_unopened, unopened
from tests.archives import draw, drawn_archive


def test_the_first_paths_are_kept_encrypted_until_the_next_run(tmp_path: Path) -> None:
    catalog = drawn_archive(tmp_path / "home").catalog
    assert unopened(catalog) == Unopened(0, ())
    paths = [f"/scans/patient-of-note-{number}\udce9" for number in range(KEPT_PATHS + 5)]
    keep_unopened(catalog, paths)
    assert unopened(catalog) == Unopened(KEPT_PATHS + 5, tuple(paths[:KEPT_PATHS]))
    files = [file for file in (tmp_path / "home").rglob("*") if file.is_file()]
    assert not any(b"patient-of-note" in file.read_bytes() for file in files)
    keep_unopened(catalog, [])
    assert unopened(catalog) == Unopened(0, ())


def test_an_erasure_forgets_them(tmp_path: Path) -> None:
    archive = drawn_archive(tmp_path / "home")
    drawn = archive.add(draw(0, 2))
    keep_unopened(archive.catalog, ["/scans/patient-7/scan.nii.gz"])
    with archive.catalog.writing():
        archive.catalog.erase([int(drawn.ids[0])], author="curator")
    assert unopened(archive.catalog) == Unopened(0, ())
