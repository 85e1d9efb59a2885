"""The error tree: every failure a user can meet, each with a stable code.

    RaptorError
    |-- UsageError            a wrong path, option or value                         code "usage"
    |-- SpecError             an embedding recipe that cannot be, or differs        code "spec"
    |-- WeightsError          weights missing, truncated, or of another model       code "weights"
    |-- ReadError             one file or series that cannot be read: quarantined   code of READ_CODES
    |-- ErasedError           a scan that was erased and may not come back          code "erased"
    |-- AccessError           the role of whoever asks does not suffice             code "access"
    |-- KeyMismatchError      the key is not the one the archive was made with      code "key"
    |-- CatalogError          the database is missing, older, newer or unreachable  code "catalog"
    |   |-- DamagedError      the database cannot be read                           code "damaged"
    |   `-- LockedError       another process writes to this archive                code "locked"
    |-- IndexFileError        a FAISS file that is damaged or of another spec       code "index"
    `-- QueryError            a search that cannot be run as asked                  code "query"

A message is one line: what, got, expected, and the command that mends it.
"""

__all__ = [
    "READ_CODES",
    "AccessError",
    "CatalogError",
    "DamagedError",
    "ErasedError",
    "IndexFileError",
    "KeyMismatchError",
    "LockedError",
    "QueryError",
    "RaptorError",
    "ReadError",
    "SpecError",
    "UsageError",
    "WeightsError",
]


class RaptorError(Exception):
    """Anything that stops the work for a reason the user can act on.

    The message is one line and holds no tag values or raw identifiers.
    """

    code = "error"

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))

    @property
    def message(self) -> str:
        """The one line shown to the user."""
        return str(self.args[0])


class UsageError(RaptorError):
    """A wrong path, option or value."""

    code = "usage"


class SpecError(RaptorError):
    """An embedding recipe that cannot be, or differs from the archive's."""

    code = "spec"


class WeightsError(RaptorError):
    """Weights that are missing, truncated, or belong to another model."""

    code = "weights"


READ_CODES = {
    "unreadable": "the file is damaged or truncated",
    "not-a-volume": "the content is not a format that is read here",
    "too-few-slices": "fewer slices than a volume needs",
    "missing-slice": "a gap between slices",
    "duplicate-slice": "two slices at one position",
    "mixed-geometry": "slices that differ in size or orientation",
    "not-3d": "not three dimensions",
    "bad-geometry": "a header whose affine or spacing cannot be",
    "not-finite": "NaN or infinite voxels",
    "constant": "all voxels are equal",
    "too-large": "more voxels or inflated bytes than the limit",
    "unsupported": "a kind of file that is not read yet",
    "decoder-crashed": "reading it ended the process that read it, twice",
    "timed-out": "reading it took longer than the limit",
}
"""Stable quarantine codes and what they mean: every one that a reader may give, at most 20."""


class ReadError(RaptorError):
    """One file or series that cannot be read; the indexer quarantines it.

    `code` is one of `READ_CODES`; the message names no path, so that it can be stored.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        if code not in READ_CODES:
            raise ValueError(f"unknown read code {code!r}")
        self.code = code

    def __reduce__(self) -> tuple[type["ReadError"], tuple[str, str]]:
        return type(self), (self.code, self.message)


class ErasedError(RaptorError):
    """A scan that was erased from the archive: it is not indexed again, and leaves no row."""

    code = "erased"


class AccessError(RaptorError):
    """The role of whoever asks does not suffice."""

    code = "access"


class KeyMismatchError(RaptorError):
    """The key at hand is not the one the archive was made with."""

    code = "key"


class CatalogError(RaptorError):
    """The catalog is missing, of another revision, or cannot be reached."""

    code = "catalog"


class DamagedError(CatalogError):
    """The database of an archive cannot be read: damaged, or no longer one."""

    code = "damaged"


class LockedError(CatalogError):
    """Another process is writing to this archive."""

    code = "locked"


class IndexFileError(RaptorError):
    """A FAISS file that is damaged or belongs to another spec."""

    code = "index"


class QueryError(RaptorError):
    """A search that cannot be run as asked."""

    code = "query"
