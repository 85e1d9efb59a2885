"""The demo from end to end: real scans deformed into an archive, indexed, searched once, mapped."""

from pathlib import Path

from rich.console import Console

from indexer import render
from indexer.demo.archive import DemoArchive, build_demo
from indexer.pipeline import index
from indexer.plain_text import say
from indexer.progress import Terminal
from indexer.recipe import Options
from raptor_search.archive import NOTICE, Archive

__all__ = ["DEMO_ENCODER", "run_demo"]

DEMO_ENCODER = "efficientnet-lite0"
"""The packaged encoder that is cheap enough for two CPU cores."""


def run_demo(home: Path, *, seed: int, out: Console, err: Console) -> DemoArchive:
    """Build the demo's scans below `home`, index them, print a first search, and draw the map.

    Scans that were built before are kept, so that a second run goes on where the first one stopped.

    Raises:
        UsageError: where a package that carries real scans is not installed, or `home` cannot be written.
    """
    with Terminal(err).counting("Deriving scans") as heard:
        demo = build_demo(home / "demo", seed=seed, progress=heard)
    sources = len(demo.plan.subjects)
    say(out, f"{len(demo.scans)} scans in {demo.root}, all derived from {sources} real volumes")
    report = index(
        [demo.root], home=home, options=Options(encoder=DEMO_ENCODER), labels=demo.tables, progress=Terminal(err)
    )
    render.report(out, report, home)
    held_out = [demo.path(scan) for scan in demo.held_out]
    with Archive.open(home) as archive:
        archive.catalog.set_setting(NOTICE, _notice(sources))
        out.print()
        say(out, f"A first search, with the held-out scan {held_out[0]}")
        render.hits(out, archive.search(held_out[0], k=5), archive.notice, {})
        with err.status("Drawing the cohort map (UMAP)"):
            archive.draw_map()
    out.print()
    say(out, "Upload one of these in the page:")
    for path in held_out:
        say(out, f"  {path}")
    return demo


def _notice(sources: int) -> str:
    return (
        f"Demo: every scan is derived (turned, scaled, bent, with noise) from one of {sources} real volumes; ages, "
        "sexes and sites are simulated. It shows how the program works, not how accurate it is."
    )
