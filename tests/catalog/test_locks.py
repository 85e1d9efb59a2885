"""Locks between processes."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from raptor_search.catalog import writer_lock
from raptor_search.catalog.locks import file_lock
from raptor_search.errors import LockedError, UsageError

HOLD = """
import sys, pathlib
from raptor_search.catalog.locks import writer_lock
with writer_lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_writer_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    with writer_lock(tmp_path), pytest.raises(LockedError) as caught, writer_lock(tmp_path):
        pass
    assert f"pid {os.getpid()} on {socket.gethostname()} since 2" in caught.value.message
    assert caught.value.code == "locked"


def test_the_lock_is_free_again_afterwards_even_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), writer_lock(tmp_path):
        raise RuntimeError
    with writer_lock(tmp_path):
        pass
    assert (tmp_path / "writer.lock").read_bytes() == b""


def test_a_holder_that_is_killed_gives_the_lock_up(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(LockedError, match=f"pid {holder.pid} on"), writer_lock(tmp_path):
        pass
    holder.kill()
    holder.communicate()
    with writer_lock(tmp_path):
        assert str(os.getpid()) in (tmp_path / "writer.lock").read_text()


def test_waiting_for_a_lock_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with file_lock(path, "it"), pytest.raises(LockedError), file_lock(path, "it", wait_seconds=0.1):
        pass


def test_the_lock_makes_the_home_or_says_why_not(tmp_path: Path) -> None:
    with writer_lock(tmp_path / "home"):
        assert (tmp_path / "home").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be made"), writer_lock(tmp_path / "file" / "home"):
        pass
