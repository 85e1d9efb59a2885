"""Taking scans out of the archive, or erasing them for good; what was typed tells that it is meant."""

from typing import TypedDict

import streamlit as st

from app.facets import forget_facets
from app.guidance import say
from app.steering import parse_cases
from app.words import count
from raptor_search.archive import Archive
from raptor_search.errors import RaptorError, UsageError

__all__ = ["removal"]

WAYS = ("Case numbers", "Everything of a patient", "All that pass a filter")
PLACEHOLDERS = {WAYS[0]: "3, 7", WAYS[1]: "the id as the files have it", WAYS[2]: "modality = 'CT' AND age > 60"}

DEEDS = {
    "Remove": "They are found no longer. Indexing their files brings them back.",
    "Erase": "Nothing of them stays in the archive's files, and they are never indexed again. "
    "Backups and the scans themselves are not touched.",
}

NAMED = 20
SAID = "what was removed"
TYPED = "scans to remove"


class _Which(TypedDict, total=False):
    """One of the ways that the library takes."""

    ids: tuple[int, ...]
    patient: str
    where: str


def removal(archive: Archive) -> None:
    """The choice, what it is about, the words to type, and the button."""
    if not archive.principal.may("remove"):
        return
    st.header("Remove or erase scans", anchor=False)
    if said := st.session_state.pop(SAID, None):
        st.session_state[TYPED] = ""  # what was typed names nothing any more
        st.success(said, icon=":material/done:")
    deed = st.radio("What is to be done", list(DEEDS), captions=list(DEEDS.values()), key="deed", horizontal=True)
    way = st.radio("Which scans", WAYS if deed == "Remove" else WAYS[:2], key="which scans", horizontal=True)
    text = st.text_input(way, placeholder=PLACEHOLDERS[way], key=TYPED).strip()
    if not text:
        return
    try:
        which = _which(way, text)
        found = archive.meant(**which).ids.tolist()
        if not found and deed == "Remove":
            st.info("The archive has no such scan.")
            return
        named = ", ".join(map(str, found[:NAMED])) + (", ..." if len(found) > NAMED else "")
        st.write(f"{count(len(found), 'scan')}{f': case {named}' if found else ', and none later'}.")
        phrase = f"{deed} {count(len(found), 'scan')}".lower()
        typed = st.text_input(f"Type “{phrase}” to confirm", key=f"confirmation of {phrase}")
        sure = typed.strip().lower() == phrase
        if st.button(deed, key="do it", type="primary", disabled=not sure, icon=":material/delete:") and sure:
            _act(archive, deed, which)
    except RaptorError as error:
        say(error)


def _which(way: str, text: str) -> _Which:
    if way == WAYS[0]:
        cases = parse_cases(text)
        if not cases:
            raise UsageError("give case numbers, such as 3, 7")
        return {"ids": cases}
    return {"patient": text} if way == WAYS[1] else {"where": text}


def _act(archive: Archive, deed: str, which: _Which) -> None:
    with st.status(f"{deed}: do not close this page", expanded=True) as status:
        if deed == "Erase":
            report = archive.erase(
                ids=which.get("ids", ()),
                patient=which.get("patient"),
                progress=lambda what, done, total: status.update(label=f"{what}: {done:,} of {total:,}"),
            )
            same = f", {report.duplicates:,} of them other files of the same bytes" if report.duplicates else ""
            said = f"{count(report.volumes, 'scan')} erased{same}. Backups made before still hold them."
        else:
            said = f"{count(archive.remove(**which), 'scan')} removed."
    forget_facets()
    st.session_state[SAID] = said
    st.rerun()
