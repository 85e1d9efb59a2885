"""The hash of a volume's bytes, so that equal scans at two places are known as one."""

import hashlib
from pathlib import Path

from raptor_search.readers.npz import npz_entry
from raptor_search.readers.source import Source

__all__ = ["digest_of"]


def digest_of(source: Source) -> bytes:
    """SHA-256 of the file; of an npz entry's type, shape and numbers; of the sorted digests of a series' files.

    File names do not count. Where a file may hold several volumes, which of them it is does.

    Raises:
        ReadError: a damaged npz.
        OSError: a file that is gone.
    """
    if source.format == "npz":
        entry = npz_entry(source.path, source.member)
        digest = hashlib.sha256(f"{entry.dtype.str} {entry.shape}".encode())
        digest.update(entry.tobytes())
        return digest.digest()
    digests = sorted(_file_digest(file) for file in source.files)
    whole = digests[0] if len(digests) == 1 else hashlib.sha256(b"".join(digests)).digest()
    part = source.stack.name if source.stack else source.member if source.format in {"nifti", "mha"} else ""
    return hashlib.sha256(whole + part.encode()).digest() if part else whole


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
