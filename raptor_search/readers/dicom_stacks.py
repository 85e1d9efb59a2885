"""One series, several volumes: images parted by orientation and size, then by what tells those of one place apart.

A stack is named by what it was parted by and its number among the others, such as "echo-2" or "axial"; the same
files give the same names.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from raptor_search.readers.dicom_facts import FACTS, NAMES_IN_TIME, RANKED, Facts
from raptor_search.readers.dicom_geometry import COSINE_TOLERANCE, SAME_POSITION_MM, SPACING_TOLERANCE
from raptor_search.readers.geometry import plane_of
from raptor_search.readers.source import StackPlace
from raptor_search.volume import MIN_SIDE

__all__ = ["Image", "Parted", "alike", "has_repeats", "part"]

MAX_SHAPES = 64
"""Orientations and sizes that are told apart; a series with more is no stack, and is refused on reading."""

PLACE_MM = 1.0
"""Two stacks side by side, such as both knees, lie further apart than this within their planes."""


class Image(Protocol):
    """What parting needs of a file or a frame."""

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        ...

    @property
    def position(self) -> tuple[float, ...]:
        """LPS mm of the first pixel's centre."""
        ...

    @property
    def cosines(self) -> tuple[float, ...]:
        """Directions of a row and of a column."""
        ...

    @property
    def spacing(self) -> tuple[float, ...]:
        """Between rows and between columns, in mm."""
        ...

    @property
    def facts(self) -> Facts:
        """Of `dicom_facts`."""
        ...


@dataclass(frozen=True)
class Parted:
    """One volume of a series.

    Attributes:
        place: its name and number; None where the series is one volume.
        members: indices of its images.
    """

    place: StackPlace | None
    members: tuple[int, ...]


@dataclass(frozen=True)
class _Group:
    """Images parted so far, by the names and numbers of what parted them."""

    members: tuple[int, ...]
    steps: tuple[tuple[str, int], ...] = ()


def alike(images: Sequence[Image]) -> list[tuple[int, ...]]:
    """The images by size, orientation and pixel spacing, the largest groups first; indices in order."""
    groups: list[tuple[Image, list[int]]] = []
    for index, image in enumerate(images):
        for first, members in groups:
            if len(groups) >= MAX_SHAPES or _fits(first, image):
                members.append(index)
                break
        else:
            groups.append((image, [index]))
    return sorted((tuple(members) for _, members in groups), key=lambda group: (-len(group), group))


def has_repeats(images: Sequence[Image], members: Sequence[int]) -> bool:
    """Whether two of the images lie at one position along their normal."""
    return len(members) > 1 and max(map(len, _by_position(images, members))) > 1


def part(images: Sequence[Image]) -> tuple[list[Parted], tuple[int, ...]]:
    """The volumes of one series, and the images that are none of them.

    Images that differ in orientation or size from a stack that has enough slices, and are too few for one of their
    own, are left over: a scout among its series. So are those that a further parting leaves as fewer than a volume
    needs beside one that is whole. Of a localizer, a few images in each of several orientations, all are left over.

    Args:
        images: with their facts, where positions repeat.
    """
    shapes = [_Group(members) for members in alike(images)]
    whole, left = _whole(shapes)
    if len(whole) > 1 and not left and len(whole[0].members) < MIN_SIDE:
        return [], tuple(range(len(images)))
    if len(whole) > 1:
        whole = [_Group(group.members, ((_orientation(images, group.members), 0),)) for group in whole]
    groups: list[_Group] = []
    for group in whole:
        stacks, few = _whole(_separated(images, group))
        # None of them a volume, as in a cine of one slice: kept together, to be refused once.
        groups += stacks if len(stacks[0].members) >= MIN_SIDE else [group]
        left += few
    return _named(groups), tuple(sorted(index for group in left for index in group.members))


def _whole(groups: list[_Group]) -> tuple[list[_Group], list[_Group]]:
    """The groups with enough images for a volume, and the others; all of them where none has."""
    enough = [group for group in groups if len(group.members) >= MIN_SIDE]
    return (enough, [group for group in groups if group not in enough]) if enough else (groups, [])


def _fits(first: Image, other: Image) -> bool:
    return first.size == other.size and (
        (first.cosines == other.cosines and first.spacing == other.spacing)
        or (
            _near(first.cosines, other.cosines, COSINE_TOLERANCE)
            and _near(first.spacing, other.spacing, SPACING_TOLERANCE * max(map(abs, first.spacing)))
        )
    )


def _near(one: tuple[float, ...], other: tuple[float, ...], tolerance: float) -> bool:
    # Not "all below": a header's NaN is near nothing but an equal text, and stays a group of its own.
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) <= tolerance


def _orientation(images: Sequence[Image], members: tuple[int, ...]) -> str:
    cosines = np.array(images[members[0]].cosines)
    return plane_of(np.cross(cosines[:3], cosines[3:]))


def _by_position(images: Sequence[Image], members: Sequence[int]) -> list[list[int]]:
    """The images by their place along the normal, in order."""
    cosines = np.array(images[members[0]].cosines)
    along = np.array([images[index].position for index in members]) @ np.cross(cosines[:3], cosines[3:])
    order = np.argsort(along, kind="stable")
    starts = np.flatnonzero(np.diff(along[order], prepend=-np.inf) >= SAME_POSITION_MM)
    return [[members[n] for n in block] for block in np.split(order, starts[1:])] if len(starts) else [list(members)]


def _separated(images: Sequence[Image], group: _Group) -> list[_Group]:
    """The group parted until no two images share a position, as far as the headers tell them apart."""
    groups = [group]
    for name, value_of in [("side", _side(images, group.members)), *_facts(images)]:
        groups = [smaller for one in groups for smaller in _by_fact(images, one, name, value_of)]
    return groups


def _facts(images: Sequence[Image]) -> list[tuple[str, Callable[[int], Hashable]]]:
    def value_of(place: int) -> Callable[[int], Hashable]:
        return lambda index: images[index].facts[place] if images[index].facts else None

    return [(name, value_of(place)) for place, name in enumerate(FACTS)]


def _side(images: Sequence[Image], members: tuple[int, ...]) -> Callable[[int], Hashable]:
    """Where an image begins within its plane, in mm."""
    cosines: NDArray[np.float64] = np.array(images[members[0]].cosines).reshape(2, 3)
    return lambda index: tuple(np.rint(cosines @ np.array(images[index].position) / PLACE_MM).tolist())


def _by_fact(images: Sequence[Image], group: _Group, name: str, value_of: Callable[[int], Hashable]) -> list[_Group]:
    """The group parted by one fact, where that parts images of one position; else the group as it is."""
    positions = _by_position(images, group.members)
    most = max(map(len, positions))
    values = {value_of(index) for index in group.members}
    if most == 1 or len(values) < 2:
        return [group]
    parts: defaultdict[Hashable, list[int]] = defaultdict(list)
    if len(values) <= most:
        for index in group.members:
            parts[value_of(index)].append(index)
    elif name in RANKED and min(map(len, positions)) == most:
        # It varies along the stack as well: the first image at every position makes the first stack.
        for block in positions:
            for rank, index in enumerate(sorted(block, key=lambda index: _sortable(value_of(index)))):
                parts[rank].append(index)
    if len(parts) < 2 or max(max(map(len, _by_position(images, part))) for part in parts.values()) == most:
        return [group]
    ordered = [parts[value] for value in sorted(parts, key=_sortable)]
    return [_Group(tuple(sorted(part)), (*group.steps, (name, n))) for n, part in enumerate(ordered, start=1)]


def _sortable(value: Hashable) -> tuple[object, ...]:
    """A key under which None, numbers, texts and tuples of them sort."""
    if isinstance(value, tuple):
        return (3, *(_sortable(one) for one in value))
    return (0,) if value is None else (1, value) if isinstance(value, int | float) else (2, str(value))


def _named(groups: list[_Group]) -> list[Parted]:
    if len(groups) == 1:
        return [Parted(None, groups[0].members)]
    names = ["+".join(f"{name.replace(' ', '-')}-{n}" if n else name for name, n in group.steps) for group in groups]
    parted = []
    for number, (group, name) in enumerate(zip(groups, names, strict=True), start=1):
        # Two stacks of one plane that differ in angle or size alone.
        unique = name if names.count(name) == 1 else f"{name}~{names[:number].count(name)}"
        by = ", ".join(dict.fromkeys(step if n else "orientation" for step, n in group.steps))
        time = next((n - 1 for step, n in reversed(group.steps) if step in NAMES_IN_TIME), None)
        parted.append(Parted(StackPlace(unique, number, len(groups), by or "size", time), group.members))
    return parted
