"""One series, several volumes: parted by orientation, size, place, echo, b-value, time; scouts and copies left out."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from raptor_search.errors import ReadError
from raptor_search.readers import Refused, Scan, Skipped, Source, content_digest, discover, read
from raptor_search.readers.writing import Plane, write_dicom_series

Draw = Callable[..., NDArray[np.int16]]
Change = Callable[[int], dict[str, object]]


def found_in(*folders: Path) -> tuple[list[Source], Counter[str]]:
    """Sources and the reasons of what was left out; nothing may be refused."""
    sources, reasons = [], Counter[str]()
    for one in discover(list(folders)):
        assert not isinstance(one, Refused), one.error.message
        if isinstance(one, Source):
            sources.append(one)
        else:
            assert isinstance(one, Skipped)
            reasons[one.reason] += 1
    return sources, reasons


def written(
    folder: Path, voxels: NDArray[np.generic], affine: NDArray[np.float64], change: Change, plane: Plane = "axial"
) -> list[Path]:
    """One stack of series "1.2.3", its instance numbers following the slices; `change` gives more attributes."""
    files = write_dicom_series(folder, voxels, affine, modality="MR", patient_id="p", seed=str(folder), plane=plane)
    numbered = sorted(files, key=lambda file: pydicom.dcmread(file).InstanceNumber)
    for number, file in enumerate(numbered):
        dataset = pydicom.dcmread(file)
        dataset.SeriesInstanceUID = "1.2.3"
        for keyword, value in change(number).items():
            setattr(dataset, keyword, value)
        dataset.save_as(file)
    return numbered


def together(tmp_path: Path, folders: list[Path]) -> Path:
    """The files of the folders in one, under names that follow nothing."""
    target = tmp_path / "series"
    target.mkdir(exist_ok=True)
    for folder in folders:
        for file in sorted(folder.iterdir()):
            digest = abs(hash((folder.name, file.name))) % 10**8
            shutil.move(file, target / f"IM{digest:08d}")
    return target


def read_all(sources: list[Source]) -> dict[str, Scan]:
    return {one.stack.name if one.stack else "": read(one) for one in sources}


PARTINGS: dict[str, tuple[str, list[Change]]] = {
    "echo": ("echo", [lambda n, te=te: {"EchoTime": te} for te in (4.9, 9.8, 14.7)]),
    "b-value": ("b-value", [lambda n, b=b: {"DiffusionBValue": b} for b in (0.0, 1000.0)]),
    "phase image": ("image type", [lambda n, k=k: {"ImageType": ["ORIGINAL", "PRIMARY", k]} for k in ("M", "P")]),
    "flip": ("flip angle", [lambda n, a=a: {"FlipAngle": a} for a in (3, 15)]),
    "time": ("time", [lambda n, t=t: {"TemporalPositionIdentifier": t} for t in (1, 2, 3)]),
    "acquisition": ("acquisition", [lambda n, a=a: {"AcquisitionNumber": a} for a in (7, 9)]),
    "kernel": ("kernel", [lambda n, k=k: {"ConvolutionKernel": k} for k in ("B30f", "B70f")]),
    # Each slice has a time of its own: the first image at every position makes the first volume.
    "moment": ("moment", [lambda n, t=t: {"AcquisitionTime": f"12{t:02d}{n:02d}"} for t in (10, 11, 12)]),
    "trigger": ("cardiac phase", [lambda n, t=t: {"TriggerTime": 40 * t + 0.1 * n} for t in (0, 1)]),
    "number": ("number", [lambda n, t=t: {"InstanceNumber": 100 * t + n} for t in (1, 2)]),
}


@pytest.mark.parametrize("case", PARTINGS)
def test_images_of_one_position_are_parted_by_what_tells_them_apart(
    tmp_path: Path, draw: Draw, affine: NDArray[np.float64], case: str
) -> None:
    by, changes = PARTINGS[case]
    truth = [draw(seed, (9, 8, 6)) for seed in range(len(changes))]
    folders = [tmp_path / f"part{number}" for number in range(len(changes))]
    for folder, voxels, change in zip(folders, truth, changes, strict=True):
        written(folder, voxels, affine, change)
    sources, reasons = found_in(together(tmp_path, folders))
    assert not reasons
    scans = read_all(sources)
    assert list(scans) == [f"{by.replace(' ', '-')}-{n}" for n in range(1, len(changes) + 1)]
    for number, (scan, voxels) in enumerate(zip(scans.values(), truth, strict=True), start=1):
        np.testing.assert_array_equal(scan.volume.voxels, voxels)
        np.testing.assert_allclose(scan.volume.affine, affine, atol=1e-4)
        meta = scan.metadata
        assert (meta.stack, meta.stacks, meta.stack_by) == (number, len(changes), by)
        in_time = by in {"time", "moment", "cardiac phase", "number", "acquisition"}
        assert meta.t == (number - 1 if in_time else None)
    assert len({one.uri for one in sources}) == len({content_digest(one) for one in sources}) == len(changes)


def test_diffusion_directions_and_repeats_are_volumes_of_their_own(
    tmp_path: Path, draw: Draw, affine: NDArray[np.float64]
) -> None:
    parts = [(0.0, None, 1), (1000.0, [1.0, 0, 0], 2), (1000.0, [0, 1.0, 0], 3), (1000.0, [0, 1.0, 0], 4)]
    truth = {}
    for number, (b, direction, instance) in enumerate(parts):
        voxels = draw(number, (9, 8, 6))
        extra = {"DiffusionGradientOrientation": direction} if direction else {}
        written(
            tmp_path / f"d{number}",
            voxels,
            affine,
            lambda n, b=b, e=extra, i=instance: {"DiffusionBValue": b, "InstanceNumber": 100 * i + n} | e,
        )
        truth[number] = voxels
    sources, _ = found_in(together(tmp_path, [tmp_path / f"d{n}" for n in range(4)]))
    scans = read_all(sources)
    assert list(scans) == [
        "b-value-1",
        "b-value-2+direction-1+number-1",
        "b-value-2+direction-1+number-2",
        "b-value-2+direction-2",
    ]
    assert [scan.metadata.b_value for scan in scans.values()] == [0, 1000, 1000, 1000]
    for scan, number in zip(scans.values(), (0, 2, 3, 1), strict=True):
        np.testing.assert_array_equal(scan.volume.voxels, truth[number])


def test_stacks_of_three_planes_are_three_volumes(tmp_path: Path, draw: Draw, affine: NDArray[np.float64]) -> None:
    planes: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
    for number, plane in enumerate(planes):
        written(tmp_path / plane, draw(number, (9, 8, 6)), affine, lambda n: {}, plane)
    sources, reasons = found_in(together(tmp_path, [tmp_path / plane for plane in planes]))
    scans = read_all(sources)
    assert set(scans) == set(planes)
    assert not reasons
    for number, plane in enumerate(planes):
        np.testing.assert_array_equal(scans[plane].volume.voxels, draw(number, (9, 8, 6)))
        assert scans[plane].metadata.stack_by == "orientation"
        assert scans[plane].geometry.plane == plane


def test_both_knees_side_by_side_are_two_volumes(tmp_path: Path, draw: Draw, affine: NDArray[np.float64]) -> None:
    other = affine.copy()
    other[0, 3] += 150
    for number, place in enumerate((affine, other)):
        written(tmp_path / f"knee{number}", draw(number, (9, 8, 6)), place, lambda n: {}, "sagittal")
        written(tmp_path / f"axial{number}", draw(number, (9, 8, 6)), place, lambda n: {})
    sources, _ = found_in(together(tmp_path, [tmp_path / "axial0", tmp_path / "axial1"]))
    assert len(sources) == 2
    assert {source.stack.by for source in sources if source.stack} == {"side"}
    for source in sources:
        volume = read(source).volume
        number = int(volume.affine[0, 3] > affine[0, 3] + 1)
        np.testing.assert_array_equal(volume.voxels, draw(number, (9, 8, 6)))


def test_a_scout_among_its_series_is_left_out_and_counted(
    tmp_path: Path, draw: Draw, affine: NDArray[np.float64]
) -> None:
    voxels = draw(0, (9, 8, 6))
    written(tmp_path / "scan", voxels, affine, lambda n: {})
    scout = written(tmp_path / "scout", draw(1, (9, 8, 6)), affine, lambda n: {}, "coronal")
    for file in scout[1:]:
        file.unlink()
    sources, reasons = found_in(together(tmp_path, [tmp_path / "scan", tmp_path / "scout"]))
    (source,) = sources
    assert source.stack is None
    np.testing.assert_array_equal(read(source).volume.voxels, voxels)
    assert reasons == {"DICOM image beside its series (of another orientation, size or kind)": 1}


def test_a_localizer_without_the_word_is_left_out_and_counted(
    tmp_path: Path, draw: Draw, affine: NDArray[np.float64]
) -> None:
    planes: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
    for plane in planes:
        for file in written(tmp_path / plane, draw(0, (9, 8, 6)), affine, lambda n: {}, plane)[2:]:
            file.unlink()
    sources, reasons = found_in(together(tmp_path, [tmp_path / plane for plane in planes]))
    assert (sources, reasons) == ([], {"DICOM localizer": 6})


def test_a_cine_of_one_slice_is_refused_once(tmp_path: Path, draw: Draw, affine: NDArray[np.float64]) -> None:
    for phase in range(5):
        files = written(tmp_path / f"p{phase}", draw(phase, (9, 8, 6)), affine, lambda n, p=phase: {"TriggerTime": p})
        for file in files[1:]:
            file.unlink()
    sources, _ = found_in(together(tmp_path, [tmp_path / f"p{phase}" for phase in range(5)]))
    (source,) = sources
    with pytest.raises(ReadError, match="5 images at 1 positions"):
        read(source)


def test_a_series_over_several_folders_is_one_volume(tmp_path: Path, draw: Draw, affine: NDArray[np.float64]) -> None:
    voxels = draw(0, (9, 8, 10))
    files = written(tmp_path / "a", voxels, affine, lambda n: {})
    (tmp_path / "b").mkdir()
    for file in files[5:]:
        shutil.move(file, tmp_path / "b")
    sources, reasons = found_in(tmp_path / "a", tmp_path / "b")
    (source,) = sources
    assert (source.path, len(source.files), source.stack) == (tmp_path, 10, None)
    assert not reasons
    np.testing.assert_array_equal(read(source).volume.voxels, voxels)
    # One slice of the first folder is in the second as well.
    shutil.copy(files[2], tmp_path / "b" / "again")
    (again,), reasons = found_in(tmp_path)
    assert (again.files, reasons) == (source.files, {"copy of a DICOM image": 1})


def test_a_backup_beside_the_original_is_a_volume_of_its_own(
    tmp_path: Path, draw: Draw, affine: NDArray[np.float64]
) -> None:
    written(tmp_path / "a", draw(0, (9, 8, 6)), affine, lambda n: {})
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    sources, reasons = found_in(tmp_path)
    assert [source.path for source in sources] == [tmp_path / "a", tmp_path / "b"]
    assert content_digest(sources[0]) == content_digest(sources[1])
    assert not reasons


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["ORIGINAL", "PRIMARY", "LOCALIZER"], "DICOM localizer"),
        (["DERIVED", "SECONDARY", "SCREEN SAVE"], "DICOM screenshot"),
        (["DERIVED", "SECONDARY", "DOSE_INFO"], "DICOM report image"),
    ],
)
def test_what_an_image_says_it_is_counts(
    tmp_path: Path, draw: Draw, affine: NDArray[np.float64], words: list[str], reason: str
) -> None:
    written(tmp_path / "a", draw(0, (9, 8, 6)), affine, lambda n: {"ImageType": words})
    assert found_in(tmp_path) == ([], {reason: 6})


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        ("88.33", "DICOM structured report"),
        ("88.59", "DICOM key object selection"),
        ("66.4", "DICOM segmentation"),
        ("481.3", "DICOM radiotherapy object"),
        ("11.1", "DICOM presentation state"),
        ("104.1", "DICOM document"),
        ("1.1", "DICOM radiograph"),
        ("12.1", "DICOM angiography"),
        ("7.2", "DICOM secondary capture"),
        ("66", "DICOM registration or raw data"),
        ("9999", "DICOM object that is no volume"),
    ],
)
def test_objects_that_are_no_volume_are_counted_by_kind(
    tmp_path: Path, draw: Draw, affine: NDArray[np.float64], ending: str, reason: str
) -> None:
    change = {"SOPClassUID": f"1.2.840.10008.5.1.4.1.1.{ending}", "ImagePositionPatient": None}
    written(tmp_path / "a", draw(0, (5, 5, 4)), affine, lambda n: change)
    assert found_in(tmp_path) == ([], {reason: 4})


# Enhanced multi-frame files


def enhanced(path: Path, stacks: list[tuple[NDArray[np.int16], Dataset]], affine: NDArray[np.float64]) -> Path:
    """Stacks of one grid as one enhanced MR file, frames shuffled; each stack with functional groups of its own."""
    folder = path.with_name(f"{path.name}.parts")
    frames, pixels = [], []
    for number, (voxels, groups) in enumerate(stacks):
        for file in written(folder / str(number), voxels, affine, lambda n: {}):
            one = pydicom.dcmread(file)
            frame, position = Dataset(), Dataset()
            frame.update(groups)
            position.ImagePositionPatient = one.ImagePositionPatient
            frame.PlanePositionSequence = [position]
            frames.append(frame)
            pixels.append(one.PixelData)
    order = np.random.default_rng(5).permutation(len(frames))
    whole, measures, direction, shared = one, Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, direction.ImageOrientationPatient = one.PixelSpacing, one.ImageOrientationPatient
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [direction]
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(whole, keyword)
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    whole.NumberOfFrames = len(frames)
    whole.SharedFunctionalGroupsSequence = [shared]
    whole.PerFrameFunctionalGroupsSequence = [frames[n] for n in order]
    whole.PixelData = b"".join(pixels[n] for n in order)
    whole.save_as(path)
    shutil.rmtree(folder)
    return path


def groups_of(**attributes: object) -> Dataset:
    """A functional group: attributes by the sequence that holds them, as "Sequence__Keyword"."""
    groups = Dataset()
    for name, value in attributes.items():
        sequence, keyword = name.split("__")
        if sequence not in groups:
            setattr(groups, sequence, [Dataset()])
        setattr(groups[sequence].value[0], keyword, value)
    return groups


def test_an_enhanced_file_of_several_times_and_echoes_is_that_many_volumes(
    tmp_path: Path, draw: Draw, affine: NDArray[np.float64]
) -> None:
    truth = {}
    stacks = []
    for t in (1, 2):
        for te in (3.0, 6.0):
            voxels = draw(len(stacks), (9, 8, 6))
            truth[f"echo-{int(te / 3)}+time-{t}"] = (voxels, te, t - 1)
            stacks.append(
                (
                    voxels,
                    groups_of(MREchoSequence__EffectiveEchoTime=te, FrameContentSequence__TemporalPositionIndex=t),
                )
            )
    file = enhanced(tmp_path / "IM1", stacks, affine)
    sources, reasons = found_in(file)
    assert not reasons
    scans = read_all(sources)
    assert set(scans) == set(truth)
    for name, (voxels, te, t) in truth.items():
        np.testing.assert_array_equal(scans[name].volume.voxels, voxels)
        np.testing.assert_allclose(scans[name].volume.affine, affine, atol=1e-4)
        assert (scans[name].metadata.echo_time_ms, scans[name].metadata.t) == (te, t)
    # One file, four volumes: their bytes are told apart.
    assert len({content_digest(source) for source in sources}) == 4
    assert {source.path for source in sources} == {file}


def test_the_diffusion_direction_of_a_frame_lies_a_sequence_deeper(
    tmp_path: Path, draw: Draw, affine: NDArray[np.float64]
) -> None:
    stacks = []
    for number, vector in enumerate(([1.0, 0, 0], [0, 1.0, 0])):
        groups = groups_of(MRDiffusionSequence__DiffusionBValue=800.0)
        direction = Dataset()
        direction.DiffusionGradientOrientation = vector
        groups.MRDiffusionSequence[0].DiffusionGradientDirectionSequence = [direction]
        stacks.append((draw(number, (9, 8, 6)), groups))
    sources, _ = found_in(enhanced(tmp_path / "IM1", stacks, affine))
    scans = read_all(sources)
    assert list(scans) == ["direction-1", "direction-2"]
    assert {scan.metadata.b_value for scan in scans.values()} == {800}


def test_one_stack_in_one_file_is_one_plain_volume(tmp_path: Path, draw: Draw, affine: NDArray[np.float64]) -> None:
    voxels = draw(0, (9, 8, 6))
    (source,), _ = found_in(enhanced(tmp_path / "IM1", [(voxels, Dataset())], affine))
    assert source.stack is None
    np.testing.assert_array_equal(read(source).volume.voxels, voxels)
