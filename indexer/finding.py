"""What lies below the paths of a run: the volumes, and what was left out and why."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from indexer.progress import Progress
from raptor_search.errors import ReadError, UsageError
from raptor_search.readers import Refused, Skipped, Source, discover
from raptor_search.readers.source import UNOPENED
from raptor_search.readers.volumes4d import VolumeIndex

__all__ = ["LeftOut", "find_sources"]

KEPT_PATHS = 100
"""Paths that are kept of each reason; of those that could not be opened, all."""


@dataclass
class LeftOut:
    """What discovery passed over.

    Attributes:
        counts: how many files and folders, by reason.
        paths: the first of them, by reason.
    """

    counts: Counter[str] = field(default_factory=Counter)
    paths: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, skipped: Skipped) -> None:
        """One more."""
        self.counts[skipped.reason] += 1
        if skipped.reason == UNOPENED or len(self.paths[skipped.reason]) < KEPT_PATHS:
            self.paths[skipped.reason].append(str(skipped.path))


def find_sources(
    paths: Sequence[Path],
    progress: Progress,
    refuse: Callable[[Source, ReadError], None],
    volume_index: VolumeIndex = None,
) -> tuple[list[Source], LeftOut]:
    """The volumes under `paths`, and the files that are no scans; `refuse` hears the broken ones.

    Raises:
        UsageError: where there is neither a volume nor a broken one.
    """
    sources: list[Source] = []
    left_out = LeftOut()
    refused = 0
    with progress.discovering() as on_file:
        for found in discover(paths, volume_index=volume_index, on_file=on_file):
            match found:
                case Source():
                    sources.append(found)
                case Refused():
                    refused += 1
                    refuse(found.source, found.error)
                case Skipped():
                    left_out.add(found)
                    if found.reason == UNOPENED:
                        progress.notice(
                            f"{found.path}: {UNOPENED}; give yourself the right to read it, and run this again"
                        )
    if not sources and not refused:
        raise UsageError(_nothing_found(paths, left_out.counts))
    return sources, left_out


def _nothing_found(paths: Sequence[Path], skipped: Counter[str]) -> str:
    names = ", ".join(str(p) for p in paths)
    reasons = ", ".join(f"{n} {reason}" for reason, n in skipped.most_common()) or "no files at all"
    return f"no scan found in {names} ({reasons}); expected DICOM series, NIfTI, NRRD, MHA or MedMNIST npz files"
