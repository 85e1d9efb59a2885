"""How to go on with a spec whose run was cut short: the command that really does, with its options spelled out."""

import shlex
from pathlib import Path

from raptor_search.catalog import Catalog, StoredSpec
from raptor_search.encoder_cache import EncoderCache
from raptor_search.specs import PRESETS

__all__ = ["SHOWN_DIGITS", "how_to_go_on"]

SHOWN_DIGITS = 12
"""Digits of a fingerprint that are shown; a search takes them for the whole."""


def how_to_go_on(catalog: Catalog, home: Path, stored: StoredSpec) -> str | None:
    """What is lacking of a spec and which command adds it, in a sentence; None where nothing is, or nothing began.

    Volumes that are gone, or were added under another spec since, are lacking too.
    """
    embedded, volumes = catalog.count(stored.id), catalog.count()
    if not volumes or (embedded == volumes and catalog.current_index(stored.id) is not None):
        return None
    at = ["--home", str(home)]
    if embedded < volumes:
        command = _add_spec(catalog, stored)
        goes_on = f"`{shlex.join([*command, *at])}` adds them" if command else "run the command that began it again"
        return f"{embedded} of {volumes} scans are embedded; {goes_on}"
    publish = shlex.join(["raptor", "rebuild", "--spec", stored.fingerprint[:SHOWN_DIGITS], *at])
    return (
        f"all {volumes} scans are embedded, and no index is published yet; if no run is going on, `{publish}` "
        "publishes it, or `raptor index` with the paths as before"
    )


def _add_spec(catalog: Catalog, stored: StoredSpec) -> list[str] | None:
    """The command that embeds every source of the archive under a spec; None for a recipe that no preset is."""
    spec = stored.spec
    if spec.recipe.preset not in PRESETS or spec.components_kept != spec.components_drawn:
        return None
    words = ["raptor", "index", "--add-spec", "--encoder", spec.encoder, "--layer", spec.layer]
    words += ["--preset", spec.recipe.preset, "--components", str(spec.components_drawn), "--seed", str(spec.seed)]
    words += ["--precision", spec.precision]
    weights = EncoderCache(catalog, "cpu").remembered(stored)
    return words + (["--weights", str(weights)] if weights else [])
