"""A link that opens a DICOM series in the user's own viewer: a template that the operator set, filled with UIDs.

The UIDs come from a file's header, and so from strangers: only what PS3.5 9.1 allows in a UID gets into the link.
"""

import os
import re

from raptor_search.errors import ReadError, UsageError

__all__ = ["VIEWER_VARIABLE", "filled", "viewer_template"]

VIEWER_VARIABLE = "RAPTOR_VIEWER_URL"

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
MAX_UID = 64

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
SCRIPTS = ("javascript", "data", "vbscript", "file", "blob")
"""Schemes that run or read something in the browser instead of opening a viewer."""

_FIELD = re.compile(r"\{([^{}]*)\}")


def viewer_template() -> str | None:
    """What `RAPTOR_VIEWER_URL` says, such as "https://viewer.example/viewer?StudyInstanceUIDs={study}"; None if unset.

    Raises:
        UsageError: it is no URL with the field {study}, or has other fields than {study} and {series}.
    """
    template = os.environ.get(VIEWER_VARIABLE, "").strip()
    if not template:
        return None
    scheme = _SCHEME.match(template)
    fields = set(_FIELD.findall(template))
    if scheme is None or scheme[1].lower() in SCRIPTS or "study" not in fields or not fields <= {"study", "series"}:
        raise UsageError(
            f"{VIEWER_VARIABLE} is {template[:80]!r}; expected a URL with {{study}} and perhaps {{series}}, such as "
            "https://viewer.example/viewer?StudyInstanceUIDs={study}"
        )
    return template


def filled(template: str, *, study: str | None, series: str | None) -> str:
    """The link of one series.

    Args:
        template: from `viewer_template`.
        study: StudyInstanceUID.
        series: SeriesInstanceUID.

    Raises:
        ReadError: a UID that the template needs is absent or malformed.
    """
    link = template
    for name, uid in (("study", study), ("series", series)):
        if f"{{{name}}}" not in template:
            continue
        if uid is None or len(uid) > MAX_UID or not _UID.fullmatch(uid):
            raise ReadError("unreadable", f"the file's header has no valid UID of its {name}; expected digits and dots")
        link = link.replace(f"{{{name}}}", uid)
    return link
