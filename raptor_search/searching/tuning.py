"""How many lists to visit and how many candidates to re-rank: measured on the index at hand, not assumed.

Held-out scans of the archive ask for their neighbours; the truth is the exact search over full embeddings. The
re-rank is exact as well, so that recall after it is the share of the true neighbours among the candidates. Of
the settings whose recall is high enough WITH CONFIDENCE the one that reads the fewest bytes is taken, for filters that
let through all, some and few of the scans: the fewer pass, the less alike are their nearest, and the more candidates
it takes to have them all.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from jaxtyping import Float32, Int64
from numpy.typing import NDArray

from raptor_search.index import Selection, SketchIndex
from raptor_search.scoring import best
from raptor_search.searching.truth import NEIGHBOURS, Truth, passes

__all__ = ["FEW", "Setting", "Tuning", "recall_bound", "shares_for", "tune"]

RECALL_TARGET = 0.99
"""What the lower confidence bound of recall@10 has to reach."""

RECALL_WANTED = 0.997
"""What the mean has to reach as well. Settings are chosen for half a dozen shares, each the first of many that seems
good enough, and 400 other queries have a mean that differs by 0.002: so far above the target they show its bound
too."""

Z = 1.645
"""One-sided 95%."""

RERANK_STEPS = (12, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200, 300, 400, 800)
"""Candidates to try."""

SHORTLIST_STEPS = (15, 20, 30, 50, 100, 200)
"""Candidates that pass a cascade's first stage, to try."""

FEW = 200
"""Scans that pass a filter up to which all are scored: no index saves anything."""

ALL_UP_TO = 2_000
"""Where nothing reaches the target, so many are scored exactly rather than badly."""

NEARLY = 1.1
"""Settings measured for a tenth more than pass will do: the query itself, left out, is no filter."""

READ_WEIGHT = 4
"""What a byte of a vector in the database costs against one of a code in memory."""

CHECKED_BYTES = 8
"""What it costs to pass over a code that the filter does not let through: its id is looked at."""

NOWHERE = 2**62

PrefixScores = Callable[[int, NDArray[np.int64]], NDArray[np.float32]]
"""Scores of some scans against the query of this row, by the first components alone."""


@dataclass(frozen=True)
class Setting:
    """Settings of an index for filters that let a share of the scans through.

    Attributes:
        share: of the indexed scans, above 0 and at most 1.
        nprobe: lists to visit; 0 where there are none.
        rerank: candidates to score; 0 means all.
        shortlist: of those, the ones to score on full vectors, after the first components of all; 0 means all.
        recall: measured recall@10.
        recall_low: its lower 95% confidence bound.
    """

    share: float
    nprobe: int
    rerank: int
    shortlist: int
    recall: float
    recall_low: float


@dataclass(frozen=True)
class Tuning:
    """The settings of an index, by falling share; none where nothing was measured."""

    settings: tuple[Setting, ...] = ()

    @property
    def unfiltered(self) -> Setting | None:
        """The settings where every scan passes."""
        return self.settings[0] if self.settings else None

    def at(self, share: float, nearby: float = 1.0) -> Setting | None:
        """The settings for a filter that lets this share through, and this share of what is near the query.

        A filter may go with likeness, as a site or a sequence does, and let through all that is near a query though it
        lets through little else. So these are the widest of what was measured for the share of all (between two
        shares, of what was for either) and for the share nearby.
        """
        if not self.settings:
            return None
        shares = [setting.share for setting in self.settings]
        place = next((n for n, s in enumerate(shares) if s <= NEARLY * share), len(shares) - 1)
        chosen = {place}
        if share > NEARLY * shares[place]:
            chosen.add(max(0, place - 1))
        if nearby > share:
            chosen.add(max((n for n, s in enumerate(shares) if NEARLY * s >= nearby), default=0))
        return reduce(_wider, (self.settings[n] for n in sorted(chosen)))

    def is_widest(self, share: float) -> bool:
        """Whether `at` gives the same for a filter of this share, whatever it lets through near the query."""
        mine = self.at(share, share)
        return mine is not None and all(
            one.nprobe <= mine.nprobe and 0 < one.rerank <= mine.rerank and one.shortlist == mine.shortlist
            for one in self.settings
            if one.share > share
        )


def _wider(one: Setting, other: Setting) -> Setting:
    """Settings that find what either finds, for the share of the other."""
    if not other.rerank:
        return other
    return Setting(
        share=other.share,
        nprobe=max(one.nprobe, other.nprobe),
        rerank=max(one.rerank, other.rerank) if one.rerank else 0,
        shortlist=max(one.shortlist, other.shortlist) if one.shortlist and other.shortlist else 0,
        recall=min(one.recall, other.recall),
        recall_low=min(one.recall_low, other.recall_low),
    )


def shares_for(volumes: int) -> tuple[float, ...]:
    """The shares to measure: 1, 0.5, 0.3, 0.1 and so on, down to `FEW` scans."""
    if volumes <= 2 * FEW:
        return (1.0,)
    steps = (0.5, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
    return (1.0, *(step for step in steps if step * volumes > 2 * FEW), FEW / volumes)


def recall_bound(recalls: Sequence[float] | NDArray[np.float64], population: int) -> float:
    """The lower 95% confidence bound of a mean recall.

    Neighbours of one query are found or lost together. So the interval is Wilson's for as many INDEPENDENT neighbours
    as would vary as much as the queries do (Korn and Graubard 1998), at least one and at most ten a query; where all
    are found, one a query. It allows for the share of the population that was asked (finite population correction).
    """
    values = np.asarray(recalls, np.float64)
    queries, mean = values.size, float(values.mean())
    unasked = 1 - queries / max(population, queries)
    if unasked == 0:
        return mean
    variance = float(values.var(ddof=1)) if queries > 1 else 0.0
    per_query = min(max(mean * (1 - mean) / variance, 1.0), float(NEIGHBOURS)) if variance > 0 else 1.0
    n = queries * per_query / unasked
    spread = Z * math.sqrt(mean * (1 - mean) / n + Z * Z / (4 * n * n))
    return (mean + Z * Z / (2 * n) - spread) / (1 + Z * Z / n)


def tune(
    index: SketchIndex,
    asking: Int64[np.ndarray, " q"],
    sketches: Float32[np.ndarray, "q dim"],
    truth: Truth,
    *,
    vector_bytes: int,
    prefix_bytes: int = 0,
    prefix_scores: PrefixScores | None = None,
) -> Tuning:
    """The settings that reach the target for the fewest bytes, by share; the widest ones where none does.

    Args:
        index: the one to be published.
        asking: id of each query.
        sketches: unit sketch of each query.
        truth: true neighbours, by share.
        vector_bytes: of a full vector.
        prefix_bytes: of its first components.
        prefix_scores: by which a cascade may be tried; None where the prefix is the whole.
    """
    settings = []
    for share in sorted(truth, reverse=True):
        sweep = _Sweep(index, asking, sketches, truth[share], share, vector_bytes)
        setting = sweep.cheapest()
        if prefix_scores is not None and _is_sure(setting) and setting.rerank:
            setting = sweep.shortened(setting, prefix_bytes, prefix_scores)
        settings.append(setting)
    return Tuning(tuple(settings))


def _is_sure(setting: Setting) -> bool:
    """Whether it reaches the target, and will on other queries."""
    return setting.recall_low >= RECALL_TARGET and setting.recall >= RECALL_WANTED


@dataclass(frozen=True)
class _Sweep:
    """The trial of all settings for one share."""

    index: SketchIndex
    asking: Int64[np.ndarray, " q"]
    sketches: Float32[np.ndarray, "q dim"]
    truth: Sequence[NDArray[np.int64]]
    share: float
    vector_bytes: int

    def cheapest(self) -> Setting:
        chosen, least = None, math.inf
        widest = Setting(self.share, self.index.lists, 0, 0, 0.0, 0.0)
        for nprobe in self._steps():
            scan = self._scan_bytes(nprobe)
            if scan >= least:
                break
            places = self._places(self._answers(nprobe, RERANK_STEPS[-1]))
            for rerank in RERANK_STEPS:
                cost = scan + rerank * self.vector_bytes * READ_WEIGHT
                setting = self._setting(nprobe, rerank, 0, places)
                widest = max(widest, setting, key=lambda s: (s.recall, s.rerank))
                if _is_sure(setting):
                    if cost < least:
                        chosen, least = setting, cost
                    break
        if chosen is None and self.share * self.index.size <= ALL_UP_TO:
            return Setting(self.share, 0, 0, 0, 1.0, 1.0)
        return chosen or widest

    def shortened(self, setting: Setting, prefix_bytes: int, prefix_scores: PrefixScores) -> Setting:
        """The same with a cascade, where one reads less and still reaches the target."""
        answers = self._answers(setting.nprobe, setting.rerank)
        ranked = []
        for row, answer in enumerate(answers):
            ranked.append(answer[best(answer, prefix_scores(row, answer), answer.size)])
        places = self._places(ranked)
        for shortlist in SHORTLIST_STEPS:
            bytes_read = setting.rerank * prefix_bytes + shortlist * self.vector_bytes
            if bytes_read >= setting.rerank * self.vector_bytes:
                break
            shorter = self._setting(setting.nprobe, setting.rerank, shortlist, places)
            if _is_sure(shorter):
                return shorter
        return setting

    def _steps(self) -> Iterator[int]:
        lists = self.index.lists
        yield from (n for p in range(2, 17) for n in (2**p, 3 * 2 ** (p - 1)) if n < lists)
        yield lists

    def _scan_bytes(self, nprobe: int) -> float:
        visited = self.index.size * (nprobe / self.index.lists if self.index.lists else 1.0)
        return visited * (self.share * self.index.code_bytes + (CHECKED_BYTES if self.share < 1 else 0))

    def _answers(self, nprobe: int, rerank: int) -> list[NDArray[np.int64]]:
        selection = Selection()
        if self.share < 1:
            ids = self.index.ids
            selection = Selection.of(ids[passes(ids, self.share)])
        found = self.index.search(self.sketches, rerank + 1, nprobe=nprobe, selection=selection)
        return [answer[answer != own][:rerank] for answer, own in zip(found, self.asking, strict=True)]

    def _places(self, answers: Sequence[NDArray[np.int64]]) -> list[NDArray[np.intp]]:
        """Where in its answer each true neighbour of a query stands; beyond every answer where it does not."""
        places = []
        for true, answer in zip(self.truth, answers, strict=True):
            if true.size:
                is_found = np.append(answer, -1) == true[:, np.newaxis]  # an answer may be empty
                places.append(np.where(is_found.any(axis=1), is_found.argmax(axis=1), NOWHERE))
        return places

    def _setting(self, nprobe: int, rerank: int, shortlist: int, places: Sequence[NDArray[np.intp]]) -> Setting:
        recalls = np.array([(place < (shortlist or rerank)).mean() for place in places] or [1.0])
        low = recall_bound(recalls, self.index.size)
        return Setting(self.share, nprobe, rerank, shortlist, float(recalls.mean()), low)
