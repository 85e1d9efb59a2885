"""What `evaluate`, `labels` and `map` print: tables for people, plain dictionaries for `--json`."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.table import Table

from indexer.plain_text import cell, say
from raptor_search.assessing import Assessment
from raptor_search.catalog.records import LabelOrigin
from raptor_search.cohorts.mapping import Cohort
from raptor_search.report import number
from raptor_search.statistics.figures import Measured

__all__ = ["assessment", "cohort", "cohort_json", "interval", "labels"]

ORIGINS: tuple[LabelOrigin, ...] = get_args(LabelOrigin)

SHOWN_LISTS = ("P@1", "P@5", "P@10", "recall@10", "nDCG@10", "mAP", "mAP@5 by hits", "MRR")
SHOWN_CLUSTERS = 20


def assessment(out: Console, found: Assessment) -> None:
    """The figures of an evaluation, and every note."""
    one = found.evaluation
    say(out, f"{one.label}: {one.scans} scans of {one.subjects} subjects; {one.protocol}")
    for method in one.methods:
        title = f"{method.vectors}, {method.method}: {'; '.join(dict.fromkeys(method.settings))}"
        table = _figures(title, method.figures, ("majority", "random") if one.classes else ("mean",))
        out.print(table)
        sets = [f"{c.level:.0%}: {_had(c.covered)}" for c in method.coverage]
        say(out, f"Prediction sets, coverage asked and had: {', '.join(sets)}")
    for vectors in one.vectors:
        shown = [figure for figure in vectors.retrieval if figure.name in SHOWN_LISTS]
        out.print(_figures(f"{vectors.vectors}, retrieval", shown, ("random",)))
    for gap in one.differences:
        if gap.is_clear and gap.figure in ("AUROC", "balanced accuracy", "mAP", "r2"):
            say(out, f"{gap.first} less {gap.second}, {gap.figure}: {interval(gap.value, gap.low, gap.high)}")
    if found.published:
        table = Table(title=f"Published on {found.data_set} (An et al. 2025, Table 3)", title_justify="left")
        for name in ("method", "AUROC", "accuracy"):
            table.add_column(name)
        for line in found.published:
            table.add_row(line.method, number(line.auroc), number(line.accuracy))
        for method in one.methods:
            figures = (number(method.figure(name).value) for name in ("AUROC", "accuracy"))
            table.add_row(cell(f"here: {method.vectors}, {method.method}"), *figures)
        out.print(table)
    if one.leaks.pairs:
        say(out, f"{len(one.leaks.pairs)} pairs of scans of different subjects are near-duplicates", "yellow")
    for asked in one.confounds:
        if asked.is_flagged:
            say(out, asked.verdict, "yellow")
    for note in (*one.notes, *((found.notice,) if found.notice else ())):
        say(out, note, "yellow")


def labels(out: Console, counts: Mapping[str, Mapping[str, int]], dropped: Mapping[str, int]) -> None:
    """Labels by name with the scans that have a value, by its origin; and what was taken out."""
    for name, scans in dropped.items():
        say(out, f"{name} taken out of {scans} scans; a table that has it brings it back, unless --keep leaves it out")
    table = Table(title="Labels, and how many scans have a value", title_justify="left")
    table.add_column("label", overflow="fold")
    for origin in ORIGINS:
        table.add_column(origin, justify="right")
    for name, by_origin in counts.items():
        table.add_row(cell(name), *(str(by_origin.get(origin, 0)) for origin in ORIGINS))
    if counts:
        out.print(table)
    else:
        say(out, "No labels")


def cohort(out: Console, drawn: Cohort, home: Path) -> None:
    """What was found on a map, and how far it is to be trusted."""
    say(out, f"Map of {len(drawn.drawn.volume_ids)} scans stored in {home}, version {drawn.drawn.id}")
    if drawn.detail is None:
        return
    found = drawn.detail.document
    quality = found["quality"]
    say(
        out,
        f"Trustworthiness {quality['trustworthiness']:.3f}; {quality['preservation']:.0%} of the {quality['k']} "
        "nearest scans are among the nearest on the map: read no more into it than that",
    )
    table = Table(title=f"Clusters: {len(found['clusters'])}", title_justify="left")
    for name in ("cluster", "scans", "exemplar", "over-represented (p, corrected)"):
        table.add_column(name, overflow="fold")
    for one in found["clusters"][:SHOWN_CLUSTERS]:
        traits = [
            f"{t['column']} {t['value']}: {t['inside']} of {t['cluster']}, overall {t['overall']} of {t['known']} "
            f"({t['p']:.1g})"
            for t in one["traits"]
        ]
        table.add_row(
            str(one["number"] + 1), str(one["scans"]), f"case {one['medoid']}", cell("; ".join(traits) or "-")
        )
    if found["clusters"]:
        out.print(table)
    else:
        say(out, "No cluster: the scans form no group that stands out by density")
    say(out, f"{found['unclustered']} scans belong to no cluster; {len(found['outliers'])} outliers")


def cohort_json(drawn: Cohort) -> dict[str, Any]:
    """The same as one object."""
    found = dict(drawn.detail.document) if drawn.detail else {}
    return {
        "map": drawn.drawn.id,
        "scans": len(drawn.drawn.volume_ids),
        "parameters": dict(drawn.drawn.parameters),
        **found,
    }


def _figures(title: str, figures: tuple[Measured, ...] | list[Measured], baselines: tuple[str, ...]) -> Table:
    table = Table(title=cell(title), title_justify="left")
    for name in ("figure", "value", "95% interval", *baselines):
        table.add_column(name)
    for one in figures:
        known = {"majority": one.majority, "mean": one.majority, "random": one.random}
        ends = f"[{number(one.low)}, {number(one.high)}]"
        table.add_row(
            one.name, number(one.value), ends.replace("[", r"\["), *(number(known[name]) for name in baselines)
        )
    return table


def _had(covered: float) -> str:
    return number(covered) if math.isfinite(covered) else "too few subjects"


def interval(value: float, low: float, high: float) -> str:
    """A figure with its interval."""
    return f"{number(value)} [{number(low)}, {number(high)}]"
