"""What a child process adds to reading: the CPU time of both processes over that of reading without one.

Each repeat reads the file once here and once through a `ReadingPool`, in turns, so that what else the machine does
meets both; the ratio is of neighbours, and the median of the ratios is told with its quartiles. The CPU clock of the
child counts all that it does, in nanoseconds. Both sides read, hash, choose the window, draw the preview, sum every
voxel and free them.
"""

import statistics
import time
from dataclasses import dataclass

from raptor_search.intensity import choose_rule
from raptor_search.preview import three_planes
from raptor_search.readers import Source
from raptor_search.readers.pool import ReadingPool
from raptor_search.readers.reading import read_with_digest

__all__ = ["Overhead", "child_overhead"]


@dataclass(frozen=True)
class Overhead:
    """CPU seconds over those of reading without a child, less one.

    Attributes:
        median: of the repeats.
        low: first quartile.
        high: third quartile.
        of_least: by the least of each side instead: what is left where nothing else costs a side anything.
        here: median of the CPU seconds without a child.
        there: median of those with one.
        megabytes: that the file has on disk.
    """

    median: float
    low: float
    high: float
    of_least: float
    here: float
    there: float
    megabytes: float


def child_overhead(source: Source, repeats: int) -> Overhead:
    """Measure `repeats` pairs, after one of each that is not counted."""
    here, there = [], []
    with ReadingPool() as pool:
        for number in range(repeats + 1):
            started = time.process_time()
            read_here(source)
            alone = time.process_time() - started
            started, before = time.process_time(), child_seconds(pool) if number else 0.0
            pool.read(source).scan.volume.voxels.sum()
            both = time.process_time() - started + child_seconds(pool) - before
            if number:
                here.append(alone)
                there.append(both)
    ratios = [b / a - 1 for a, b in zip(here, there, strict=True)]
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    least = min(there) / min(here) - 1
    return Overhead(median, low, high, least, statistics.median(here), statistics.median(there), source.size / 1e6)


def read_here(source: Source) -> None:
    """All that a child does, without one."""
    scan, _ = read_with_digest(source)
    three_planes(scan.volume, rule=choose_rule(scan.volume.voxels))
    scan.volume.voxels.sum()


def child_seconds(pool: ReadingPool) -> float:
    """CPU seconds that the pool's process has used so far."""
    process = pool._idle[0]._process
    assert process is not None
    return time.clock_gettime(((~process.pid) << 3) | 2)  # the kernel's name for the CPU clock of another process
