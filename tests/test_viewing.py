"""A scan as a viewer shows it: its grid, its windows, its bytes, and its pictures where nothing else can be drawn."""

import io
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from raptor_search.preview import three_planes
from raptor_search.readers.nifti_bytes import nifti_bytes
from raptor_search.slice_pictures import slices_through
from raptor_search.viewing import View, Window, view_of
from raptor_search.volume import Volume
from tests.phantoms import volume

BRIGHT = Window("all", 0.0, 1000.0)


def box(shape: tuple[int, int, int] = (20, 20, 20)) -> Volume:
    """Bright where the patient's right, front and top are."""
    voxels = np.zeros(shape, np.int16)
    voxels[shape[0] // 2 :, shape[1] // 2 :, shape[2] // 2 :] = 1000
    return Volume(voxels=voxels, affine=np.eye(4))


def planes(png: bytes) -> list[NDArray[np.uint8]]:
    with Image.open(io.BytesIO(png)) as image:
        assert image.mode == "RGB"
        return np.hsplit(np.asarray(image), 3)


def test_a_scan_within_the_limit_is_shown_as_it_is() -> None:
    scan = volume()
    view = view_of(scan)
    assert view.voxels is scan.voxels
    assert not view.is_reduced
    assert (view.shape, view.spacing) == (scan.shape, pytest.approx(scan.spacing))


def test_a_larger_scan_gives_way_along_its_finest_axes_first() -> None:
    scan = Volume(voxels=np.arange(8 * 8 * 6).reshape(8, 8, 6).astype(np.int16), affine=np.diag([0.5, 0.5, 3, 1]))
    view = view_of(scan, limit=100)
    assert view.voxels.shape == (4, 4, 6)
    assert view.spacing == (1.0, 1.0, 3.0)
    assert view.own_spacing == (0.5, 0.5, 3.0)
    assert view.is_reduced
    assert view.extents == (4.0, 4.0, 18.0)


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(4, 9)] * 3), st.integers(30, 300), st.integers(0, 99))
def test_a_cell_shows_the_mean_of_its_voxels(shape: tuple[int, int, int], limit: int, seed: int) -> None:
    voxels = np.random.default_rng(seed).normal(size=shape)
    view = view_of(Volume(voxels=voxels, affine=np.diag([1.0, 1.5, 2.0, 1.0])), limit=limit)
    assert view.voxels.size <= limit
    f = [round(mm / own) for mm, own in zip(view.spacing, view.own_spacing, strict=True)]
    expected = np.array(
        [
            voxels[i * f[0] : (i + 1) * f[0], j * f[1] : (j + 1) * f[1], k * f[2] : (k + 1) * f[2]].mean()
            for i, j, k in np.ndindex(view.voxels.shape)
        ]
    )
    np.testing.assert_allclose(view.voxels.ravel(), expected, atol=1e-5)


def test_positions_count_from_the_middle_and_the_middle_is_known_in_the_files_own_millimetres() -> None:
    scan = Volume(
        voxels=np.arange(64).reshape(4, 4, 4),
        affine=np.array([[2, 0, 0, 10], [0, 2, 0, 0], [0, 0, 2, -5], [0, 0, 0, 1.0]]),
    )
    view = view_of(scan)
    assert view.middle == (13.0, 3.0, -2.0)
    corners = view.affine @ np.array([[-0.5, -0.5, -0.5, 1], [3.5, 3.5, 3.5, 1]]).T
    np.testing.assert_allclose(corners[:3].T, [[-4, -4, -4], [4, 4, 4]])


def test_a_ct_gets_the_windows_of_the_reading_room_and_other_scans_percentiles() -> None:
    hu = np.random.default_rng(0).normal(0, 400, (20, 20, 20)).clip(-1000, 1500)
    hu[:6] = -1000
    windows = {window.name: window[1:] for window in view_of(Volume(voxels=hu, affine=np.eye(4))).windows}
    assert windows["Lung"] == (-1350, 150)
    assert windows["Soft tissue"] == (-160, 240)
    assert windows["Brain"] == (0, 80)
    assert windows["Bone"] == (-500, 1300)
    mr = np.random.default_rng(0).gamma(2, 300, (20, 20, 20))
    windows = {window.name: window[1:] for window in view_of(Volume(voxels=mr, affine=np.eye(4))).windows}
    assert windows["0.5 to 99.5 percentile"] == pytest.approx(np.percentile(mr, (0.5, 99.5)))
    assert windows["2 to 98 percentile"] == pytest.approx(np.percentile(mr, (2, 98)))
    assert windows["Whole range"] == pytest.approx((mr.min(), mr.max()))
    head = volume()
    assert "Brain" not in {window.name for window in view_of(head).windows}
    assert "Brain" in {window.name for window in view_of(head, modality="CT").windows}


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i2", "<u2", "<i4", "<f4", ">f8", "?"])
def test_the_bytes_are_a_nifti_file_of_the_same_numbers_at_the_same_places(dtype: str) -> None:
    voxels = np.random.default_rng(1).integers(0, 200, (5, 6, 7)).astype(dtype)
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = -4, 5, -6
    image = nib.Nifti1Image.from_bytes(nifti_bytes(voxels, affine))
    np.testing.assert_allclose(image.affine, affine)
    np.testing.assert_allclose(image.get_fdata(), voxels, atol=200 / 60_000)


def test_the_same_voxels_on_another_grid_are_another_view() -> None:
    view = view_of(volume())
    assert view.fingerprint == view_of(volume()).fingerprint
    assert view.fingerprint != replace(view, own_spacing=(1.0, 1.0, 1.0)).fingerprint
    assert view.fingerprint != view_of(volume(1)).fingerprint


def test_the_pictures_through_the_middle_are_those_of_the_cards() -> None:
    scan = volume()
    view = view_of(scan)
    with Image.open(io.BytesIO(three_planes(scan, 160))) as card:
        expected = np.hsplit(np.asarray(card), 3)
    middle = [mm / 2 for mm in view.own_spacing]
    for own, other in zip(planes(slices_through(view, middle, view.windows[0], side=160)), expected, strict=True):
        inner = np.s_[25:65, 25:65]  # clear of the letters and of the crosshair
        np.testing.assert_array_equal(own[inner][:, :, 0], other[inner])


def test_right_is_left_in_a_radiological_picture_and_right_otherwise_and_the_letters_follow() -> None:
    view = view_of(box())
    for radiological, left in ((True, True), (False, False)):
        axial, coronal, sagittal = planes(slices_through(view, (5, 5, 5), BRIGHT, side=100, radiological=radiological))
        for plane in (axial, coronal):
            assert (plane[20, 20] == 255).all() == left
            assert (plane[20, 80] == 255).all() != left
        assert (sagittal[20, 20] == 255).all()  # the front stays on the left


def test_a_plane_beyond_the_scan_is_black_and_the_others_stay() -> None:
    axial, coronal, _ = planes(slices_through(view_of(box()), (5, 5, 30), BRIGHT, side=100))
    assert (axial[20, 20] == 0).all()
    assert (coronal[20, 20] == 255).all()


def test_colours_lie_over_their_cells_alone_and_as_strong_as_asked() -> None:
    view = view_of(box())
    colours = np.zeros((3, 2, 2, 4), np.uint8)
    colours[0, 1, 1] = 200, 0, 0, 255  # back and left
    for opacity, red in ((0.0, 0), (0.5, 100), (1.0, 200)):
        picture = slices_through(view, (5, 5, 5), BRIGHT, side=100, colours=colours, opacity=opacity)
        axial, coronal, _ = planes(picture)
        assert axial[85, 85].tolist() == [red, 0, 0]
        assert axial[20, 20].tolist() == [255, 255, 255]
        assert coronal[85, 85].tolist() == [0, 0, 0]
        mirrored, _, _ = planes(
            slices_through(view, (5, 5, 5), BRIGHT, side=100, colours=colours, opacity=opacity, radiological=False)
        )
        assert mirrored[85, 15].tolist() == [red, 0, 0]


def test_a_view_of_unequal_sides_spans_its_longest() -> None:
    assert view_of(Volume(voxels=np.arange(480).reshape(4, 10, 12), affine=np.diag([2, 1, 3, 1.0]))).span == 36
    assert isinstance(view_of(box()), View)
