"""What a run leaves out: counted, and named up to a limit."""

from pathlib import Path

from indexer.finding import KEPT_PATHS, LeftOut
from raptor_search.readers import Skipped
from raptor_search.readers.source import UNOPENED


def test_a_hundred_paths_of_each_reason_are_kept_and_all_that_could_not_be_opened() -> None:
    left_out = LeftOut()
    for number in range(KEPT_PATHS + 5):
        left_out.add(Skipped(Path(f"/a/{number}"), "not a scan"))
        left_out.add(Skipped(Path(f"/b/{number}"), UNOPENED))
    assert left_out.counts == {"not a scan": KEPT_PATHS + 5, UNOPENED: KEPT_PATHS + 5}
    assert left_out.paths["not a scan"] == [f"/a/{number}" for number in range(KEPT_PATHS)]
    assert len(left_out.paths[UNOPENED]) == KEPT_PATHS + 5
