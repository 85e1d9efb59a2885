"""Cards: how one scan looks wherever it is shown, its picture first."""

from collections.abc import Mapping, Sequence

import streamlit as st

from app.standing import above_pairs
from app.words import literal_html, shown
from raptor_search.catalog import VolumeRecord

__all__ = ["alt_text", "chips", "facts_line", "head", "picture"]

PLANES = "axial, coronal and sagittal middle slices"


def alt_text(record: VolumeRecord) -> str:
    """What a screen reader says instead of a scan's picture."""
    kind = " ".join(x for x in (record.modality, record.body_part) if x) or "unknown modality"
    return f"Case {record.id}, {kind}: {PLANES}"


def picture(png: bytes | None, alt: str) -> None:
    """A three-plane picture, as wide as its card."""
    if png is None:
        st.caption("No picture is stored for this scan.")
    else:
        st.image(png, width="stretch", alt=alt)


def head(*, rank: int, score: float, percentile: float | None, exact: bool, case: int) -> None:
    """The first line of a hit: rank, score, its percentile where known, and whether the score's search was exact."""
    manner, why = ("exact", "no scan") if exact else ("approximate", "a scan")
    why += f" that passes the filters {'can' if exact else 'may'} be missing above it"
    above = "" if percentile is None else f'<span class="rs-quiet">{above_pairs(percentile)}</span>'
    st.html(
        f'<div class="rs-head"><span class="rs-rank">{rank}</span><span class="rs-score">{score:.3f}</span>{above}'
        f'<span class="rs-quiet" title="{why}">{manner}</span><span class="rs-quiet rs-end">Case {case}</span></div>'
    )


def facts_line(record: VolumeRecord) -> None:
    """Modality, body part, patient, sex and age on one line."""
    person = ", ".join(x for x in (record.sex, f"{record.age:g} years" if record.age is not None else None) if x)
    patient = f"patient P-{record.subject}" if record.subject else "patient unknown"
    parts = (f"<strong>{literal_html(shown(record.modality))}</strong>", record.body_part, patient, person)
    line = " · ".join([parts[0], *(literal_html(part) for part in parts[1:] if part)])
    st.html(f'<div class="rs-facts">{line}</div>')


def chips(labels: Mapping[str, str], marks: Sequence[str] = ()) -> None:
    """Labels as small tags, after remarks that must not be missed."""
    tags = [f'<span class="rs-chip rs-mark">{literal_html(mark)}</span>' for mark in marks]
    tags += [
        f'<span class="rs-chip"><b>{literal_html(name)}</b>{literal_html(value)}</span>'
        for name, value in labels.items()
    ]
    st.html(f'<div class="rs-chips">{"".join(tags) or "<span class=rs-quiet>no labels</span>"}</div>')
