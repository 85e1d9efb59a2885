"""A process that starts others on one archive and kills them: run by `test_crash.py`, one scenario a call.

Forked children share the imports, so that a kill costs milliseconds. Each scenario prints one JSON object.
"""

import json
import os
import random
import resource
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sqlalchemy import event

from raptor_search.catalog import Catalog, NewVolume, commits, writer_lock
from raptor_search.catalog.database import database_url
from raptor_search.catalog.schema import current_state, migrate
from raptor_search.errors import CatalogError
from raptor_search.keys import ArchiveKey
from raptor_search.specs import EmbeddingSpec

SPEC = EmbeddingSpec(
    encoder="tiny", layer="last", weights_sha256="0" * 64, grid=(16, 16), components_drawn=20, components_kept=20
)
KEY = ArchiveKey(Path("/keys/archive.key"), bytes(range(32)))


def new_volume(source: str, content: str) -> NewVolume:
    seed = int.from_bytes(content.encode(), "big") % 2**32
    return NewVolume(
        source_key=KEY.digest("source", source),
        locator=source,
        size=1,
        mtime_ns=1,
        content_key=KEY.digest("content", content),
        format="nifti",
        shape=(4, 5, 6),
        spacing=(1.0, 1.0, 1.0),
        orientation="RAS",
        oriented=True,
        spec_id=1,
        vector=np.random.default_rng(seed).standard_normal(SPEC.length, dtype=np.float32),
        intensity_rule="hu",
        labels={"site": "A"},
        preview=b"png",
    )


def child(work: Callable[[], None]) -> int:
    """Run in a forked process, which ends when the work does; returns its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except CatalogError as error:
            print(f"{error.code}: {error.message}", file=sys.stderr)
            os._exit(3)
        os._exit(0)
    return pid


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def state(home: Path) -> dict[str, object]:
    """Whether the archive is whole: nothing dangling, nothing doubled, everything readable."""
    with Catalog.open(home, KEY) as catalog:
        ids = catalog.ids(1)
        readable = len(catalog.vectors(ids, 1)) if len(ids) else 0
        prefixes = len(catalog.prefixes(ids, 1)) if len(ids) else 0
        records = catalog.volumes(ids)
        whole = all(record.labels == {"site": "A"} and catalog.preview(record.id) == b"png" for record in records)
        volumes = catalog.count()
    connection = sqlite3.connect(home / "catalog.db")
    counts = {
        table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("volume", "vector", "prefix", "embedding", "label", "preview")
    }
    damage = (
        connection.execute("PRAGMA integrity_check").fetchall()
        + connection.execute("PRAGMA foreign_key_check").fetchall()
    )
    connection.close()
    return {
        "whole": whole and damage == [("ok",)] and len(set(counts.values())) == 1 and readable == prefixes == volumes,
        "volumes": volumes,
        "sources": sorted(record.content_key for record in records),
    }


def content(count: int, round_number: int) -> str:
    """Every third source has new bytes each round, so that replacing is killed as well."""
    return f"{count} {round_number}" if count % 3 == 0 else f"{count}"


def random_kills(home: Path) -> dict[str, object]:
    """12 times: a writer commits as fast as it can and notes what is committed; some commits later it is killed."""
    with Catalog.open(home, KEY, mode="write") as catalog:
        catalog.add_spec(SPEC, {})
    rng = random.Random(0)
    notes = home.parent / "notes"
    notes.touch()
    lost, broken, kills = 0, 0, 0
    for round_number in range(12):

        def work(number: int = round_number) -> None:
            with writer_lock(home), Catalog.open(home, KEY, mode="write") as catalog, notes.open("a") as note:
                for count in range(10_000):
                    catalog.commit_volume(new_volume(f"{count}", content(count, number)))
                    note.write(f"{count} {number}\n")
                    note.flush()

        commits_before_the_kill = rng.randrange(1, 12)
        size = notes.stat().st_size
        pid = child(work)
        while notes.read_bytes()[size:].count(b"\n") < commits_before_the_kill:
            time.sleep(0.001)
        time.sleep(rng.uniform(0.0, 0.03))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        kills += os.WIFSIGNALED(status)
        found = state(home)
        broken += not found["whole"]
        present = set(found["sources"])  # type: ignore[call-overload]
        noted = {int(count): int(number) for count, number in (line.split() for line in notes.read_text().splitlines())}
        for count, number in noted.items():
            # A process may die between its commit and its note: then the source is further than noted.
            possible = {KEY.digest("content", content(count, n)) for n in range(number, round_number + 1)}
            lost += not possible & present
    return {"kills": kills, "lost": lost, "broken": broken, "noted": len(noted), "volumes": found["volumes"]}


def die_after(name: str) -> None:
    """Let the process die as a function of `commits` returns."""
    real = getattr(commits, name)

    def then_die(*arguments: object) -> None:
        real(*arguments)
        die()

    setattr(commits, name, then_die)


def kill_points(home: Path) -> dict[str, object]:
    """Kill a writer at each step of replacing a volume, then go on; the old volume stays until the commit."""
    with Catalog.open(home, KEY, mode="write") as catalog:
        catalog.add_spec(SPEC, {})
        catalog.commit_volume(new_volume("a", "before"))
    results = {}
    for step in ("_fill", "_embed", "_replace", "give_labels", "commit"):

        def work(name: str = step) -> None:
            with Catalog.open(home, KEY, mode="write") as catalog:
                if name == "commit":
                    event.listen(catalog._database.engine, "commit", lambda _: die())
                else:
                    die_after(name)
                catalog.commit_volume(new_volume("a", "after"))

        _, status = os.waitpid(child(work), 0)
        found = state(home)
        unchanged = found["sources"] == [KEY.digest("content", "before")]
        results[step] = bool(os.WIFSIGNALED(status) and found["whole"] and unchanged)
    with Catalog.open(home, KEY, mode="write") as catalog:
        catalog.commit_volume(new_volume("a", "after"))
    return {"steps": results, "goes_on": state(home)["sources"] == [KEY.digest("content", "after")]}


def killed_creation(home: Path) -> dict[str, object]:
    """Kill a process that creates a database and one that upgrades an older one, before they commit."""
    home.mkdir()
    url = database_url(home)
    os.waitpid(child(lambda: migrate(home, url, then=lambda _: die())), 0)
    after_creation = current_state(url)
    migrate(home, url, revision="0001")
    os.waitpid(child(lambda: migrate(home, url, then=lambda _: die())), 0)
    after_upgrade = current_state(url)
    migrate(home, url)
    return {"creation": after_creation, "upgrade": after_upgrade, "again": current_state(url)}


def race(home: Path) -> dict[str, object]:
    """8 processes open an archive that is not there yet, all at once, and commit a volume each."""
    start = time.time() + 0.3

    def work(number: int) -> None:
        time.sleep(max(0.0, start - time.time()))
        with Catalog.open(home, KEY, mode="write") as catalog:
            catalog.add_spec(SPEC, {})
            catalog.commit_volume(new_volume(f"{number}", f"{number}"))

    pids = [child(lambda number=number: work(number)) for number in range(8)]  # type: ignore[misc]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    with Catalog.open(home, KEY) as catalog:
        specs = len(catalog.specs())
    return {"codes": codes, "specs": specs, "backups": (home / "backups").exists(), **state(home)}


def full_disk(home: Path) -> dict[str, object]:
    """Let a writer run out of space; what it was told is committed stays."""
    with Catalog.open(home, KEY, mode="write") as catalog:
        catalog.add_spec(SPEC, {})
    acknowledged = home.parent / "acknowledged"

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limit = (home / "catalog.db").stat().st_size + 400_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with Catalog.open(home, KEY, mode="write") as catalog:
            for number in range(100):
                catalog.commit_volume(new_volume(f"{number}", f"{number}"))
                acknowledged.write_text(str(number + 1))

    _, status = os.waitpid(child(work), 0)
    return {"code": os.waitstatus_to_exitcode(status), "acknowledged": int(acknowledged.read_text()), **state(home)}


if __name__ == "__main__":
    scenario: Callable[[Path], dict[str, object]] = globals()[sys.argv[1]]
    print(json.dumps(scenario(Path(sys.argv[2]))))
