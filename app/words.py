"""Words on the page: names that people wrote are shown as they are, never read as markup."""

import html
import re
import time
from collections.abc import Mapping

from raptor_search.catalog import Value

__all__ = ["COLUMN_NAMES", "column_name", "count", "literal", "literal_html", "shown", "size", "when"]

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")

COLUMN_NAMES: Mapping[str, str] = {
    "modality": "Modality",
    "body_part": "Body part",
    "sex": "Sex",
    "age": "Age",
    "year": "Year",
    "laterality": "Side",
    "contrast_agent": "Contrast agent",
    "manufacturer": "Manufacturer",
    "model": "Scanner model",
    "format": "File format",
    "size_r": "Voxels left to right",
    "size_a": "Voxels back to front",
    "size_s": "Voxels foot to head",
    "spacing_r": "Spacing left to right (mm)",
    "spacing_a": "Spacing back to front (mm)",
    "spacing_s": "Spacing foot to head (mm)",
    "orientation": "Stored orientation",
    "oriented": "Orientation known",
    "plane": "Plane of the slices",
    "slices": "Slices",
    "gap_mm": "Gap between slices (mm)",
    "smallest_gap_mm": "Smallest gap (mm)",
    "largest_gap_mm": "Largest gap (mm)",
    "missing_slices": "Missing slices",
    "doubled_slices": "Doubled slices",
    "tilt_deg": "Gantry tilt (degrees)",
    "oblique_deg": "Obliqueness (degrees)",
    "resampled": "Resampled to even gaps",
    "sheared": "Sheared by the tilt",
    "stack": "Stack of its series",
    "stacks": "Stacks in the series",
    "stack_by": "Stacks differ by",
    "t": "Volume in time",
    "series_kind": "Kind of series",
    "session": "Session",
    "split": "Split",
    "slice_thickness_mm": "Slice thickness (mm)",
    "echo_time_ms": "Echo time (ms)",
    "repetition_time_ms": "Repetition time (ms)",
    "inversion_time_ms": "Inversion time (ms)",
    "flip_angle_deg": "Flip angle (degrees)",
    "b_value": "b-value (s/mm\u00b2)",
    "field_strength_t": "Field strength (T)",
    "tube_voltage_kv": "Tube voltage (kV)",
    "kernel": "Reconstruction kernel",
}
"""What the catalog's typed columns are called on the page."""


def literal(text: str) -> str:
    """Markdown that shows `text` as it is, on one line: every mark in it is escaped."""
    return _PUNCTUATION.sub(r"\\\1", " ".join(text.split()))


def literal_html(text: str) -> str:
    """HTML that shows `text` as it is; in a Plotly figure too, which reads tags in names."""
    return html.escape(text)


def column_name(column: str) -> str:
    """The page's name of a typed column; a label keeps its own."""
    return COLUMN_NAMES.get(column, column)


def shown(value: Value | None) -> str:
    """A metadata value in words."""
    if value is None or value == "":
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def count(number: int, noun: str) -> str:
    """A number with its noun: "1 scan", "64 scans", "1,204 scans"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size(amount: int) -> str:
    """Bytes in words: "640 kB", "1.2 GB"."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if amount >= factor:
            return f"{amount / factor:,.1f} {unit}"
    return f"{amount / 1e3:,.0f} kB"


def when(seconds: float) -> str:
    """A UTC time to the minute."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
