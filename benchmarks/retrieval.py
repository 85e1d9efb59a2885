"""How often the first hit is right on the demo archive, for the packaged encoders and two baselines.

    python benchmarks/retrieval.py [--archive DIR] [--cache DIR] [--sessions N] [--more] [--quick] [--json FILE]

Figures, all leave-one-out, with the score of the search (cosine after subtracting the mean of the candidates):

    source      the first hit is derived from the same source volume
    sequence    the first hit among scans of OTHER sources has the same sequence (T1w, T2w, ..., CT)
    modality    the same with the same DICOM modality (MR, PT, NM, CT)
    sequence*   the first hit among scans of OTHER PEOPLE has the same sequence: sources that average the same
    modality*   people (four of ICBM's 152 adults, two of FIL's 12) are one patient, and its own scans are left out

A scan counts only where a right answer is among its candidates. Baselines: the raw voxels of the volume fitted to a
cube of 16, and a ViT-S/14 of random weights at the same layer. "random pick" is what drawing the hit would give.
`--more` adds scans derived from two real volumes that the demo does not have (`retrieval_more.py`).

Intervals are at 95% (bias-corrected, accelerated bootstrap) and resample whole sources: copies of one volume share
its anatomy and contrast and are right or wrong together, so a scan is no independent evidence. Differences
are paired: both methods are scored on the same resampled sources. With so few sources such intervals are rough, and
they treat sources of the same people as independent. The interval over scans beside them takes these sources
as given; it says how much the random derivation alone could move the figure.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Num
from numpy.typing import NDArray

from indexer.demo import DemoArchive, DemoScan, build_demo
from indexer.demo.plan import SESSIONS
from raptor_search.embedding import embed
from raptor_search.encoders import ENCODERS, Encoder, load_encoder, spec_for
from raptor_search.encoders.dinov2 import Dinov2
from raptor_search.encoders.torchvision_guard import guard_torchvision
from raptor_search.intensity import choose_rule, normalise
from raptor_search.readers import content_digest, read_file
from raptor_search.resampling import axis_weights
from raptor_search.scoring import centred, scores
from raptor_search.statistics.intervals import Interval, subject_intervals
from raptor_search.volume import Volume

ENCODED = ("efficientnet-lite0", "vits14-packaged")
BASELINES = ("raw-16", "random-vits14")
QUICK = ("efficientnet-lite0", "raw-16")
QUICK_SESSIONS = 2

RAW_SIDE = 16
RANDOM_SEED = 0
RESAMPLES = 10_000

Embedder = Callable[[Volume], Num[np.ndarray, " d"]]


@dataclass(frozen=True)
class Figure:
    """One question: which scans may be found, and which hits are right.

    Attributes:
        name: as the table has it.
        own: scans of one value here are never each other's candidates; a scan is never its own.
        truth: a hit of the query's own value is right.
    """

    name: str
    own: NDArray[np.str_]
    truth: NDArray[np.str_]

    @property
    def allowed(self) -> NDArray[np.bool_]:
        """[query, candidate]: whether it may be found."""
        others: NDArray[np.bool_] = self.own[:, None] != self.own
        return others

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Queries with a right answer among their candidates."""
        some: NDArray[np.bool_] = (self.allowed & (self.truth[:, None] == self.truth)).any(axis=1)
        return some

    @property
    def by_chance(self) -> float:
        """The share of right answers of a hit drawn at random from the candidates."""
        share = (self.allowed & (self.truth[:, None] == self.truth)).sum(axis=1) / self.allowed.sum(axis=1)
        return float(share[self.counted].mean())

    def right(self, vectors: Float32[np.ndarray, "n d"]) -> NDArray[np.float64]:
        """1 where the first hit is right, 0 where it is wrong, NaN where the scan does not count."""
        result = np.full(len(vectors), np.nan)
        for query in np.flatnonzero(self.counted):
            candidates = np.flatnonzero(self.allowed[query])
            mean = vectors[candidates].mean(axis=0, dtype=np.float64).astype(np.float32)
            found = scores(centred(vectors[query : query + 1], mean)[0], vectors[candidates], mean)
            result[query] = self.truth[candidates[found.argmax()]] == self.truth[query]
        return result


@dataclass(frozen=True)
class Difference:
    """A paired difference of two methods, with its interval over sources and over scans."""

    over_sources: Interval
    over_scans: Interval


@dataclass(frozen=True)
class Result:
    """What was found for one figure.

    Attributes:
        figure: its name.
        scans: how many count.
        sources: of these scans.
        random_pick: the share that a hit drawn at random would get right.
        rates: by method.
        by_source: by method and source, without intervals.
        differences: by "encoder - baseline".
    """

    figure: str
    scans: int
    sources: int
    random_pick: float
    rates: dict[str, Interval]
    by_source: dict[str, dict[str, float]]
    differences: dict[str, Difference]


def figures(scans: Sequence[DemoScan]) -> list[Figure]:
    """The five questions, in the order of the module's docstring."""
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


def embedders(names: Sequence[str]) -> Iterator[tuple[str, str, Embedder]]:
    """Name, what decides its numbers, and the function, loaded one at a time."""
    for name in names:
        if name == "raw-16":
            yield name, name, raw_voxels
        else:
            encoder = random_vit() if name == "random-vits14" else load_encoder(name)
            yield name, f"{name}-{spec_for(encoder).fingerprint[:16]}", as_stored(encoder)


def as_stored(encoder: Encoder) -> Embedder:
    """The embedding under the default preset, in float16 as the archive keeps it."""
    spec = spec_for(encoder)
    return lambda volume: embed(volume, encoder, spec).stored


def raw_voxels(volume: Volume) -> Float32[np.ndarray, " 4096"]:
    """The volume fitted to a cube of 16, aspect kept, under the same intensity rule as the embeddings."""
    voxels = normalise(volume.voxels, choose_rule(volume.voxels))
    extents = [n * mm for n, mm in zip(voxels.shape, volume.spacing, strict=True)]
    weights = [
        axis_weights(n, RAW_SIDE, covered=max(extents) / mm) for n, mm in zip(voxels.shape, extents, strict=True)
    ]
    cube: NDArray[np.float32] = np.einsum("ijk,ri,aj,sk->ras", voxels, *weights, optimize=True).astype(np.float32)
    return cube.ravel()


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


def vectors_of(
    demo: DemoArchive, scans: Sequence[DemoScan], key: str, embedder: Embedder, cache: Path
) -> Float32[np.ndarray, "n d"]:
    """One row a scan, from the cache where the same bytes were embedded before."""
    rows = []
    for number, scan in enumerate(scans, start=1):
        source, read = read_file(demo.path(scan))
        file = cache / key / f"{content_digest(source).hex()[:32]}.npy"
        if not file.is_file():
            print(f"  {key}: {number} of {len(scans)}", flush=True)
            file.parent.mkdir(parents=True, exist_ok=True)
            written = file.with_suffix(f".{os.getpid()}")
            with written.open("wb") as stream:
                np.save(stream, embedder(read.volume))
            written.replace(file)
        rows.append(np.load(file, allow_pickle=False))
    return np.stack(rows).astype(np.float32)


def interval(right: NDArray[np.float64], clusters: NDArray[np.str_], *, difference: bool = False) -> Interval:
    """The mean of `right` over the scans that count, with its interval over clusters.

    Args:
        right: NaN where a scan does not count; from -1 to 1 where it holds differences.
        clusters: what is resampled.
        difference: whether it does; they are moved to [0, 1], where the intervals are defined, and back.
    """
    counts = np.isfinite(right)
    names, index = np.unique(clusters[counts], return_inverse=True)
    values = (right[counts] + 1) / 2 if difference else right[counts]
    sums, sizes = np.bincount(index, values), np.bincount(index)

    def mean(weights: Float[np.ndarray, "b s"]) -> Float[np.ndarray, "b 1"]:
        found: NDArray[np.float64] = ((weights @ sums) / (weights @ sizes))[:, None]
        return found

    (found,) = subject_intervals(mean, len(names), evidence=[len(names)], resamples=RESAMPLES, seed=0)
    return Interval(*(2 * end - 1 for end in (found.value, found.low, found.high))) if difference else found


def evaluate(scans: Sequence[DemoScan], vectors: dict[str, Float32[np.ndarray, "n d"]]) -> list[Result]:
    """Every figure: each method's rate, and each encoder's paired difference to each baseline."""
    sources = np.array([scan.source.name for scan in scans])
    each = np.array([str(n) for n in range(len(scans))])
    pairs = [(one, base) for one in ENCODED for base in BASELINES if one in vectors and base in vectors]
    results = []
    for figure in figures(scans):
        right = {name: figure.right(rows) for name, rows in vectors.items()}
        counted = list(dict.fromkeys(sources[figure.counted].tolist()))
        differences = {f"{one} - {base}": right[one] - right[base] for one, base in pairs}
        results.append(
            Result(
                figure=figure.name,
                scans=int(figure.counted.sum()),
                sources=len(counted),
                random_pick=figure.by_chance,
                rates={name: interval(values, sources) for name, values in right.items()},
                by_source={
                    name: {source: float(values[sources == source].mean()) for source in counted}
                    for name, values in right.items()
                },
                differences={
                    pair: Difference(interval(d, sources, difference=True), interval(d, each, difference=True))
                    for pair, d in differences.items()
                },
            )
        )
    return results


def print_report(results: Sequence[Result], scans: Sequence[DemoScan]) -> None:
    """Two tables: the rates, and the paired differences."""
    sources, people = len({s.source.name for s in scans}), len({s.source.people for s in scans})
    print(f"\n{len(scans)} scans derived from {sources} real volumes of {people} groups of people; 95% intervals\n")
    methods = list(results[0].rates)
    print(f"{'first hit, same':16}{'scans':>6}{'sources':>8}{'random pick':>12}", *(f"{m:>20}" for m in methods))
    for one in results:
        rates = (f"{_number(r.value)} [{_number(r.low)}, {_number(r.high)}]" for r in one.rates.values())
        print(
            f"{one.figure:16}{one.scans:6}{one.sources:8}{_number(one.random_pick):>12}", *(f"{r:>20}" for r in rates)
        )
    print(f"\n{'first hit, same':16}{'difference':38}{'value':>6}{'over sources':>18}{'over scans':>18}")
    for one in results:
        for pair, found in one.differences.items():
            ends = (f"[{_signed(i.low)}, {_signed(i.high)}]" for i in (found.over_sources, found.over_scans))
            print(f"{one.figure:16}{pair:38}{_signed(found.over_sources.value):>6}", *(f"{e:>17}" for e in ends))
    print("\n* among other people's scans only. Intervals and units: see the head of this file.")


def _number(value: float) -> str:
    return f"{value:.2f}".removeprefix("0") if value < 0.995 else "1.0"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("0.", ".", 1)


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as scratch:
        demo = build_demo(arguments.archive or Path(scratch) / "demo")
        sessions = QUICK_SESSIONS if arguments.quick else arguments.sessions
        scans = [scan for scan in _scans(demo, more=arguments.more) if scan.session <= sessions]
        methods = QUICK if arguments.quick else ENCODED + BASELINES
        cache = arguments.cache or Path(scratch) / "cache"
        vectors = {name: vectors_of(demo, scans, key, run, cache) for name, key, run in embedders(methods)}
    results = evaluate(scans, vectors)
    print_report(results, scans)
    if arguments.json:
        content = [asdict(one) for one in results]
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _scans(demo: DemoArchive, *, more: bool) -> list[DemoScan]:
    if not more:
        return list(demo.scans)
    # A neighbour of the script: found where it runs as one, not where a test imports its arithmetic.
    from retrieval_more import more_scans

    return [*demo.scans, *more_scans(demo)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, metavar="DIR", help="the demo, made where absent (default: temporary)")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keeps the vectors (default: temporary)")
    parser.add_argument("--sessions", type=int, default=SESSIONS, help="scans taken of each source (default: all)")
    parser.add_argument("--more", action="store_true", help="add two real volumes that the demo does not have")
    parser.add_argument("--quick", action="store_true", help="two scans a source, one encoder, one baseline")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
