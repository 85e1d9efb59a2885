"""The paper's protocol on a MedMNIST-format file derived from real volumes: which encoder, K and centring tell most.

    python benchmarks/quality.py [--quick] [--cache DIR] [--encoders NAME ...] [--slices N] [--vit-slices N] [--json F]

204 volumes of 64^3 voxels, 17 derived from each of 12 real ones (see indexer/demo/sources.py): moved, bent, shaded,
made noisy, and with bright spheres planted as the label: none, left, right, both. Whole sources, and all sources of
the same people, lie on one side of the file's train / val / test split, so that a class is told in anatomy and
contrast never seen in training (test: one man's T1w, pydeface's T1w, a chest CT). The file is written, read and
embedded as `raptor index` would.

Each row is one encoder, K and centring: logistic regression as in the paper (penalty chosen on val) and kNN (k and
temperature chosen within train), test part, 95% intervals over derived volumes: they take the sources as given, and
say nothing about other sources. Beside them raw voxels (16^3) and a ViT-S/14 of random weights. K = 10 is the first
ten of the hundred components. Below it, what the default score and number of neighbours are chosen by: see
`quality_defaults.py`.

Derived scans support regression tests and the choice of defaults, never a claim of accuracy.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray
from quality_defaults import measured, print_choices

from indexer.demo.derive import antialias, derive
from indexer.demo.sources import SOURCES, DemoSource, load
from raptor_search.embedding import embed
from raptor_search.encoders import ENCODERS, Encoder, load_encoder, spec_for
from raptor_search.encoders.dinov2 import Dinov2
from raptor_search.encoders.torchvision_guard import guard_torchvision
from raptor_search.intensity import choose_rule, normalise
from raptor_search.readers.npz import npz_labels, npz_splits, read_npz
from raptor_search.resampling import axis_weights
from raptor_search.specs import PRESETS
from raptor_search.statistics.assessment import Evaluation, evaluate_classes
from raptor_search.volume import Volume

SIDE = 64
EACH = 17
QUICK_EACH = 4
RAW_SIDE = 16
CLASSES = ("none", "left", "right", "both")
RADII = (7.0, 9.0)
"""Voxels of 64: spheres of about a quarter of the field of view across, well above what averaging over slices loses."""

BRIGHTER = 0.35
"""Added at a sphere's centre, as a share of the window."""

SPLIT_OF = {
    "FIL, 12 people": "val",
    "one man (BrainWeb's)": "test",
    "pydeface's, number not said": "test",
    "one person (3D Slicer's sample)": "test",
}
"""By the people that a source shows; all others train."""

PACKAGED = ("efficientnet-lite0", "vits14-packaged")
METHODS = (*PACKAGED, "raw-16", "random-vits14")
COMPONENTS = (10, 100)
RANDOM_SEED = 0
SHOWN = {"auroc": "AUROC", "balanced_accuracy": "balanced accuracy"}
LISTS = {"map": "mAP", "precision_at_1": "P@1"}


def build_npz(path: Path, each: int, seed: int = 0) -> None:
    """Write the data set in MedMNIST's layout; one seed gives the same arrays."""
    images: dict[str, list[NDArray[np.uint8]]] = {name: [] for name in ("train", "val", "test")}
    labels: dict[str, list[int]] = {name: [] for name in images}
    for number, source in enumerate(SOURCES):
        volume = antialias(load(source))
        for copy in range(each):
            rng = np.random.default_rng([seed, number, copy])
            code = copy % len(CLASSES)
            split = SPLIT_OF.get(source.people, "train")
            images[split].append(planted(cube(derive(volume, rng, modality=source.modality), source), code, rng))
            labels[split].append(code)
    arrays: dict[str, Any] = {}
    for split, some in images.items():
        arrays[f"{split}_images"] = np.stack(some)
        arrays[f"{split}_labels"] = np.array(labels[split], np.uint8)[:, None]
    np.savez_compressed(path, **arrays)


def cube(volume: Volume, source: DemoSource) -> Float32[np.ndarray, "64 64 64"]:
    """The volume fitted to a cube of 64, aspect kept, 0 to 1: CT within -400 to 800 HU, the rest up to 99.5%."""
    voxels = volume.voxels.astype(np.float32)
    low, high = (-400.0, 800.0) if source.modality == "CT" else (0.0, float(np.percentile(voxels, 99.5)))
    voxels = np.clip((voxels - low) / (high - low), 0, 1)
    return fitted(voxels, volume.spacing, SIDE)


def fitted(voxels: NDArray[np.float32], spacing: tuple[float, float, float], side: int) -> Float32[np.ndarray, "s s s"]:
    extents = [n * mm for n, mm in zip(voxels.shape, spacing, strict=True)]
    weights = [axis_weights(n, side, covered=max(extents) / mm) for n, mm in zip(voxels.shape, extents, strict=True)]
    found: NDArray[np.float32] = np.einsum("ijk,ri,aj,sk->ras", voxels, *weights, optimize=True).astype(np.float32)
    return found


def planted(voxels: Float32[np.ndarray, "n n n"], code: int, rng: np.random.Generator) -> UInt8[np.ndarray, "n n n"]:
    """The cube with its spheres as bytes: at a quarter and three quarters of the first axis, moved a little."""
    grid = np.stack(np.meshgrid(*(np.arange(SIDE),) * 3, indexing="ij"))
    out = voxels.copy()
    for side, wanted in ((0.33, (1, 3)), (0.67, (2, 3))):
        # Drawn whether it is planted or not: the other choices do not follow from the class.
        centre = np.array([side, 0.5, 0.5]) * SIDE + rng.uniform(-3, 3, 3)
        radius = rng.uniform(*RADII)
        if code in wanted:
            distance = np.sqrt(((grid - centre[:, None, None, None]) ** 2).sum(axis=0))
            out += BRIGHTER * np.clip(radius - distance, 0, 1).astype(np.float32)
    grey: NDArray[np.uint8] = np.clip(out * 255, 0, 255).round().astype(np.uint8)
    return grey


def people_of(each: int, split: str) -> list[str]:
    """The people that each scan of a split shows, in the order of the file."""
    names = [source.people for source in SOURCES if SPLIT_OF.get(source.people, "train") == split]
    return [name for name in names for _ in range(each)]


def members(path: Path) -> list[str]:
    return [f"{split}_{n}" for split, count in npz_splits(path).items() for n in range(count)]


def sets_of(
    path: Path, names: Sequence[str], cache: Path, slices: dict[str, int]
) -> Iterator[tuple[str, NDArray[np.float16], tuple[int, ...] | None]]:
    """Name, vectors of all members, and their shape [plane, K, token] where they are embeddings."""
    for name in names:
        if name == "raw-16":
            rows = [raw_voxels(read_npz(path, member)) for member in members(path)]
            yield name, np.stack(rows).astype(np.float16), None
            continue
        encoder = random_vit() if name == "random-vits14" else load_encoder(name)
        spec = spec_for(encoder, replace(PRESETS["default"], slices_per_plane=slices[name]))
        folder = cache / f"{name}-{spec.fingerprint[:16]}"
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for member in members(path):
            file = folder / f"{member}.npy"
            if not file.is_file():
                written = file.with_suffix(f".{os.getpid()}")
                with written.open("wb") as stream:
                    np.save(stream, embed(read_npz(path, member), encoder, spec).stored)
                written.replace(file)
                print(f"  {name}: {member}", flush=True)
            rows.append(np.load(file, allow_pickle=False))
        yield name, np.stack(rows), spec.shape


def raw_voxels(volume: Volume) -> Float32[np.ndarray, " 4096"]:
    return fitted(normalise(volume.voxels, choose_rule(volume.voxels)), volume.spacing, RAW_SIDE).ravel()


def random_vit() -> Encoder:
    """The packaged ViT's architecture as transformers draws it before training, read at the same layer."""
    guard_torchvision()
    from transformers import Dinov2Config, Dinov2Model

    card = replace(ENCODERS["vits14-packaged"], name="random-vits14")
    config = Dinov2Config(hidden_size=card.dim, num_hidden_layers=card.layers, num_attention_heads=6, image_size=518)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        tensors = Dinov2Model(config).state_dict()
    name = f"random-{RANDOM_SEED}"
    return Dinov2(card, tensors, layer=card.default_layer, weights_sha256=name, device=torch.device("cpu"))


def rows_of(
    name: str,
    vectors: NDArray[np.float16],
    shape: tuple[int, ...] | None,
    labels: Sequence[str],
    splits: Sequence[str],
) -> Iterator[dict[str, Any]]:
    """One row a K and centring, with the figures of both methods."""
    for components in COMPONENTS if shape else (0,):
        some = vectors
        if shape and components < shape[1]:
            some = vectors.reshape(len(vectors), *shape)[:, :, :components].reshape(len(vectors), -1)
        for is_centred in (True, False):
            found = evaluate_classes(
                {name: some}, labels, splits=splits, is_centred=is_centred, with_curve=False, name="label"
            )
            yield row(name, components, is_centred, found)


def row(name: str, components: int, is_centred: bool, found: Evaluation) -> dict[str, Any]:
    result: dict[str, Any] = {"encoder": name, "k_components": components or None, "centred": is_centred}
    for method in found.methods:
        prefix = "" if method.method == "logistic" else "knn_"
        for key, figure in SHOWN.items():
            one = method.figure(figure)
            result |= {f"{prefix}{key}": one.value, f"{prefix}{key}_low": one.low, f"{prefix}{key}_high": one.high}
        if method.method == "knn":
            result["knn_setting"] = method.settings[0]
    lists = {one.name: one for one in found.vectors[0].retrieval}
    for key, figure in LISTS.items():
        one = lists[figure]
        result |= {key: one.value, f"{key}_low": one.low, f"{key}_high": one.high}
    return result


def print_row(line: dict[str, Any]) -> None:
    keys = ("auroc", "balanced_accuracy", "knn_auroc", "knn_balanced_accuracy", "map", "precision_at_1")
    figures = (f"{line[k]:.2f} [{line[f'{k}_low']:.2f}, {line[f'{k}_high']:.2f}]" for k in keys)
    centred = "yes" if line["centred"] else "no"
    print(f"{line['encoder']:20}{line['k_components'] or '-':>4} {centred:8}", *(f"{f:>19}" for f in figures), end="")
    print(f"  {line['knn_setting']}", flush=True)


def main() -> None:
    arguments = _arguments()
    each = QUICK_EACH if arguments.quick else EACH
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        cache = (arguments.cache or Path(scratch)) / f"{each}-each"
        cache.mkdir(parents=True, exist_ok=True)
        path = cache / "derivedmnist3d_64.npz"
        if not path.is_file():
            part = path.with_name("part.npz")
            build_npz(part, each)
            part.replace(path)
        labels = [npz_labels(path, member)["label"] for member in members(path)]
        splits = [member.partition("_")[0] for member in members(path)]
        slices = {
            name: (arguments.vit_slices or arguments.slices) if "vit" in name else arguments.slices for name in METHODS
        }
        taken = ", ".join(f"{name} {slices[name]}" for name in arguments.encoders if name != "raw-16")
        print(f"{len(labels)} volumes derived from {len(SOURCES)} real ones; test part, 95% intervals")
        print(f"slices a plane: {taken or '-'}\n", flush=True)
        heads = ("AUROC", "balanced accuracy", "kNN AUROC", "kNN bal. accuracy", "mAP", "P@1")
        print(f"{'encoder':20}{'K':>4} {'centred':8}", *(f"{head:>19}" for head in heads), " kNN chose")
        codes = np.array([int(label) for label in labels])
        learned = np.array([split != "test" for split in splits])
        people = [*people_of(each, "train"), *people_of(each, "val")]
        choices = {}
        for name, vectors, shape in sets_of(path, arguments.encoders, cache, slices):
            for line in rows_of(name, vectors, shape, labels, splits):
                lines.append(line)
                print_row(line)
            choices[name] = measured(name, vectors[learned], codes[learned], people)
        print_choices(choices, PACKAGED)
    if arguments.json:
        arguments.json.write_text(json.dumps(lines, indent=2) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keeps file and vectors (default: temporary)")
    parser.add_argument("--encoders", nargs="+", default=list(METHODS), choices=METHODS, help="default: all")
    parser.add_argument("--slices", type=int, default=32, help="slices a plane (default: 32, as the default preset)")
    parser.add_argument("--vit-slices", type=int, help="of the two ViTs, which cost several times as much")
    parser.add_argument("--quick", action="store_true", help="48 volumes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a row an encoder, K and centring there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
