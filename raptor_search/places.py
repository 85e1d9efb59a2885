"""What the URI of a source says of where it lies, and whether anything is there still: "PATH" or "PATH#MEMBER"."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

__all__ = ["holder", "is_gone"]


def holder(uri: str) -> Path:
    """The file or folder that a source's URI names; where it is gone, all that stands before the last "#"."""
    places = list(_places(uri))
    return Path(next((place for place, member in places if _holds(place, member)), uri.rpartition("#")[0] or uri))


def is_gone(uri: str) -> bool:
    """Whether a source's file, or the folder of its series, is surely not there; one that may not be looked at is.

    A volume that went from a file or folder that stays is not seen; a folder without any files holds no series.
    """
    return not any(_holds(place, member) for place, member in _places(uri))


def _places(uri: str) -> Iterator[tuple[str, str]]:
    """Every path that may be meant, the longest first, and the member that is left: "#" may be part of either."""
    yield uri, ""
    end = uri.rfind("#")
    while end > 0:
        yield uri[:end], uri[end + 1 :]
        end = uri.rfind("#", 0, end)


def _holds(place: str, member: str) -> bool:
    try:
        if not stat.S_ISDIR(os.stat(place).st_mode):
            return True
        # A folder holds a series, whose name has no folders: "study#1/scan.nii" that is gone is none of "study".
        if not member or os.sep in member or place.endswith(os.sep):
            return not member
        with os.scandir(place) as entries:
            return any(True for _ in entries)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # it may be there
        return True
