"""Another K or seed without embedding again: the mean tokens that were kept, projected anew."""

import dataclasses
from collections.abc import Callable

from raptor_search.catalog import Catalog, StoredSpec
from raptor_search.errors import QueryError
from raptor_search.projection import gaussian_matrix, project
from raptor_search.specs import EmbeddingSpec

__all__ = ["reproject", "reprojected"]

BLOCK = 32
"""Volumes whose tokens are in memory at a time: 50 MB."""

Step = Callable[[str, int, int], None]
"""Hears what is done, how much of it, and of how much."""


def reprojected(spec: EmbeddingSpec, *, components: int | None, seed: int | None) -> EmbeddingSpec:
    """The spec with another K, all of it kept, or another seed; None leaves one as it is.

    Raises:
        SpecError: a value out of range.
        QueryError: nothing differs.
    """
    drawn = spec.components_drawn if components is None else components
    other = dataclasses.replace(
        spec, components_drawn=drawn, components_kept=drawn, seed=spec.seed if seed is None else seed
    )
    if other == spec:
        raise QueryError("nothing to project anew: give --components or --seed another value than the archive's")
    return other


def reproject(catalog: Catalog, source: StoredSpec, target: StoredSpec, *, progress: Step) -> int:
    """Give every volume of `source` its vector under `target`; those that have it are left as they are.

    Tokens are kept in float16: the vectors differ from newly embedded ones as those of two devices do.

    Args:
        catalog: open for writing.
        source: under which mean tokens were kept.
        target: from `reprojected`.
        progress: hears how many are done.

    Returns:
        How many volumes were given a vector.

    Raises:
        QueryError: a volume of the source has no mean tokens; nothing is written.
    """
    with_tokens = set(catalog.with_tokens(source.id).tolist())
    everything = catalog.ids(source.id).tolist()
    without = [volume_id for volume_id in everything if volume_id not in with_tokens]
    if without or not everything:
        raise QueryError(
            f"{len(without)} of the {len(everything)} scans under spec {source.fingerprint[:12]} have no mean tokens: "
            "index into a new --home with --keep-tokens"
        )
    done = set(catalog.ids(target.id).tolist())
    todo = [volume_id for volume_id in everything if volume_id not in done]
    rules = catalog.intensity_rules(source.id)
    for start in range(0, len(todo), BLOCK):
        progress("Projecting", start, len(todo))
        block = todo[start : start + BLOCK]
        for volume_id, means in zip(block, catalog.token_means(block, source.id), strict=True):
            vector = project(means, gaussian_matrix(means.shape[2], target.spec)).reshape(-1)
            catalog.add_embedding(volume_id, target.id, vector, rules[volume_id])
    progress("Projecting", len(todo), len(todo))
    return len(todo)
