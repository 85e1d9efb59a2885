"""What a child process adds to reading: the CPU time of both processes over that of reading without one.

Each repeat reads the file once here and once through a `ReadingPool`, in turns, so that what else the machine does
meets both; the ratio is of neighbours, and the median of the ratios is told with its quartiles. The CPU clock of the
child counts all that it does, in nanoseconds. Both sides read, hash, choose the window, draw the preview, sum every
voxel and free them, and both are warm: `WARMING` readings of each are not counted, after which decoders are imported
and memory that is reused has been used (blocks by the child, freed pages by NumPy). That is the state of a run over an
archive; what the first reading of a fresh child costs, imports of decoders included, is told apart.
"""

import statistics
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from raptor_search.errors import UsageError
from raptor_search.intensity import choose_rule
from raptor_search.preview import three_planes
from raptor_search.readers import Source
from raptor_search.readers.pool import ReadingPool
from raptor_search.readers.reading import read_with_digest

__all__ = ["Overhead", "child_overhead"]

WARMING = 2

FRESH = 3
"""Children of which the first reading is timed."""


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
        first: median of those of a fresh child's first reading.
        megabytes: that the file has on disk.
    """

    median: float
    low: float
    high: float
    of_least: float
    here: float
    there: float
    first: float
    megabytes: float


def child_overhead(source: Source, repeats: int) -> Overhead:
    """Measure `repeats` pairs in a warm process, and the first readings of fresh ones."""
    here, there, first = [], [], []
    for _ in range(FRESH):
        with started_pool() as pool:
            first.append(read_there(pool, source))
    with started_pool() as pool:
        for _ in range(WARMING + repeats):
            started = time.process_time()
            read_here(source)
            here.append(time.process_time() - started)
            there.append(read_there(pool, source))
    del here[:WARMING], there[:WARMING]
    ratios = [b / a - 1 for a, b in zip(here, there, strict=True)]
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Overhead(
        median,
        low,
        high,
        of_least=min(there) / min(here) - 1,
        here=statistics.median(here),
        there=statistics.median(there),
        first=statistics.median(first),
        megabytes=source.size / 1e6,
    )


def read_here(source: Source) -> None:
    """All that a child does, without one."""
    scan, _ = read_with_digest(source)
    three_planes(scan.volume, rule=choose_rule(scan.volume.voxels))
    scan.volume.voxels.sum()


def read_there(pool: ReadingPool, source: Source) -> float:
    """CPU seconds of both processes for one reading."""
    started, before = time.process_time(), child_seconds(pool)
    pool.read(source).scan.volume.voxels.sum()
    return time.process_time() - started + child_seconds(pool) - before


def started_pool() -> ReadingPool:
    """A pool whose process has answered, but has read nothing."""
    pool = ReadingPool()
    with suppress(UsageError):
        pool.identity(Path("/no/such/file"))
    return pool


def child_seconds(pool: ReadingPool) -> float:
    """CPU seconds that the pool's process has used so far."""
    process = pool._idle[0]._process
    assert process is not None
    return time.clock_gettime(((~process.pid) << 3) | 2)  # the kernel's name for the CPU clock of another process
