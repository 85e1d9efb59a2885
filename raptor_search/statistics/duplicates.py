"""Scans that are the same scan: equal bytes, or embeddings so alike that no other scan could have them.

A page of ten hits that are one scan ten times tells nothing. Collapsed, the best of each kind stands for the others.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float32

from raptor_search.catalog import Ids

__all__ = ["DUPLICATE_SCORE", "collapsed"]

DUPLICATE_SCORE = 0.9999
"""Score from which two scans count as one: a file saved again in another format, not a second scan of a person."""

STEP = 64
"""Scans of a ranking looked at at a time."""


def collapsed(
    ranking: Ids,
    wanted: int,
    contents_of: Callable[[Ids], Sequence[str | None]],
    units_of: Callable[[Ids], tuple[Ids, Float32[np.ndarray, "n length"]]],
) -> dict[int, list[int]]:
    """The first `wanted` scans of a ranking that are no copies of one before, each with its copies up to the last.

    Args:
        ranking: ids, best first.
        wanted: scans to keep.
        contents_of: what tells equal bytes, in the order asked; None for a scan that is gone.
        units_of: the ids that are there, in the order asked, and their centred unit vectors.
    """
    copies: dict[int, list[int]] = {}
    first_of: dict[str, int] = {}
    units: list[Float32[np.ndarray, " length"]] = []
    for start in range(0, ranking.size, STEP):
        there, vectors = units_of(ranking[start : start + STEP])
        for volume_id, content, unit in zip(there.tolist(), contents_of(there), vectors, strict=True):
            if content is None:
                continue
            first = first_of.get(content)
            if first is None:
                first = next(
                    (i for i, u in zip(copies, units, strict=True) if np.vecdot(u, unit) >= DUPLICATE_SCORE), None
                )
            if first is not None:
                copies[first].append(volume_id)
            elif len(copies) == wanted:
                return copies
            else:
                copies[volume_id] = []
                first_of[content] = volume_id
                units.append(unit)
    return copies
