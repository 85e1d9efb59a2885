"""Stored bits to numbers: overlays and signs in the unused bits, padding that does not fit, polarity."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from raptor_search.errors import ReadError
from raptor_search.readers.dicom import read_dicom
from raptor_search.readers.dicom_frames import PixelKind
from raptor_search.readers.dicom_numbers import padding_of, upright, used_bits
from raptor_search.readers.writing import write_dicom_series

Edit = Callable[..., None]


def kind(
    dtype: str, bits: int, *, unused: int = 0, inverted: bool = False, padding: tuple[int, int] | None = None
) -> PixelKind:
    return PixelKind(np.dtype(dtype), bits, unused, inverted, padding)


def test_an_overlay_in_the_upper_bits_is_dropped() -> None:
    numbers = np.array([[0, 5, 4095]], np.uint16)
    np.testing.assert_array_equal(used_bits(numbers | 0xF000, kind("u2", 12), None), numbers)
    assert used_bits(numbers, kind("u2", 12), None) is numbers


def test_a_sign_is_carried_from_the_highest_used_bit() -> None:
    numbers = np.array([[-2048, -1, 0, 2047]], np.int16)
    np.testing.assert_array_equal(used_bits(numbers & 0x0FFF, kind("i2", 12), None), numbers)
    np.testing.assert_array_equal(used_bits(numbers, kind("i2", 12), None), numbers)


def test_bits_below_the_used_ones_are_dropped() -> None:
    numbers = np.array([[0, 5, 4095]], np.uint16)
    np.testing.assert_array_equal(used_bits(numbers << 4 | 3, kind("u2", 12, unused=4), None), numbers)


def test_padding_that_does_not_fit_its_bits_is_not_cut() -> None:
    stored = np.array([[63536, 7, 0x9007]], np.uint16)
    which = kind("u2", 12, padding=(63536, 63536))
    padded = padding_of(stored, which)
    assert padded.tolist() == [[True, False, False]]
    assert used_bits(stored, which, padded).tolist() == [[63536, 7, 7]]


def test_a_range_of_padding_covers_both_ends() -> None:
    stored = np.array([[-2001, -2000, -1990, -1980, -1979]], np.int16)
    assert padding_of(stored, kind("i2", 16, padding=(-2000, -1980))).tolist() == [[False, True, True, True, False]]


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "u4", "i4"])
def test_the_polarity_is_turned_within_the_bits(dtype: str) -> None:
    bits = 8 * np.dtype(dtype).itemsize
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    numbers = np.array([[low, low + 1, high]], dtype)
    assert upright(numbers, kind(dtype, bits, inverted=True)).tolist() == [[high, high - 1, low]]
    assert upright(numbers, kind(dtype, bits)) is numbers


def test_twelve_bits_with_an_overlay_come_back_as_hu(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64], edit: Edit
) -> None:
    hu = voxels.clip(-1000, 2000)
    files = write_dicom_series(tmp_path, hu, affine, modality="CT", patient_id="p", seed="s")
    for file in files:
        stored = np.frombuffer(pydicom.dcmread(file).PixelData, "<u2")
        edit(file, BitsStored=12, HighBit=11, PixelData=(stored | 0x8000).astype("<u2").tobytes())
    np.testing.assert_array_equal(read_dicom(files).volume.voxels, hu)


def test_a_range_limit_of_padding_is_obeyed(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]
) -> None:
    padded = voxels.copy()
    padded[0], padded[1] = -3000, -2990
    files = write_dicom_series(tmp_path, padded, affine, modality="MR", patient_id="p", seed="s")
    for file in files:
        dataset = pydicom.dcmread(file)
        dataset.add_new("PixelPaddingValue", "SS", -3000)
        dataset.add_new("PixelPaddingRangeLimit", "SS", -2990)
        dataset.save_as(file)
    expected = padded.copy()
    expected[:2] = voxels[2:].min()
    np.testing.assert_array_equal(read_dicom(files).volume.voxels, expected)


def test_bits_that_cannot_be_are_refused(series: list[Path], edit: Edit) -> None:
    edit(series[0], BitsStored=12, HighBit=3)
    with pytest.raises(ReadError, match="12 bits below bit 4 of 16"):
        read_dicom(series)
