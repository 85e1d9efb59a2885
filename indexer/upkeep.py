"""The commands that keep an archive right: remove, erase, verify, rebuild, backup, restore."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from indexer.parameters import DEFAULT_HOME, Factory, Home, Json, err, out
from indexer.plain_text import plain, say
from raptor_search.errors import DamagedError, UsageError

if TYPE_CHECKING:
    from raptor_search.erasure import Step

__all__ = ["commands"]

EXIT_DAMAGED = 4
SHOWN_PROBLEMS = 20

commands = typer.Typer()
Sources = Annotated[list[Path] | None, typer.Argument(help="Files and folders as they were indexed.")]
Patient = Annotated[
    str | None, typer.Option(help="All scans of this patient id, or of a pseudonym such as P-3f9a2c41.")
]


@commands.command()
def remove(
    sources: Sources = None,
    home: Home = DEFAULT_HOME,
    patient: Patient = None,
    where: Annotated[
        str | None, typer.Option(help="All scans that pass a filter, such as \"modality = 'CT'\".")
    ] = None,
    missing: Annotated[
        bool,
        typer.Option(
            "--missing", help="Only scans whose file or folder is no longer there: below SOURCES, or all of them."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, as --missing else does.")] = False,
    as_json: Json = False,
) -> None:
    """Take scans out of the archive; indexing their files brings them back."""
    from raptor_search.archive import Archive

    with Archive.open(home) as archive:
        if missing and not yes:
            gone = archive.meant(sources or (), patient=patient, where=where, only_missing=True).ids.size
            if not _agreed(f"Remove {gone} scans whose files are gone? A disk that is not mounted looks so, too."):
                raise UsageError("nothing was removed: add --yes to remove without being asked")
        removed = archive.remove(sources or (), patient=patient, where=where, only_missing=missing)
    _answer({"removed": removed}, f"{removed} scans removed from {home}; `raptor index` brings them back", as_json)


@commands.command()
def erase(
    sources: Sources = None,
    home: Home = DEFAULT_HOME,
    patient: Patient = None,
    even_absent: Annotated[
        bool, typer.Option("--even-absent", help="Keep a patient out of whom the archive has no scan.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Erase scans from every file of the archive, for good: they are not indexed again."""
    from raptor_search.archive import Archive

    with Archive.open(home) as archive:
        found = archive.meant(sources or (), patient=patient, even_absent=even_absent)
        if not yes and not _agreed(f"Erase {found.ids.size} scans from {home}, and never index them again?"):
            raise UsageError("nothing was erased: add --yes to erase without being asked")
        with _progress(as_json) as hear:
            report = archive.erase(sources or (), patient=patient, even_absent=even_absent, progress=hear)
    if patient is not None and not report.volumes:
        _answer(report.to_dict(), "no scan was there; none of this patient will be indexed", as_json)
        return
    same = f" ({report.duplicates} of them other files of the same bytes)" if report.duplicates else ""
    _answer(
        report.to_dict(),
        f"{report.volumes} scans erased{same}, and {report.quarantined} quarantined files forgotten. Backups made "
        "before still hold them: destroy those, and make a new one",
        as_json,
    )


@commands.command()
def audit(
    home: Home = DEFAULT_HOME,
    rows: Annotated[int, typer.Option("-n", help="Rows at most.", min=1)] = 50,
    as_json: Json = False,
) -> None:
    """Show who searched, labelled, exported, removed and erased, and when; the latest first."""
    from raptor_search.archive import Archive

    with Archive.open(home) as archive:
        found = archive.catalog.audits(rows)
    times = [datetime.fromtimestamp(row.at, UTC).isoformat(timespec="seconds") for row in found]
    lines = [f"{at}  {row.author}  {row.action}: {row.detail}" for at, row in zip(times, found, strict=True)]
    facts = [
        {"at": at, "author": row.author, "action": row.action, "detail": row.detail}
        for at, row in zip(times, found, strict=True)
    ]
    _answer({"audit": facts}, "\n".join(lines) or "Nothing was written down yet", as_json)


@commands.command()
def verify(home: Home = DEFAULT_HOME, as_json: Json = False) -> None:
    """Check every hash, row and reference; exit status 4 where something is wrong.

    What is not finished, such as an index that is not published yet, is a note and not wrong.
    """
    from raptor_search.archive import Archive
    from raptor_search.catalog import Problem
    from raptor_search.verifying import VerifyReport

    try:
        with Archive.open(home) as archive, _progress(as_json) as hear:
            report = archive.verify(progress=hear)
    except DamagedError as error:  # it cannot even be opened
        report = VerifyReport(home, 0, 0, 0, (Problem("database", error.message),))
    lines = [f"note: {note}" for note in report.notes]
    lines += [f"{problem.kind}: {problem.message}" for problem in report.problems[:SHOWN_PROBLEMS]]
    if len(report.problems) > SHOWN_PROBLEMS:
        lines.append(f"... and {len(report.problems) - SHOWN_PROBLEMS} more: raptor verify --json")
    state = "whole" if report.is_whole else f"{len(report.problems)} things are wrong"
    lines.append(f"{home}: {state}; {report.volumes} scans, {report.vectors} vectors, {report.indexes} indexes checked")
    _answer(report.to_dict(), "\n".join(lines), as_json)
    if not report.is_whole:
        raise typer.Exit(EXIT_DAMAGED)


@commands.command()
def rebuild(
    home: Home = DEFAULT_HOME,
    spec: Annotated[str | None, typer.Option(help="Fingerprint (or its start) of one spec; all by default.")] = None,
    factory: Factory = None,
    as_json: Json = False,
) -> None:
    """Make the indexes and the means anew from the stored vectors; scores may move."""
    from raptor_search.archive import Archive

    with Archive.open(home) as archive, _progress(as_json) as hear:
        built = archive.rebuild(spec=spec, factory=factory, progress=hear)
        specs = {stored.id: stored.fingerprint for stored in archive.catalog.specs()}
    facts = [{"version": v.id, "spec": specs[v.spec_id], "index": v.factory, "volumes": v.volumes} for v in built]
    lines = [f"index version {v.id}: {v.factory}, {v.volumes} scans" for v in built] or ["nothing to index"]
    _answer({"rebuilt": facts}, "\n".join(lines), as_json)


@commands.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The new file.")], home: Home = DEFAULT_HOME, as_json: Json = False
) -> None:
    """Write the archive, as of this moment, into one file with hashes; the key is not in it."""
    from raptor_search.archive import Archive

    with Archive.open(home) as archive, _progress(as_json) as hear:
        report = archive.backup(file, progress=hear)
        key = archive.key.path
    text = f"{report.volumes} scans, {report.indexes} indexes, {report.size / 1e6:.1f} MB in {report.file}."
    _answer(report.to_dict(), f"{text} The key is not in it: keep a copy of {key} elsewhere", as_json)


@commands.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `raptor backup` wrote.")],
    home: Home = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Make a new archive of a backup; the folder must be empty, and the key at hand."""
    from raptor_search.archive import Archive

    with _progress(as_json) as hear, Archive.restore(file, home, progress=hear) as archive:
        volumes = archive.catalog.count()
    _answer({"home": str(home), "volumes": volumes}, f"{home}: {volumes} scans restored from {file}", as_json)


def _agreed(question: str) -> bool:
    return bool(typer.confirm(plain(question), default=False, err=True)) if err.is_terminal else False


def _answer(facts: dict[str, Any], text: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        for line in text.splitlines():
            say(out, line)


@contextmanager
def _progress(as_json: bool) -> Iterator["Step"]:
    """A line on standard error that says what is done, where somebody sees it."""
    if as_json or not err.is_terminal:
        yield lambda what, done, total: None
        return
    with err.status("") as status:
        yield lambda what, done, total: status.update(f"{what}: {done} of {total}")
