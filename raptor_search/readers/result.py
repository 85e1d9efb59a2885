"""What a child process makes of one source, all that its parent needs to embed and commit it."""

from dataclasses import dataclass, field

from raptor_search.intensity import IntensityRule
from raptor_search.readers.scan import Scan

__all__ = ["ReadResult"]


@dataclass(frozen=True, kw_only=True)
class ReadResult:
    """One scan, read.

    Attributes:
        scan: voxels (read-only, in memory that nobody else touches while an array lies in it) and metadata.
        digest: as `content_digest` gives it.
        preview: PNG of the three middle planes.
        rule: the window that its voxels choose.
        seconds: that reading took in the child.
        cpu_seconds: likewise, of the processor.
    """

    scan: Scan
    digest: bytes
    preview: bytes = field(repr=False)
    rule: IntensityRule
    seconds: float
    cpu_seconds: float
