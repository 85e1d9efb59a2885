"""How long each stage of an indexing run took, and so which of them was the bottleneck."""

from dataclasses import dataclass

__all__ = ["Stages"]


@dataclass(frozen=True, kw_only=True)
class Stages:
    """Seconds of a run's stages, which overlap.

    Attributes:
        wall: from the first source to the last commit.
        waiting: that the encoder had nothing to do because no scan was read yet.
        blocked: that it waited for commits.
        committing: that the committing thread was at work.
        reading: that the reading processes were at work, summed over them.
    """

    wall: float = 0.0
    waiting: float = 0.0
    blocked: float = 0.0
    committing: float = 0.0
    reading: float = 0.0

    def __add__(self, other: "Stages") -> "Stages":
        return Stages(**{name: seconds + vars(other)[name] for name, seconds in vars(self).items()})

    @property
    def embedding(self) -> float:
        """Seconds that the encoder's side was at work: looking up what is known included."""
        return max(0.0, self.wall - self.waiting - self.blocked)

    def to_dict(self) -> dict[str, float]:
        """Seconds by stage, rounded to milliseconds."""
        seconds = vars(self) | {"embedding": self.embedding}
        return {name: round(value, 3) for name, value in seconds.items()}

    def sentence(self) -> str:
        """The stages in one line."""
        if self.wall <= 0:
            return "no time spent"
        share = {name: f"{100 * seconds / self.wall:.0f}%" for name, seconds in self.to_dict().items()}
        return (
            f"{self.wall:.0f} s: embedding {share['embedding']}, waiting for scans {share['waiting']}, for commits "
            f"{share['blocked']}; beside it reading {self.reading:.0f} s, committing {self.committing:.0f} s"
        )
