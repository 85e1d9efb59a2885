"""Pixels of every transfer syntax, one file at a time, against pydicom; headers walked by us, against pydicom."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from raptor_search.errors import ReadError
from raptor_search.readers.codestreams import check_codestream
from raptor_search.readers.dicom_decoding import stored_frames
from raptor_search.readers.dicom_files import parse_dicom

NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
SIZE = (40, 51)
COMPRESSED = (RLELossless, JPEGLSLossless, JPEG2000Lossless)


def draw(dtype: str, bits: int, frames: int = 1) -> NDArray[np.generic]:
    rng = np.random.default_rng(3)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if dtype.startswith("i") else (0, 2**bits)
    return rng.integers(low, high, (frames, *SIZE)).astype(dtype)


def write(path: Path, numbers: NDArray[np.generic], syntax: UID, bits: int) -> Path:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.4"
    dataset.PatientName = "Nobody^At All"
    inner, item = Dataset(), Dataset()
    inner.CodeValue = "1"
    item.ConceptNameCodeSequence = Sequence([inner])
    item.is_undefined_length_sequence_item = True
    dataset.ReferencedImageSequence = Sequence([item, Dataset()])
    dataset["ReferencedImageSequence"].is_undefined_length = True
    dataset.add_new((0x0009, 0x0010), "LO", "SOMEBODY")
    dataset.add_new((0x0009, 0x1001), "UN", bytes(300))
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = numbers.shape[1], numbers.shape[2], len(numbers)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * numbers.itemsize, bits, bits - 1
    dataset.PixelRepresentation = int(numbers.dtype.kind == "i")
    dataset.ensure_file_meta()
    little = syntax != ExplicitVRBigEndian
    swapped = numbers if little else numbers.astype(numbers.dtype.newbyteorder(">"))
    dataset.PixelData = swapped.tobytes() + b"\0" * (numbers.nbytes % 2)
    dataset["PixelData"].VR = "OW" if numbers.itemsize > 1 else "OB"
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax.is_encapsulated else syntax
    if syntax.is_encapsulated:
        dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)
    return path


def read(path: Path) -> NDArray[np.generic]:
    return np.stack(list(stored_frames(path)))


@pytest.mark.parametrize("syntax", [*NATIVE, *COMPRESSED])
@pytest.mark.parametrize(("dtype", "bits"), [("u1", 8), ("u2", 12), ("i2", 13), ("i2", 16)])
def test_frames_of_every_syntax_are_exact_and_as_pydicom_has_them(
    tmp_path: Path, syntax: UID, dtype: str, bits: int
) -> None:
    numbers = draw(dtype, bits, frames=3)
    path = write(tmp_path / "one.dcm", numbers, syntax, bits)
    frames = read(path)
    np.testing.assert_array_equal(frames, numbers)
    np.testing.assert_array_equal(frames, pydicom.dcmread(path).pixel_array)
    assert frames.dtype == np.dtype(dtype) or syntax == ExplicitVRBigEndian


@pytest.mark.parametrize(("dtype", "bits"), [("u4", 32), ("i4", 24)])
def test_32_bits_are_read(tmp_path: Path, dtype: str, bits: int) -> None:
    numbers = draw(dtype, bits)
    for syntax in NATIVE:
        np.testing.assert_array_equal(read(write(tmp_path / "one.dcm", numbers, syntax, bits)), numbers)


@pytest.mark.parametrize("syntax", [*NATIVE, *COMPRESSED])
def test_the_walk_finds_what_pydicom_finds(tmp_path: Path, syntax: UID) -> None:
    path = write(tmp_path / "one.dcm", draw("u2", 12), syntax, 12)
    ours, theirs = parse_dicom(path), pydicom.dcmread(path, stop_before_pixels=True)
    assert [element.tag for element in ours] == [element.tag for element in theirs]
    assert all(ours[element.tag].value == element.value for element in theirs)
    assert ours.file_meta.TransferSyntaxUID == syntax
    some = parse_dicom(path, tags=("Rows", "PatientName"))
    assert [element.keyword for element in some] == ["PatientName", "Rows"]
    assert (some.Rows, some.PatientName) == (40, "Nobody^At All")


@pytest.mark.parametrize("syntax", [*NATIVE, *COMPRESSED])
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, syntax: UID) -> None:
    path = write(tmp_path / "one.dcm", draw("u2", 12, frames=2), syntax, 12)
    content = path.read_bytes()
    for part in range(49):
        path.write_bytes(content[: len(content) * part // 50])
        with pytest.raises(ReadError) as caught:
            read(path)
        assert caught.value.code in {"unreadable", "not-a-volume"}


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_a_codestream_of_another_size_is_refused_before_it_is_decoded(tmp_path: Path, syntax: UID) -> None:
    path = write(tmp_path / "one.dcm", draw("u2", 12), syntax, 12)
    dataset = pydicom.dcmread(path)
    dataset.Rows = 512
    dataset.save_as(path)
    with pytest.raises(ReadError, match="a compressed image of 40x51 pixels and 1 components; expected 512x51 and one"):
        read(path)


@pytest.mark.parametrize("frame", [b"\xff\xd8", b"\xff\xd8\xff\xe0\x00", b"\xff\xd8no marker", b"\xff\x4f\xff\x51\0\0"])
def test_a_codestream_without_a_whole_header_is_refused(frame: bytes) -> None:
    with pytest.raises(ReadError, match="truncated"):
        check_codestream(frame, (1, 1))


def test_a_compression_that_nobody_here_decodes_is_refused_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "one.dcm", draw("u2", 12), JPEGLSLossless, 12)
    monkeypatch.setattr(get_decoder(JPEGLSLossless), "_available", {})
    with pytest.raises(ReadError, match="no decoder for JPEG-LS Lossless") as caught:
        read(path)
    assert caught.value.code == "unsupported"
    path.write_bytes(path.read_bytes().replace(JPEGLSLossless.encode(), b"1.2.840.10008.1.2.4.52"))
    with pytest.raises(ReadError, match="unknown compression") as caught:
        read(path)
    assert caught.value.code == "unsupported"


def test_a_jpeg_may_have_segments_and_fill_bytes_before_its_size() -> None:
    sof = b"\xff\xc3\x00\x0b\x10" + (64).to_bytes(2, "big") + (32).to_bytes(2, "big") + b"\x01\x01\x11\x00"
    check_codestream(b"\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xff\xc4\x00\x03a" + sof, (64, 32))
    with pytest.raises(ReadError, match="64x32"):
        check_codestream(b"\xff\xd8" + sof, (32, 64))


def test_a_program_with_dicom_behind_it_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "one.dcm", draw("u2", 12), ExplicitVRLittleEndian, 12)
    path.write_bytes(b"MZ" + path.read_bytes()[2:])
    with pytest.raises(ReadError, match="program") as caught:
        parse_dicom(path)
    assert caught.value.code == "not-a-volume"
