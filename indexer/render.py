"""What the `raptor` command prints: tables for people, plain dictionaries for `--json`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from indexer.plain_text import cell, say
from raptor_search.archive import ArchiveStatus
from raptor_search.search import Hit, SearchResult
from raptor_search.searching.region import PLANES
from raptor_search.status import SHOWN_DIGITS

if TYPE_CHECKING:
    from indexer.pipeline import IndexReport
    from raptor_search.errors import ReadError
    from raptor_search.explain import Shares
    from raptor_search.readers import Source

__all__ = ["export_json", "hits", "report", "report_json", "status"]

SHOWN_QUARANTINE = 20
SHOWN_UNOPENED = 5
SHOWN_LINES = 20
SHOWN_CELLS = 5


def export_json(
    out: Path, written: Sequence[tuple[Path, "Source"]], refused: Sequence[tuple["Source", "ReadError"]]
) -> dict[str, Any]:
    """The facts of embedding without an archive."""
    return {
        "out": str(out),
        "written": [{"file": file.name, "source": source.uri} for file, source in written],
        "refused": [{"source": source.uri, "code": error.code, "reason": error.message} for source, error in refused],
    }


def report_json(done: "IndexReport", home: Path) -> dict[str, Any]:
    """The facts of an indexing run."""
    return {
        "home": str(home),
        "added": done.added,
        "shared": done.shared,
        "present": done.present,
        "erased": done.erased,
        "quarantined": [
            {
                "source": source.uri,
                "code": error.code,
                "reason": error.message,
                "new": source.uri in done.newly_quarantined,
            }
            for source, error in done.quarantined
        ],
        "new_quarantined": len(done.newly_quarantined),
        "skipped": done.skipped,
        "skipped_paths": done.skipped_paths,
        "matched": done.matched,
        "unmatched": done.unmatched,
        "unmatched_lines": {name: list(lines) for name, lines in done.unmatched_lines.items()},
        "unread": done.unread,
        "ambiguous": done.ambiguous,
        "dropped": {name: list(columns) for name, columns in done.dropped.items()},
        "moved": done.moved,
        "missing": done.missing,
        "index_version": done.version,
        "volumes": done.volumes,
        "seconds": done.stages.to_dict(),
        "interrupted": done.interrupted,
    }


def report(out: Console, done: "IndexReport", home: Path) -> None:
    """The last lines of an indexing run: what was added, left out, and quarantined."""

    if done.skipped:
        say(out, "Left out: " + ", ".join(f"{n} {reason}" for reason, n in sorted(done.skipped.items())))
    for line in _about_tables(done):
        say(out, line)
    if done.missing:
        say(
            out,
            f"{done.missing} scans of the archive are no longer where they were: `raptor remove --missing PATH` takes "
            "out those whose file or folder is gone",
        )
    if done.stages.wall:
        say(out, done.stages.sentence())
    if done.interrupted:
        say(out, "Stopped early; run the command again to go on")
    shared = f" ({done.shared} share the vector of equal bytes)" if done.shared else ""
    erased = f", {done.erased} left out because they were erased from this archive" if done.erased else ""
    moved = f" ({done.moved} moved here)" if done.moved else ""
    quarantined = f"{len(done.quarantined)} quarantined{_newly(done)}"
    say(out, f"{done.added} added{shared}, {done.present} already there{moved}, {quarantined}{erased}")
    say(out, f"{home}: {done.volumes} volumes searchable, index version {done.version}")
    if done.quarantined:
        say(out, f"Why each was quarantined: raptor status --home {home}")


def _newly(done: "IndexReport") -> str:
    new = len(done.newly_quarantined)
    if new == len(done.quarantined):
        return ""
    return f" ({new or 'none'} of them new)"


def _about_tables(done: "IndexReport") -> Iterator[str]:
    """What each table said, and what of it was not used."""
    for name, lines in done.unmatched_lines.items():
        if lines:
            listed = ", ".join(map(str, lines[:SHOWN_LINES])) + (", ..." if len(lines) > SHOWN_LINES else "")
            yield f"{name}: {done.matched[name]} rows met a scan, {len(lines)} met none: lines {listed}"
    for name, cells in done.unread.items():
        if cells:
            yield f"{name}: {cells} cells could not be understood and count as missing"
    for name, rows in done.ambiguous.items():
        if rows:
            yield f"{name}: {rows} rows name a file that several folders have; only the first was labelled: give paths"
    for name, columns in done.dropped.items():
        if columns:
            yield f"{name}: columns not kept (`--keep COLUMN` keeps one): {', '.join(columns)}"


def hits(out: Console, result: SearchResult, notice: str | None, parts: Mapping[int, "Shares"]) -> None:
    """Hits, two lines each so that a path can be copied whole, with what the scores mean.

    Args:
        out: where to.
        result: the answer.
        notice: what every reader of results must know.
        parts: by volume, what the scores are the sum of; a third line for each that is there.
    """
    for hit in result.hits:
        say(out, _hit_line(hit), "bold")
        say(out, f"              {hit.source}")
        if hit.volume_id in parts:
            say(out, f"              {_parts_line(parts[hit.volume_id])}")
    answer = "exact" if result.exact else "approximate"
    say(
        out,
        f"Cosine score, centring: {result.centring}{_percent(result)}. {answer} answer; "
        f"index version {result.index_version}, spec {result.spec_fingerprint[:SHOWN_DIGITS]}",
    )
    for note in (*result.notes, *((notice,) if notice else ())):
        say(out, note, "yellow")


def _percent(result: SearchResult) -> str:
    known = any(hit.percentile is not None for hit in result.hits)
    return "; %: pairs of different patients in the archive that are less alike" if known else ""


def _parts_line(parts: "Shares") -> str:
    """The cells with the greatest shares of a score, as `--region` names cells."""
    order = parts.cells.ravel().argsort()[::-1][:SHOWN_CELLS]
    places = zip(*np.unravel_index(order, parts.cells.shape), strict=True)
    named = (f"{PLANES[plane]}:{row},{column} {parts.cells[plane, row, column]:+.3f}" for plane, row, column in places)
    return "most from " + "  ".join(named)


def _hit_line(hit: Hit) -> str:
    metadata = hit.metadata
    labels = ", ".join(f"{name}={value}" for name, value in metadata["labels"].items())
    person = ", ".join(filter(None, (metadata["sex"], None if metadata["age"] is None else f"{metadata['age']:g} y")))
    facts = [metadata["modality"] or "-", metadata["body_part"], metadata["patient"] or "-", person, labels]
    mark = " (same bytes)" if hit.duplicate else ""
    copies = f" (and {len(hit.copies)} equal)" if hit.copies else ""
    above = "" if hit.percentile is None else f"{hit.percentile:5.1f}%  "
    return (
        f"{hit.rank:4}  {hit.score:6.3f}  {above}case {hit.volume_id}  "
        + "  ".join(fact for fact in facts if fact)
        + mark
        + copies
    )


def status(out: Console, facts: ArchiveStatus) -> None:
    """What an archive holds, and what is quarantined and why."""
    say(out, f"{facts.home}: {facts.volumes} volumes")
    if facts.notice:
        say(out, facts.notice, "yellow")
    for spec in facts.specs:
        of = f" of {facts.volumes}" if spec.embedded != facts.volumes else ""
        say(out, f"Spec {spec.fingerprint[:SHOWN_DIGITS]}: {spec.embedded}{of} embedded")
        made = f"{spec.encoder}, layer {spec.layer}, preset {spec.preset}, K {spec.components}, seed {spec.seed}"
        version = (
            "no index" if spec.index_version is None else f"index version {spec.index_version}: {spec.index_state}"
        )
        for line in (made, version, *filter(None, [spec.unfinished])):
            say(out, f"  {line}")
    if facts.unopened.count:
        first = ", ".join(facts.unopened.paths[:SHOWN_UNOPENED])
        more = ", ..." if facts.unopened.count > SHOWN_UNOPENED else ""
        say(out, f"Could not be opened by the latest run: {facts.unopened.count}: {first}{more}", "yellow")
    if not facts.quarantined:
        say(out, "Nothing is quarantined")
        return
    table = Table(title=f"Quarantined: {len(facts.quarantined)}", title_justify="left")
    for name in ("source", "code", "reason", "attempts"):
        table.add_column(name, overflow="fold")
    for source, code, reason, attempts in facts.quarantined[:SHOWN_QUARANTINE]:
        table.add_row(cell(source), code, cell(reason), str(attempts))
    out.print(table)
    if len(facts.quarantined) > SHOWN_QUARANTINE:
        say(out, f"... and {len(facts.quarantined) - SHOWN_QUARANTINE} more: raptor status --json")
