"""Gathering: every slice once, in order, in batches of one size."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from raptor_search.engine.batching import Gatherer


def slices(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None, None].expand(-1, 2, 2)


def test_a_batch_runs_over_planes_and_owners_by_hand() -> None:
    gatherer: Gatherer[str] = Gatherer()
    gatherer.add("a", 0, slices(1, 2, 3))
    gatherer.add("a", 1, slices(4))
    gatherer.add("b", 0, slices(5, 6, 7))
    batch = gatherer.cut(5)
    assert batch.images[:, 0, 0].tolist() == [1, 2, 3, 4, 5]
    assert batch.owners == [("a", 0, 3), ("a", 1, 1), ("b", 0, 1)]
    rest = gatherer.cut(5)
    assert (rest.images[:, 0, 0].tolist(), rest.owners, len(gatherer)) == ([6, 7], [("b", 0, 2)], 0)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(1, 7))
def test_slices_come_out_once_and_in_order(lengths: list[int], size: int) -> None:
    gatherer: Gatherer[int] = Gatherer()
    for owner, length in enumerate(lengths):
        gatherer.add(owner, owner % 3, slices(*([owner] * length)))
    assert len(gatherer) == sum(lengths)
    sizes, seen = [], []
    while len(gatherer):
        batch = gatherer.cut(size)
        sizes.append(len(batch.images))
        owners = [owner for owner, _, number in batch.owners for _ in range(number)]
        assert owners == batch.images[:, 0, 0].tolist()
        assert all(plane == owner % 3 and number for owner, plane, number in batch.owners)
        seen += owners
    assert seen == [owner for owner, length in enumerate(lengths) for _ in range(length)]
    assert set(sizes[:-1]) <= {size}
