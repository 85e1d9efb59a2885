"""Processes that add, publish, remove, erase, rebuild or migrate, and are killed at random: run by `test_kills.py`.

`python -m tests.catalog.surviving HOME KILLS SEED` prints one JSON object. Forked children share the imports, so that
a kill costs little. What a child acknowledges it writes down; after each kill the archive is opened as the next
process would, and compared with what was written down and with exact search.
"""

import gzip
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from raptor_search.archive import Archive
from raptor_search.catalog import Catalog, upgrade
from raptor_search.errors import ErasedError
from tests.archives import DrawnArchive, draw, drawn_archive, opened_archive
from tests.data.make_catalog_0001 import KEY as FROZEN_KEY
from tests.data.make_catalog_0001 import VOLUMES as FROZEN_VOLUMES

FROZEN = Path(__file__).parents[1] / "data" / "catalog-0001.db.gz"
START = 40
VECTORS = draw(0, 4_000)
ACTIONS = ("add", "publish", "remove", "erase", "rebuild", "migrate")
FIRST_GUESS = 0.3
"""Seconds of the processor that an action takes, until one has ended before it was killed, or used more."""


class Told:
    """What children acknowledged, one line each, and what they had begun: the archive may be one step further."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.touch()

    def write(self, word: str, number: int) -> None:
        with self.file.open("a") as note:
            note.write(f"{word} {number}\n")

    def of(self, word: str) -> set[int]:
        lines = (line.split() for line in self.file.read_text().splitlines())
        return {int(number) for name, number in lines if name == word}


def source(number: int) -> str:
    return f"/scans/{number}.nii.gz"


def archive_of(opened: DrawnArchive) -> Archive:
    return Archive(opened.home, opened.catalog.key, opened.catalog)


def add(home: Path, told: Told, rng: random.Random) -> None:
    """Commit volumes one by one, until killed or done; then publish."""
    opened = opened_archive(home)
    start = max(told.of("adding"), default=START - 1) + 1
    with archive_of(opened).writing():
        for number in range(start, start + 12):
            told.write("adding", number)
            opened.add(VECTORS[number : number + 1], start=number)
            told.write("added", number)
        opened.publish()


def publish(home: Path, told: Told, rng: random.Random) -> None:
    opened_archive(home).publish(rng.choice([None, "Flat", "IVF4,SQ8"]), exact_limit=10_000)


def remove(home: Path, told: Told, rng: random.Random) -> None:
    """Remove some that are there, the next time they are added under new ids no more."""
    _take_out(home, told, rng, "remov", lambda archive, sources: archive.remove(sources))


def erase(home: Path, told: Told, rng: random.Random) -> None:
    _take_out(home, told, rng, "eras", lambda archive, sources: archive.erase(sources))


def _take_out(
    home: Path, told: Told, rng: random.Random, word: str, act: Callable[[Archive, list[str]], object]
) -> None:
    archive = archive_of(opened_archive(home))
    there = {int(Path(uri).name.split(".")[0]) for _, uri in archive.catalog.located()}
    chosen = rng.sample(sorted(there), min(2, len(there)))
    for number in chosen:
        told.write(f"{word}ing", number)
    act(archive, [source(number) for number in chosen])
    for number in chosen:
        told.write(f"{word}ed", number)


def rebuild(home: Path, told: Told, rng: random.Random) -> None:
    archive_of(opened_archive(home)).rebuild()


def migrate(home: Path, told: Told, rng: random.Random) -> None:
    """Upgrade a database of the first revision, in a folder beside."""
    upgrade(home.parent / "old")


def killed(work: Callable[[], None], after: float) -> tuple[bool, float]:
    """Kill a child once it has used this much of the processor, in seconds; whether it was, and what it used.

    Counted in its own time, so that kills fall into the work however busy the machine is.
    """
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    clock = (~pid << 3) | 2  # what clock_getcpuclockid(3) gives on Linux
    ended, status, usage = os.wait4(pid, os.WNOHANG)
    while not ended:
        if time.clock_gettime(clock) >= after:
            os.kill(pid, signal.SIGKILL)
            ended, status, usage = os.wait4(pid, 0)
        else:
            time.sleep(0.001)
            ended, status, usage = os.wait4(pid, os.WNOHANG)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise AssertionError("a child failed by itself")
    return os.WIFSIGNALED(status), usage.ru_utime + usage.ru_stime


def faults(home: Path, told: Told) -> list[str]:
    """What is wrong with the archive as the next process finds it, nothing hopefully."""
    opened = opened_archive(home)
    archive, wrong = archive_of(opened), []
    with archive.writing():  # finishes an erasure that was cut short
        pass
    wrong += [problem.message for problem in archive.verify().problems]
    ids = {int(Path(uri).name.split(".")[0]): volume_id for volume_id, uri in archive.catalog.located()}
    doubtful = told.of("removing") | told.of("erasing")
    lost = told.of("added") - doubtful - ids.keys()
    back = (told.of("removed") | told.of("erased")) & ids.keys()
    unknown = ids.keys() - told.of("adding")
    if lost or back or unknown:
        wrong.append(f"lost {lost}, back {back}, from nowhere {unknown}")
    rows = opened.catalog.count()
    if rows != len(ids):
        wrong.append(f"{rows} rows of {len(ids)} sources")
    numbers = sorted(ids)
    for number in numbers[:: max(1, len(numbers) // 3)]:
        hits = opened.search(VECTORS[number], 5, exact_limit=10_000).hits
        if hits[0].volume_id != ids[number]:
            wrong.append(f"{number} does not find itself")
    for number in sorted(told.of("erased"))[-1:]:
        try:
            opened.add(VECTORS[number : number + 1], start=number)
            wrong.append(f"{number} was erased and indexed again")
        except ErasedError:
            pass
    opened.catalog.close()
    return wrong


def old_faults(home: Path) -> list[str]:
    """What is wrong with the database that was being migrated, once the next process has done it."""
    upgrade(home)
    with Catalog.open(home, FROZEN_KEY) as catalog:
        found = catalog.ids(1)
        whole = len(found) == FROZEN_VOLUMES and len(catalog.vectors(found, 1)) == FROZEN_VOLUMES
        wrong = [problem.message for problem in catalog.check_database()]
        return wrong if whole else [*wrong, f"{len(found)} volumes after a migration"]


def main(home: Path, kills: int, seed: int) -> dict[str, object]:
    """Kill `kills` children, spread over all actions."""
    opened = drawn_archive(home)
    told = Told(home.parent / "told")
    for number in range(START):
        told.write("adding", number)
    opened.add(VECTORS[:START])
    for number in range(START):
        told.write("added", number)
    opened.publish("Flat", exact_limit=10_000)
    opened.catalog.close()
    rng, counts, wrong, tried = random.Random(seed), dict.fromkeys(ACTIONS, 0), [], 0
    taken = dict.fromkeys(ACTIONS, FIRST_GUESS)
    while sum(counts.values()) < kills:
        tried += 1
        action = min(ACTIONS, key=lambda name: (counts[name], rng.random()))
        old = home.parent / "old"
        if action == "migrate":
            shutil.rmtree(old, ignore_errors=True)
            old.mkdir()
            (old / "catalog.db").write_bytes(gzip.decompress(FROZEN.read_bytes()))
        work = {
            "add": add,
            "publish": publish,
            "remove": remove,
            "erase": erase,
            "rebuild": rebuild,
            "migrate": migrate,
        }
        child_rng = random.Random(rng.random())
        after = rng.uniform(0, 1.1 * taken[action])
        was_killed, used = killed(lambda: work[action](home, told, child_rng), after)  # noqa: B023
        if not was_killed:
            taken[action] = used
        elif used > 0.7 * taken[action]:
            taken[action] *= 1.3
        counts[action] += was_killed
        found = old_faults(old) if action == "migrate" else faults(home, told)
        wrong += [f"{action}: {what}" for what in found]
        if tried > 20 * kills:
            raise AssertionError(f"{counts}: children end before they can be killed")
    return {
        "kills": counts,
        "tried": tried,
        "wrong": wrong,
        "began": {word: len(told.of(word)) for word in ("adding", "removing", "erasing")},
        "done": {word: len(told.of(word)) for word in ("added", "removed", "erased")},
        "taken": {name: round(seconds, 3) for name, seconds in taken.items()},
    }


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
