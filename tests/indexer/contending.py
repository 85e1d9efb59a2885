"""Eight indexers started at once on one home that is not there yet: run by `test_contending.py`.

Forked children share the imports. The encoder is a drawn one; whoever embeds waits until the others have ended.
"""

import json
import os
import sys
import time
from pathlib import Path

from indexer import recipe
from indexer.pipeline import index
from raptor_search.errors import LockedError
from tests.phantoms import Cells

INDEXERS = 8
PATIENCE = 120.0


def main(home: Path, scans: Path, ended: Path) -> dict[str, object]:
    """Start them at one moment; the exit code of each and what it said."""
    start = time.time() + 0.5

    class Patient(Cells):
        def encode(self, slices):  # type: ignore[no-untyped-def]
            give_up = time.time() + PATIENCE
            while len(list(ended.iterdir())) < INDEXERS - 1 and time.time() < give_up:
                time.sleep(0.01)
            return super().encode(slices)

    recipe.load_encoder = lambda name, **settings: Patient()  # type: ignore[assignment]

    def run(number: int) -> int:
        time.sleep(max(0.0, start - time.time()))
        try:
            report = index([scans], home=home, options=recipe.Options(components=4))
        except LockedError as error:
            (ended / f"{number}").write_text(error.message)
            return 3
        return 0 if report.added == report.volumes else 4

    pids = []
    for number in range(INDEXERS):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = run(number)
            finally:
                os._exit(code)
        pids.append(pid)
    codes = {pid: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids}
    return {"codes": codes, "said": [path.read_text() for path in ended.iterdir()]}


if __name__ == "__main__":
    print(json.dumps(main(*map(Path, sys.argv[1:]))))
