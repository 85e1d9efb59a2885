"""A DICOM header whose plain values are told at once.

pydicom makes an object of every element that is asked for, checks it, and wraps its value: 20 microseconds each, and
archives have millions of files. Numbers, codes and identifiers of one plain form are understood here; whatever else an
element holds, pydicom is asked.
"""

import struct
from collections.abc import Callable, MutableMapping
from functools import lru_cache
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import BaseTag

__all__ = ["Elements", "Header", "interned"]

Elements = MutableMapping[BaseTag, DataElement | RawDataElement]

MAX_INTERNED = 20_000
"""Tags that are remembered; pydicom's dictionary has 5,000."""

_tags: dict[int, BaseTag] = {}


def interned(tag: int) -> BaseTag:
    """One object for each tag: tags that are the same object are found without comparing them."""
    found = _tags.get(tag)
    if found is None:
        found = BaseTag(tag)
        if len(_tags) < MAX_INTERNED:
            _tags[tag] = found
    return found


class Header(Dataset):
    """A dataset that tells plain values without converting their elements.

    Args:
        elements: as they are in the file.
        meta: those of the meta group.
    """

    def __init__(self, elements: Elements, meta: Elements | None = None) -> None:
        super().__init__(elements)
        self._meta = meta or {}

    @property
    def file_meta(self) -> FileMetaDataset:  # type: ignore[override]
        """The meta group."""
        return FileMetaDataset(self._meta)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):  # no keyword: pydicom would look
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def get(self, key: Any, default: Any = None) -> Any:
        """The value of a keyword, or the element of a tag, as `Dataset.get`."""
        if isinstance(key, str):
            value = self._plain(key)
            if value is not None:
                return value
        return super().get(key, default)

    def __getattr__(self, name: str) -> Any:
        value = self._plain(name)
        return super().__getattr__(name) if value is None else value

    def __contains__(self, name: Any) -> bool:
        if isinstance(name, str) and (tag := _tag_of(name)) is not None:
            return tag in self._dict
        return super().__contains__(name)

    def _plain(self, keyword: str) -> Any:
        """The value; None where there is none, or where pydicom must be asked."""
        tag = _tag_of(keyword)
        if tag is None:
            return None
        raw = self._dict.get(tag)
        if type(raw) is not RawDataElement or not raw.value:
            return None
        read = READERS.get(raw.VR or _vr_of(tag))
        return read(raw.value, raw.is_little_endian) if read else None


@lru_cache(maxsize=4096)
def _tag_of(keyword: str) -> BaseTag | None:
    tag = tag_for_keyword(keyword)
    return None if tag is None else interned(tag)


@lru_cache(maxsize=4096)
def _vr_of(tag: BaseTag) -> str:
    try:
        return dictionary_VR(tag)
    except KeyError:
        return ""


def _short(value: bytes, little: bool) -> int | None:
    return struct.unpack("<H" if little else ">H", value)[0] if len(value) == 2 else None


def _decimals(value: bytes, _: bool) -> float | list[float] | None:
    try:
        numbers = [float(part) for part in value.rstrip(b"\0 ").split(b"\\")]
    except ValueError:
        return None
    return numbers if len(numbers) > 1 else numbers[0]


def _integer(value: bytes, _: bool) -> int | None:
    try:
        return int(value.rstrip(b"\0 "))
    except ValueError:
        return None


def _identifier(value: bytes, _: bool) -> str | None:
    text = value.rstrip(b"\0 ")
    return text.decode("ascii") if text.isascii() and b"\\" not in text else None


def _text(value: bytes, _: bool) -> str | None:
    text = value.rstrip(b"\0 ")
    is_plain = text.isascii() and not text.startswith(b" ") and b"\x1b" not in text and b"\\" not in text
    return text.decode("ascii") if is_plain and b"\0" not in text else None


def _codes(value: bytes, _: bool) -> str | list[str] | None:
    text = value.rstrip(b"\0 ")
    if not text.isascii() or b"\x1b" in text or b"\0" in text or b" \\" in text or b"\\ " in text or text[:1] == b" ":
        return None
    codes = text.decode("ascii").split("\\")
    return codes if len(codes) > 1 else codes[0]


READERS: dict[str, Callable[[bytes, bool], Any]] = {
    **{"US": _short, "DS": _decimals, "IS": _integer, "UI": _identifier, "CS": _codes},
    **dict.fromkeys(("LO", "SH", "DA", "AS", "TM"), _text),
}
"""How each value representation is understood where it is plain (PS3.5 6.2); None is given where it is not."""
