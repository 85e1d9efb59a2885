"""`raptor evaluate`, `propagate`, `map`, `labels` and `columns`: what labels are worth, what follows, the cohort.

Each is a few lines over the library, as those of `cli` are.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from indexer.parameters import DEFAULT_HOME, Home, Json, Spec, err, out
from indexer.plain_text import say
from raptor_search.errors import UsageError

__all__ = ["register"]

METHODS = ("knn", "logistic")
SPREAD_METHODS = ("knn", "diffusion")

Label = Annotated[str, typer.Argument(help="A label, or a column such as sex.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `raptor`."""
    app.command()(evaluate)
    app.command()(propagate)
    app.command(name="map")(draw)
    app.command()(labels)
    app.command()(columns)


def evaluate(
    label: Label,
    home: Home = DEFAULT_HOME,
    method: Annotated[list[str] | None, typer.Option(help="knn or logistic; both by default.")] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=FILE.npz: another method's vectors of the same scans: numpy.savez of `vectors` (n, d) with "
            "`files` (n) as text, their paths or file names; or of `train`, `val`, `test` (n, d) in MedMNIST's order."
        ),
    ] = None,
    compare_spec: Annotated[
        list[str] | None, typer.Option(help="Fingerprint (or its start) of another spec of the archive to set beside.")
    ] = None,
    as_number: Annotated[bool, typer.Option("--number", help="The label is a number to be told, not a class.")] = False,
    where: Annotated[str | None, typer.Option(help="A filter on the scans that take part.")] = None,
    split: Annotated[str, typer.Option(help="The column that names train, val and test.")] = "split",
    report: Annotated[Path | None, typer.Option(help="Write a self-contained HTML file.")] = None,
    curve: Annotated[bool, typer.Option(help="Draw the data-efficiency curve, which takes longest.")] = True,
    seed: Annotated[int, typer.Option(help="Seed of folds and resamples.", min=0)] = 0,
    spec: Spec = None,
    as_json: Json = False,
) -> None:
    """Measure how well a label is told: retrieval, diagnosis, intervals, leaks, confounds."""
    from indexer import render_labels
    from raptor_search.archive import Archive
    from raptor_search.assessing import assess

    chosen = _chosen(method or [], METHODS, "--method")
    if report is not None and not report.absolute().parent.is_dir():
        raise UsageError(f"--report {report}: there is no folder {report.parent}; make it first")
    others = _named_files(compare or [])
    with Archive.open(home) as archive, err.status("Evaluating"):
        found = assess(
            archive,
            label,
            as_number=as_number,
            methods=[one for one in METHODS if one in (chosen or METHODS)],  # type: ignore[misc]
            compare=others,
            compare_specs=compare_spec or [],
            where=where,
            split=split,
            spec=spec,
            with_curve=curve,
            seed=seed,
        )
    if report is not None:
        from raptor_search.report import html_report

        _write(report, html_report(found))
    if as_json:
        print(json.dumps(found.to_dict() | {"report": str(report) if report is not None else None}, indent=2))
    else:
        render_labels.assessment(out, found)
        if report is not None:
            say(out, f"Report: {report}")


def propagate(
    label: Label,
    home: Home = DEFAULT_HOME,
    method: Annotated[str, typer.Option(help="knn or diffusion.")] = "knn",
    k: Annotated[
        int | None, typer.Option("-k", help="Neighbours that vote (default: 10, or as many as are labelled).", min=1)
    ] = None,
    min_confidence: Annotated[float, typer.Option(help="A proposal below it abstains.", min=0, max=1)] = 0.6,
    coverage: Annotated[
        float | None, typer.Option(help="Abstain where a set of this coverage has not exactly one value.")
    ] = None,
    accept: Annotated[
        float | None, typer.Option(help="Accept every proposal at or above this confidence.", min=0, max=1)
    ] = None,
    accept_case: Annotated[list[int] | None, typer.Option(help="Accept the proposal for this case.")] = None,
    accept_abstained: Annotated[
        bool, typer.Option("--accept-abstained", help="Let --accept-case accept what abstained too.")
    ] = False,
    reject_case: Annotated[list[int] | None, typer.Option(help="Turn down the proposal for this case.")] = None,
    undo_case: Annotated[list[int] | None, typer.Option(help="Take back the decision on this case.")] = None,
    undo_all: Annotated[bool, typer.Option("--undo-all", help="Take back every decision on the label.")] = False,
    author: Annotated[str | None, typer.Option(help="Who decides (default: this account).")] = None,
    out_file: Annotated[Path | None, typer.Option("--out", help="Write all values: FILE.csv or FILE.parquet.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Compare votes with diffusion on hidden labels.")] = False,
    spec: Spec = None,
    as_json: Json = False,
) -> None:
    """Propose a label's values for the scans without one; accept, turn down, take back, export."""
    from indexer import decisions, render_proposals
    from indexer.label_export import check_ending, export_labels
    from raptor_search import labelling
    from raptor_search.archive import Archive
    from raptor_search.upkeep import account

    chosen = _chosen([method], SPREAD_METHODS, "--method")[0]
    if coverage is not None and not 0 < coverage < 1:
        raise UsageError(f"--coverage {coverage}; expected between 0 and 1, such as 0.9")
    if accept is not None and accept < min_confidence:
        raise UsageError(
            f"--accept {accept:g} is below --min-confidence {min_confidence:g}, and nothing below that is proposed; "
            "lower --min-confidence too"
        )
    asked = decisions.Asked(
        threshold=accept,
        accepted=accept_case or (),
        rejected=reject_case or (),
        undone=undo_case or (),
        undo_all=undo_all,
        with_abstained=accept_abstained,
    )
    decisions.check(asked)
    if out_file is not None:
        check_ending(out_file)
    who = author or account()
    with Archive.open(home) as archive:
        undone = decisions.take_back(archive, label, asked, author=who) if undo_case or undo_all else None
        with err.status("Asking the labelled scans"):
            found = labelling.proposals(
                archive,
                label,
                method=chosen,  # type: ignore[arg-type]
                k=k,
                min_confidence=min_confidence,
                coverage=coverage,
                spec=spec,
            )
            compared = labelling.comparison(archive, label, k=k, spec=spec) if compare else None
            labelling.store(archive, label, found, method=chosen, author=who)  # type: ignore[arg-type]
        decided = decisions.decide(archive, label, found, asked, author=who)
        if out_file is not None:
            export_labels(archive, label, out_file, spec=spec)
        if as_json:
            print(json.dumps(render_proposals.to_dict(label, chosen, found, decided, undone, compared), indent=2))
        else:
            render_proposals.proposals(out, found, decided, undone, compared, archive.notice)
            if out_file is not None:
                say(out, f"Values: {out_file}")


def draw(
    home: Home = DEFAULT_HOME,
    neighbours: Annotated[int, typer.Option(help="Neighbours of the map, the scan itself included.", min=2)] = 15,
    min_dist: Annotated[float, typer.Option(help="How close points may lie.", min=0, max=0.99)] = 0.1,
    min_cluster: Annotated[int | None, typer.Option(help="Scans of the smallest cluster.", min=2)] = None,
    seed: Annotated[int, typer.Option(help="Seed of the map.", min=0)] = 0,
    spec: Spec = None,
    as_json: Json = False,
) -> None:
    """Draw the cohort map that the page shows, and find its clusters and outliers."""
    from indexer import render_labels
    from raptor_search.archive import Archive
    from raptor_search.cohorts.mapping import draw_map

    with Archive.open(home) as archive, err.status("Computing the map"):
        drawn = draw_map(
            archive.catalog,
            archive.spec(spec),
            n_neighbours=neighbours,
            min_dist=min_dist,
            seed=seed,
            min_cluster=min_cluster,
        )
    if as_json:
        print(json.dumps(render_labels.cohort_json(drawn), indent=2))
    else:
        render_labels.cohort(out, drawn, home)


def labels(
    home: Home = DEFAULT_HOME,
    drop: Annotated[
        list[str] | None, typer.Option(help="A label to take out of the archive, with all values, given ones too.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the labels: how many scans have a value, and from whom; or take labels out."""
    from indexer import render_labels
    from raptor_search.archive import Archive
    from raptor_search.deciding import drop_label
    from raptor_search.upkeep import account

    with Archive.open(home) as archive:
        dropped = {name: drop_label(archive, name, author=account()) for name in drop or ()}
        counts = {name: archive.catalog.origin_counts(name) for name in archive.catalog.label_names()}
    if as_json:
        print(json.dumps({"labels": counts, "dropped": dropped}, indent=2))
    else:
        render_labels.labels(out, counts, dropped)


def columns(home: Home = DEFAULT_HOME, spec: Spec = None, as_json: Json = False) -> None:
    """List what --where may name: columns and labels, with types and the values that scans have."""
    from indexer import column_table
    from raptor_search.archive import Archive

    with Archive.open(home) as archive:
        found = column_table.column_facts(archive, archive.spec(spec))
    if as_json:
        print(json.dumps(column_table.to_dict(found), indent=2))
    else:
        column_table.columns(out, found)


def _chosen(given: list[str], known: tuple[str, ...], option: str) -> list[str]:
    for one in given:
        if one not in known:
            raise UsageError(f"{option} {one!r}; expected one of: {', '.join(known)}")
    return given


def _named_files(texts: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for text in texts:
        name, equals, file = (part.strip() for part in text.partition("="))
        if not equals or not name or not file:
            raise UsageError(f"--compare {text!r}; expected NAME=FILE.npz")
        if name in found:
            raise UsageError(f"--compare {text!r}: {name!r} names {found[name]} already; expected a name for each file")
        found[name] = Path(file).expanduser()
    return found


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
