"""The archive's key: made once, outside the home, and known again."""

import base64
import hashlib
import hmac
import os
import re
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raptor_search.errors import KeyMismatchError, UsageError
from raptor_search.keys import ArchiveKey, key_path

KEY = ArchiveKey(Path("/keys/archive.key"), bytes(range(32)))


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "keys" / "archive.key"
    monkeypatch.setenv("RAPTOR_KEY_FILE", str(path))
    return path


def test_the_first_use_makes_a_private_key_file_and_the_next_reads_it(key_file: Path) -> None:
    made = ArchiveKey.load(create=True)
    assert made.path == key_file
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert ArchiveKey.load(create=True) == ArchiveKey.load(create=False) == made
    assert [entry.name for entry in key_file.parent.iterdir()] == ["archive.key"]


def test_two_keys_differ(key_file: Path) -> None:
    first = ArchiveKey.load(create=True)
    key_file.unlink()
    assert ArchiveKey.load(create=True).check_value != first.check_value


def test_the_file_has_a_version_line_and_the_secret_in_base64(key_file: Path) -> None:
    key = ArchiveKey.load(create=True)
    version, encoded = key_file.read_text().splitlines()
    assert version == "raptor-search key 1"
    assert base64.b64decode(encoded) == key.secret
    assert len(key.secret) == 32


def test_without_the_variable_the_key_lies_in_the_users_configuration_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAPTOR_KEY_FILE", raising=False)
    assert key_path() == platformdirs.user_config_path("raptor-search") / "archive.key"


def test_a_process_that_loses_the_race_takes_the_winners_key(key_file: Path) -> None:
    script = "from raptor_search.keys import ArchiveKey; print(ArchiveKey.load(create=True).check_value)"
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
        )
        for _ in range(4)
    ]
    values = {racer.communicate()[0] for racer in racers}
    assert len(values) == 1
    assert values == {ArchiveKey.load(create=False).check_value + "\n"}
    assert [entry.name for entry in key_file.parent.iterdir()] == ["archive.key"]


def test_a_missing_key_is_not_made_where_an_archive_exists(key_file: Path) -> None:
    with pytest.raises(KeyMismatchError, match=f"no key at {key_file}.*RAPTOR_KEY_FILE"):
        ArchiveKey.load(create=False)
    assert not key_file.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00 binary",
        b"raptor-search key 1\n",
        b"raptor-search key 1\nnot*base64\n",
        b"raptor-search key 1\n" + base64.b64encode(bytes(31)) + b"\n",
        b"raptor-search key 2\n" + base64.b64encode(bytes(32)) + b"\n",
        base64.b64encode(bytes(32)),
    ],
)
def test_a_damaged_key_file_is_refused_in_one_line_and_left_alone(key_file: Path, content: bytes) -> None:
    key_file.parent.mkdir()
    key_file.write_bytes(content)
    with pytest.raises(KeyMismatchError, match="is not a raptor-search key") as caught:
        ArchiveKey.load(create=True)
    assert "\n" not in caught.value.message
    assert key_file.read_bytes() == content


def test_a_key_file_that_cannot_be_used_is_a_usage_error(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key_file.mkdir(parents=True)
    with pytest.raises(UsageError, match="cannot be used"):
        ArchiveKey.load(create=False)
    monkeypatch.setenv("RAPTOR_KEY_FILE", str(Path(__file__) / "below-a-file"))
    with pytest.raises(UsageError, match="cannot be used"):
        ArchiveKey.load(create=True)


def test_a_key_inside_the_home_is_refused_before_it_is_made(
    tmp_path: Path, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="lies inside the archive"):
        ArchiveKey.load(create=True, home=tmp_path)
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(UsageError, match="lies inside the archive"):
        ArchiveKey.load(create=True, home=tmp_path / "link")
    assert not key_file.exists()
    ArchiveKey.load(create=True, home=tmp_path / "home")


def test_a_digest_is_the_hmac_of_rfc_2104_under_a_derived_key() -> None:
    derived = hmac.new(KEY.secret, b"raptor-search digest 1", hashlib.sha256).digest()
    expected = hmac.new(derived, b"patient\x0012345", hashlib.sha256).hexdigest()
    assert KEY.digest("patient", "12345") == expected
    assert re.fullmatch("[0-9a-f]{64}", expected)


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
@settings(deadline=None)
def test_digests_agree_exactly_where_kind_and_value_do(one: str, other: str) -> None:
    assert (KEY.digest("patient", one) == KEY.digest("patient", other)) == (one == other)
    assert KEY.digest("patient", one) != KEY.digest("study", one)
    assert KEY.digest("patient", one) == KEY.digest("patient", one.encode())
    assert ArchiveKey(KEY.path, bytes(32)).digest("patient", one) != KEY.digest("patient", one)


@given(st.text(st.characters(codec="utf-8")))
@settings(deadline=None)
def test_what_is_encrypted_can_be_decrypted_by_the_same_key_alone(text: str) -> None:
    token = KEY.encrypt(text)
    assert KEY.decrypt(token) == text
    with pytest.raises(KeyMismatchError):
        ArchiveKey(KEY.path, bytes(32)).decrypt(token)


def test_paths_that_are_no_utf_8_survive() -> None:
    path = os.fsdecode(b"/scans/\xff\xe9.nii")
    assert KEY.decrypt(KEY.encrypt(path)) == path
    assert KEY.digest("source", path) == KEY.digest("source", b"/scans/\xff\xe9.nii")


def test_a_damaged_token_is_refused() -> None:
    token = bytearray(KEY.encrypt("/scans/a.nii"))
    token[20] ^= 1
    with pytest.raises(KeyMismatchError, match="does not decrypt"):
        KEY.decrypt(bytes(token))


def test_the_secret_is_not_shown() -> None:
    assert str(KEY.secret) not in repr(KEY)
    assert "secret" not in repr(KEY)
