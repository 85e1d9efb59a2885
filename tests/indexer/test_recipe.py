"""Options: where they let the encoder run and in what, and that an archive says so."""

from pathlib import Path
from typing import Any

import pytest
import torch

from indexer.pipeline import index
from indexer.recipe import Options
from raptor_search.archive import Archive
from raptor_search.errors import UsageError
from tests.indexer.scans import write_scan
from tests.phantoms import Cells


@pytest.mark.parametrize(
    ("options", "device", "dtype"),
    [
        (Options(), "auto", None),
        (Options(devices=("cuda:1",)), "cuda:1", None),
        (Options(devices=("cuda:0", "cuda:1"), dtype="float32"), "cpu", "float32"),
        (Options(devices=("cpu",), dtype="bfloat16"), "cpu", "bfloat16"),
    ],
)
def test_an_encoder_is_loaded_where_and_in_what_was_asked_for(
    options: Options, device: str, dtype: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr("indexer.recipe.load_encoder", lambda _, **settings: asked.update(settings) or Cells())
    options.load()
    assert (asked["device"], asked["dtype"]) == (device, dtype)


def test_a_dtype_that_does_not_exist_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--dtype int4: expected one of float32, bfloat16"):
        Options(dtype="int4")


def test_an_archive_says_where_and_in_what_its_vectors_were_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexer.recipe.load_encoder", lambda _, **__: Cells())
    write_scan(tmp_path / "scans" / "one.nii.gz", 1)
    index([tmp_path / "scans"], home=tmp_path / "home", options=Options(components=4))
    with Archive.open(tmp_path / "home") as archive:
        (stored,) = archive.catalog.specs()
    assert stored.provenance["device"] == "cpu"
    assert stored.provenance["dtype"] == "float32"
    assert stored.provenance["torch"] == torch.__version__


def test_a_later_run_takes_the_weights_of_the_first_unless_it_names_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path | None] = []
    monkeypatch.setattr("indexer.recipe.load_encoder", lambda _, *, weights, **__: asked.append(weights) or Cells())
    mine, other = tmp_path / "mine.pth", tmp_path / "other.pth"
    mine.touch()
    for number, weights in enumerate((mine, None, other, None)):
        other.touch()
        write_scan(tmp_path / "scans" / f"{number}.nii.gz", number)
        index([tmp_path / "scans"], home=tmp_path / "home", options=Options(components=4, weights=weights))
    other.unlink()
    index([tmp_path / "scans"], home=tmp_path / "home")
    assert asked == [mine, mine, other, other, None]
