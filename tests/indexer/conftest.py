"""A fresh key and home for each test, and the `raptor` command run as a user runs it."""

from pathlib import Path

import pytest

from indexer import cli
from tests.indexer.command import Outcome, Raptor


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def key_file(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path_factory.mktemp("key") / "archive.key"
    monkeypatch.setenv("RAPTOR_KEY_FILE", str(path))
    monkeypatch.delenv("RAPTOR_DATABASE_URL", raising=False)
    monkeypatch.delenv("RAPTOR_HOME", raising=False)
    return path


@pytest.fixture
def raptor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Raptor:
    def run(*words: str | Path) -> Outcome:
        monkeypatch.setattr("sys.argv", ["raptor", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        return Outcome(int(stopped.value.code or 0), captured.out, captured.err)

    return run
