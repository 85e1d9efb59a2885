"""Run in a reading process before its first file: NIfTI files of certain names meet a decoder that misbehaves."""

import ctypes
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from raptor_search.readers import reading

sound = reading.read_nifti


def hang() -> None:
    while True:
        time.sleep(60)


def hog() -> None:
    kept = []
    while True:
        kept.append(np.empty(2**24))


def abort_once(path: Path) -> None:
    flag = path.with_suffix(".aborted")
    if not flag.exists():
        flag.touch()
        os.abort()


def read_nifti(path: Path, *args: Any, **kwargs: Any) -> Any:
    match path.name.partition(".")[0]:
        case "abort":
            os.abort()
        case "segfault":
            ctypes.string_at(0)
        case "leave":
            os._exit(3)
        case "hang":
            hang()
        case "hog":
            hog()
        case "print":
            os.write(1, b"PATIENT^NAME\n")
            os.write(2, b"PATIENT^NAME\n")
        case "raise":
            raise ZeroDivisionError("PATIENT^NAME")
        case "once":
            abort_once(path)
        case "pid":
            (path.parent / "pid").write_text(str(os.getpid()))
        case "slow":
            time.sleep(0.5)
    return sound(path, *args, **kwargs)


reading.read_nifti = read_nifti
