import io
import stat
from pathlib import Path

import pytest

from app.uploads import FOLDER, on_disk, title
from raptor_search.errors import UsageError


def sent(name: str, content: bytes = b"bytes") -> io.BytesIO:
    file = io.BytesIO(content)
    file.name = name
    return file


def test_one_file_keeps_its_name_in_a_folder_of_its_own_and_is_gone_afterwards() -> None:
    with on_disk([sent("sub-07_T1w.nii.gz", b"scan")]) as path:
        assert (path.name, path.read_bytes()) == ("sub-07_T1w.nii.gz", b"scan")
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.parent.exists()


def test_the_folder_is_gone_after_a_failure_too() -> None:
    kept: list[Path] = []

    def fail() -> None:
        with on_disk([sent("a.nii")]) as path:
            kept.append(path)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert not kept[0].parent.exists()


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "..\\..\\boot.ini", "..", ".", "", "a\0b", "x" * 5000, "\n"]
)
def test_no_name_leaves_the_folder(name: str) -> None:
    with on_disk([sent(name)]) as path:
        assert path.resolve().is_relative_to(path.parent.resolve())
        assert path.parent.name.startswith("raptor-upload-")
        assert path.is_file()


def test_several_files_lie_in_one_folder_though_their_names_are_equal() -> None:
    with on_disk([sent("IM1", b"a"), sent("IM1", b"b"), sent("IM2", b"c")]) as folder:
        assert folder.name == FOLDER
        assert sorted(file.read_bytes() for file in folder.rglob("IM*")) == [b"a", b"b", b"c"]


def test_titles() -> None:
    assert title([sent("dir/a.nii")]) == "a.nii"
    assert title([sent("a"), sent("b")]) == "2 uploaded files"


class Sparse(io.BytesIO):
    """An upload of many bytes that are not there."""

    name = "large.nii"

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return 3 * 2**29 if whence == 2 else super().seek(offset, whence)


def test_too_many_bytes_together_are_refused_before_any_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.uploads._write", lambda path, file: pytest.fail("written"))
    monkeypatch.setattr("streamlit.get_option", {"server.maxUploadSize": 2048}.__getitem__)
    with (
        pytest.raises(UsageError, match="3,072 MB are more than the 2,048 MB of one upload"),
        on_disk([Sparse(), Sparse()]),
    ):
        pytest.fail("taken")
