"""Files of several volumes on one grid (4D NIfTI, 4D MHA): which of them is meant, and how a source names it."""

from typing import Literal

from raptor_search.errors import ReadError, UsageError

__all__ = ["VolumeIndex", "members", "number_of", "parse_volume_index"]

VolumeIndex = int | Literal["all"] | None
"""Which volume of a 4D file is taken, from 0; "all" makes a source of each; None refuses 4D files."""

MAX_VOLUMES = 100_000


def parse_volume_index(text: str | None) -> VolumeIndex:
    """What an option says.

    Raises:
        UsageError: neither a number from 0 on nor "all".
    """
    if text is None or text == "all":
        return text  # type: ignore[return-value]
    if not text.isdecimal():
        raise UsageError(f"--volume-index {text}: expected a number from 0 on, or `all`")
    return int(text)


def members(count: int, index: VolumeIndex) -> list[str]:
    """The members of a file of `count` volumes that are taken; "" for the only one.

    Raises:
        ReadError: a 4D file where none was asked for, or a volume that it does not have.
    """
    if count == 1:
        return [""]
    if count > MAX_VOLUMES:
        raise ReadError("too-large", f"{count} volumes in one file; expected at most {MAX_VOLUMES}")
    if index is None:
        raise ReadError(
            "not-3d",
            f"4D, {count} volumes; expected 3D: take one by `--volume-index N` (0 to {count - 1}), "
            "or each of them by `--volume-index all`",
        )
    if index == "all":
        return [f"t{number}" for number in range(count)]
    if index >= count:
        raise ReadError("not-3d", f"no volume {index}: the file has {count}, expected 0 to {count - 1}")
    return [f"t{index}"]


def number_of(member: str, count: int = MAX_VOLUMES) -> int:
    """The place of a member among its file's volumes, 0 for the only one.

    Raises:
        ReadError: the file has not that many, or several where no member is named.
    """
    if not member:
        members(1 if count == MAX_VOLUMES else count, None)
        return 0
    number = int(member[1:])
    if number >= count:
        members(count, number)
    return number
