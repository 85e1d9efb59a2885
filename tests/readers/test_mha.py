"""MetaImage, against SimpleITK as writer and reader; and what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - as its documentation has it
from numpy.typing import NDArray

from raptor_search.errors import ReadError
from raptor_search.readers import Refused, Source, content_digest, discover, read, read_file
from raptor_search.readers.mha import read_mha

TURNED = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]
LPS = np.diag([-1.0, -1, 1])


def written(path: Path, voxels: NDArray[np.generic], *, compressed: bool = False) -> sitk.Image:
    """An oblique image; `voxels` are [i, j, k]."""
    image = sitk.GetImageFromArray(voxels.T)
    image.SetSpacing([0.7, 0.8, 2.5])
    image.SetOrigin([-12.5, 33.25, 7.0])
    image.SetDirection(TURNED.reshape(-1).tolist())
    sitk.WriteImage(image, str(path), useCompression=compressed)
    return image


def truth(image: sitk.Image) -> NDArray[np.float64]:
    """The affine to RAS+, by asking ITK where corners lie."""
    affine = np.eye(4)
    first = np.array(image.TransformIndexToPhysicalPoint((0, 0, 0)))
    for axis in range(3):
        step = [0, 0, 0]
        step[axis] = 1
        affine[:3, axis] = LPS @ (np.array(image.TransformIndexToPhysicalPoint(step)) - first)
    affine[:3, 3] = LPS @ first
    return affine


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_every_type_is_read(tmp_path: Path, dtype: str) -> None:
    voxels = np.random.default_rng(0).integers(0, 100, (6, 7, 8)).astype(dtype)
    written(tmp_path / "a.mha", voxels)
    volume = read_mha(tmp_path / "a.mha")
    np.testing.assert_array_equal(volume.stored, voxels)
    assert volume.stored.dtype == np.dtype(dtype)
    assert (volume.format, volume.oriented) == ("mha", True)


@pytest.mark.parametrize("name", ["a.mha", "a.mhd"])
@pytest.mark.parametrize("compressed", [False, True])
def test_voxels_and_places_agree_with_simpleitk(
    tmp_path: Path, draw: Callable[..., NDArray[np.int16]], name: str, compressed: bool
) -> None:
    voxels = draw(0, (9, 8, 7))
    image = written(tmp_path / name, voxels, compressed=compressed)
    (source,) = (one for one in discover([tmp_path]) if isinstance(one, Source))
    assert len(source.files) == (1 if name == "a.mha" else 2)
    volume = read(source).volume
    back = np.linalg.inv(truth(image)) @ volume.affine
    spots = np.array([[0, 0, 0, 1], [3, 2, 1, 1], [6, 4, 5, 1]])
    for spot in spots:
        i, j, k, _ = np.rint(back @ spot).astype(int)
        assert volume.voxels[tuple(spot[:3])] == voxels[i, j, k]
        np.testing.assert_allclose(back @ spot, [i, j, k, 1], atol=1e-4)


def test_volumes_of_a_4d_file_are_sources_of_their_own(tmp_path: Path, draw: Callable[..., NDArray[np.int16]]) -> None:
    volumes = [draw(seed, (9, 8, 7)) for seed in range(3)]
    image = sitk.JoinSeries([sitk.GetImageFromArray(one.T) for one in volumes])
    sitk.WriteImage(image, str(tmp_path / "a.mha"), useCompression=True)
    (refused,) = discover([tmp_path])
    assert isinstance(refused, Refused)
    assert "--volume-index" in refused.error.message
    sources = [one for one in discover([tmp_path], volume_index="all") if isinstance(one, Source)]
    for source, voxels in zip(sources, volumes, strict=True):
        np.testing.assert_array_equal(read(source).volume.stored, voxels)
    assert len({content_digest(one) for one in sources}) == 3
    np.testing.assert_array_equal(read_file(tmp_path / "a.mha#t2")[1].volume.stored, volumes[2])


def header(**changed: str) -> bytes:
    keys = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "DimSize": "5 6 7",
        "ElementType": "MET_SHORT",
        "ElementSpacing": "1 1 1",
        "ElementDataFile": "LOCAL",
    } | changed
    return "".join(f"{key} = {value}\n" for key, value in keys.items() if value).encode()


VOXELS = np.arange(5 * 6 * 7, dtype="<i2").tobytes()


def test_big_endian_numbers_and_a_file_without_directions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.mha"
    path.write_bytes(header(BinaryDataByteOrderMSB="True", ElementDataFile="") + b"ElementDataFile = LOCAL\n"
                     + np.arange(210, dtype=">i2").tobytes())  # fmt: skip
    volume = read_mha(path)
    assert not volume.oriented
    np.testing.assert_array_equal(volume.stored, np.arange(210).reshape(7, 6, 5).T)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"DimSize": "5 6"}, "unreadable"),
        ({"DimSize": "5 6 0"}, "unreadable"),
        ({"DimSize": "5 6 seven"}, "unreadable"),
        ({"DimSize": "5 6 70000"}, "unreadable"),
        ({"DimSize": "2000000 2000000 7"}, "too-large"),
        ({"DimSize": "5 6 2"}, "too-few-slices"),
        ({"ElementType": "MET_OTHER"}, "unsupported"),
        ({"ElementNumberOfChannels": "3", "ElementDataFile": ""}, "unsupported"),
        ({"BinaryData": "False"}, "unsupported"),
        ({"ElementSpacing": "1 1"}, "bad-geometry"),
        ({"ElementSpacing": "0 1 1"}, "bad-geometry"),
        ({"ElementSpacing": "nan 1 1"}, "bad-geometry"),
        ({"ElementDataFile": "../secret.raw"}, "unsupported"),
        ({"ElementDataFile": "/etc/passwd"}, "unsupported"),
        ({"ElementDataFile": "absent.raw"}, "unsupported"),
        ({"ElementDataFile": "LIST"}, "unsupported"),
        ({"ElementDataFile": "link.raw"}, "unsupported"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, changed: dict[str, str], code: str) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    (tmp_path / "secret.raw").write_bytes(VOXELS)
    (folder / "link.raw").symlink_to(tmp_path / "secret.raw")
    path = folder / "a.mha"
    last = b"" if changed.get("ElementDataFile") != "" else b"ElementDataFile = LOCAL\n"
    path.write_bytes(header(**changed) + last + VOXELS)
    with pytest.raises(ReadError) as caught:
        read_mha(path)
    assert caught.value.code == code
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("part", range(0, 40, 3))
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, part: int) -> None:
    for compressed in (False, True):
        written(tmp_path / "whole.mha", np.random.default_rng(0).normal(size=(8, 8, 8)), compressed=compressed)
        content = (tmp_path / "whole.mha").read_bytes()
        cut = tmp_path / "cut.mha"
        cut.write_bytes(content[: len(content) * part // 40])
        with pytest.raises(ReadError) as caught:
            read_mha(cut)
        assert caught.value.code == "unreadable"
