"""How a score stands among those of unrelated scans, in words: on a card, beside a comparison, in the record."""

from app.querying import Query
from raptor_search.search import Hit, SearchResult
from raptor_search.searching.background import least_percentile

__all__ = ["WEAK", "above_pairs", "marks", "stands_out"]

WEAK = "does not stand out"
"""What marks a hit that does not."""

MAX_PERCENTILE = 100.0
BELOW_ALL = 99.9
"""What is written of a percentile that rounding alone would make the greatest."""


def above_pairs(percentile: float) -> str:
    """How a score stands among pairs of different patients; not "100.0%", which some of them may still be above."""
    if percentile >= MAX_PERCENTILE:
        return "above all unrelated pairs"
    return f"above {min(percentile, BELOW_ALL):.1f}% of unrelated pairs"


def stands_out(result: SearchResult, hit: Hit) -> bool:
    """Whether it is more alike than unrelated scans are, by the rule that the best hit is judged by.

    Where that is not known it is not denied.
    """
    return hit.percentile is None or hit.percentile >= least_percentile(result.passed)


def marks(query: Query, result: SearchResult, hit: Hit) -> list[str]:
    """What must not be missed about a hit."""
    found = ["same bytes as the query"] if hit.duplicate else []
    own = query.question.patient_key
    if own is not None and own in (hit.record.patient_key, hit.record.subject_key):
        found.append("same patient")
    if not stands_out(result, hit):
        found.append(WEAK)
    if hit.copies:
        found.append(f"stands for its equals: {', '.join(f'case {case}' for case in hit.copies)}")
    return found
