"""Plain values of a header are told as pydicom tells them, on every file that pydicom itself is tested with."""

import warnings
from pathlib import Path

import pydicom
import pytest
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from raptor_search.errors import ReadError
from raptor_search.readers.dicom_elements import Encoding, Window, walk
from raptor_search.readers.dicom_files import parse_dicom
from raptor_search.readers.dicom_values import READERS, Header, interned

ABSENT = "SlabThickness"


def known(path: Path) -> pydicom.Dataset | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = pydicom.dcmread(path, stop_before_pixels=True)
            for element in found.iterall():  # all values converted
                _ = element.value
        except Exception:
            return None
    return found


FILES = [
    path
    for path in sorted((Path(pydicom.__file__).parent / "data" / "test_files").rglob("*.dcm"))
    if known(path) is not None
]
"""Those inside the package that pydicom reads itself; nothing is downloaded."""


def same(ours: object, theirs: object) -> bool:
    if isinstance(theirs, MultiValue):
        return isinstance(ours, list | MultiValue) and list(ours) == list(theirs)
    return ours == theirs


def test_pydicom_brings_enough_files() -> None:
    assert len(FILES) > 40


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_values_are_those_of_pydicom(path: Path) -> None:
    theirs = known(path)
    assert theirs is not None
    if "truncated" in path.name and "plan" in path.name:
        with pytest.raises(ReadError, match="truncated"):
            parse_dicom(path)
        return
    ours = parse_dicom(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for element in theirs:
            keyword = keyword_for_tag(element.tag)
            if tag_for_keyword(keyword) == element.tag:
                assert keyword in ours
                assert same(ours.get(keyword), element.value), keyword
                assert same(getattr(ours, keyword), element.value), keyword
    assert ours.get(ABSENT) is None
    assert ours.get(ABSENT, 5) == 5
    assert ABSENT not in ours
    with pytest.raises(AttributeError):
        getattr(ours, ABSENT)


@pytest.mark.parametrize(
    ("vr", "value"),
    [
        ("DS", b"1.5x"),
        ("IS", b"1.0"),
        ("IS", b"1\\2 "),
        ("US", b"\1\0\2\0"),
        ("UI", b"1.2\\1.3\0"),
        ("LO", b" padded "),
        ("LO", b"two\\values"),
        ("LO", b"J\xe4ger "),
        ("SH", b"\x1b$B1 "),
        ("CS", b" A\\B"),
        ("CS", b"A \\B "),
        ("LO", b"a\0b "),
    ],
)
def test_what_is_not_plain_is_left_to_pydicom(vr: str, value: bytes) -> None:
    assert READERS[vr](value, True) is None


def test_an_element_that_pydicom_converted_or_changed_is_told_by_pydicom() -> None:
    element = b"\x28\x00\x10\x00US\x02\x00\x40\x00"
    stream = type("Once", (), {"read": lambda self, size, sent=[element]: sent.pop() if sent else b""})()
    header = Header(walk(Window(stream), 0, Encoding(implicit=False, little=True))[0])
    assert header.Rows == header.get("Rows") == header["Rows"].value == header.Rows == 64
    header.Rows = 32
    assert header.Rows == header.get("Rows") == 32


def test_tags_are_one_object_each_up_to_a_bound() -> None:
    assert interned(0x00280010) is interned(0x00280010)
    for tag in range(0x00090000, 0x00090000 + 60_000):
        assert interned(tag) == BaseTag(tag)
