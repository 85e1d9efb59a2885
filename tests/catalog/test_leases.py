"""One writer at a time, across processes and hosts; a writer that was overtaken commits nothing."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text, update

from raptor_search.catalog import Catalog, NewVolume, StoredSpec, leases
from raptor_search.catalog.tables import WriterRow
from raptor_search.errors import LockedError
from raptor_search.keys import ArchiveKey
from raptor_search.searching.index_files import read_index
from tests.archives import DrawnArchive, draw, drawn_archive

NewVolumeOf = Callable[..., NewVolume]

HOLD = """
import sys, pathlib
from raptor_search.catalog import Catalog
from raptor_search.keys import ArchiveKey
key = ArchiveKey(pathlib.Path("/keys/archive.key"), bytes(range(32)))
with Catalog.open(pathlib.Path(sys.argv[1]), key) as catalog:
    with catalog.writing():
        print("held", flush=True)
        sys.stdin.read()
"""


PAUSED = """
import os, pathlib, signal, sys
sys.path.insert(0, os.getcwd())
from raptor_search.catalog import Catalog, leases
from raptor_search.errors import LockedError
from tests.archives import DrawnArchive, draw, opened_archive
leases.LEASE_SECONDS, leases.RENEW_SECONDS = 1.0, 60.0  # stopped between transactions, not within one
archive = opened_archive(pathlib.Path(sys.argv[1]))
with archive.catalog.writing():
    archive.add(draw(0, 3))
    os.kill(os.getpid(), signal.SIGSTOP)
    for attempt in (lambda: archive.add(draw(1, 1), start=3), lambda: archive.publish("IVF2,SQ8", 100)):
        try:
            attempt()
        except LockedError as error:
            print(error.message, flush=True)
"""


@pytest.fixture
def second(catalog: Catalog, key: ArchiveKey):  # type: ignore[no-untyped-def]
    """The same archive, opened as another process would."""
    with Catalog.open(catalog.home, key) as opened:
        yield opened


def pass_time(catalog: Catalog, host: str | None = None) -> None:
    """Let the lease run out, as it does for a holder that is paused."""
    values = {"expires_at": time.time() - 1} | ({"host": host} if host else {})
    with catalog._database.write() as session:
        session.execute(update(WriterRow).values(values))


def test_a_second_writer_is_refused_and_told_who_the_first_is(catalog: Catalog, second: Catalog) -> None:
    with catalog.writing(), pytest.raises(LockedError) as caught, second.writing():
        pass
    assert f"pid {os.getpid()} on {socket.gethostname()} since 2" in caught.value.message
    assert "let it end first" in caught.value.message
    with second.writing():
        pass


def test_every_holder_has_an_epoch_of_its_own_and_blocks_may_nest(catalog: Catalog, second: Catalog) -> None:
    with catalog.writing() as first, catalog.writing() as inner:
        assert inner == first
    with second.writing() as later:
        assert later == first + 1


def test_threads_of_one_writer_share_its_lease(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf, second: Catalog
) -> None:
    def work(number: int) -> None:
        with catalog.writing():
            catalog.commit_volume(new_volume(f"{number}"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(12)))
    assert second.count() == 12
    with second.writing():
        pass


def test_a_writer_that_was_overtaken_can_commit_nothing(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf, second: Catalog
) -> None:
    with catalog.writing():
        catalog.commit_volume(new_volume("a"))
        pass_time(catalog)
        with second.writing():
            second.commit_volume(new_volume("b"))
            attempts: list[Callable[[], object]] = [
                lambda: catalog.commit_volume(new_volume("c")),
                lambda: catalog.add_embedding(1, stored.id, new_volume("a").vector, "hu"),
                lambda: catalog.touch(1, 1, 1),
                lambda: catalog.quarantine(
                    new_volume("c").source_key, locator="c", size=1, mtime_ns=1, code="unreadable", reason="r"
                ),
                lambda: catalog.release([]),
                lambda: catalog.add_generation(stored.id, centring="none", mean=np.zeros(0), volumes=1),
            ]
            for attempt in attempts:
                with pytest.raises(LockedError, match=f"taken over by pid {os.getpid()} on .* run the command again"):
                    attempt()
        with pytest.raises(LockedError, match="taken over: nothing was written"):
            catalog.commit_volume(new_volume("c"))
    assert second.count() == 2
    with second.writing():  # the one that was overtaken did not give back what it no longer held
        pass


def test_a_lease_that_ran_out_unnoticed_is_taken_up_again(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf, second: Catalog
) -> None:
    with catalog.writing():
        pass_time(catalog)
        catalog.commit_volume(new_volume("a"))
        with pytest.raises(LockedError), second.writing():
            pass


def test_the_lease_is_renewed_while_its_holder_works(
    catalog: Catalog, second: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.01)
    with catalog.writing():
        pass_time(catalog)
        for _ in range(1000):
            with catalog._database.read() as session:
                if session.scalar(text("SELECT expires_at FROM writer")) > time.time():
                    break
            time.sleep(0.01)
        with pytest.raises(LockedError), second.writing():
            pass


def test_without_a_lease_a_commit_waits_for_no_writer(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf, second: Catalog
) -> None:
    with second.writing(), pytest.raises(LockedError, match="another process is writing"):
        catalog.commit_volume(new_volume("a"))
    catalog.commit_volume(new_volume("a"))


def test_labels_and_audits_need_no_lease(
    catalog: Catalog, stored: StoredSpec, new_volume: NewVolumeOf, second: Catalog
) -> None:
    volume_id = catalog.commit_volume(new_volume("a"))
    with catalog.writing():
        second.set_label(volume_id, "grade", "II", origin="accepted")
        second.audit("ann", "search", "volume 1")
    assert [entry.author for entry in catalog.audits()] == ["ann"]


def test_a_holder_that_was_killed_gives_way_at_once_on_its_own_host(catalog: Catalog, database: str) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(catalog.home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(LockedError, match=f"pid {holder.pid} on"), catalog.writing():
        pass
    holder.kill()
    holder.communicate()
    with catalog.writing() as epoch:
        assert epoch == 2


def test_a_holder_on_another_host_keeps_the_lease_until_it_runs_out(catalog: Catalog) -> None:
    with catalog._database.write() as session:
        values = {"epoch": 7, "pid": 2**22 + 1, "host": "elsewhere", "since": 0.0, "expires_at": time.time() + 30}
        session.execute(update(WriterRow).values(values))
    with (
        pytest.raises(LockedError, match=f"pid {2**22 + 1} on elsewhere since 1970-01-01T00:00:00Z"),
        catalog.writing(),
    ):
        pass
    pass_time(catalog)
    with catalog.writing() as epoch:
        assert epoch == 8


def test_a_process_that_is_stopped_cannot_commit_over_the_one_that_took_its_turn(tmp_path: Path, database: str) -> None:
    archive = drawn_archive(tmp_path / "home")
    paused = subprocess.Popen(
        [sys.executable, "-c", PAUSED, str(tmp_path / "home")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        _, status = os.waitpid(paused.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        said = take_over(archive, paused)
    finally:
        paused.kill()
        paused.wait()
        assert paused.stdout is not None
        paused.stdout.close()
    assert said.count("its turn to write was taken over") == 2
    assert archive.catalog.count() == 5
    assert len(archive.catalog.index_versions(archive.stored.id)) == 1
    assert held_by(archive) == archive.catalog.ids(archive.stored.id).tolist()
    archive.catalog.close()


def take_over(archive: DrawnArchive, paused: subprocess.Popen[str]) -> str:
    """Write once the lease has run out, and wake its old holder meanwhile; returns what that says."""
    with pytest.raises(LockedError, match=f"pid {paused.pid} on"), archive.catalog.writing():
        pass
    while True:
        try:
            with archive.catalog.writing():
                archive.add(draw(2, 2), start=3)
                archive.publish()
                paused.send_signal(signal.SIGCONT)
                return paused.communicate()[0]
        except LockedError:
            time.sleep(0.05)


def held_by(archive: DrawnArchive) -> list[int]:
    version = archive.catalog.current_index(archive.stored.id)
    assert version is not None
    return read_index(archive.home, version.file, version.sha256).ids.tolist()


def test_an_audit_row_waits_its_turn_while_a_volume_is_being_committed(catalog: Catalog, second: Catalog) -> None:
    with ThreadPoolExecutor(1) as pool:
        with catalog.writing(), catalog._database.write() as session:
            session.execute(text("UPDATE writer SET since = since"))
            waiting = pool.submit(second.audit, "ann", "search", "volume 1")
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.2)
        waiting.result()
    assert [entry.author for entry in catalog.audits()] == ["ann"]
