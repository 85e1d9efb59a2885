"""The preset `official` against vectors that the published script itself computed (tests/data/official)."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from torch import Tensor

from raptor_search.embedding import Encoder, embed
from raptor_search.encoders import load_encoder, spec_for
from raptor_search.readers import read_file
from raptor_search.volume import Volume

DATA = Path(__file__).parent / "data" / "official"
NAMES = ["npz_train_0", "npz_train_1", "t1_brain"]


class Remembering:
    """An encoder that runs each distinct batch once, so that K = 100 and K = 10 share the work."""

    def __init__(self, encoder: Encoder) -> None:
        self.card, self.layer, self.precision = encoder.card, encoder.layer, encoder.precision
        self.weights_sha256, self.device = encoder.weights_sha256, encoder.device
        self._encoder = encoder
        self._seen: dict[bytes, Tensor] = {}

    def encode(self, slices: Tensor) -> Tensor:
        key = slices.numpy().tobytes()
        if key not in self._seen:
            self._seen[key] = self._encoder.encode(slices)
        return self._seen[key]


@pytest.fixture(scope="module")
def encoder() -> Remembering:
    return Remembering(load_encoder("vits14-packaged", layer="last"))


def scan(name: str, tmp_path: Path) -> Volume:
    """The golden volumes; the brain is first rewritten as LPS with its axes permuted, which must not matter."""
    if name.startswith("npz"):
        with np.load(DATA / "medmnist_style.npz") as archive:
            return Volume(voxels=archive["train_images"][int(name[-1])], affine=np.eye(4), format="npz", oriented=False)
    image = nibabel.load(DATA / "t1_brain.nii.gz")
    lps = np.array([[0, -1.5, 0, 60], [-1, 0, 0, 50], [0, 0, 2, -30], [0, 0, 0, 1]])
    path = tmp_path / "lps.nii.gz"
    nibabel.Nifti1Image(np.asarray(image.dataobj), lps).to_filename(path)
    volume = read_file(path)[1].volume
    assert nibabel.aff2axcodes(volume.affine) == ("R", "A", "S")
    assert not np.array_equal(volume.voxels, volume.stored)
    return volume


@pytest.mark.parametrize("name", NAMES)
def test_official_vectors_equal_the_published_scripts(name: str, encoder: Remembering, tmp_path: Path) -> None:
    volume = scan(name, tmp_path)
    with np.load(DATA / "expected.npz") as archive:
        for components in (100, 10):
            got = embed(volume, encoder, spec_for(encoder, "official", components=components)).vector
            want = archive[f"{name}_k{components}"].ravel()
            assert got.shape == want.shape == (3 * components * 257,)
            assert got @ want / (np.linalg.norm(got) * np.linalg.norm(want)) >= 0.99999
            assert np.abs(got - want).max() <= 1e-3 * np.abs(want).max()
