"""What tells images at one position apart: echo, diffusion weighting, time, flip angle and the like.

Keywords are read from an image's own header, or for a frame of an enhanced file from its functional groups
(PS3.3 C.7.6.16); Siemens' diffusion attributes from their private group, by its creator.
"""

from collections.abc import Hashable, Sequence
from typing import Any

from pydicom.dataset import Dataset

__all__ = ["FACTS", "RANKED", "Facts", "facts_of"]

Facts = tuple[Hashable, ...]
"""The values of `FACTS`, in their order; None where a header does not say."""

KEYWORDS: dict[str, tuple[str, ...]] = {
    "stack": ("StackID",),
    "image type": ("ImageType", "FrameType"),
    "component": ("ComplexImageComponent",),
    "echo": ("EffectiveEchoTime", "EchoTime"),
    "echo number": ("EchoNumbers",),
    "b-value": ("DiffusionBValue",),
    "direction": ("DiffusionGradientOrientation",),
    "inversion": ("InversionTime", "InversionTimes"),
    "flip angle": ("FlipAngle",),
    "energy": ("KVP",),
    "kernel": ("ConvolutionKernel",),
    "thickness": ("SliceThickness",),
    "time": ("TemporalPositionIndex", "TemporalPositionIdentifier", "FrameReferenceTime"),
    "cardiac phase": ("NominalPercentageOfCardiacPhase", "NominalCardiacTriggerDelayTime", "TriggerTime"),
    "acquisition": ("AcquisitionNumber", "FrameAcquisitionNumber"),
    "moment": ("FrameAcquisitionDateTime", "AcquisitionDateTime", "AcquisitionTime", "ContentTime"),
    "number": ("InstanceNumber",),
}
"""By what stacks may differ, in the order in which it is tried, and the attributes that hold it, the first first."""

FACTS = tuple(KEYWORDS)

RANKED = frozenset({"time", "cardiac phase", "moment", "number"})
"""What may differ along a stack too: where it does, the first image at every position makes the first stack."""

NAMES_IN_TIME = frozenset({"time", "cardiac phase", "moment", "number", "acquisition"})
"""What makes a series of volumes in time."""

SIEMENS_MR = "SIEMENS MR HEADER"
SIEMENS_B_VALUE = 0x0C
SIEMENS_DIRECTION = 0x0E
"""Elements of Siemens' block in group 0019."""

DECIMALS = 4
"""Numbers that differ by less than 1e-4 are one value: decimal strings are rounded."""


def facts_of(places: Sequence[Dataset]) -> Facts:
    """What one image says of itself.

    Args:
        places: the datasets that may describe it, the most specific first.
    """
    found = {name: _first(places, keywords) for name, keywords in KEYWORDS.items()}
    if found["b-value"] is None:
        found["b-value"] = _siemens(places[-1], SIEMENS_B_VALUE)
    if found["direction"] is None:
        found["direction"] = _siemens(places[-1], SIEMENS_DIRECTION)
    return tuple(found.values())


def _first(places: Sequence[Dataset], keywords: Sequence[str]) -> Hashable:
    for keyword in keywords:
        for place in places:
            value = _plain(place.get(keyword))
            if value is not None:
                return value
    return None


def _siemens(header: Dataset, element: int) -> Hashable:
    try:
        return _plain(header.private_block(0x0019, SIEMENS_MR)[element].value)
    except KeyError:
        return None


def _plain(value: Any) -> Hashable:
    """A value that can be compared and hashed; None for an empty one."""
    if value is None or value == "":
        return None
    if isinstance(value, int | float):
        return round(float(value), DECIMALS)
    if isinstance(value, str | bytes):
        return str(value)
    try:
        return tuple(_plain(one) for one in value) or None
    except TypeError:
        return str(value)
