"""The archive's key: keyed hashes for identifiers, encryption for locators.

Raw patient, study and series identifiers never reach the catalog: they become HMAC-SHA-256
digests (RFC 2104), and the place a scan came from is encrypted with Fernet. The secret lives in a
file outside the archive's home, so that a copy or a backup of the home alone identifies nobody.
The catalog keeps only `check_value`, by which it knows the key again.
"""

import base64
import binascii
import hmac
import os
import secrets
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import platformdirs
from cryptography.fernet import Fernet, InvalidToken

from raptor_search.errors import KeyMismatchError, UsageError

__all__ = ["KEY_FILE_VARIABLE", "ArchiveKey", "DigestKind", "key_path"]

KEY_FILE_VARIABLE = "RAPTOR_KEY_FILE"
VERSION_LINE = "raptor-search key 1"
SECRET_BYTES = 32

DigestKind = Literal["source", "content", "patient", "study", "series", "site", "check"]
"""What a digest stands for: equal values of two kinds have unrelated digests."""


@dataclass(frozen=True)
class ArchiveKey:
    """The secret of an archive and the file it was read from.

    Attributes:
        path: the key file.
        secret: 32 random bytes; never shown.
    """

    path: Path
    secret: bytes = field(repr=False)

    @classmethod
    def load(cls, *, create: bool, home: Path | None = None) -> "ArchiveKey":
        """Read the key file; make it first where it is absent and `create` allows.

        Args:
            create: whether an absent file is made (readable by its owner only).
            home: the archive's folder, in which the key may not lie.

        Raises:
            UsageError: the key would lie inside `home`, or its file cannot be made or read.
            KeyMismatchError: the file is absent, or is no key.
        """
        path = key_path()
        if home is not None:
            check_outside(path, home)
        try:
            if create and not path.exists():
                _make_key_file(path)
            return cls(path, _parse(path, path.read_bytes()))
        except FileNotFoundError:
            raise KeyMismatchError(
                f"no key at {path}: set {KEY_FILE_VARIABLE} to the key file that the archive was made with"
            ) from None
        except OSError as error:
            raise UsageError(
                f"the key file {path} cannot be used: {error.strerror}; set {KEY_FILE_VARIABLE} to another place"
            ) from error

    def digest(self, kind: DigestKind, value: str | bytes) -> str:
        """HMAC-SHA-256 of a value, 64 hex digits; the same value of another kind gives another digest."""
        data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
        return hmac.digest(self._derive("digest"), kind.encode() + b"\0" + data, "sha256").hex()

    def tombstone(self, digest: str) -> str:
        """What stays of an erased digest: HMAC-SHA-256 under a key of its own, 64 hex digits.

        It tells whether a digest was erased, and nothing else in an archive equals it.
        """
        return hmac.digest(self._derive("tombstone"), digest.encode(), "sha256").hex()

    def encrypt(self, text: str) -> bytes:
        """The text as a Fernet token; two calls give two tokens."""
        return self._fernet.encrypt(text.encode("utf-8", "surrogateescape"))

    def decrypt(self, token: bytes) -> str:
        """The text that `encrypt` was given.

        Raises:
            KeyMismatchError: the token was made with another key, or is damaged.
        """
        try:
            return self._fernet.decrypt(token).decode("utf-8", "surrogateescape")
        except InvalidToken:
            raise KeyMismatchError(f"{self.path} does not decrypt this: another key, or damaged data") from None

    @property
    def check_value(self) -> str:
        """What a catalog stores to know this key again; says nothing about the secret."""
        return self.digest("check", "raptor-search")

    def _derive(self, purpose: str) -> bytes:
        return hmac.digest(self.secret, f"raptor-search {purpose} 1".encode(), "sha256")

    @cached_property
    def _fernet(self) -> Fernet:
        return Fernet(base64.urlsafe_b64encode(self._derive("encrypt")))


def key_path() -> Path:
    """Where the key file is looked for: `RAPTOR_KEY_FILE`, else the user's configuration folder."""
    named = os.environ.get(KEY_FILE_VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    return platformdirs.user_config_path("raptor-search") / "archive.key"


def check_outside(path: Path, home: Path) -> None:
    """Refuse a key that lies in the folder it is meant to protect.

    Raises:
        UsageError: `path` lies inside `home`.
    """
    if path.resolve().is_relative_to(home.resolve()):
        raise UsageError(
            f"the key file {path} lies inside the archive {home}: set {KEY_FILE_VARIABLE} to a place outside it"
        )


def _make_key_file(path: Path) -> None:
    """Write a new key so that it appears whole or not at all; where two race, the first one's stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    encoded = base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{VERSION_LINE}\n{encoded}\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            # Unlike a rename, a link never replaces a key that another process has just made.
            os.link(temporary, path)
        except FileExistsError:
            return
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _parse(path: Path, content: bytes) -> bytes:
    lines = content.decode("ascii", "replace").split()
    encoded = lines[-1] if " ".join(lines[:-1]) == VERSION_LINE else ""
    try:
        secret = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise KeyMismatchError(
            f"{path} is not a raptor-search key: restore it from a copy, or set {KEY_FILE_VARIABLE} to the right file"
        )
    return secret
