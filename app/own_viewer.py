"""A button that opens a scan of the archive in the user's own DICOM viewer, where the operator named one."""

import streamlit as st

from app.guidance import say
from raptor_search.archive import Archive
from raptor_search.errors import RaptorError
from raptor_search.viewer_link import filled, viewer_template

__all__ = ["offer_viewer"]


def offer_viewer(archive: Archive, case: int, *, key: str) -> None:
    """Draw the button where there is a viewer to open and the user may; its link is made when it is pressed."""
    try:
        template = viewer_template()
    except RaptorError as error:
        st.caption(error.message)
        return
    if (
        template is not None
        and archive.principal.may("identify")
        and st.button("Open in your viewer", key=key, icon=":material/open_in_new:", type="tertiary")
    ):
        _open(archive, case, template)


@st.dialog("Open in your viewer")
def _open(archive: Archive, case: int, template: str) -> None:
    try:
        found = archive.identity_of(case)
        link = filled(template, study=found.study, series=found.series)
    except RaptorError as error:
        say(error)
        return
    st.write(f"Case {case} opens in a new tab, in the viewer that this archive's operator named.")
    st.link_button(f"Open case {case}", link, icon=":material/open_in_new:", type="primary")
