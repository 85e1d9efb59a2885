"""An evaluation as one HTML file that needs nothing beside it: no script, no font, no picture from elsewhere."""

import math
from collections.abc import Iterable, Sequence
from html import escape

from raptor_search.assessing import Assessment
from raptor_search.statistics.assessment import MethodResult, VectorResult
from raptor_search.statistics.figures import Difference, Measured
from raptor_search.statistics.published import RETRIEVAL
from raptor_search.statistics.retrieval import FIGURES
from raptor_search.svg import curve, forest, reliability_diagram, roc_plot

__all__ = ["html_report", "number"]

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1f2933;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{margin-top:2.2rem;border-bottom:1px solid #cbd2d9}h3{margin-bottom:.3rem}
table{border-collapse:collapse;margin:.6rem 0}
td,th{padding:.15rem .7rem;text-align:right;border-bottom:1px solid #e4e7eb}
td:first-child,th:first-child{text-align:left}
.note{background:#fff8e1;padding:.4rem .8rem;border-left:4px solid #f0b429}
.quiet{color:#616e7c}.wide{overflow-x:auto}figure{display:inline-block;margin:0 1rem 0 0}
"""

SHOWN_PAIRS = 50
LISTED = ("P@1", "P@3", "P@5", "P@10", "recall@10", "nDCG@10", "mAP", "mAP@5", "mAP@5 by hits", "MRR")


def html_report(found: Assessment) -> str:
    """The report; names and values of labels are escaped."""
    one = found.evaluation
    kind = f"{len(one.classes)} classes" if one.classes else "a number"
    parts = [
        f"<h1>Evaluation of “{escape(one.label)}”</h1>",
        f"<p>{one.scans} scans of {one.subjects} subjects; {kind}. {escape(one.protocol.capitalize())}. "
        "Everything that learns, the mean that centres the scores included, saw the training part alone.</p>",
        f'<p class="quiet">Vectors: spec {escape(found.spec[:12])}. In brackets 95% intervals, subjects resampled. '
        "Research use only; not a medical device.</p>",
        *(f'<p class="note">{escape(note)}</p>' for note in ((found.notice,) if found.notice else ()) + one.notes),
    ]
    for method in one.methods:
        parts += _method(method, one.classes)
    if found.published:
        parts += _published(found)
    for vectors in one.vectors:
        parts += _retrieval(vectors, one.classes)
    parts += _differences(one.differences)
    parts += _leaks(found)
    parts += _confounds(found)
    body = "\n".join(parts)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(one.label)}</title>'
        f"<style>{STYLE}</style></head><body>{body}</body></html>\n"
    )


def number(value: float | None, digits: int = 3) -> str:
    """A figure as text; a dash where there is none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _interval(one: Measured | Difference) -> str:
    return f"{number(one.value)} [{number(one.low)}, {number(one.high)}]"


def _method(one: MethodResult, classes: Sequence[str]) -> list[str]:
    title = {"knn": "kNN", "logistic": "logistic regression" if classes else "ridge regression"}[one.method]
    parts = [f"<h2>Diagnosis: {escape(one.vectors)}, {title}</h2>"]
    parts.append(
        _table(
            ("", "95% interval", "majority" if classes else "mean", "random"),
            [(m.name, _interval(m), number(m.majority), number(m.random)) for m in one.figures],
        )
    )
    if classes:
        bounded = [(m.name, m.value, m.low, m.high, m.majority) for m in one.figures]
        parts.append(forest(bounded))
        parts.append(
            '<p class="quiet">A tick marks the majority baseline. Chance adds to every calibration error, which its '
            "interval takes off again: down to 0 where chance alone would show as much.</p>"
        )
    drawings = []
    if one.reliability:
        drawings.append(f"<figure>{reliability_diagram(one.reliability)}</figure>")
    if any(len(points) for points in one.roc):
        # Of two classes either curve is the other one turned round.
        shown = range(1, 2) if len(classes) == 2 else range(len(classes))
        lines = [
            (classes[code], f"AUROC {number(one.class_auroc[code])}", map(tuple, one.roc[code].tolist()))
            for code in shown
        ]
        drawings.append(f"<figure>{roc_plot(lines)}</figure>")
    if one.curve:
        points = [(p.subjects, p.auroc, p.low, p.high) for p in one.curve]
        drawings.append(f"<figure>{curve(points)}</figure>")
    parts.append("".join(drawings))
    parts.append("<h3>Prediction sets</h3>")
    size = "mean classes in a set" if classes else "mean width"
    parts.append(
        _table(
            ("coverage asked", "covered", size, "abstained"),
            [
                (f"{c.level:.0%}", number(c.covered), number(c.size, 2), number(c.abstained) if classes else "-")
                for c in one.coverage
            ],
        )
    )
    if not all(math.isfinite(c.covered) for c in one.coverage):
        parts.append('<p class="quiet">A dash: too few subjects to calibrate sets of that coverage.</p>')
    if classes:
        parts.append("<h3>Class by class</h3>")
        rows = [
            (name, number(auroc), *map(str, line.tolist()))
            for name, auroc, line in zip(classes, one.class_auroc, one.confusion, strict=True)
        ]
        parts.append(_table(("true class", "AUROC", *(f"taken for {name}" for name in classes)), rows))
    parts.append(f'<p class="quiet">Chosen, fold by fold: {escape("; ".join(one.settings))}.</p>')
    return parts


def _published(found: Assessment) -> list[str]:
    rows = [(one.method, number(one.auroc), number(one.accuracy)) for one in found.published]
    for method in found.evaluation.methods:
        auroc, accuracy = method.figure("AUROC"), method.figure("accuracy")
        name = f"measured here: {method.vectors}, {method.method}"
        rows.append((name, number(auroc.value), number(accuracy.value)))
    parts = [
        f"<h2>Published on {escape(found.data_set or '')}</h2>",
        "<p>An et al. 2025 (Raptor), Table 3: official splits, DINOv2-L, logistic regression.</p>",
        _table(("method", "AUROC", "accuracy"), rows),
    ]
    if found.data_set in RETRIEVAL:
        mean, first = RETRIEVAL[found.data_set]
        parts.append(f"<p>Best published retrieval: mAP@5 by hits {mean:.4f}, P@1 {first:.4f}.</p>")
    return parts


def _retrieval(one: VectorResult, classes: Sequence[str]) -> list[str]:
    rows = [(m.name, _interval(m), number(m.random)) for m in one.retrieval]
    places = [FIGURES.index(name) for name in LISTED]
    by_class = [
        (name, *(number(row[place]) for place in places))
        for name, row in zip(classes, one.by_class.tolist(), strict=True)
    ]
    return [
        f"<h2>Retrieval: {escape(one.vectors)}</h2>",
        "<p>Each test scan asks for scans of its class among the training part. “mAP@k by hits” divides by the hits "
        "within k, as some papers do; it is optimistic.</p>",
        _table(("", "95% interval", "random"), rows),
        "<h3>Class by class</h3>",
        f'<div class="wide">{_table(("class", *LISTED), by_class)}</div>',
    ]


def _differences(found: Sequence[Difference]) -> list[str]:
    if not found:
        return []
    rows = [
        (f"{one.first} less {one.second}", one.figure, _interval(one), "clear" if one.is_clear else "") for one in found
    ]
    return [
        "<h2>Differences</h2>",
        "<p>Paired: both on the same resampled subjects.</p>",
        _table(("", "figure", "95% interval", ""), rows),
    ]


def _leaks(found: Assessment) -> list[str]:
    leaks = found.evaluation.leaks
    parts = [
        "<h2>Leaks</h2>",
        f"<p>{len(leaks.pairs)} pairs of scans of different subjects are near-duplicates (score "
        f"{number(leaks.threshold)} or more); {leaks.crossing} of them lie on two sides of the given split. "
        f"{leaks.straddling} subjects have scans in more than one part of it.</p>",
    ]
    if leaks.pairs:
        rows = [
            (f"case {found.ids[p.first]}", f"case {found.ids[p.second]}", number(p.score), "yes" if p.crosses else "")
            for p in leaks.pairs[:SHOWN_PAIRS]
        ]
        parts.append(_table(("one", "other", "score", "crosses the split"), rows))
    if len(leaks.pairs) > SHOWN_PAIRS:
        parts.append(f"<p>… and {len(leaks.pairs) - SHOWN_PAIRS} more.</p>")
    return parts


def _confounds(found: Assessment) -> list[str]:
    asked = found.evaluation.confounds
    if not asked:
        return []
    rows = [
        (
            one.column,
            f"{number(one.agreement)} ({number(one.expected)})",
            number(one.agreement_p),
            number(one.association, 2),
            number(one.association_p),
            f"{number(one.label_agreement)} ({number(one.label_expected)})",
            number(one.within_p),
        )
        for one in asked
    ]
    heads = (
        "column",
        "neighbours agree (by chance)",
        "p",
        "goes with label",
        "p",
        "agree on label (within column)",
        "p",
    )
    return [
        "<h2>Same label or same scanner?</h2>",
        f'<div class="wide">{_table(heads, rows)}</div>',
        *(f'<p class="note">{escape(one.verdict)}</p>' for one in asked if one.is_flagged),
        '<p class="quiet">Permutation tests of whole subjects; the first two p-values are corrected over columns.</p>',
    ]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
