"""The page's entry, run by `raptor app`: settings, the banner of every page, the login, and the pages themselves."""

from pathlib import Path

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from app.guidance import how_to_begin, say
from app.login import current, has_login, log_in, offer_log_out
from app.session import has_catalog, open_archive
from app.words import literal_html
from raptor_search.access import Action, Principal
from raptor_search.errors import RaptorError

HERE = Path(__file__).parent
TITLE = "raptor-search"
PAGES: tuple[tuple[str, str, str, Action], ...] = (
    ("search", "Search", ":material/search:", "view"),
    ("compare", "Compare", ":material/compare:", "search"),
    ("cohort", "Cohort", ":material/scatter_plot:", "view"),
    ("labels", "Labels", ":material/label:", "label"),
    ("evaluate", "Evaluate", ":material/analytics:", "evaluate"),
    ("archive", "Archive", ":material/inventory_2:", "view"),
)


def main() -> None:
    """Draw the banner, then the page that is open; what the library refuses is one sentence."""
    st.set_page_config(page_title=TITLE, page_icon=str(HERE / "static" / "icon.png"), layout="wide")
    st.html(HERE / "static" / "style.css")
    try:
        who, refused = current(), None
    except RaptorError as error:
        who, refused = None, error
    page = st.navigation(_pages(who), position="top" if who and who.role else "hidden")
    banner = st.empty()
    banner.html(_banner(who, None))
    offer_log_out()
    try:
        if refused is not None:
            raise refused
        if who is None:
            log_in()
            return
        who.require("view")
        if not has_catalog():
            st.title(page.title, anchor=False)
            how_to_begin()
            return
        banner.html(_banner(who, open_archive().notice))
        page.run()
    except RaptorError as error:
        say(error)


def _pages(who: Principal | None) -> list[StreamlitPage]:
    """The pages that the role suffices for; all of them before the login, so that it leads back to where one was."""
    return [
        st.Page(HERE / "views" / f"{name}.py", title=title, icon=icon, url_path=name, default=name == "search")
        for name, title, icon, action in PAGES
        if who is None or who.role is None or who.may(action)
    ]


def _banner(who: Principal | None, notice: str | None) -> str:
    said = f"<span>{literal_html(notice)}</span>" if notice else ""
    if who is not None:
        manner = (who.role or "no role") if has_login() else "whoever uses this machine is admin: no login"
        said += f'<span class="rs-end">{literal_html(f"{who.name} ({manner})")}</span>'
    return f'<div class="rs-banner"><strong>Research use only; not a medical device.</strong>{said}</div>'


if __name__ == "__main__":
    main()
