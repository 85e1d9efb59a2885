"""What an evaluation found, as a page shows it: figures with intervals, tables, plots, leaks and confounds."""

from collections.abc import Mapping, Sequence

import numpy as np
import streamlit as st

from app.charts import calibration, confusion, efficiency, per_class, roc
from app.guidance import remarks
from app.words import column_name, count, literal
from raptor_search.assessing import Assessment
from raptor_search.evaluation import Baseline, Figure
from raptor_search.leaving_out import majority_confusion
from raptor_search.report import number
from raptor_search.statistics.assessment import MethodResult
from raptor_search.statistics.confounds import Confound
from raptor_search.statistics.figures import Measured

__all__ = ["LEAVE_OUT", "confounds", "diagnosis", "differences", "leaks", "left_out", "method_name", "retrieval"]

CARDS = 3
"""Figures shown large; the table has them all."""

SHOWN_PAIRS = 50

LEAVE_OUT = "leave one out"
"""The method that needs no folds; the library's `leave_out`."""

ROC_CLASSES = 14
"""Classes whose ROC curves are drawn; the table has every area."""

MEANING = {
    "AUROC": "How often a scan of a class gets more of it than a scan of another class; mean over the classes.",
    "accuracy": "Share of right answers, each scan counting the same.",
    "balanced accuracy": "Share of right answers, each class counting the same.",
    "r2": "Share of the number's variance that is told.",
    "MAE": "Mean absolute error, in the number's own unit.",
}


def method_name(method: str, *, of_classes: bool) -> str:
    """A method in words."""
    if method == LEAVE_OUT:
        return "Leave-one-out kNN"
    if method == "knn":
        return "kNN"
    return "Logistic regression" if of_classes else "Ridge regression"


def diagnosis(result: MethodResult, classes: Sequence[str]) -> None:
    """How well one method tells the label."""
    trivial = "majority baseline" if classes else "mean baseline"
    _cards(result.figures[:CARDS], trivial)
    _figures(result.figures, trivial)
    if classes:
        _classes(result, classes)
    size = "Mean classes in a set" if classes else "Mean width"
    st.caption(
        "Prediction sets: how often the truth was among the values that a coverage leaves open. A dash: too few "
        "subjects to calibrate on."
    )
    st.dataframe(
        [
            {
                "Coverage asked": f"{one.level:.0%}",
                "Covered": number(one.covered),
                size: number(one.size, 2),
                "Abstained": number(one.abstained) if classes else "-",
            }
            for one in result.coverage
        ],
        hide_index=True,
    )
    st.caption(f"Chosen, fold by fold: {literal('; '.join(result.settings))}.")


def _classes(result: MethodResult, classes: Sequence[str]) -> None:
    key = f"{result.vectors} {result.method}"
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Which classes are mixed up**")
        _plot(confusion(classes, result.confusion), f"confusion {key}", "Confusion matrix: scans by class and answer")
    with right:
        st.markdown("**Is its confidence right**")
        _plot(calibration(result.reliability), f"calibration {key}", "Share of right answers over confidence")
    left, right = st.columns(2, gap="large")
    areas = dict(zip(classes, result.class_auroc, strict=True))
    with left:
        st.markdown("**Found against false alarms**")
        _roc(result, classes, key)
    with right:
        st.markdown("**Class by class**")
        _plot(per_class(areas), f"per class {key}", _areas_in_words(areas))
    _class_table(classes, result.confusion, result.class_auroc)
    if result.curve:
        st.markdown("**How many labelled subjects it takes**")
        _plot(efficiency(result.curve), f"curve {key}", "AUROC over the number of subjects to learn from")


def _roc(result: MethodResult, classes: Sequence[str], key: str) -> None:
    drawn = [row for row, points in enumerate(result.roc) if len(points)]
    if not drawn:
        st.caption("No class can be told from the rest here.")
        return
    shown = drawn[:ROC_CLASSES]
    curves = {classes[row]: result.roc[row] for row in shown}
    areas = {classes[row]: number(result.class_auroc[row]) for row in shown}
    _plot(roc(curves, areas), f"roc {key}", f"ROC curves; {_areas_in_words(areas)}")
    if len(drawn) > len(shown):
        st.caption(f"and {len(drawn) - len(shown):,} classes more in the table below")


def _areas_in_words(areas: Mapping[str, float] | Mapping[str, str]) -> str:
    told = [f"{name} {area if isinstance(area, str) else number(area)}" for name, area in areas.items()]
    return f"AUROC by class: {', '.join(told)}"


def _class_table(classes: Sequence[str], matrix: np.ndarray, areas: Sequence[float]) -> None:
    st.dataframe(
        {
            "Class": list(classes),
            "Scans": matrix.sum(axis=1).tolist(),
            "Told rightly": matrix.diagonal().tolist(),
            "AUROC": [number(value) for value in areas],
        },
        hide_index=True,
    )


def left_out(found: Baseline) -> None:
    """What leave-one-out kNN tells of a label, beside always answering the most frequent class."""
    st.caption(
        f"{count(found.scans, 'scan')} of {count(found.subjects, 'subject')}: each is answered by its {found.k} "
        "nearest scans of other subjects. Nothing is trained or chosen. In brackets 95% intervals, subjects resampled."
    )
    remarks(found.notes)
    _cards(found.figures, "majority baseline")
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Which classes are mixed up**")
        _plot(
            confusion(found.classes, found.confusion),
            "confusion left out",
            "Confusion matrix: scans by class and answer",
        )
    with right:
        st.markdown(f"**The majority baseline: always {literal(found.majority_class)}**")
        _plot(
            confusion(found.classes, majority_confusion(found)),
            "confusion of the majority",
            f"Confusion matrix where every answer is {found.majority_class}",
        )
    areas = dict(zip(found.classes, found.class_auroc, strict=True))
    _plot(per_class(areas), "per class left out", _areas_in_words(areas))
    _class_table(found.classes, found.confusion, found.class_auroc)


def _cards(figures: Sequence[Measured | Figure], trivial: str) -> None:
    for column, figure in zip(st.columns(CARDS), figures, strict=False):
        with column, st.container(border=True):
            st.metric(figure.name, number(figure.value), help=MEANING.get(figure.name))
            st.html(
                f'<div class="rs-facts">[{number(figure.low)}, {number(figure.high)}]<br>'
                f'<span class="rs-quiet">{trivial} {number(figure.majority)}</span></div>'
            )


def retrieval(found: Assessment) -> None:
    """How well lists of similar scans are of the query's class."""
    for one in found.evaluation.vectors:
        st.subheader("Retrieval", anchor=False)
        st.caption(f"{literal(one.vectors)}: each test scan asks for scans of its class among the training part.")
        _figures(one.retrieval, None)


def differences(found: Assessment) -> None:
    """Paired differences of methods."""
    if not found.evaluation.differences:
        return
    st.subheader("Differences", anchor=False)
    st.caption("Paired: both on the same resampled subjects. A difference is clear where its interval leaves 0 out.")
    st.dataframe(
        [
            {
                "Method": one.first,
                "minus": one.second,
                "Figure": one.figure,
                "Difference": number(one.value),
                "95% interval": f"[{number(one.low)}, {number(one.high)}]",
                "Clear": one.is_clear,
            }
            for one in found.evaluation.differences
        ],
        hide_index=True,
    )


def leaks(found: Assessment) -> None:
    """The same scan under two subjects, or on two sides of the split."""
    one = found.evaluation.leaks
    st.subheader("Leaks", anchor=False)
    st.write(
        f"{count(len(one.pairs), 'pair')} of scans of different subjects are near-duplicates (score "
        f"{number(one.threshold)} or more); {one.crossing:,} of them lie on two sides of the given split. "
        f"{count(one.straddling, 'subject')} have scans in more than one part of it."
    )
    if not one.pairs:
        return
    st.dataframe(
        [
            {
                "Case": int(found.ids[pair.first]),
                "Other case": int(found.ids[pair.second]),
                "Score": number(pair.score),
                "Crosses the split": pair.crosses,
            }
            for pair in one.pairs[:SHOWN_PAIRS]
        ],
        hide_index=True,
    )
    if len(one.pairs) > SHOWN_PAIRS:
        st.caption(f"... and {len(one.pairs) - SHOWN_PAIRS:,} more")


def confounds(found: Assessment) -> None:
    """What neighbours share beside the label."""
    asked = found.evaluation.confounds
    if not asked:
        return
    st.subheader("Same label or same scanner?", anchor=False)
    for one in asked:
        if one.is_flagged:
            st.warning(literal(one.verdict), icon=":material/warning:")
    st.dataframe([_confound(one) for one in asked], hide_index=True)
    st.caption("Permutation tests of whole subjects; the first two p-values are corrected over columns.")


def _confound(one: Confound) -> dict[str, str]:
    return {
        "Column": column_name(one.column),
        "Neighbours agree (by chance)": f"{number(one.agreement)} ({number(one.expected)})",
        "p": number(one.agreement_p),
        "Goes with the label": number(one.association, 2),
        "p of that": number(one.association_p),
        "Agree on the label (within the column)": f"{number(one.label_agreement)} ({number(one.label_expected)})",
        "p within": number(one.within_p),
        "Flagged": "yes" if one.is_flagged else "",
    }


def _figures(figures: Sequence[Measured], trivial: str | None) -> None:
    rows = []
    for one in figures:
        row = {
            "Figure": one.name,
            "Value": number(one.value),
            "95% interval": f"[{number(one.low)}, {number(one.high)}]",
        }
        if trivial is not None:
            row[trivial.capitalize()] = number(one.majority)
        rows.append(row | {"Random": number(one.random)})
    st.dataframe(rows, hide_index=True)


def _plot(figure: object, key: str, alt: str) -> None:
    st.plotly_chart(figure, key=key, config={"displayModeBar": False}, alt=alt)
