"""Square brackets in the name of a folder are a name, and no markup that would be swallowed or fail."""

from pathlib import Path

import pytest
from rich.console import Console

from indexer.demo import plan
from indexer.demo.run import run_demo
from indexer.demo.sources import SOURCES
from indexer.recipe import Options
from raptor_search.archive import Archive
from raptor_search.encoders import spec_for
from raptor_search.specs import PRESETS
from tests.indexer.command import Raptor
from tests.indexer.scans import write_scan
from tests.phantoms import Cells


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, with every scan in it embedded by an encoder that costs nothing."""
    encoder = Cells()
    spec = spec_for(encoder, PRESETS["default"], components=3, seed=0)
    monkeypatch.setattr(Options, "load", lambda *_, **__: (encoder, spec))
    monkeypatch.setattr(Archive, "use_encoder", lambda *_, **__: None)
    monkeypatch.setattr(Archive, "encoder", lambda *_: encoder)
    folder = tmp_path / "a[bold]b[/x]"
    folder.mkdir(parents=True)
    return folder


def test_every_command_that_names_a_folder_names_it_whole(raptor: Raptor, folder: Path) -> None:
    scans, home, moved = folder / "scans", folder / "home", folder / "moved"
    scan = write_scan(scans / "one.nii.gz", 1)
    (scans / "broken.nii.gz").write_bytes(b"no scan")
    label = folder / "labels.csv"
    label.write_text("file,kind\none.nii.gz,x[/y]\n")

    done = raptor("index", scans, "--home", home, "--labels", label)
    assert done.status == 3
    assert f"{home}: 1 volumes searchable" in done.out
    assert f"quarantined {scans / 'broken.nii.gz'}: " in done.err

    assert f"1 vectors in {folder / 'v'};" in raptor("embed", scans, "--out", folder / "v").out
    assert f"{home} is up to date" in raptor("upgrade", "--home", home).out
    status = raptor("status", "--home", home).out
    assert f"{home}: 1 volumes" in status
    folded = (line.split("│")[1].strip() for line in status.splitlines() if line.startswith("│"))
    assert "".join(folded) == str(scans / "broken.nii.gz")
    hits = raptor("search", scan, "--home", home).out
    assert "kind=x[/y]" in hits
    assert f" {scan}\n" in hits
    assert "x[/y]" in raptor("columns", "--home", home).out
    assert f"{home}: whole" in raptor("verify", "--home", home).out
    saved = folder / "saved[b]"
    assert f"in {saved}." in raptor("backup", saved, "--home", home).out
    assert f"{moved}: 1 scans restored from {saved}" in raptor("restore", saved, "--home", moved).out
    assert f"removed from {moved}" in raptor("remove", scan, "--home", moved).out
    failed = raptor("status", "--home", folder / "absent")
    assert str(folder / "absent") in failed.error_lines[0]


def test_the_demo_names_its_folder_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plan, "SOURCES", tuple(source for source in SOURCES if source.name == "single-subject-t1"))
    monkeypatch.setattr(plan, "SESSIONS", 2)
    monkeypatch.setattr(Archive, "draw_map", lambda *_: None)
    made = run_demo(folder, seed=0, out=Console(), err=Console(stderr=True))
    shown = capsys.readouterr().out
    assert f"scans in {made.root}, all derived" in shown
    (held_out,) = (made.path(scan) for scan in made.held_out)
    assert f"with the held-out scan {held_out}\n" in shown
    assert f"\n  {held_out}\n" in shown
