"""Writes `raptor_search/encoders/reference_means/`: mean tokens of the real volumes that the packages carry.

    python benchmarks/reference_means.py [ENCODER...]

Scores are centred on these while an archive has fewer than 30 volumes.
"""

import sys
import time
from pathlib import Path

import numpy as np

from indexer.demo.sources import SOURCES, load
from raptor_search.embedding import token_means
from raptor_search.encoders import load_encoder, spec_for
from raptor_search.reference import pack_reference

ENCODERS = ["efficientnet-lite0", "vits14-packaged"]

FOLDER = Path(__file__).parents[1] / "raptor_search" / "encoders" / "reference_means"


def main(names: list[str]) -> None:
    volumes = {source.name: load(source) for source in SOURCES}
    FOLDER.mkdir(exist_ok=True)
    print(f"{'encoder':20} {'volumes':>7} {'CPU-s a volume':>14} {'bytes':>9}")
    for name in names:
        encoder = load_encoder(name)
        spec = spec_for(encoder)
        start = time.process_time()
        means = [token_means(volume, encoder, spec.recipe)[0] for volume in volumes.values()]
        seconds = (time.process_time() - start) / len(means)
        content = pack_reference(np.stack(means).mean(axis=0, dtype=np.float64), spec, list(volumes))
        (FOLDER / f"{name}.npz").write_bytes(content)
        print(f"{name:20} {len(means):7} {seconds:14.2f} {len(content):9}")


if __name__ == "__main__":
    main(sys.argv[1:] or ENCODERS)
