"""No trace of a person is left: tokens planted wherever an archive may hold some are found nowhere afterwards."""

import gzip
import logging
from pathlib import Path

import pytest

from indexer.pipeline import index
from indexer.recipe import Options
from raptor_search.archive import Archive
from raptor_search.encoders import spec_for
from raptor_search.specs import PRESETS
from tests.canaries import planted
from tests.phantoms import Cells


def found(tokens: list[str], content: bytes) -> list[str]:
    """The tokens that bytes hold, in any case and as UTF-8 or UTF-16."""
    lower = content.lower()
    return [token for token in tokens if token.lower().encode() in lower or token.lower().encode("utf-16-le") in lower]


def test_nothing_that_names_a_person_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scans, home = tmp_path / "scans", tmp_path / "home"
    tokens = planted(scans)
    assert len(set(tokens)) == len(tokens) >= 200
    written = b"\n".join(str(path).encode() + path.read_bytes() for path in scans.rglob("*") if path.is_file())
    written += b"".join(gzip.decompress(path.read_bytes()) for path in scans.rglob("*.nii.gz"))
    assert found(tokens, written) == tokens

    encoder = Cells()
    spec = spec_for(encoder, PRESETS["default"], components=3, seed=0)
    monkeypatch.setattr(Options, "load", lambda *_, **__: (encoder, spec))
    monkeypatch.setattr(Archive, "use_encoder", lambda *_, **__: None)
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.DEBUG)
    handler.emit = records.append  # type: ignore[method-assign]
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        report = index([scans], home=home)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert report.added == 5
    assert len(report.quarantined) >= 10

    left = b"\n".join(
        str(path.relative_to(home)).encode() + path.read_bytes() for path in home.rglob("*") if path.is_file()
    )
    assert found(tokens, left) == []
    assert found(tokens, "\n".join(record.getMessage() for record in records).encode()) == []
    assert found(tokens, "\n".join(error.message for _, error in report.quarantined).encode()) == []
    with Archive.open(home) as archive:
        volumes = archive.catalog.volumes(archive.catalog.ids(archive.catalog.specs()[0].id))
        assert found(tokens, repr(volumes).encode()) == []
        quarantined = archive.catalog.quarantined()
        assert found(tokens, "\n".join(one.reason for one in quarantined).encode()) == []
        # The locator is there for whoever holds the key, so the search above looked at what was really encrypted.
        assert found(tokens, "\n".join(one.locator for one in quarantined).encode()) != []
        assert {volume.year for volume in volumes if volume.modality == "CT"} == {2019}
        assert {volume.age for volume in volumes if volume.modality == "CT"} == {82}
