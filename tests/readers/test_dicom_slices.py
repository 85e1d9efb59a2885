"""Slices are packed and come out as they went in, series by series, in a hundred bytes each."""

import dataclasses
import os
import tracemalloc
from pathlib import Path

import numpy as np

from raptor_search.readers.dicom_slices import PLACE, Slice, SliceStore

LIE = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.7, 0.7)


def slice_of(series: int, number: int, folder: str = "/archive") -> Slice:
    return Slice(
        path=Path(folder) / f"{series:04d}" / f"IM{number:05d}.dcm",
        series=f"1.2.826.0.1.3680043.8.498.{series}",
        instance=number.to_bytes(16, "big"),
        size=(512, 512),
        stored=526_000 + number,
        mtime_ns=1_700_000_000_123_456_789 + number,
        place=PLACE.pack(-20.5, 30.25, 0.1 * number, *LIE),
    )


def test_slices_of_any_kind_come_back_by_series_in_the_order_they_came() -> None:
    rng = np.random.default_rng(0)
    names = ["a", "b.dcm", "with space\nand line", "ünïcode", os.fsdecode(b"\xff\xfe"), "-"]
    folders = ["/", "/a", "/a/b", os.fsdecode(b"/\xc3\x28")]
    places = [b"", PLACE.pack(*range(11)), PLACE.pack(float("nan"), -0.0, *range(9)), PLACE.pack(*[np.inf] * 11)]
    given = [
        dataclasses.replace(
            slice_of(int(rng.integers(4)), number),
            path=Path(folders[rng.integers(4)]) / names[rng.integers(6)],
            size=((4, 5), (0, 0), (-1, 2**31))[rng.integers(3)],
            mtime_ns=(0, -1, 2**64 + 5, 1_700_000_000_123_456_789)[rng.integers(4)],
            place=places[rng.integers(4)],
        )
        for number in range(300)
    ]
    store = SliceStore()
    for one in given:
        store.add(one)
    expected = [[one for one in given if one.series == series] for series in dict.fromkeys(one.series for one in given)]
    assert list(store.taken()) == expected
    assert list(store.taken()) == []


def test_a_slice_of_a_hundred_takes_a_hundred_bytes() -> None:
    store = SliceStore()
    store.add(slice_of(9999, 0))
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for series in range(20):
            for number in range(100):
                store.add(slice_of(series, number))
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 64 <= held / 2000 < 130
