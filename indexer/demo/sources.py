"""The real volumes that the demo is derived from: where they come from, what they are, whose they are.

Pinned packages carry them; only the packages' data files are used and none of them is imported. Most are
templates, averages of many healthy people, and several average the same people: `people` says so.

Looked at and left out, all from spm-runtime: `toolbox/OldNorm/{T1,T2,PD}.nii` and `toolbox/FieldMap/T1.nii`, which
are `canonical/avg152{T1,T2,PD}.nii` smoothed by 8 mm (correlation .9999 once those are smoothed too), so copies and
no other sources; tissue maps and label maps, which are not scans.
"""

import hashlib
import importlib.util
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from raptor_search.errors import UsageError
from raptor_search.readers import read_file
from raptor_search.volume import Volume

__all__ = ["SOURCES", "DemoSource", "load"]

PACKAGES = {
    "nilearn": "nilearn==0.14.1",
    "pydeface": "pydeface==2.1.0",
    "slicerio": "slicerio==1.4.0",
    "spm_runtime": "spm-runtime==25.1.2.post4",
}
"""Module name to the requirement that installs it."""

SPM_ARCHIVE = "_spm/_spm.ctf"
SPM_ROOT = "fsroot/_spm/cleaned/spm/"
"""The compiled SPM is a zip; its templates lie under this folder of it."""

ICBM_LICENCE = "ICBM 152: free use, copy and redistribution with its copyright notice (McConnell BIC, MNI)"
GPL = "GPL-2.0, with SPM"
ICBM = "ICBM, 152 healthy adults"


@dataclass(frozen=True, kw_only=True)
class DemoSource:
    """One real volume inside a package.

    Attributes:
        name: unique; the value of the demo's `source` label.
        package: module that carries it.
        path: the file in the package's folder.
        member: name inside `path` where that is a zip, else "".
        sha256: of the volume's own bytes (the member's, in a zip), hex.
        licence: of the package or the volume.
        modality: DICOM code.
        sequence: T1w, T2w, PDw, EPI, PET, SPECT, TX (transmission) or CT.
        body_part: as BodyPartExamined has it.
        people: whose scans it shows; equal where sources average the same people.
        note: what else an honest reading of the demo needs.
        shows: "head" with scalp and skull, "brain" alone, or "chest".
    """

    name: str
    package: str
    path: str
    member: str = ""
    sha256: str
    licence: str
    modality: str
    sequence: str
    body_part: str = "HEAD"
    people: str
    note: str
    shows: str = "head"


def _spm(
    name: str,
    member: str,
    sha256: str,
    sequence: str,
    people: str,
    note: str,
    *,
    modality: str = "MR",
    shows: str = "head",
) -> DemoSource:
    return DemoSource(
        name=name,
        package="spm_runtime",
        path=SPM_ARCHIVE,
        member=SPM_ROOT + member,
        sha256=sha256,
        licence=GPL,
        modality=modality,
        sequence=sequence,
        people=people,
        note=note,
        shows=shows,
    )


SOURCES: tuple[DemoSource, ...] = (
    DemoSource(
        name="icbm-nonlinear-t1",
        package="nilearn",
        path="datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz",
        sha256="421a10e872fd6cadae7f61d358dffbcc1795a497d61ee76c5dda2503e1a1e9e6",
        licence=ICBM_LICENCE,
        modality="MR",
        sequence="T1w",
        people=ICBM,
        note="non-linear average (2009a, symmetric), brain extracted; the people of the linear averages below",
        shows="brain",
    ),
    _spm(
        "icbm-linear-t1",
        "canonical/avg152T1.nii",
        "213557a43d4387243c51bf208b3a672ae2eb68091f7ffe47c28a9f69d9e3d9fd",
        "T1w",
        ICBM,
        "linear average",
    ),
    _spm(
        "icbm-linear-t2",
        "canonical/avg152T2.nii",
        "6466e5f99fbfd73ee0da5a34bf6c6ade22eea4399bcb9bb002ab5831d925e877",
        "T2w",
        ICBM,
        "linear average; one dual-echo acquisition with icbm-linear-pd",
    ),
    _spm(
        "icbm-linear-pd",
        "canonical/avg152PD.nii",
        "8450df557b6694dc9bb0d7b18ffe4b8df2182a1a9a9d3e0a4b76f58192e69f46",
        "PDw",
        ICBM,
        "linear average; one dual-echo acquisition with icbm-linear-t2",
    ),
    _spm(
        "mni305-t1",
        "canonical/avg305T1.nii",
        "2eebd107022ca64c2d3928aa1d7904c22651a2cc27c0d98da0eeba535c4340b9",
        "T1w",
        "MNI, 305 healthy adults",
        "linear average of other people than ICBM's, mostly",
    ),
    _spm(
        "single-subject-t1",
        "canonical/single_subj_T1.nii",
        "6e58e76e05eb5fef5d2260f6c762a57b4947a571d47f2479d892d6d29b20ced1",
        "T1w",
        "one man (BrainWeb's)",
        "one person scanned many times",
    ),
    DemoSource(
        name="pydeface-mean-t1",
        package="pydeface",
        path="data/mean_reg2mean.nii.gz",
        sha256="fdc13571d66293f9919648cd8de9a7b3491b12175e09336353d2c9ce0466ecb6",
        licence="MIT",
        modality="MR",
        sequence="T1w",
        people="pydeface's, number not said",
        note="mean of registered heads, with face and neck",
    ),
    _spm(
        "fil-epi",
        "toolbox/OldNorm/EPI.nii",
        "752a7f673b78ea6335f2a95aeaec11267b6d0a9f8bb2e783c73226fd81829d22",
        "EPI",
        "FIL, 13 people",
        "mean of functional images, smoothed by 8 mm; other people than fil-pet's",
        shows="brain",
    ),
    _spm(
        "fil-pet",
        "toolbox/OldNorm/PET.nii",
        "649d5c7777af0a0e5b00452084a436cd897cb7ce34a1b9db82f5b9ed38a564df",
        "PET",
        "FIL, 12 people",
        "mean of oxygen-15 water images, smoothed by 8 mm",
        modality="PT",
        shows="brain",
    ),
    _spm(
        "fil-transmission",
        "toolbox/OldNorm/Transm.nii",
        "a062c40b13a280b440a3ec32bc8bb1940155d5dd17b824f2a1112454e4ce3559",
        "TX",
        "FIL, 12 people",
        "mean transmission image of 11 of fil-pet's 12 people",
        modality="PT",
    ),
    _spm(
        "barnden-spect",
        "toolbox/OldNorm/SPECT.nii",
        "4ffd08b0ad02625011263e668389f01fd17079ab7d6645f6dd9b57042d4fd8e8",
        "SPECT",
        "Barnden, 90 healthy adults",
        "mean of Tc-99m HMPAO images (blood flow, as fil-pet)",
        modality="NM",
        shows="brain",
    ),
    DemoSource(
        name="slicer-chest-ct",
        package="slicerio",
        path="data/CTChest4.nrrd",
        sha256="439ee098e50ee8e3254bd80ed8bcf7f8d006da4cab35be7a65b61ccb30dd6a3d",
        licence="MIT",
        modality="CT",
        sequence="CT",
        body_part="CHEST",
        people="one person (3D Slicer's sample)",
        note="34 slices of 10 mm",
        shows="chest",
    ),
)
"""Twelve volumes: five of T1w, one of every other sequence."""


def load(source: DemoSource) -> Volume:
    """The source as a volume.

    Raises:
        UsageError: its package is not installed, or carries another file than the pinned one.
    """
    path = _folder(source.package) / source.path
    if not path.is_file():
        raise UsageError(f"{source.name}: {source.package} does not carry {source.path}; {_install(source.package)}")
    if not source.member:
        _check(source, path.read_bytes())
        return read_file(path)[1].volume
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        content = archive.read(source.member)
        _check(source, content)
        unpacked = Path(folder) / Path(source.member).name
        unpacked.write_bytes(content)
        return read_file(unpacked)[1].volume


def _folder(package: str) -> Path:
    """Where the package lies, found without running any of its code."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(f"{package}: the package with the demo's scans is not here; {_install(package)}")
    return Path(spec.submodule_search_locations[0])


def _check(source: DemoSource, content: bytes) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != source.sha256:
        raise UsageError(
            f"{source.name}: SHA-256 {found[:12]}, expected {source.sha256[:12]}; {_install(source.package)}"
        )


def _install(package: str) -> str:
    return f"install it with `pip install --no-deps --force-reinstall {PACKAGES[package]}`"
