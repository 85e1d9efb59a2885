"""The page's address: a link reopens a search of an archive case with all that narrows and steers it.

What the widgets say is written into the address, and an address that this session did not write is read into the
widgets. An upload has no address: nothing of it leaves the session.
"""

from collections.abc import Mapping

import streamlit as st

from app.facets import Facets
from app.filters import DEFAULT_HITS, MAX_HITS, age_key
from app.steering import EMPTY

__all__ = ["back_to", "follow", "forget", "fresh", "keep", "note"]

WRITTEN = "address"
"""Where the session keeps the address that it saw or wrote last."""

NARROWED = "narrowed"
"""Where it keeps the part of an address that says how many hits there are to be, and among which scans."""

FLAGS = ("other_patients", "collapse")
WHERE = {"where": "condition"}
STEERS = {name: name for name in EMPTY}
"""Parameters that hold a text, and the widgets' keys."""

Parameters = dict[str, list[str]]


def follow(known: Facets) -> list[str]:
    """Set the widgets where the address is a new one; gives what it asks for that is not there, a sentence each."""
    now, before = _now(), st.session_state.get(WRITTEN)
    st.session_state[WRITTEN] = now
    if now == before:
        return []
    if before is None or "k" in now:  # a link, or the browser's way back: all of it counts
        return _read(now, known)
    if now.get("case") != before.get("case"):  # from another page or hit: filters stay, the steering was another's
        st.session_state.update(EMPTY)
    return []


def keep(case: int, known: Facets) -> None:
    """Write the search of a case into the address; the number of hits too, by which `follow` knows a whole one."""
    wanted = {"case": [str(case)]} | _narrowing(known) | _texts(STEERS)
    if wanted != _now():
        st.query_params.from_dict(wanted)
    st.session_state[WRITTEN] = wanted


def note(known: Facets) -> None:
    """Keep what the widgets say for `fresh`, which is asked on other pages too; call it when they are drawn."""
    st.session_state[NARROWED] = _narrowing(known)


def fresh(case: int) -> Parameters:
    """The address of a search from a case: the filters stay, the steering was another's.

    It is whole: the page adds nothing to it, which would be one more step on the browser's way back.
    """
    narrowed: Parameters = st.session_state.get(NARROWED) or {"k": [str(DEFAULT_HITS)]}
    return {"case": [str(case)]} | narrowed


def _narrowing(known: Facets) -> Parameters:
    state = st.session_state
    wanted: Parameters = {"k": [str(state["hits"])]}
    wanted |= {flag: ["1"] for flag in FLAGS if state[flag]}
    wanted |= {column: list(state[f"filter {column}"]) for column in known.columns if state[f"filter {column}"]}
    if labels := state.get("filter labels"):
        wanted["label"] = [_pair(name, value) for name, value in labels]
    if known.ages and (ages := state.get(age_key(*known.ages), known.ages)) != known.ages:
        wanted["age"] = ["{:g}-{:g}".format(*ages)]
    return wanted | _texts(WHERE)


def _texts(keys: Mapping[str, str]) -> Parameters:
    return {name: [st.session_state[key]] for name, key in keys.items() if st.session_state[key].strip()}


def back_to(case: int | None) -> Parameters:
    """The address of the search that was seen last, where it was one from this case; else of a plain one."""
    seen: Parameters = st.session_state.get(WRITTEN) or {}
    plain = {} if case is None else {"case": [str(case)]}
    return seen if seen.get("case") == plain.get("case") else plain


def forget() -> None:
    """A new search: the address names none."""
    st.query_params.clear()


def _now() -> Parameters:
    return {name: st.query_params.get_all(name) for name in st.query_params}


def _read(now: Parameters, known: Facets) -> list[str]:
    missing: list[str] = []
    first = {name: values[0] for name, values in now.items() if values}
    chosen: dict[str, object] = {flag: first.get(flag) == "1" for flag in FLAGS}
    chosen |= {key: first.get(name, "") for name, key in (WHERE | STEERS).items()}
    chosen["hits"] = _hits(first.get("k"), missing)
    for column, counts in known.columns.items():
        chosen[f"filter {column}"] = _there({value: value for value in counts}, column, now, missing)
    pairs = {_pair(name, value): (name, value) for name, counts in known.labels.items() for value in counts}
    if pairs:
        chosen["filter labels"] = _there(pairs, "label", now, missing)
    if known.ages and known.ages[0] != known.ages[1]:
        chosen[age_key(*known.ages)] = _ages(first.get("age"), known.ages, missing)
    st.session_state.update(chosen)
    return missing


def _there(options: Mapping[str, object], name: str, now: Parameters, missing: list[str]) -> list[object]:
    wanted = now.get(name, [])
    missing += [
        f"the link asks for {name} {value[:64]!r}, which no scan has" for value in wanted if value not in options
    ]
    return [options[value] for value in dict.fromkeys(wanted) if value in options]


def _hits(text: str | None, missing: list[str]) -> int:
    if text is None:
        return DEFAULT_HITS
    if text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= MAX_HITS:
        return int(text)
    missing.append(f"the link asks for {text[:16]!r} scans; expected 1 to {MAX_HITS}")
    return DEFAULT_HITS


def _ages(text: str | None, ages: tuple[float, float], missing: list[str]) -> tuple[float, float]:
    if text is None:
        return ages
    try:
        low, high = (float(end) for end in text.split("-"))
    except ValueError:
        low, high = float("nan"), float("nan")
    if ages[0] <= low <= high <= ages[1]:
        return low, high
    missing.append(f"the link asks for the ages {text[:16]!r}; there are {ages[0]:g} to {ages[1]:g}")
    return ages


def _pair(name: str, value: str) -> str:
    """A label and its value as the page shows them: what looks alike there is alike here."""
    return f"{name}: {value}"
