"""Whether a session's browser can draw with WebGL: a few lines of this page's own script say so."""

from typing import Any, cast

import streamlit as st

__all__ = ["draws_webgl"]

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


def draws_webgl() -> bool | None:
    """The browser's answer; None until it has come, after which the page is run again."""
    known = cast("bool | None", st.session_state.get(KNOWN))
    if known is None:
        asked = st.components.v2.component("raptor_webgl", js=_SCRIPT)
        said = cast(Any, asked(key="webgl", default={"webgl": None}, on_webgl_change=_heard))
        known = cast("bool | None", said.webgl)
    return known


def _heard() -> None:
    said = cast(Any, st.session_state["webgl"]).webgl
    if said is not None:
        st.session_state[KNOWN] = bool(said)
