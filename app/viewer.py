"""The viewer of one or two scans: NiiVue, served from here; slices as pictures where the browser has no WebGL.

Both show the same: three planes through one position in mm from each scan's middle, windows by name, and each cell's
share of a score over them.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st
import streamlit.components.v1 as components

from app.palette import SIGNED_STOPS, signed_colours
from raptor_search.explain import Shares
from raptor_search.readers.nifti_bytes import nifti_bytes
from raptor_search.slice_pictures import slices_through
from raptor_search.viewing import View, Window

__all__ = ["Shown", "scale_line", "viewer"]

NO_WEBGL = "viewer without WebGL"
"""Where the session keeps that its browser cannot draw the voxels."""

AXES = (("Axial", "S", 2), ("Coronal", "A", 1), ("Sagittal", "R", 0))

_viewer = components.declare_component("viewer", path=str(Path(__file__).parent / "static" / "viewer"))


class Shown(NamedTuple):
    """A scan and what the page calls it."""

    title: str
    view: View


def viewer(scans: Sequence[Shown], *, key: str, shares: Shares | None = None) -> None:
    """Draw one scan, or two side by side.

    Args:
        scans: one or two.
        key: of the widgets.
        shares: of the score of the two, to be laid over both.
    """
    lacks = st.session_state.get(NO_WEBGL)
    if lacks:
        st.info(f"The scans are shown as pictures of slices: {lacks}.", icon=":material/image:")
    if lacks or st.toggle("Pictures of slices with sliders", key=f"{key} as"):
        _pictures(scans, key, shares)
        return
    voxels: dict[str, Any] = {
        f"voxels{place}": nifti_bytes(one.view.voxels, one.view.affine) for place, one in enumerate(scans)
    }
    said = _viewer(
        **voxels,
        scans=[_description(one) for one in scans],
        overlay=None if shares is None else _overlay(shares),
        fingerprint=_fingerprint(scans, shares),
        key=key,
        default=None,
    )
    if isinstance(said, dict) and said.get("webgl") is False:
        st.session_state[NO_WEBGL] = "this browser draws no WebGL 2, which the viewer needs"
        st.rerun()


def scale_line(view: View) -> str:
    """Size and spacing of a scan in words, and what the viewer shows of it where that is less."""
    own = "{:.2f} x {:.2f} x {:.2f} mm".format(*view.own_spacing)
    size = "{} x {} x {} voxels".format(*view.shape)
    shown = ", shown as means of {:.2f} x {:.2f} x {:.2f} mm".format(*view.spacing) if view.is_reduced else ""
    return f"{size} of {own}{shown}"


def _description(one: Shown) -> dict[str, object]:
    view = one.view
    return {
        "title": one.title,
        "windows": [list(window) for window in view.windows],
        "spacing": scale_line(view),
        "span": view.span,
        "middle": view.middle,
    }


def _overlay(shares: Shares) -> dict[str, object]:
    _, rows, columns = shares.cells.shape
    return {
        "rows": rows,
        "columns": columns,
        "values": shares.cells.ravel().tolist(),
        "colours": signed_colours(shares.cells).ravel().tolist(),
        "limit": shares.limit,
        "bar": [[stop, list(colour)] for stop, colour in SIGNED_STOPS],
    }


def _fingerprint(scans: Sequence[Shown], shares: Shares | None) -> str:
    """What the browser knows the same scans by, so that it does not draw them anew at every run of the page."""
    digest = hashlib.sha256()
    for one in scans:
        digest.update(f"{one.title}\0{one.view.fingerprint}".encode())
    if shares is not None:
        digest.update(shares.cells.tobytes())
    return digest.hexdigest()


def _pictures(scans: Sequence[Shown], key: str, shares: Shares | None) -> None:
    """Three sliders in mm for all scans, a window for each, and a picture of three planes for each."""
    reach = max(one.view.span for one in scans) / 2
    position = [0.0, 0.0, 0.0]
    for column, (name, axis, place) in zip(st.columns(3), AXES, strict=True):
        with column:
            position[place] = st.slider(
                f"{name} plane at {axis} (mm)", -reach, reach, 0.0, 1.0, format="%.0f", key=f"{key} {name}"
            )
    radiological = st.toggle("Radiological: the patient's right on the left", value=True, key=f"{key} side")
    opacity = st.slider("Overlay", 0.0, 1.0, 0.6, 0.05, key=f"{key} opacity") if shares is not None else 0.0
    colours = None if shares is None else signed_colours(shares.cells)
    for place_, (column, one) in enumerate(zip(st.columns(len(scans), gap="medium"), scans, strict=True)):
        with column:
            names = [window.name for window in one.view.windows]
            chosen = st.selectbox(f"Window of {one.title}", names, key=f"{key} window {place_}")
            window: Window = next(window for window in one.view.windows if window.name == chosen)
            st.image(
                slices_through(one.view, position, window, radiological=radiological, colours=colours, opacity=opacity),
                width="stretch",
                alt=f"{one.title}: axial, coronal and sagittal slices at the sliders' positions",
            )
            st.caption(f"{scale_line(one.view)}. Window {window.low:g} to {window.high:g}.")
    if shares is not None:
        st.caption(
            f"Colours run from blue, a share of {-shares.limit:.4f}, through none to orange, {shares.limit:+.4f}."
        )
