"""Many series in one tree: what finding them costs in time and memory, and how soon a run without news is over.

Discovery runs alone in a process of its own, over a tenth of the tree and over all of it: what the second holds more
is what series cost. Then the `raptor` command indexes the tree with the packaged encoder, and runs again over what it
has. The first run may be cut off after some minutes; called again with the same folder it goes on, and its seconds
are added up.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Cost", "measured_series"]

PEAK = """
import atexit
from pathlib import Path
atexit.register(lambda: print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]))
"""
"""Has a process say at its end how much it held at most: the system's own figure counts what its parent held, too."""

DISCOVER = (
    PEAK
    + """
import sys
from raptor_search.readers import Source, discover
print(sum(isinstance(one, Source) for one in discover([Path(sys.argv[1])])))
"""
)

RAPTOR = PEAK + "from indexer.cli import main; main()"
ENCODER = "efficientnet-lite0"


@dataclass(frozen=True)
class Cost:
    """Of one process.

    Attributes:
        wall: seconds.
        cpu: seconds, of all that it started too.
        peak_mib: the most memory that it held at once, without those that it started.
        said: its last line.
        ended: whether it came to its end, rather than to that of its time.
    """

    wall: float
    cpu: float
    peak_mib: float
    said: str
    ended: bool = True


def measured_series(tree: Path, home: Path, minutes: float) -> dict[str, Cost]:
    """The cost of each step; the second run is lacking where the first is not over yet.

    Args:
        tree: of folders of series.
        home: of the archive that is filled; its key and what the first run took so far lie beside it.
        minutes: after which the first run is cut off.
    """
    part = sorted(tree.iterdir())[0]
    costs = {f"discovery of {len(list(part.iterdir()))} series": run([sys.executable, "-c", DISCOVER, str(part)])}
    costs["discovery of all"] = run([sys.executable, "-c", DISCOVER, str(tree)])
    command = [sys.executable, "-c", RAPTOR, "index", str(tree), "--home", str(home), "--encoder", ENCODER]
    os.environ["RAPTOR_KEY_FILE"] = str(home.with_suffix(".key"))
    so_far = home.with_suffix(".json")
    pieces = [Cost(**one) for one in json.loads(so_far.read_text())] if so_far.exists() else []
    if not pieces or not pieces[-1].ended:
        pieces.append(run(command, seconds=60 * minutes))
        so_far.write_text(json.dumps([asdict(one) for one in pieces]))
    costs[f"index, first run in {len(pieces)} pieces" if len(pieces) > 1 else "index, first run"] = Cost(
        sum(one.wall for one in pieces),
        sum(one.cpu for one in pieces),
        max(one.peak_mib for one in pieces),
        pieces[-1].said,
        pieces[-1].ended,
    )
    if pieces[-1].ended:
        costs["index, second run"] = run(command)
    return costs


def run(command: list[str], seconds: float | None = None) -> Cost:
    """Run it to its end, or to a Ctrl-C after so many seconds."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        stop = threading.Timer(seconds or 1e6, process.send_signal, [signal.SIGINT])
        stop.start()
        assert process.stdout is not None
        *said, peak = ["", *process.stdout.read().strip().splitlines()]
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        stop.cancel()
    wall = time.perf_counter() - started
    if process.returncode not in {0, 130}:
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}")
    ended = seconds is None or wall < seconds
    return Cost(wall, used.ru_utime + used.ru_stime, int(peak) / 1024, said[-1], ended)
