"""The page under load: many sessions that search from archive cases, uploads at once, and what each page takes.

    python benchmarks/app_load.py --home raptor-demo [--quick]

A demo archive is made in the folder where there is none. Sessions speak Streamlit's own protocol, without a browser:
what is measured is the server, from a question to the end of the page's script. Pictures are sent as addresses and
not fetched. Clients and server share the machine.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from app_clients import Client, Drawn
from rich.console import Console

from indexer.demo.run import run_demo
from raptor_search.archive import Archive

RAPTOR = (sys.executable, "-c", "from indexer.cli import main; main()")
PAGES = ("", "compare", "cohort", "labels", "evaluate", "archive")
EVERY_S = 10.0
HITS = 10
ALONE = 30
"""Searches of the single user."""

SAMPLE_S = 2.0
START_S = 180


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, default=Path("raptor-demo"))
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--quick", action="store_true", help="5 sessions for a minute")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.sessions, options.minutes = 5, 1.0
    folder = options.home
    if not (folder / "demo").is_dir():
        run_demo(folder, seed=0, out=Console(stderr=True), err=Console(stderr=True))
    with Archive.open(folder) as archive:
        cases = archive.catalog.ids(archive.spec().id).tolist()
    uploads = sorted((folder / "demo" / "held-out").glob("*.nii.gz"))
    found: dict[str, Any] = {"scans": len(cases), "sessions": options.sessions, "minutes": options.minutes}
    with served(folder) as (port, pid):
        found["pages"] = pages(port)
        found["alone"] = alone(port, cases)
        found["together"] = together(port, pid, cases, options.sessions, options.minutes * 60)
        found["uploads"] = three_uploads(port, uploads[0])
        found["processes"] = {name: resident(one) for name, one in processes(pid).items()}
    report(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))


@contextmanager
def served(home: Path) -> Iterator[tuple[int, int]]:
    """The page on a free port; gives that and the server's process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*RAPTOR, "app", "--home", str(home), "--port", str(port)]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + START_S
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2).read()
                break
            except OSError:
                if time.monotonic() > until or process.poll() is not None:
                    raise
                time.sleep(0.2)
        yield port, process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def pages(port: int) -> dict[str, dict[str, float]]:
    """Seconds that each page takes: the first time in this server, then the median and the longest of five sessions."""
    taken = {}
    for page in PAGES:
        seconds = []
        for _ in range(6):
            client = Client(port)
            drawn = client.run(page=page)
            check(drawn, page)
            seconds.append(drawn.seconds)
            client.close()
        later = seconds[1:]
        taken[page or "search"] = {"first": seconds[0], "median": float(np.median(later)), "longest": max(later)}
    return taken


def alone(port: int, cases: list[int]) -> dict[str, float]:
    """One user who searches again and again, a second apart."""
    client = Client(port)
    client.run()
    seconds = []
    for number in range(ALONE):
        drawn = client.run(f"case={cases[number * 7 % len(cases)]}")
        check(drawn, "a search", hits=HITS)
        seconds.append(drawn.seconds)
        time.sleep(1.0)
    client.close()
    return summary(seconds)


def together(port: int, pid: int, cases: list[int], sessions: int, seconds: float) -> dict[str, Any]:
    """Many users, each searching every ten seconds, one after the other begun."""
    taken: list[list[float]] = [[] for _ in range(sessions)]
    wrong: list[str] = []
    end = time.monotonic() + seconds

    def use(number: int) -> None:
        try:
            time.sleep(number * EVERY_S / sessions)
            client = Client(port)
            client.run()
            turn = 0
            while (begun := time.monotonic()) < end:
                drawn = client.run(f"case={cases[(number * 11 + turn * 7) % len(cases)]}")
                check(drawn, "a search", hits=HITS)
                taken[number].append(drawn.seconds)
                turn += 1
                time.sleep(max(0.0, begun + EVERY_S - time.monotonic()))
            client.close()
        except Exception as error:  # the boundary: what one user meets is counted, and the others go on
            wrong.append(f"session {number}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=use, args=(number,)) for number in range(sessions)]
    for thread in threads:
        thread.start()
    memory = []
    while any(thread.is_alive() for thread in threads):
        memory.append((time.monotonic() - end + seconds, resident(pid)))
        time.sleep(SAMPLE_S)
    at, held = np.array(memory).T
    later = at > seconds / 2
    slope = float(np.polyfit(at[later], held[later], 1)[0] * 60) if later.sum() > 2 else float("nan")
    found = summary([one for some in taken for one in some])
    return found | {"errors": wrong, "mb": [held[0], held[later][0], held[-1], held.max()], "mb a minute": slope}


def three_uploads(port: int, scan: Path) -> list[dict[str, Any]]:
    """Three users who upload at once: what each was told, and when each had hits."""
    content = scan.read_bytes()
    clients = [Client(port) for _ in range(3)]
    found: list[dict[str, Any]] = [{} for _ in clients]
    together_ = threading.Barrier(len(clients))

    def send(number: int) -> None:
        together_.wait()
        drawn = clients[number].upload(scan.name, content)
        check(drawn, "an upload", hits=HITS)
        places = [text for text in dict.fromkeys(drawn.texts) if "before you" in text]
        found[number] = {"seconds": drawn.seconds, "places": places}

    threads = [threading.Thread(target=send, args=(number,)) for number in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for client in clients:
        client.close()
    return sorted(found, key=lambda one: one.get("seconds", float("inf")))


def check(drawn: Drawn, what: str, hits: int | None = None) -> None:
    if drawn.errors or (hits is not None and drawn.hits != hits):
        raise RuntimeError(f"{what}: {drawn.hits} hits, {drawn.errors or 'no error'}")


def summary(seconds: list[float]) -> dict[str, float]:
    p50, p95 = np.percentile(seconds, [50, 95])
    return {"searches": len(seconds), "p50": float(p50), "p95": float(p95), "longest": max(seconds)}


def processes(pid: int) -> dict[str, int]:
    """The server, and its children by what they do."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    found = {"server": pid}
    for child in (int(word) for file in children for word in file.read_text().split()):
        command = Path(f"/proc/{child}/cmdline").read_bytes()
        found["worker" if b"worker_process" in command else f"child {child}"] = child
    return found


def resident(pid: int) -> float:
    """Megabytes of a process in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmRSS"))


def report(found: dict[str, Any]) -> None:
    print(f"{found['scans']} derived scans; {os.cpu_count()} cores, clients on the same machine")
    print("\npage        first s  median s  longest s")
    for page, one in found["pages"].items():
        print(f"{page:10} {one['first']:8.2f} {one['median']:9.2f} {one['longest']:10.2f}")
    one, many = found["alone"], found["together"]
    print("\nsessions  searches  p50 s  p95 s  longest s  errors")
    print(f"{1:8} {one['searches']:9} {one['p50']:6.2f} {one['p95']:6.2f} {one['longest']:10.2f} {0:7}")
    print(
        f"{found['sessions']:8} {many['searches']:9} {many['p50']:6.2f} {many['p95']:6.2f} {many['longest']:10.2f} "
        f"{len(many['errors']):7}"
    )
    for error in many["errors"][:5]:
        print(f"  {error}")
    begun, half, last, most = many["mb"]
    print(f"p95 of {found['sessions']} sessions to that of one: {many['p95'] / one['p95']:.2f}")
    print(
        f"server's memory: {begun:.0f} MB at the start, {half:.0f} at half time, {last:.0f} at the end, {most:.0f} at "
        f"most; in the second half {many['mb a minute']:+.1f} MB a minute"
    )
    print("\nthree uploads at once   s to hits  what it was told on the way")
    for upload in found["uploads"]:
        print(f"{'':22} {upload.get('seconds', float('nan')):10.1f}  {'; '.join(upload.get('places', [])) or '-'}")
    print("processes: " + ", ".join(f"{name} {mb:.0f} MB" for name, mb in found["processes"].items()))


if __name__ == "__main__":
    main()
