"""Which of some scans stand for them: where a search for more of their kind begins."""

from collections.abc import Sequence

import numpy as np

from raptor_search.catalog import Catalog, Ids, StoredSpec
from raptor_search.errors import QueryError
from raptor_search.scoring import centred
from raptor_search.searching.surveying import prefix_of

__all__ = ["SAMPLE", "typical"]

SAMPLE = 500
"""Scans, evenly taken, among which the most typical one is looked for."""


def typical(catalog: Catalog, stored: StoredSpec, ids: Sequence[int] | Ids, *, count: int) -> list[int]:
    """The most typical scan of some, then others of them, evenly taken; `count` at most.

    The most typical one is the medoid under cosine distance: among unit vectors, the one most along their sum. It is
    sought by the first 10 components, a smaller Raptor in its own right.

    Raises:
        QueryError: none of them is embedded under the spec.
    """
    chosen = np.asarray(ids, np.int64)[_evenly(len(ids), SAMPLE)]
    found, vectors = catalog.found_prefixes(chosen, stored.id)
    if not found.size:
        raise QueryError(f"none of {len(ids)} scans is embedded any more: reload the page")
    serving = catalog.serving(stored.id)
    mean = np.empty(0, np.float32) if serving is None else serving[1].mean
    units = centred(vectors, prefix_of(mean, stored.spec))
    first = int(found[int((units @ units.sum(axis=0)).argmax())])
    others = found[found != first]
    return [first, *others[_evenly(len(others), count - 1)].tolist()]


def _evenly(n: int, count: int) -> Ids:
    return np.arange(n) if n <= count else np.linspace(0, n - 1, count).round().astype(np.int64)
