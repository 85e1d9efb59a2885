"""Figures of a ranked list: is what comes back of the query's own class?

A query's list is the whole gallery, best first. A query counts only where the gallery holds a scan of its class.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

__all__ = ["CUTS", "FIGURES", "class_means", "random_lists", "ranked_relevance", "retrieval_figures"]

CUTS = (1, 3, 5, 10)

RANDOM_LISTS = 5000
"""Lists in random order that a chance figure is the mean of, at least: its own error is below 0.01 then."""

FIGURES = (
    *(f"P@{k}" for k in CUTS),
    *(f"recall@{k}" for k in CUTS),
    *(f"nDCG@{k}" for k in CUTS),
    "mAP",
    *(f"mAP@{k}" for k in CUTS),
    *(f"mAP@{k} by hits" for k in CUTS),
    "MRR",
)
"""The figures, in the order of `retrieval_figures`:

P@k              share of the first k that is relevant; a shorter list counts as k
recall@k         share of the relevant that is among the first k
nDCG@k           discounted gain, 1 / log2(rank + 1) a relevant scan, over that of the best order
                 (Jarvelin and Kekalainen 2002, ACM TOIS 20(4))
mAP              mean over the relevant of the precision at their rank, over the whole list: the standard definition
mAP@k            the same over the first k, divided by the number of relevant scans that k places can hold
mAP@k by hits    divided by the hits within the first k instead, as some papers do: optimistic, one hit at rank 1
                 gives 1 however many are missed
MRR              1 / rank of the first relevant scan
"""


def ranked_relevance(
    scores: Float[np.ndarray, "q m"],
    query_codes: Int[np.ndarray, " q"],
    codes: Int[np.ndarray, " m"],
    barred: Bool[np.ndarray, "q m"] | None = None,
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether each place of each list is relevant; equal scores keep the order of the gallery.

    Args:
        scores: of each query against the gallery.
        query_codes: class of each query.
        codes: class of each scan of the gallery.
        barred: scans that a query may not find, such as its own subject's; they close the list and are not relevant.

    Returns:
        (queries, places) best first, and how many places each list has.
    """
    allowed = np.ones(scores.shape, bool) if barred is None else ~barred
    order = np.argsort(-np.where(allowed, scores, -np.inf), axis=1, kind="stable")
    relevant = (query_codes[:, None] == codes) & allowed
    return np.take_along_axis(relevant, order, axis=1), allowed.sum(axis=1)


def retrieval_figures(relevant: Bool[np.ndarray, "q m"]) -> Float[np.ndarray, "q f"]:
    """Every figure of `FIGURES` for every query; NaN throughout where nothing is relevant."""
    m = relevant.shape[1]
    hits = relevant.astype(np.float64)
    total = hits.sum(axis=1)
    found = np.cumsum(hits, axis=1)
    precision = hits * found / np.arange(1, m + 1)
    summed = np.cumsum(precision, axis=1)
    discount = 1 / np.log2(np.arange(2, max(m, *CUTS) + 2))
    gain, best = np.cumsum(hits * discount[:m], axis=1), np.cumsum(discount)
    columns: list[NDArray[np.float64]] = []
    with np.errstate(invalid="ignore", divide="ignore"):
        places = [min(k, m) - 1 for k in CUTS]
        columns += [found[:, place] / k for k, place in zip(CUTS, places, strict=True)]
        columns += [found[:, place] / total for place in places]
        ideal = [np.minimum(total, k).astype(np.int64) for k in CUTS]
        columns += [gain[:, p] / best[np.maximum(i, 1) - 1] for p, i in zip(places, ideal, strict=True)]
        columns.append(summed[:, -1] / total)
        columns += [summed[:, p] / np.minimum(total, k) for k, p in zip(CUTS, places, strict=True)]
        columns += [np.where(found[:, p] > 0, summed[:, p] / found[:, p], 0.0) for p in places]
        columns.append(1 / (hits.argmax(axis=1) + 1.0))
    figures = np.stack(columns, axis=1)
    figures[total == 0] = np.nan
    return figures


def random_lists(
    relevant: Bool[np.ndarray, "q m"], lengths: Int[np.ndarray, " q"], *, draws: int | None = None, seed: int = 0
) -> Float[np.ndarray, "q f"]:
    """What lists in random order score, mean over seeded draws; places beyond a list's length stay where they are.

    Without a number of draws there are 20, or as many as make 5,000 lists.
    """
    rng = np.random.default_rng(seed)
    draws = max(20, -(-RANDOM_LISTS // max(1, len(relevant)))) if draws is None else draws
    beyond = np.arange(relevant.shape[1]) >= lengths[:, None]
    total = np.zeros((len(relevant), len(FIGURES)))
    for _ in range(draws):
        order = np.argsort(rng.random(relevant.shape) + beyond, axis=1)
        total += retrieval_figures(np.take_along_axis(relevant, order, axis=1))
    return total / draws


def class_means(
    figures: Float[np.ndarray, "q f"], query_codes: Int[np.ndarray, " q"], classes: Sequence[str]
) -> Float[np.ndarray, "c f"]:
    """The mean of each figure over the queries of each class; NaN where none counts."""
    means = np.full((len(classes), figures.shape[1]), np.nan)
    for code in range(len(classes)):
        rows = figures[(query_codes == code) & np.isfinite(figures[:, 0])]
        if len(rows):
            means[code] = rows.mean(axis=0)
    return means
