"""What an evaluation found, as a page shows it: figures with intervals, tables, plots, leaks and confounds."""

from collections.abc import Sequence

import streamlit as st

from app.charts import calibration, confusion, efficiency
from app.words import column_name, count, literal
from raptor_search.assessing import Assessment
from raptor_search.assessment import MethodResult
from raptor_search.confounds import Confound
from raptor_search.figures import Measured
from raptor_search.report import number

__all__ = ["confounds", "diagnosis", "differences", "leaks", "method_name", "retrieval"]

CARDS = 3
"""Figures shown large; the table has them all."""

SHOWN_PAIRS = 50

MEANING = {
    "AUROC": "How often a scan of a class gets more of it than a scan of another class; mean over the classes.",
    "accuracy": "Share of right answers, each scan counting the same.",
    "balanced accuracy": "Share of right answers, each class counting the same.",
    "r2": "Share of the number's variance that is told.",
    "MAE": "Mean absolute error, in the number's own unit.",
}


def method_name(method: str, *, of_classes: bool) -> str:
    """A method in words."""
    if method == "knn":
        return "kNN"
    return "Logistic regression" if of_classes else "Ridge regression"


def diagnosis(result: MethodResult, classes: Sequence[str]) -> None:
    """How well one method tells the label."""
    cards = result.figures[:CARDS]
    trivial = "majority baseline" if classes else "mean baseline"
    for column, figure in zip(st.columns(CARDS), cards, strict=False):
        with column, st.container(border=True):
            st.metric(figure.name, number(figure.value), help=MEANING.get(figure.name))
            st.html(
                f'<div class="rs-facts">[{number(figure.low)}, {number(figure.high)}]<br>'
                f'<span class="rs-quiet">{trivial} {number(figure.majority)}</span></div>'
            )
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
    st.dataframe(
        {
            "Class": list(classes),
            "Scans": result.confusion.sum(axis=1).tolist(),
            "AUROC": [number(value) for value in result.class_auroc],
        },
        hide_index=True,
    )
    if result.curve:
        st.markdown("**How many labelled subjects it takes**")
        _plot(efficiency(result.curve), f"curve {key}", "AUROC over the number of subjects to learn from")


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
                "First": one.first,
                "Less": one.second,
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
