"""The page's entry, run by `raptor app`: settings, the banner of every page, and the pages themselves."""

from pathlib import Path

import streamlit as st

from app.guidance import how_to_begin, say
from app.session import has_catalog, open_archive
from app.words import literal_html
from raptor_search.errors import RaptorError

HERE = Path(__file__).parent
TITLE = "raptor-search"
PAGES = (
    ("search", "Search", ":material/search:"),
    ("cohort", "Cohort", ":material/scatter_plot:"),
    ("labels", "Labels", ":material/label:"),
    ("evaluate", "Evaluate", ":material/analytics:"),
    ("archive", "Archive", ":material/inventory_2:"),
)


def main() -> None:
    """Draw the banner, then the page that is open; what the library refuses is one sentence."""
    st.set_page_config(page_title=TITLE, page_icon=str(HERE / "static" / "icon.png"), layout="wide")
    st.html(HERE / "static" / "style.css")
    pages = [
        st.Page(HERE / "views" / f"{name}.py", title=title, icon=icon, url_path=name, default=name == "search")
        for name, title, icon in PAGES
    ]
    page = st.navigation(pages, position="top")
    banner = st.empty()
    banner.html(_banner(None))
    try:
        if not has_catalog():
            st.title(page.title, anchor=False)
            how_to_begin()
            return
        banner.html(_banner(open_archive().notice))
        page.run()
    except RaptorError as error:
        say(error)


def _banner(notice: str | None) -> str:
    said = f"<span>{literal_html(notice)}</span>" if notice else ""
    return f'<div class="rs-banner"><strong>Research use only; not a medical device.</strong>{said}</div>'


if __name__ == "__main__":
    main()
