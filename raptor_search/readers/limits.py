"""What reading one file may cost: memory, time, and bytes that come out of compressed ones."""

from dataclasses import dataclass

from raptor_search.errors import UsageError

__all__ = ["Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a child process that reads.

    Attributes:
        memory: bytes of address space, the interpreter's own half a gigabyte and the voxels included (RLIMIT_AS; macOS
            does not enforce it).
        seconds: from the request to the answer, of a scan of up to so many MiB on disk; a larger one has a second for
            each (`seconds_for`).
        inflated: bytes that the compressed content of one file may inflate to, whatever the ratio.

    Raises:
        UsageError: on construction, where nothing could be read within them.
    """

    memory: int = 4 * 2**30
    seconds: float = 30.0
    inflated: int = 4 * 2**30

    def __post_init__(self) -> None:
        if self.memory < LEAST_MEMORY or not self.seconds > 0 or self.inflated < 1:
            raise UsageError(
                f"limits of {self.memory} bytes, {self.seconds:g} s and {self.inflated} inflated bytes; expected at "
                f"least {LEAST_MEMORY} bytes of memory, and more than 0 of the others"
            )

    def seconds_for(self, stored: int) -> float:
        """What `stored` bytes on disk may take: a busy machine and a slow share still read some MiB a second."""
        return max(self.seconds, stored / 2**20)


LEAST_MEMORY = 768 * 2**20
"""The interpreter with NumPy, pydicom and nibabel maps half of it before it reads anything."""
