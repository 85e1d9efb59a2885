"""Slices to one grid: even, uneven, missing, doubled, tilted; what is mended is flagged, what is not is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from raptor_search.errors import ReadError
from raptor_search.readers.dicom import read_dicom
from raptor_search.readers.dicom_geometry import FILLED_GAP_MM, stack_slices
from raptor_search.readers.geometry import geometry_of
from raptor_search.readers.regridding import evened, unsheared
from raptor_search.readers.writing import write_dicom_series

Edit = Callable[..., None]

UPRIGHT = np.array([1.0, 0, 0, 0, 1, 0])


def stacked(along: NDArray[np.float64] | list[float], *, cosines: NDArray[np.float64] = UPRIGHT, shift: float = 0.0):
    """Slices at these places along the normal, each shifted along its columns by `shift` mm a mm."""
    places = np.asarray(along, np.float64)
    normal, column = np.cross(cosines[:3], cosines[3:]), cosines[3:]
    positions = places[:, None] * (normal + shift * column) + [3.0, -4.0, 5.0]
    return stack_slices(positions, np.tile(cosines, (len(places), 1)), np.tile([0.7, 0.8], (len(places), 1)))


def test_an_even_stack_is_taken_as_it_is() -> None:
    stack = stacked(2.5 * np.array([3, 1, 0, 2, 4]))
    assert stack.order.tolist() == [2, 1, 3, 0, 4]
    assert stack.fractions is None
    record = stack.geometry
    assert (record.plane, record.slices, record.gap_mm, record.tilt_deg, record.oblique_deg) == ("axial", 5, 2.5, 0, 0)
    assert (record.missing_slices, record.doubled_slices, record.resampled, record.sheared) == (0, 0, False, False)
    np.testing.assert_allclose(stack.affine @ [1, 1, 1, 1], [-3.8, 3.3, 7.5, 1])


def test_a_gap_of_twice_the_distance_is_refused_with_its_place() -> None:
    along = 2.5 * np.delete(np.arange(60), 41)
    with pytest.raises(ReadError, match=r"^gap 5\.0 mm after slice 41, expected 2\.5 mm$") as caught:
        stacked(along)
    assert caught.value.code == "missing-slice"


def test_a_thin_missing_slice_is_interpolated_and_flagged() -> None:
    stack = stacked(np.delete(np.arange(60.0), 41))
    assert stack.fractions is not None
    assert len(stack.fractions) == 60
    assert stack.fractions[41] == pytest.approx(40.5)
    record = stack.geometry
    assert (record.missing_slices, record.slices, record.largest_gap_mm, record.resampled) == (1, 59, 2, True)


def test_too_many_missing_slices_are_refused_however_thin() -> None:
    with pytest.raises(ReadError, match=r"gap 2\.0 mm after slice 10, expected 1\.0 mm; 4 gaps in all"):
        stacked(np.delete(np.arange(60.0), [10, 20, 30, 40]))
    with pytest.raises(ReadError, match=rf"gap {FILLED_GAP_MM + 1} mm after slice 30, expected 1\.0 mm$"):
        stacked(np.delete(np.arange(99.0), [30, 31, 32]))


@pytest.mark.parametrize(("factor", "mended"), [(1.09, False), (1.4, True), (0.55, True)])
def test_uneven_gaps_within_half_are_made_even(factor: float, mended: bool) -> None:
    gaps = np.full(20, 2.0)
    gaps[7] *= factor
    stack = stacked(np.r_[0, np.cumsum(gaps)])
    assert stack.geometry.resampled is mended
    assert (stack.fractions is not None) is mended
    step = np.linalg.norm(stack.affine[:3, 2])
    assert step == pytest.approx(gaps.sum() / 20)


def test_uneven_gaps_beyond_it_are_refused_with_their_place() -> None:
    gaps = np.full(20, 2.0)
    gaps[7] = 0.8
    with pytest.raises(ReadError, match=r"gap 0\.8 mm after slice 8, expected 2\.0 mm: uneven") as caught:
        stacked(np.r_[0, np.cumsum(gaps)])
    assert caught.value.code == "mixed-geometry"


def test_the_positions_of_a_real_scanner_count_as_even() -> None:
    # A GE series, rounded to a tenth of a millimetre: steps of 7.07 and 6.97 mm.
    z = np.array([-65.7575, -58.8575, -51.9575, -45.0575, -38.1575, -31.1575, -24.2575])
    assert stacked(z).geometry.resampled is False


def test_a_tilt_is_measured_and_too_much_is_refused() -> None:
    assert stacked(np.arange(10.0), shift=np.tan(np.radians(20))).geometry.tilt_deg == pytest.approx(20, abs=1e-3)
    with pytest.raises(ReadError, match=r"50\.0 degrees off their normal; expected a tilt of at most 45 degrees"):
        stacked(np.arange(10.0), shift=np.tan(np.radians(50)))


def test_an_oblique_stack_says_by_how_much() -> None:
    turn = np.radians(30)
    record = stacked(np.arange(6.0), cosines=np.array([1, 0, 0, 0, np.cos(turn), np.sin(turn)])).geometry
    assert (record.plane, record.oblique_deg) == ("axial", pytest.approx(30, abs=1e-3))
    assert record.tilt_deg == 0


def test_a_doubled_slice_is_left_out_and_many_are_refused() -> None:
    stack = stacked([0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9])
    assert stack.doubles == ((2, 3),)
    assert (stack.geometry.doubled_slices, len(stack.order)) == (1, 10)
    with pytest.raises(ReadError, match="8 images at 4 positions, the first two at slice 1") as caught:
        stacked([0, 1, 2, 3, 0, 1, 2, 3])
    assert caught.value.code == "duplicate-slice"


@given(st.permutations(range(12)), st.floats(0.3, 8), st.integers(0, 2), st.floats(-0.4, 0.4))
def test_any_order_gives_the_same_grid(order: list[int], step: float, axis: int, turn: float) -> None:
    cosines = np.roll(np.eye(3), axis, axis=1)[:2].copy()
    cosines[1] = np.cos(turn) * cosines[1] + np.sin(turn) * np.cross(cosines[0], cosines[1])
    along = step * np.array(order, np.float64)
    stack = stacked(along, cosines=cosines.reshape(-1))
    np.testing.assert_allclose(along[stack.order], step * np.arange(12), atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(stack.affine[:3, :3], axis=0), [0.8, 0.7, step], rtol=1e-9)


# Regridding


def test_made_even_agrees_with_linear_interpolation() -> None:
    rng = np.random.default_rng(0)
    voxels = rng.normal(size=(9, 4, 5)).astype(np.float32)
    fractions = np.array([0, 0.5, 1.75, 3, 8])
    got = evened(voxels, fractions)
    grid = np.meshgrid(fractions, np.arange(4), np.arange(5), indexing="ij")
    np.testing.assert_allclose(got, map_coordinates(voxels, grid, order=1), atol=1e-6)
    whole = evened(voxels.astype(np.int16), np.array([0.0, 2.0, 8.0]))
    np.testing.assert_array_equal(whole, voxels.astype(np.int16)[[0, 2, 8]])


@pytest.mark.parametrize("shift", [(0.0, 2.3), (0.0, -2.3), (1.4, 0.0), (-0.6, 0.9), (3.0, -2.0)])
def test_an_upright_stack_has_every_voxel_where_it_was(shift: tuple[float, float]) -> None:
    rng = np.random.default_rng(1)
    voxels = rng.integers(-500, 900, (6, 7, 8)).astype(np.int16)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :2] = turn[:, :2] * [0.8, 0.7]
    affine[:3, 2] = 2.5 * turn[:, 2] + turn[:, 0] * shift[0] + turn[:, 1] * shift[1]
    affine[:3, 3] = [4, 5, 6]
    straight, upright = unsheared(voxels, affine)
    axes = upright[:3, :3] / np.linalg.norm(upright[:3, :3], axis=0)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
    # The oracle: each voxel centre of the new grid looked up in the old one, linearly within its slice.
    k, r, c = np.meshgrid(*map(np.arange, straight.shape), indexing="ij")
    places = np.linalg.inv(affine) @ upright @ np.stack([c, r, k, np.ones_like(k)]).reshape(4, -1)
    np.testing.assert_allclose(places[2], k.reshape(-1), atol=1e-9)
    expected = map_coordinates(
        voxels.astype(float), places[[2, 1, 0]], order=1, mode="grid-constant", cval=voxels.min(), prefilter=False
    )
    # Two passes of integers are rounded twice.
    assert np.abs(straight.reshape(-1) - expected).max() <= 1.01
    assert straight.max() <= voxels.max()


def test_a_tilt_of_whole_pixels_is_undone_exactly(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64], edit: Edit
) -> None:
    # Rows are 2 mm apart: a shift of one row a slice 2.5 mm further is a tilt of 38.7 degrees.
    files = write_dicom_series(tmp_path, voxels, affine, modality="CT", patient_id="p", seed="s")
    for file in files:
        x, y, z = pydicom.dcmread(file).ImagePositionPatient
        edit(file, ImagePositionPatient=[x, y + 2 * (float(z) - affine[2, 3]) / 2.5, z])
    scan = read_dicom(files)
    assert scan.geometry.sheared is True
    assert scan.geometry.tilt_deg == pytest.approx(np.degrees(np.arctan2(2, 2.5)), abs=1e-3)
    volume = scan.volume
    count = voxels.shape[2]
    assert volume.shape == (*voxels.shape[:1], voxels.shape[1] + count - 1, count)
    np.testing.assert_allclose(volume.affine[:3, :3], affine[:3, :3], atol=1e-9)
    for index in range(count):
        # Each slice lies further back by its number of rows: y of LPS is to the back.
        first = count - 1 - index
        np.testing.assert_array_equal(volume.voxels[:, first : first + voxels.shape[1], index], voxels[:, :, index])
        rest = np.delete(volume.voxels[:, :, index], np.s_[first : first + voxels.shape[1]], axis=1)
        assert set(np.unique(rest)) <= {voxels.min()}
    top = volume.affine @ [0, 0, count - 1, 1]
    np.testing.assert_allclose(top[:3], affine[:3, 3] + [0, -2 * (count - 1), 2.5 * (count - 1)], atol=1e-4)


def test_a_repeated_image_is_left_out_where_its_pixels_are_the_same(
    tmp_path: Path, draw: Callable[..., NDArray[np.int16]], affine: NDArray[np.float64], edit: Edit
) -> None:
    voxels = draw(0, (14, 12, 12))
    files = write_dicom_series(tmp_path, voxels, affine, modality="CT", patient_id="p", seed="s")
    twin = tmp_path / "twin.dcm"
    twin.write_bytes(files[3].read_bytes())
    scan = read_dicom([*files, twin])
    np.testing.assert_array_equal(scan.volume.voxels, voxels)
    assert (scan.geometry.doubled_slices, scan.geometry.slices) == (1, 13)
    other = pydicom.dcmread(twin)
    edit(twin, PixelData=bytes(1) + other.PixelData[1:])
    assert other.PixelData[:1] != bytes(1)
    with pytest.raises(ReadError, match="13 images at 12 positions, the first two at slice"):
        read_dicom([*files, twin])


def test_an_affine_says_plane_obliqueness_and_shear() -> None:
    record = geometry_of(np.diag([1.0, 1, 5, 1]), oriented=True)
    assert (record.plane, record.tilt_deg, record.oblique_deg, record.slices) == ("axial", 0, 0, None)
    assert geometry_of(np.diag([1.0, 1, 1, 1]), oriented=True).plane is None
    assert geometry_of(np.diag([4.0, 1, 1, 1]), oriented=False).plane is None
    sheared = np.diag([1.0, 1, 5, 1])
    sheared[1, 2] = 5 * np.tan(np.radians(15))
    assert geometry_of(sheared, oriented=True).tilt_deg == pytest.approx(15, abs=1e-3)
