"""The three-plane picture: its size, its layout, its aspect."""

import io

import numpy as np
import pytest
from PIL import Image

from raptor_search.preview import three_planes
from raptor_search.volume import Volume
from tests.phantoms import volume


def pixels(scan: Volume, side: int = 160) -> np.ndarray:
    with Image.open(io.BytesIO(three_planes(scan, side))) as image:
        assert image.format == "PNG"
        assert image.mode == "L"
        return np.asarray(image)


def test_three_squares_side_by_side() -> None:
    assert pixels(volume()).shape == (160, 480)
    assert pixels(volume(), side=64).shape == (64, 192)


def test_the_same_scan_gives_the_same_bytes() -> None:
    assert three_planes(volume()) == three_planes(volume())


def test_one_scale_in_mm_for_all_planes() -> None:
    box = np.full((20, 40, 10), 100, np.int16)
    box[0, 0, 0] = 0
    picture = pixels(Volume(voxels=box, affine=np.diag([2, 2, 4, 1.0])), side=80) > 128  # 40 x 80 x 40 mm
    axial, coronal, sagittal = np.hsplit(picture, 3)
    sizes = [(int(p.any(axis=1).sum()), int(p.any(axis=0).sum())) for p in (axial, coronal, sagittal)]
    assert sizes == [(80, 40), (40, 40), (40, 80)]


@pytest.mark.parametrize(
    ("axis", "plane", "bright"),
    [
        (0, 0, np.s_[:, :75]),
        (0, 1, np.s_[:, :75]),
        (1, 0, np.s_[:75]),
        (1, 2, np.s_[:, :75]),
        (2, 1, np.s_[:75]),
        (2, 2, np.s_[:75]),
    ],
)
def test_right_front_and_top_lie_left_and_up(axis: int, plane: int, bright: tuple[slice, ...]) -> None:
    voxels = np.zeros((20, 20, 20), np.int16)
    half = [slice(None)] * 3
    half[axis] = slice(10, 20)
    voxels[tuple(half)] = 1000
    square = np.hsplit(pixels(Volume(voxels=voxels, affine=np.eye(4))), 3)[plane]
    assert square[bright].min() == 255
    assert square.mean() == pytest.approx(127.5, abs=1)


def test_an_axis_thinner_than_a_pixel_is_still_seen() -> None:
    thin = Volume(voxels=volume(0, (100, 100, 4)).voxels, affine=np.diag([5, 5, 0.5, 1.0]))
    assert all(plane.max() > 0 for plane in np.hsplit(pixels(thin), 3))
