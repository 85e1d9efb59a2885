import dataclasses
import os
import pickle
import signal

import numpy as np
import pytest

from indexer.devices import Devices, Order
from raptor_search.encoders import load_encoder, spec_for
from raptor_search.engine import Engine
from raptor_search.errors import RaptorError, ReadError, UsageError
from raptor_search.intensity import choose_rule
from raptor_search.specs import PRESETS
from raptor_search.volume import Volume

FEW = dataclasses.replace(PRESETS["default"], slices_per_plane=2)
NUMBER = 7


def drawn(seed):
    """A noise volume of int16 voxels, its axes in memory turned so that strides are no C order."""
    rng = np.random.default_rng(seed)
    voxels = rng.integers(0, 900, (12, 10 + seed % 3, 9), dtype=np.int16).transpose(2, 1, 0)
    return Volume(voxels=voxels, affine=np.diag([1.0, 1.2, 2.0, 1.0]), format="nifti")


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("efficientnet-lite0")


@pytest.fixture(scope="module")
def spec(encoder):
    return spec_for(encoder, FEW, components=5)


@pytest.fixture(scope="module")
def pair(spec):
    with Devices(Order(spec=spec, keep_tokens=True), ["cpu", "cpu"]) as devices:
        yield devices


def test_two_processes_make_what_one_engine_makes(pair, encoder, spec):
    volumes = {n: drawn(n) for n in range(NUMBER)}
    items = [(n, volume, choose_rule(volume.voxels)) for n, volume in volumes.items()]
    alone = dict(Engine(encoder, spec, keep_tokens=True).embed(items))
    split = dict(pair.embed(items))
    assert split.keys() == alone.keys()
    for n, embedding in split.items():
        np.testing.assert_allclose(embedding.values, alone[n].values, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(embedding.tokens, alone[n].tokens, rtol=1e-5, atol=1e-6)
        assert embedding.spec == spec
        assert embedding.intensity_rule == alone[n].intensity_rule


def test_volumes_are_asked_for_only_as_they_are_worked_off(pair):
    asked = []

    def items():
        for n in range(20):
            asked.append(n)
            yield n, drawn(n), None

    results = pair.embed(items())
    next(results)
    assert len(asked) <= 9  # four a device, and the one that made room
    assert len(list(results)) == 19


def test_a_device_that_is_not_there_is_said_in_one_sentence(spec):
    with Devices(Order(spec=spec), ["cuda:7"]) as devices, pytest.raises(RaptorError, match="cuda:7") as told:
        list(devices.embed([(0, drawn(0), None)]))
    assert "\n" not in told.value.message


def test_a_process_that_dies_is_named(spec):
    with Devices(Order(spec=spec), ["cpu"]) as devices:
        os.kill(devices._processes[0].pid, signal.SIGKILL)
        with pytest.raises(RaptorError, match="process of cpu ended"):
            list(devices.embed([(0, drawn(0), None)]))


def test_no_device_is_refused(spec):
    with pytest.raises(UsageError, match="expected at least one"):
        Devices(Order(spec=spec), [])


def test_a_read_error_crosses_the_border_of_processes():
    error = pickle.loads(pickle.dumps(ReadError("not-finite", "its tokens are not finite")))
    assert (error.code, error.message) == ("not-finite", "its tokens are not finite")
