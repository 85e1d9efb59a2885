"""NIfTI: the same scan however it is stored, and one clear refusal for each thing that cannot be one."""

import gzip
import itertools
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from raptor_search.errors import ReadError, UsageError
from raptor_search.readers import Refused, Source, content_digest, discover, read, read_file
from raptor_search.readers.nifti import read_nifti
from raptor_search.readers.volumes4d import VolumeIndex, parse_volume_index
from raptor_search.readers.writing import write_nifti

ORIENTATIONS = [
    "".join(codes) for axes in itertools.permutations(("LR", "PA", "IS")) for codes in itertools.product(*axes)
]
"""All 48 ways to store three anatomical axes."""


def save(path: Path, voxels: NDArray[np.generic], affine: NDArray[np.float64], kind: type = nib.Nifti1Image) -> Path:
    nib.save(kind(voxels, affine, dtype=voxels.dtype), path)
    return path


def header_changed(path: Path, **fields: object) -> Path:
    """Overwrite fields of an uncompressed file's header."""
    header = nib.Nifti1Header(path.read_bytes()[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + path.read_bytes()[348:])
    return path


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_every_storage_order_gives_the_same_volume(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64], codes: str
) -> None:
    image = nib.Nifti1Image(voxels, affine)
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(tuple(codes))
    )
    stored = image.as_reoriented(turn)
    nib.save(stored, tmp_path / "scan.nii")
    volume = read_nifti(tmp_path / "scan.nii")
    np.testing.assert_array_equal(volume.voxels, voxels)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-5)
    np.testing.assert_array_equal(volume.stored, np.asarray(stored.dataobj))
    assert min(volume.voxels.strides) > 0
    assert volume.oriented


def test_oblique_scan_keeps_where_each_voxel_is(tmp_path: Path, voxels: NDArray[np.int16]) -> None:
    angle = np.deg2rad(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-1.5, 2.0, -2.5])
    affine[:3, 3] = [40, -3, 8]
    volume = read_nifti(save(tmp_path / "scan.nii.gz", voxels, affine))
    spot = np.argwhere(voxels == 3000)[0]
    found = np.argwhere(volume.voxels == 3000)[0]
    np.testing.assert_allclose(volume.affine @ [*found, 1], affine @ [*spot, 1], atol=1e-4)
    np.testing.assert_allclose(volume.spacing, (1.5, 2.0, 2.5), rtol=1e-5)
    assert (np.diag(volume.affine)[:3] > 0).all()


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
def test_both_versions_and_byte_orders_are_read(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64], kind: type, order: str
) -> None:
    image = kind(voxels, affine)
    swapped = kind(voxels, affine, header=image.header.as_byteswapped(order))
    nib.save(swapped, tmp_path / "scan.nii.gz")
    volume = read_nifti(tmp_path / "scan.nii.gz")
    np.testing.assert_array_equal(volume.voxels, voxels)
    assert volume.voxels.dtype == np.int16


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_unscaled_numbers_keep_their_type(tmp_path: Path, affine: NDArray[np.float64], dtype: str) -> None:
    voxels = np.arange(4 * 5 * 6).reshape(4, 5, 6).astype(dtype)
    volume = read_nifti(save(tmp_path / "scan.nii", voxels, affine))
    assert volume.voxels.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(volume.voxels, voxels)


@pytest.mark.parametrize(("slope", "intercept"), [(2.5, -3.0), (1.0, -1024.0), (1.0, 0.5), (-0.25, 0.0)])
def test_slope_and_intercept_are_applied(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64], slope: float, intercept: float
) -> None:
    path = header_changed(save(tmp_path / "scan.nii", voxels, affine), scl_slope=slope, scl_inter=intercept)
    volume = read_nifti(path)
    np.testing.assert_array_equal(volume.voxels, voxels.astype(np.float64) * slope + intercept)
    np.testing.assert_array_equal(volume.voxels, nib.load(path).get_fdata())


@pytest.mark.parametrize(("code", "mm"), [(0, 1.0), (1, 1000.0), (2, 1.0), (3, 0.001), (2 + 8, 1.0)])
def test_spatial_units_become_millimetres(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64], code: int, mm: float
) -> None:
    volume = read_nifti(header_changed(save(tmp_path / "scan.nii", voxels, affine), xyzt_units=code))
    np.testing.assert_allclose(volume.affine[:3], affine[:3] * mm, rtol=1e-6)


def test_qform_serves_where_there_is_no_sform(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]
) -> None:
    image = nib.Nifti1Image(voxels, None)
    image.set_qform(affine @ np.diag([-1, 1, 1, 1]), code=1)
    image.set_sform(None, code=0)
    nib.save(image, tmp_path / "scan.nii")
    volume = read_nifti(tmp_path / "scan.nii")
    np.testing.assert_array_equal(volume.voxels, voxels[::-1])
    assert volume.oriented


def test_without_sform_and_qform_the_axes_stay_and_are_marked(tmp_path: Path, voxels: NDArray[np.int16]) -> None:
    image = nib.Nifti1Image(voxels, None)
    image.header.set_zooms((1.0, 2.0, 3.0))
    nib.save(image, tmp_path / "scan.nii")
    path = header_changed(tmp_path / "scan.nii", sform_code=0, qform_code=0)
    volume = read_nifti(path)
    assert not volume.oriented
    assert volume.spacing == (1.0, 2.0, 3.0)
    np.testing.assert_array_equal(volume.voxels, voxels)


def test_a_fourth_axis_of_one_is_dropped(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]
) -> None:
    volume = read_nifti(save(tmp_path / "scan.nii", voxels[..., None, None], affine))
    np.testing.assert_array_equal(volume.voxels, voxels)


def test_a_4d_file_is_refused_with_its_number_of_volumes_and_the_option(
    tmp_path: Path, affine: NDArray[np.float64]
) -> None:
    path = save(tmp_path / "scan.nii.gz", np.zeros((5, 5, 5, 120), np.int16), affine)
    words = r"4D, 120 volumes; expected 3D: take one by `--volume-index N` \(0 to 119\), .*`--volume-index all`"
    with pytest.raises(ReadError, match=words) as caught:
        read_nifti(path)
    assert caught.value.code == "not-3d"
    (found,) = discover([path])
    assert isinstance(found, Refused)
    assert found.error.message == caught.value.message


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize(("index", "taken"), [(0, [0]), (2, [2]), ("all", [0, 1, 2])])
def test_volumes_of_a_4d_file_are_sources_of_their_own(
    tmp_path: Path, draw: Callable[..., NDArray[np.int16]], affine: NDArray[np.float64], name: str,
    index: VolumeIndex, taken: list[int],
) -> None:  # fmt: skip
    truth = [draw(seed, (9, 8, 7)) for seed in range(3)]
    path = save(tmp_path / name, np.stack(truth, axis=-1), affine)
    sources = [one for one in discover([path], volume_index=index) if isinstance(one, Source)]
    assert [source.uri for source in sources] == [f"{path}#t{n}" for n in taken]
    assert [source.name for source in sources] == [f"scan_t{n}" for n in taken]
    for source, number in zip(sources, taken, strict=True):
        scan = read(source)
        np.testing.assert_array_equal(scan.volume.voxels, truth[number])
        np.testing.assert_allclose(scan.volume.affine, affine)
        assert scan.metadata.t == number
    assert len({content_digest(source) for source in sources}) == len(taken)
    source, scan = read_file(tmp_path / f"{name}#t1")
    np.testing.assert_array_equal(scan.volume.voxels, truth[1])


def test_a_volume_that_is_not_there_is_refused(tmp_path: Path, affine: NDArray[np.float64]) -> None:
    path = save(tmp_path / "scan.nii", np.zeros((5, 5, 5, 3), np.int16), affine)
    (found,) = discover([path], volume_index=3)
    assert isinstance(found, Refused)
    assert found.error.message == "no volume 3: the file has 3, expected 0 to 2"
    with pytest.raises(ReadError, match="no volume 7"):
        read_nifti(path, "t7")
    with pytest.raises(UsageError, match=r"scan.nii#t7: no such volume; scan.nii has 3, expected 0 to 2"):
        read_file(tmp_path / "scan.nii#t7")
    save(tmp_path / "flat.nii", np.zeros((5, 5, 5), np.int16), affine)
    with pytest.raises(UsageError, match=r"flat.nii holds one volume, which is not named; expected the path alone"):
        read_file(tmp_path / "flat.nii#t0")
    truncated = path.with_name("short.nii")
    truncated.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ReadError, match="truncated"):
        read_nifti(truncated, "t0")


@pytest.mark.parametrize("text", ["-1", "1.5", "first", ""])
def test_a_volume_index_is_a_number_or_all(text: str) -> None:
    with pytest.raises(UsageError, match="expected a number from 0 on, or `all`"):
        parse_volume_index(text)
    assert [parse_volume_index(t) for t in (None, "all", "12")] == [None, "all", 12]


def refusal(path: Path) -> str:
    """The code of the refusal, once it is sure that the message is one line without the path."""
    with pytest.raises(ReadError) as caught:
        read_nifti(path)
    assert str(path) not in caught.value.message
    assert path.name not in caught.value.message
    assert "\n" not in caught.value.message
    return caught.value.code


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"srow_x": [np.nan, 0, 0, 0]}, "bad-geometry"),
        ({"srow_x": [np.inf, 0, 0, 0]}, "bad-geometry"),
        ({"srow_x": [0, 0, 0, 0]}, "bad-geometry"),
        ({"srow_x": [0, 2.0, 0, 0]}, "bad-geometry"),
        ({"sform_code": 0, "qform_code": 0, "pixdim": [1, 0, 2, 2, 0, 0, 0, 0]}, "bad-geometry"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": 5.0}, "bad-geometry"),
        ({"xyzt_units": 7}, "bad-geometry"),
        ({"dim": [3, 14, -12, 10, 1, 1, 1, 1]}, "unreadable"),
        ({"dim": [3, 14, 0, 10, 1, 1, 1, 1]}, "unreadable"),
        ({"dim": [9, 14, 12, 10, 1, 1, 1, 1]}, "unreadable"),
        ({"dim": [2, 14, 120, 1, 1, 1, 1, 1]}, "not-3d"),
        ({"dim": [3, 14, 40, 3, 1, 1, 1, 1]}, "too-few-slices"),
        ({"dim": [3, 32000, 32000, 32000, 1, 1, 1, 1]}, "too-large"),
        ({"dim": [3, 14, 12, 30, 1, 1, 1, 1]}, "unreadable"),
        ({"vox_offset": np.nan}, "unreadable"),
        ({"vox_offset": 1e12}, "unreadable"),
        ({"datatype": 32, "bitpix": 64}, "unsupported"),
        ({"datatype": 128, "bitpix": 24}, "unsupported"),
        ({"datatype": 77}, "unreadable"),
        ({"scl_slope": 1.0, "scl_inter": np.inf}, "unreadable"),
        ({"scl_slope": 3e38}, "not-finite"),
    ],
)
def test_a_header_that_cannot_be_is_refused(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64], fields: dict[str, object], code: str
) -> None:
    path = save(tmp_path / "scan.nii", voxels, affine)
    assert refusal(header_changed(path, **fields)) == code


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite_are_refused(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64], bad: float
) -> None:
    values = voxels.astype(np.float32)
    values[1, 2, 3] = bad
    assert refusal(save(tmp_path / "scan.nii", values, affine)) == "not-finite"


def test_an_all_constant_volume_is_refused(tmp_path: Path, affine: NDArray[np.float64]) -> None:
    assert refusal(save(tmp_path / "scan.nii", np.full((5, 6, 7), 42, np.int16), affine)) == "constant"


@pytest.mark.parametrize("keep", [0, 1, 100, 347, 352, 1000, -1])
def test_a_truncated_file_is_refused(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64], keep: int
) -> None:
    for name in ("scan.nii", "scan.nii.gz"):
        path = write_nifti(tmp_path / name, voxels, affine)
        path.write_bytes(path.read_bytes()[:keep])
        assert refusal(path) == "unreadable"


def test_a_gzip_checksum_that_does_not_fit_is_noticed(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]
) -> None:
    path = write_nifti(tmp_path / "scan.nii.gz", voxels, affine)
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(bytes(content))
    assert refusal(path) == "unreadable"


def test_a_gzip_that_would_inflate_out_of_proportion_is_refused_before_it_is_inflated(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]
) -> None:
    plain = header_changed(save(tmp_path / "scan.nii", voxels, affine), dim=[3, 1000, 1000, 1000, 1, 1, 1, 1])
    bomb = tmp_path / "bomb.nii.gz"
    bomb.write_bytes(gzip.compress(plain.read_bytes()))
    assert refusal(bomb) == "too-large"


def test_a_gzip_that_goes_on_after_the_voxels_is_refused(
    tmp_path: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]
) -> None:
    plain = save(tmp_path / "scan.nii", voxels, affine).read_bytes()
    path = tmp_path / "long.nii.gz"
    path.write_bytes(gzip.compress(plain + bytes(512)))
    np.testing.assert_array_equal(read_nifti(path).voxels, voxels)
    path.write_bytes(gzip.compress(plain + bytes(3 * 2**20)))
    assert refusal(path) == "unreadable"


def test_damage_anywhere_gives_a_read_error_or_a_volume(
    tmp_path: Path,
    voxels: NDArray[np.int16],
    affine: NDArray[np.float64],
    mutants: Callable[[bytes, int], list[bytes]],
) -> None:
    outcomes = set()
    for name in ("scan.nii", "scan.nii.gz"):
        path = write_nifti(tmp_path / name, voxels, affine)
        for content in mutants(path.read_bytes(), 150):
            path.write_bytes(content)
            try:
                outcomes.add(read_nifti(path).format)
            except ReadError as error:
                outcomes.add(error.code)
    assert {"nifti", "unreadable"} <= outcomes
