"""How often the first hit is right on the demo archive, for the packaged encoders and two baselines.

    python benchmarks/retrieval.py [--archive DIR] [--cache DIR] [--quick] [--json FILE]

Figures, all leave-one-out, with the score of the search (cosine after subtracting the mean of the candidates):

    source      the first hit is derived from the same source volume
    sequence    the first hit among scans of OTHER sources has the same sequence (T1w, T2w, ..., CT)
    modality    the same with the same DICOM modality (MR, PT, NM, CT)
    sequence*   the first hit among scans of OTHER PEOPLE has the same sequence: sources that average the same
    modality*   people (four of ICBM's 152 adults, two of FIL's 12) are one patient, and its own scans are left out

A scan counts only where a right answer is among its candidates. Baselines: the raw voxels of the volume fitted to a
cube of 16, and a ViT-S/14 of random weights at the same layer. "random pick" is what drawing the hit would give.

Intervals are at 95% (bias-corrected, accelerated bootstrap) and resample whole sources: copies of one volume share
its anatomy and contrast and are right or wrong together, so a scan is no independent evidence. Differences
are paired: both methods are scored on the same resampled sources. With so few sources such intervals are rough, and
they treat sources of the same people as independent. The interval over scans beside them takes these sources
as given; it says how much the random derivation alone could move the figure.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from numpy.typing import NDArray

from indexer.demo import DemoArchive, build_demo
from indexer.demo.plan import DemoScan
from raptor_search.embedding import embed
from raptor_search.encoders import ENCODERS, Encoder, load_encoder, spec_for
from raptor_search.encoders.dinov2 import Dinov2
from raptor_search.encoders.torchvision_guard import guard_torchvision
from raptor_search.intensity import choose_rule, normalise
from raptor_search.intervals import Interval, subject_intervals
from raptor_search.readers import content_digest, read_file
from raptor_search.resampling import axis_weights
from raptor_search.scoring import centred, scores
from raptor_search.volume import Volume

ENCODED = ("efficientnet-lite0", "vits14-packaged")
BASELINES = ("raw-16", "random-vits14")
QUICK = ("efficientnet-lite0", "raw-16")
QUICK_SESSIONS = 2

RAW_SIDE = 16
RANDOM_SEED = 0
RESAMPLES = 10_000

Vectors = Float[np.ndarray, "n d"]
Embedder = Callable[[Volume], Float[np.ndarray, " d"]]


@dataclass(frozen=True)
class Figure:
    """One question: which scans may be found, and which hits are right.

    Attributes:
        name: as the table has it.
        own: scans of one value here are never each other's candidates.
        truth: a hit of the query's own value is right.
    """

    name: str
    own: NDArray[np.str_]
    truth: NDArray[np.str_]

    @property
    def allowed(self) -> NDArray[np.bool_]:
        """[query, candidate]: whether it may be found."""
        return (self.own[:, None] != self.own) & ~np.eye(len(self.own), dtype=bool)

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Queries with a right answer among their candidates."""
        return (self.allowed & (self.truth[:, None] == self.truth)).any(axis=1)

    @property
    def by_chance(self) -> float:
        """The share of right answers of a hit drawn at random from the candidates."""
        share = (self.allowed & (self.truth[:, None] == self.truth)).sum(axis=1) / self.allowed.sum(axis=1)
        return float(share[self.counted].mean())

    def right(self, vectors: Vectors) -> NDArray[np.float64]:
        """1 where the first hit is right, 0 where it is wrong, NaN where the scan does not count."""
        result = np.full(len(vectors), np.nan)
        for query in np.flatnonzero(self.counted):
            candidates = np.flatnonzero(self.allowed[query])
            mean = vectors[candidates].mean(axis=0, dtype=np.float64).astype(np.float32)
            found = scores(centred(vectors[query : query + 1], mean)[0], vectors[candidates], mean)
            result[query] = self.truth[candidates[found.argmax()]] == self.truth[query]
        return result


def figures(scans: list[DemoScan]) -> list[Figure]:
    numbers = np.array([str(n) for n in range(len(scans))])
    source, people, sequence, modality = (
        np.array([getattr(scan.source, field) for scan in scans])
        for field in ("name", "people", "sequence", "modality")
    )
    return [
        Figure("source", numbers, source),
        Figure("sequence", source, sequence),
        Figure("modality", source, modality),
        Figure("sequence*", people, sequence),
        Figure("modality*", people, modality),
    ]


def embedders(names: tuple[str, ...]) -> Iterator[tuple[str, str, Embedder]]:
    """Name, what decides its numbers, and the function, loaded one at a time."""
    for name in names:
        if name == "raw-16":
            yield name, f"raw-{RAW_SIDE}", raw_voxels
            continue
        encoder = random_vit() if name == "random-vits14" else load_encoder(name)
        spec = spec_for(encoder)
        yield name, f"{name}-{spec.fingerprint[:16]}", lambda v, e=encoder, s=spec: embed(v, e, s).stored


def raw_voxels(volume: Volume) -> Float32[np.ndarray, " 4096"]:
    """The volume fitted to a cube of 16, aspect kept, under the same intensity rule as the embeddings."""
    voxels = normalise(volume.voxels, choose_rule(volume.voxels))
    extents = [n * mm for n, mm in zip(voxels.shape, volume.spacing, strict=True)]
    weights = [
        axis_weights(n, RAW_SIDE, covered=max(extents) / mm) for n, mm in zip(voxels.shape, extents, strict=True)
    ]
    return np.einsum("ijk,ri,aj,sk->ras", voxels, *weights, optimize=True).astype(np.float32).ravel()


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


def vectors_of(demo: DemoArchive, scans: list[DemoScan], key: str, embedder: Embedder, cache: Path) -> Vectors:
    """One row a scan, from the cache where the same bytes were embedded before."""
    rows = []
    for number, scan in enumerate(scans, start=1):
        source, read = read_file(demo.path(scan))
        file = cache / key / f"{content_digest(source).hex()[:32]}.npy"
        if not file.is_file():
            print(f"  {key}: {number} of {len(scans)}", flush=True)
            file.parent.mkdir(parents=True, exist_ok=True)
            written = file.with_suffix(".new")
            with written.open("wb") as stream:
                np.save(stream, embedder(read.volume))
            written.replace(file)
        rows.append(np.load(file, allow_pickle=False))
    return np.stack(rows).astype(np.float32)


def interval(right: NDArray[np.float64], clusters: NDArray[np.str_], *, difference: bool = False) -> Interval:
    """The mean of `right` over the scans that count, with its interval over clusters.

    Args:
        right: NaN where a scan does not count; of differences, from -1 to 1.
        clusters: what is resampled.
        difference: whether `right` holds differences; they are moved to [0, 1] and back.
    """
    counts = np.isfinite(right)
    names, index = np.unique(clusters[counts], return_inverse=True)
    values = (right[counts] + 1) / 2 if difference else right[counts]
    sums, sizes = np.bincount(index, values), np.bincount(index)

    def mean(weights: Float[np.ndarray, "b s"]) -> Float[np.ndarray, "b 1"]:
        return ((weights @ sums) / (weights @ sizes))[:, None]

    (found,) = subject_intervals(mean, len(names), evidence=[len(names)], resamples=RESAMPLES, seed=0)
    return Interval(*(2 * end - 1 for end in (found.value, found.low, found.high))) if difference else found


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as scratch:
        demo = build_demo(arguments.archive or Path(scratch) / "demo")
        cache = arguments.cache or Path(scratch) / "cache"
        scans = [scan for scan in demo.scans if not arguments.quick or scan.session <= QUICK_SESSIONS]
        methods = QUICK if arguments.quick else ENCODED + BASELINES
        vectors = {name: vectors_of(demo, scans, key, run, cache) for name, key, run in embedders(methods)}
    report = evaluate(scans, vectors)
    print_report(report, scans)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def evaluate(scans: list[DemoScan], vectors: dict[str, Vectors]) -> list[dict[str, object]]:
    """One entry a figure: each method's rate, and each encoder's paired difference to each baseline."""
    sources = np.array([scan.source.name for scan in scans])
    each = np.array([str(n) for n in range(len(scans))])
    report: list[dict[str, object]] = []
    for figure in figures(scans):
        right = {name: figure.right(rows) for name, rows in vectors.items()}
        pairs = [(one, base) for one in ENCODED for base in BASELINES if one in right and base in right]
        report.append(
            {
                "figure": figure.name,
                "scans": int(figure.counted.sum()),
                "sources": len(set(sources[figure.counted])),
                "random_pick": figure.by_chance,
                "rates": {name: asdict(interval(values, sources)) for name, values in right.items()},
                "by_source": {
                    name: {str(s): float(values[sources == s].mean()) for s in dict.fromkeys(sources[figure.counted])}
                    for name, values in right.items()
                },
                "differences": {
                    f"{one} - {base}": {
                        "over_sources": asdict(interval(right[one] - right[base], sources, difference=True)),
                        "over_scans": asdict(interval(right[one] - right[base], each, difference=True)),
                    }
                    for one, base in pairs
                },
            }
        )
    return report


def print_report(report, scans):
    print(json.dumps(report, indent=1))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, help="folder of the demo, made where it is absent (default: temporary)")
    parser.add_argument("--cache", type=Path, help="folder that keeps the vectors (default: temporary)")
    parser.add_argument("--quick", action="store_true", help="two scans a source, one encoder, one baseline")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
