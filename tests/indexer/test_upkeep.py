"""remove, erase, verify, rebuild, backup and restore, as a user types them."""

import base64
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from indexer.cli import app
from raptor_search.access import account
from raptor_search.catalog import Catalog
from tests.archives import DrawnArchive, draw, drawn_archive
from tests.indexer.command import Raptor

N = 8


@pytest.fixture
def drawn(home: Path, key_file: Path) -> Iterator[DrawnArchive]:
    """Eight drawn volumes, published, under the key in use."""
    archive = drawn_archive(home)
    secret = base64.b64encode(archive.catalog.key.secret).decode()
    key_file.write_text(f"raptor-search key 1\n{secret}\n")
    archive.add(draw(0, N))
    archive.publish()
    yield archive
    archive.catalog.close()


def test_removing_says_how_many_and_that_they_may_come_back(raptor: Raptor, drawn: DrawnArchive, home: Path) -> None:
    done = raptor("remove", "/scans/0.nii.gz", "--home", home)
    assert done.status == 0
    assert "1 scans removed" in done.out
    assert "`raptor index` brings them back" in done.out
    assert raptor("remove", "--where", "modality = 'MR'", "--home", home, "--json").json == {"removed": 2}
    assert drawn.catalog.count() == N - 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "exactly one"),
        (["/scans/0.nii.gz", "--patient", "x"], "exactly one"),
        (["/nowhere"], "the archive has no scan from /nowhere"),
        (["--where", "colour = 'red'"], "no column 'colour'"),
    ],
)
def test_what_cannot_be_removed_is_one_line(
    raptor: Raptor, drawn: DrawnArchive, home: Path, words: list[str], said: str
) -> None:
    done = raptor("remove", *words, "--home", home)
    assert (done.status, len(done.error_lines)) == (1, 1)
    assert said in done.err
    assert drawn.catalog.count() == N


def test_only_what_is_no_longer_there_is_removed_as_missing(
    raptor: Raptor, drawn: DrawnArchive, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raptor_search.searching.selecting.is_gone", lambda uri: not uri.endswith("/3.nii.gz"))
    asked = raptor("remove", "--missing", "--home", home)
    assert asked.status == 1
    assert "nothing was removed: add --yes" in asked.err
    assert drawn.catalog.count() == N
    words = ["remove", "--missing", "--yes", "--home", home, "--json"]
    assert raptor(*words, "/scans/0.nii.gz", "/scans/3.nii.gz").json == {"removed": 1}
    assert "exactly one" in raptor(*words, "--where", "modality = 'CT'").err
    assert "no scan from /nowhere" in raptor(*words, "/nowhere").err
    assert raptor(*words).json == {"removed": N - 2}
    assert drawn.catalog.locator(int(drawn.catalog.ids(drawn.stored.id)[0])) == "/scans/3.nii.gz"


def test_erasing_asks_first_and_says_what_it_does_not_reach(raptor: Raptor, drawn: DrawnArchive, home: Path) -> None:
    refused = raptor("erase", "/scans/1.nii.gz", "--home", home)
    assert refused.status == 1
    assert "nothing was erased: add --yes" in refused.err
    assert drawn.catalog.count() == N
    done = raptor("erase", "/scans/1.nii.gz", "--home", home, "--yes")
    assert done.status == 0
    assert "1 scans erased" in done.out
    assert "Backups made before still hold them" in done.out
    audit = raptor("audit", "--home", home, "-n", "1", "--json").json["audit"]
    assert [(row["action"], row["author"]) for row in audit] == [("erase", account())]
    assert audit[0]["at"][:2] == "20"
    assert "  erase: " in raptor("audit", "--home", home).out

    by_patient = raptor("erase", "--patient", "patient-2", "--home", home, "--yes", "--json")
    assert by_patient.json == {"erased": 2, "duplicates": 0, "quarantined": 0}
    assert drawn.catalog.count() == N - 3


def test_verifying_ends_with_4_where_something_is_wrong(raptor: Raptor, drawn: DrawnArchive, home: Path) -> None:
    whole = raptor("verify", "--home", home)
    assert whole.status == 0
    assert f"whole; {N} scans, {N} vectors, 1 indexes checked" in whole.out
    drawn.index_file().write_bytes(b"no index")
    damaged = raptor("verify", "--home", home)
    assert damaged.status == 4
    assert "index: index file" in damaged.out
    assert "run `raptor rebuild`" in damaged.out
    facts = raptor("verify", "--home", home, "--json")
    assert facts.status == 4
    assert (facts.json["whole"], [p["kind"] for p in facts.json["problems"]]) == (False, ["index"])


def test_an_index_that_is_not_published_yet_is_a_note_and_no_damage(raptor: Raptor, home: Path, key_file: Path) -> None:
    archive = drawn_archive(home)
    key_file.write_text(f"raptor-search key 1\n{base64.b64encode(archive.catalog.key.secret).decode()}\n")
    archive.add(draw(0, 3))
    archive.catalog.close()
    done = raptor("verify", "--home", home)
    assert done.status == 0
    assert "note: spec" in done.out
    assert "all 3 scans are embedded, and no index is published yet" in done.out
    facts = raptor("verify", "--home", home, "--json").json
    assert (facts["whole"], facts["problems"], len(facts["notes"])) == (True, [], 1)
    command = shlex.split(facts["notes"][0].split("`")[1])
    assert raptor(*command[1:]).status == 0
    assert raptor("verify", "--home", home, "--json").json["notes"] == []


@pytest.mark.parametrize("start", [0, 65536])
def test_a_database_that_cannot_be_read_is_damage(raptor: Raptor, drawn: DrawnArchive, home: Path, start: int) -> None:
    drawn.catalog.close()
    with (home / "catalog.db").open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * 300_000)
    done = raptor("verify", "--home", home)
    assert (done.status, done.error_lines) == (4, [])
    assert "database: " in done.out
    facts = raptor("verify", "--home", home, "--json")
    assert (facts.status, facts.json["whole"], facts.json["problems"][0]["kind"]) == (4, False, "database")


def test_rebuilding_mends_the_index(raptor: Raptor, drawn: DrawnArchive, home: Path) -> None:
    drawn.index_file().unlink()
    done = raptor("rebuild", "--home", home)
    assert done.status == 0
    assert f"Flat, {N} scans" in done.out
    assert raptor("verify", "--home", home).status == 0
    (facts,) = raptor("rebuild", "--home", home, "--index", "IVF2,SQ8", "--json").json["rebuilt"]
    (spec,) = raptor("status", "--home", home, "--json").json["specs"]
    assert facts["spec"] == spec["fingerprint"]
    assert len(spec["fingerprint"]) == 64
    assert f"Spec {spec['fingerprint'][:12]}: " in raptor("status", "--home", home).out
    assert (facts["index"], facts["volumes"]) == ("IVF2,SQ8", N)
    assert raptor("rebuild", "--home", home, "--spec", "zz").status == 1


def test_a_backup_is_restored_elsewhere(raptor: Raptor, drawn: DrawnArchive, home: Path, tmp_path: Path) -> None:
    done = raptor("backup", tmp_path / "b", "--home", home)
    assert done.status == 0
    assert f"{N} scans, 1 indexes" in done.out
    assert "The key is not in it: keep a copy of" in done.out
    assert raptor("backup", tmp_path / "b", "--home", home).status == 1
    assert raptor("restore", tmp_path / "b", "--home", home).status == 1
    facts = raptor("restore", tmp_path / "b", "--home", tmp_path / "new", "--json")
    assert facts.json == {"home": str(tmp_path / "new"), "volumes": N}
    assert raptor("verify", "--home", tmp_path / "new").status == 0


def test_a_writer_is_named_to_whoever_comes_second(raptor: Raptor, drawn: DrawnArchive, home: Path) -> None:
    with Catalog.open(home, drawn.catalog.key) as other, other.writing():
        for words in (["remove", "/scans/0.nii.gz"], ["erase", "/scans/0.nii.gz", "--yes"], ["rebuild"]):
            done = raptor(*words, "--home", home)
            assert done.status == 1
            assert "another process is writing to this archive: pid" in done.err
        assert raptor("verify", "--home", home).status == 0


def test_an_archive_that_is_not_there_is_said(raptor: Raptor, tmp_path: Path) -> None:
    for words in (["remove", "x"], ["erase", "x", "--yes"], ["verify"], ["rebuild"], ["backup", "b"]):
        done = raptor(*words, "--home", tmp_path / "absent")
        assert done.status == 1
        assert "no archive at" in done.err


def test_every_command_answers_in_json_but_the_one_that_serves() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    without = {name for name, one in commands.items() if "--json" not in {o for p in one.params for o in p.opts}}
    assert without == {"app"}


def test_an_upgrade_says_in_json_that_it_is_done(raptor: Raptor, drawn: DrawnArchive, home: Path) -> None:
    assert raptor("upgrade", "--home", home, "--json").json == {"home": str(home), "up_to_date": True}
