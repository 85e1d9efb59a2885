"""One query out of several: what the user likes pulls it, what they do not pushes it away.

Source: Rocchio 1971; the weights are those of Manning, Raghavan and Schuetze, "Introduction to Information Retrieval",
section 9.1.1: 1 for the query, 0.75 for the mean of the liked, -0.15 for the mean of the others. The arithmetic is done
on centred unit vectors, where directions mean something: raw ones all point the same way.
"""

import numpy as np
from jaxtyping import Float, Float32

from raptor_search.scoring import centred, widened

__all__ = ["LIKED", "UNLIKED", "combined"]

LIKED = 0.75
UNLIKED = 0.15


def combined(
    query: Float[np.ndarray, " length"],
    liked: Float[np.ndarray, "a length"],
    unliked: Float[np.ndarray, "b length"],
    mean: Float32[np.ndarray, " m"],
) -> Float32[np.ndarray, " length"]:
    """The raw embedding whose centred direction is the combination; the query itself where there are no examples.

    Args:
        query: raw embedding.
        liked: raw embeddings of positive examples, perhaps none.
        unliked: of negative ones.
        mean: that scores are centred on; without entries nothing is subtracted.
    """
    direction = centred(query[np.newaxis], mean)[0]
    for examples, weight in ((liked, LIKED), (unliked, -UNLIKED)):
        if len(examples):
            direction = direction + weight * centred(examples, mean).mean(axis=0)
    raw = widened(query)
    # As far from the mean as the query is: float32 then keeps as many digits of what is left after centring.
    apart = float(np.linalg.norm(raw - mean if mean.size else raw))
    length = float(np.linalg.norm(direction)) or 1.0
    away: Float32[np.ndarray, " length"] = (direction * (apart / length)).astype(np.float32)
    return away + mean if mean.size else away
