"""Evaluate: how well a label is told by the scans themselves, measured on subjects that training has not seen."""

from collections.abc import Sequence
from typing import NamedTuple, cast

import streamlit as st

from app.facets import Facets, facets
from app.findings import LEAVE_OUT, confounds, diagnosis, differences, leaks, left_out, method_name, retrieval
from app.guidance import remarks, say, spec_or_guide
from app.session import evaluation_turn, identity, open_archive
from app.words import column_name, count, literal
from raptor_search.archive import Archive
from raptor_search.assessing import Assessment, assess
from raptor_search.catalog import StoredSpec
from raptor_search.errors import QueryError
from raptor_search.evaluation import Baseline
from raptor_search.leaving_out import leave_out
from raptor_search.report import html_report
from raptor_search.statistics.protocol import METHODS, Method

__all__ = ["show"]

KINDS = ("a class", "a number")


class Wanted(NamedTuple):
    """What is to be evaluated; a tuple, so that one of an earlier run of this script equals one of the next."""

    label: str
    as_number: bool
    methods: tuple[Method, ...]
    leave_out: bool
    where: str
    with_curve: bool


class Found(NamedTuple):
    """What was measured: by folds, by leaving one subject out, or why neither can be."""

    folds: Assessment | QueryError | None
    left_out: Baseline | QueryError | None


def show() -> None:
    """Draw the page."""
    archive = open_archive()
    st.title("Evaluate", anchor=False)
    stored = spec_or_guide(archive)
    if stored is None:
        return
    st.write(
        "How well do the scans themselves tell a label? Methods learn from some patients and answer for *others*; "
        "the answers are counted, and what may have helped them beside the label is looked for."
    )
    wanted = _ask(archive, facets(archive, stored))
    if wanted is not None and st.button("Evaluate", type="primary", icon=":material/analytics:", key="evaluate"):
        _evaluate(archive, stored, wanted)
    _show_kept(archive, stored, wanted)


def _ask(archive: Archive, known: Facets) -> Wanted | None:
    """The choices; None, with a word why, where there is nothing to evaluate yet."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        kind = st.radio("The label is", KINDS, key="evaluate kind", horizontal=True, persist_state="session")
        as_number = kind == KINDS[1]
        names = _numbers(archive) if as_number else _classes(known)
        label = st.selectbox(
            "Label",
            names,
            index=0 if as_number else _first(names, known),
            format_func=column_name,
            key=f"evaluate {kind}",
            persist_state="session",
            width=280,
        )
        methods = st.pills(
            "Methods",
            METHODS if as_number else (*METHODS, LEAVE_OUT),
            default=METHODS,
            selection_mode="multi",
            help="Leave-one-out kNN trains nothing, and serves where a class is too rare for folds of subjects.",
            format_func=lambda method: method_name(method, of_classes=not as_number),
            key="evaluate methods for numbers" if as_number else "evaluate methods",
            persist_state="session",
        )
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        where = st.text_input(
            "Only scans that pass",
            placeholder="modality = 'MR' AND age > 60",
            key="evaluate where",
            persist_state="session",
            width=420,
        )
        with_curve = st.toggle(
            "Data-efficiency curve",
            key="evaluate curve",
            disabled=as_number,
            help="How the AUROC grows with the subjects to learn from; this takes longest.",
            persist_state="session",
        )
    if label is None:
        st.info(
            "No label has two values to tell apart yet. Give some with `raptor index PATH --labels FILE`, "
            "or on the page Labels."
        )
        return None
    if not methods:
        st.info("Choose a method.")
        return None
    chosen = tuple(method for method in METHODS if method in methods)
    return Wanted(label, as_number, chosen, LEAVE_OUT in methods, where.strip(), with_curve and not as_number)


def _classes(known: Facets) -> list[str]:
    """Columns and labels with two values to tell apart."""
    return [name for name, counts in (known.columns | known.labels).items() if len(counts) > 1]


def _first(names: Sequence[str], known: Facets) -> int | None:
    """Where to begin: the label whose rarest value has the most scans."""
    counts = known.columns | known.labels
    return max(range(len(names)), key=lambda row: min(counts[names[row]].values()), default=None)


def _numbers(archive: Archive) -> list[str]:
    """Columns that hold numbers, and the labels, which may."""
    return [name for name, kind in archive.catalog.columns().items() if kind in ("number", "label")]


def _evaluate(archive: Archive, stored: StoredSpec, wanted: Wanted) -> None:
    """Measure, and keep what was found, or why nothing can be, for the session."""
    moment = identity(), archive.catalog.moment(stored.id)
    with st.spinner("Methods learn and are tested, patient by patient", show_time=True), evaluation_turn():
        by_folds = _by_folds(archive, stored, wanted) if wanted.methods else None
        refused = isinstance(by_folds, QueryError) and not wanted.as_number
        left = _left_out(archive, stored, wanted) if wanted.leave_out or refused else None
    st.session_state["evaluated"] = wanted, moment, Found(by_folds, left)


def _by_folds(archive: Archive, stored: StoredSpec, wanted: Wanted) -> Assessment | QueryError:
    try:
        return assess(
            archive,
            wanted.label,
            as_number=wanted.as_number,
            methods=wanted.methods,
            where=wanted.where or None,
            spec=stored.fingerprint,
            with_curve=wanted.with_curve,
        )
    except QueryError as error:
        return error


def _left_out(archive: Archive, stored: StoredSpec, wanted: Wanted) -> Baseline | QueryError:
    try:
        return leave_out(archive, wanted.label, where=wanted.where or None, spec=stored.fingerprint)
    except QueryError as error:
        return error


def _show_kept(archive: Archive, stored: StoredSpec, wanted: Wanted | None) -> None:
    kept = st.session_state.get("evaluated")
    if kept is None:
        return
    of, moment, (by_folds, left) = cast("tuple[Wanted, object, tuple[object, object]]", kept)
    if of != wanted:
        st.caption(f"The figures below are of {literal(column_name(of.label))}, as it was asked for before.")
    if moment != (identity(), archive.catalog.moment(stored.id)):
        st.warning("The archive has changed since: evaluate again for figures of today.", icon=":material/update:")
    if isinstance(by_folds, Assessment):
        _findings(by_folds, archive.principal.may("export"))
    elif isinstance(by_folds, QueryError):
        _refused(by_folds, left)
    if isinstance(left, Baseline):
        st.header(f"How well {literal(column_name(of.label))} is told, one subject left out at a time", anchor=False)
        left_out(left)
    elif isinstance(left, QueryError) and not isinstance(by_folds, QueryError):
        say(left)


def _refused(error: QueryError, left: object) -> None:
    """Why there are no folds, and what was done instead."""
    if isinstance(left, Baseline):
        st.warning(
            f"Folds of subjects cannot judge this: {literal(error.message)}. So leave-one-out kNN answers below: each "
            "scan by the nearest scans of the other subjects, without anything being trained or chosen.",
            icon=":material/info:",
        )
    else:
        say(error)
    if isinstance(left, QueryError) and left.message != error.message:
        st.caption(f"Leave-one-out kNN cannot judge it either: {literal(left.message)}.")
    st.caption("The command's `--where` is the line “Only scans that pass” here, its `--number` the choice “a number”.")


def _findings(found: Assessment, may_export: bool) -> None:
    one = found.evaluation
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.header(f"How well {literal(column_name(one.label))} is told", anchor=False, width="content")
        st.download_button(
            "Report as HTML",
            html_report(found),
            file_name="evaluation.html",
            mime="text/html",
            key="report",
            on_click="ignore",
            icon=":material/download:",
            disabled=not may_export,
        )
    st.caption(
        f"{count(one.scans, 'scan')} of {count(one.subjects, 'subject')}; {literal(one.protocol)}. "
        "In brackets 95% intervals, subjects resampled."
    )
    remarks(one.notes)
    names = [
        f"{literal(result.vectors)}, {method_name(result.method, of_classes=bool(one.classes))}"
        for result in one.methods
    ]
    for tab, result in zip(st.tabs(names), one.methods, strict=True):
        with tab:
            diagnosis(result, one.classes)
    retrieval(found)
    differences(found)
    leaks(found)
    confounds(found)


if __name__ == "__main__":
    show()
