"""Search while something is wrong around it: one sentence each, and the session lives on."""

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import nrrd
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from raptor_search.archive import Archive
from raptor_search.catalog import writer_lock
from tests.app.archive import SmallArchive
from tests.app.conftest import OpenPage
from tests.app.test_search_page import cases, hits, left_behind, upload
from tests.indexer.scans import blob, written_series
from tests.readers.hostile import GZ, dims, nifti, packed, zeros


def sentence(app: AppTest) -> str:
    """The one error on the page."""
    assert not app.exception
    (error,) = app.error
    assert "\n" not in error.value
    return str(error.value).replace("\\", "")


def zip_that_promises(folder: Path, size: int) -> Path:
    """A small zip whose directory says that its one file has so many bytes."""
    path = folder / "series.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("IM1", bytes(1000))
    content = bytearray(path.read_bytes())
    directory = content.rindex(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = struct.pack("<L", size)
    path.write_bytes(content)
    return path


def series(folder: Path) -> list[tuple[str, bytes, str]]:
    return [(file.name, file.read_bytes(), "application/dicom") for file in written_series(folder, seed="s")]


def zipped_series(folder: Path) -> list[tuple[str, bytes, str]]:
    with zipfile.ZipFile(folder / "series.zip", "w") as archive:
        for name, content, _ in series(folder / "series"):
            archive.writestr(f"study/{name}", content)
    return [("series.zip", (folder / "series.zip").read_bytes(), "application/zip")]


def nearly_raw(folder: Path) -> list[tuple[str, bytes, str]]:
    nrrd.write(str(folder / "head.nrrd"), blob(7), {"space": "RAS", "space directions": np.diag([2.0, 2, 2])})
    return [("head.nrrd", (folder / "head.nrrd").read_bytes(), "application/octet-stream")]


@pytest.mark.parametrize("files", [series, zipped_series, nearly_raw], ids=["dicom-files", "dicom-zip", "nrrd"])
def test_every_kind_of_upload_is_seen_and_searched(
    small: SmallArchive, page: OpenPage, tmp_path: Path, files: Callable[[Path], list[tuple[str, bytes, str]]]
) -> None:
    app = page()
    app.file_uploader[0].set_value(files(tmp_path))
    app.run()
    assert not app.exception
    assert not app.error
    assert len(hits(app)) == 10
    app.toggle(key="look").set_value(True).run()
    assert not app.exception
    assert len(app.get("component_instance")) == 1
    assert left_behind() == []


def test_bombs_are_refused_in_a_sentence_and_the_session_lives_on(
    small: SmallArchive, page: OpenPage, tmp_path: Path
) -> None:
    bomb = tmp_path / f"bomb{GZ}"
    bomb.write_bytes(packed(nifti(dim=dims(2048, 2048, 2048))) + zeros(64))
    app = page()
    for path in (bomb, zip_that_promises(tmp_path, 2**32 - 2)):
        message = sentence(upload(app, path))
        assert message.startswith(path.name)
        assert left_behind() == []
    assert len(hits(upload(app, small.scan))) == 10
    assert not app.error


def test_more_bytes_than_one_upload_may_have_are_refused_before_they_are_read(
    small: SmallArchive, page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = page()
    with monkeypatch.context() as patch:
        patch.setattr("app.uploads._write", lambda path, file: pytest.fail("written"))
        patch.setattr("app.uploads.MB", 1)  # the limit of 200 MB, in bytes
        assert "are more than the 200 MB of one upload" in sentence(upload(app, small.scan))
    assert left_behind() == []
    assert len(hits(upload(app, small.scan))) == 10
    assert not app.error


def test_a_search_while_the_index_is_rebuilt_is_answered_by_the_one_before(small: SmallArchive, page: OpenPage) -> None:
    with Archive.open(small.home) as archive:
        first = archive.catalog.current_index(archive.spec().id)
        assert first is not None
        with writer_lock(small.home):  # as a rebuild holds it, from its first row to its last
            app = upload(page(), small.scan)
            assert not app.error
            before = cases(app)
            assert len(before) == 10
            archive.publish()
        archive.rebuild()
        second = archive.catalog.current_index(archive.spec().id)
        assert second is not None
        assert second.id > first.id
    app.run()
    assert not app.exception
    assert not app.error
    assert cases(app) == before
    assert any(f"Index version {second.id}." in caption.value for caption in app.caption)


def test_an_index_that_is_gone_is_said_and_every_scan_is_scored(small: SmallArchive, page: OpenPage) -> None:
    for file in (small.home / "indexes").rglob("*.faiss"):
        file.unlink()
    app = page(case="1")
    assert not app.exception
    assert len(hits(app)) == 10
    assert any("every scan was scored" in caption.value for caption in app.caption)
