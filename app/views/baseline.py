"""kNN baseline: how well a label can be told from the neighbours alone, judged patient by patient."""

import streamlit as st

from app.charts import confusion
from app.facets import facets
from app.guidance import remarks, say, spec_or_guide
from app.session import open_archive
from app.words import column_name, count, literal
from raptor_search.errors import QueryError
from raptor_search.evaluation import Baseline, Figure
from raptor_search.labelling import baseline

__all__ = ["show"]


def show() -> None:
    """Draw the page."""
    archive = open_archive()
    st.title("kNN baseline", anchor=False)
    stored = spec_or_guide(archive)
    if stored is None:
        return
    st.write(
        "How well do similar scans tell a label? Each labelled scan is answered by the votes of its nearest labelled "
        "scans of *other* patients, and the answers are counted."
    )
    known = facets(archive, stored)
    names = [name for name, counts in (known.columns | known.labels).items() if len(counts) > 1]
    label = st.selectbox(
        "Label", names, format_func=column_name, key="baseline label", persist_state="session", width=320
    )
    if label is None:
        st.info(
            "No label has two values to tell apart yet. Give some with `raptor index PATH --labels FILE`, "
            "or on the page Labels."
        )
        return
    try:
        with st.spinner("Every labelled scan is answered by the others"):
            result = baseline(archive, label)
    except QueryError as error:
        say(error)
        return
    _figures(result)
    _details(result)


def _figures(result: Baseline) -> None:
    for column, figure in zip(st.columns(3), result.figures, strict=True):
        with column, st.container(border=True):
            _figure(figure)
    st.caption(
        f"{count(result.scans, 'scan')} of {count(result.subjects, 'patient')}, {result.k} neighbours. "
        "In brackets the 95% interval, from drawing patients with replacement. "
        f"The majority baseline always answers {literal(result.majority_class)}, the commonest class."
    )
    remarks(result.notes)


def _figure(figure: Figure) -> None:
    st.metric(figure.name, f"{figure.value:.3f}", help=_MEANING.get(figure.name))
    st.html(
        f'<div class="rs-facts">[{figure.low:.3f}, {figure.high:.3f}]<br>'
        f'<span class="rs-quiet">majority baseline {figure.majority:.3f}</span></div>'
    )


_MEANING = {
    "AUROC": "How often a scan of a class gets more votes for it than a scan of another class; mean over the classes.",
    "balanced accuracy": "Share of right answers, each class counting the same.",
    "accuracy": "Share of right answers, each scan counting the same.",
}


def _details(result: Baseline) -> None:
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.subheader("Which classes are mixed up", anchor=False)
        st.plotly_chart(
            confusion(result.classes, result.confusion),
            key="confusion",
            config={"displayModeBar": False},
            alt="Confusion matrix: scans by true class and by the class they were taken for",
        )
    with right:
        st.subheader("Class by class", anchor=False)
        st.dataframe(
            {
                "Class": list(result.classes),
                "Scans": result.confusion.sum(axis=1).tolist(),
                "AUROC": list(result.class_auroc),
            },
            hide_index=True,
            column_config={"AUROC": st.column_config.NumberColumn(format="%.3f")},
        )


if __name__ == "__main__":
    show()
