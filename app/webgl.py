"""How a browser draws many points: by WebGL where it has it, which a few lines of this page's own script find out."""

from typing import Any, NamedTuple, cast

import streamlit as st

__all__ = ["Drawing", "how_to_draw"]

DRAWN_BY_WEBGL = 10_000
"""Points that a lasso follows smoothly; see benchmarks/pages.py."""

DRAWN_AS_SVG = 2_000
"""Points up to which no WebGL is asked for, and that are drawn where there is none."""

KNOWN = "draws with WebGL"
"""Where the session keeps the answer."""

_SCRIPT = """
export default function ({ setStateValue }) {
  const canvas = document.createElement("canvas");
  let context = null;
  try { context = canvas.getContext("webgl") || canvas.getContext("webgl2"); } catch (error) { context = null; }
  setStateValue("webgl", context !== null);
  context?.getExtension("WEBGL_lose_context")?.loseContext();
}
"""


class Drawing(NamedTuple):
    """How to draw: by WebGL or as SVG, how many points at most, and whether the browser was found to lack WebGL."""

    webgl: bool
    limit: int
    lacks_webgl: bool


def how_to_draw(points: int) -> Drawing:
    """How so many points are drawn. Until the browser has answered it is few, as SVG; then the page is run again.

    Few points are SVG in any case, which every browser and remote desktop has.
    """
    if points <= DRAWN_AS_SVG:
        return Drawing(False, DRAWN_AS_SVG, False)
    known = cast("bool | None", st.session_state.get(KNOWN))
    if known is None:
        asked = st.components.v2.component("raptor_webgl", js=_SCRIPT)
        said = cast(Any, asked(key="webgl", default={"webgl": None}, on_webgl_change=_heard))
        known = cast("bool | None", said.webgl)
    return Drawing(bool(known), DRAWN_BY_WEBGL if known else DRAWN_AS_SVG, known is False)


def _heard() -> None:
    said = cast(Any, st.session_state["webgl"]).webgl
    if said is not None:
        st.session_state[KNOWN] = bool(said)
