"""The rows of the table of `search.py`, and how they are printed."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Row", "show"]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    engine: str
    data: str
    components: int
    n: int
    where: str
    settings: str
    recall_at_10: float
    recall_low: float
    bytes_per_vector: float
    disk_bytes_per_vector: float
    p50_ms: float
    p95_ms: float
    cpu_p95_ms: float
    queries_per_cpu_second: float
    build_seconds: float
    cold_ms: float
    in_turn_cpu_p95_ms: float | None = None
    in_turn_queries_per_cpu_second: float | None = None


def show(rows: Sequence[Row]) -> None:
    """The table."""
    print(
        f"\n{'engine':<11}{'data':<9}{'K':>4}{'n':>9} {'filter':<11}{'recall@10':>10}{'low':>7}{'bytes':>7}{'disk':>8}"
        f"{'p50 ms':>8}{'p95 ms':>8}{'CPU p95':>8}{'first':>8}{'q/CPU-s':>9}{'in turn':>14}{'build s':>9}  settings"
    )
    for row in rows:
        besides = ""
        if row.in_turn_cpu_p95_ms is not None:
            besides = f"{row.in_turn_cpu_p95_ms:.1f} {row.in_turn_queries_per_cpu_second:>7.1f}"
        print(
            f"{row.engine:<11}{row.data:<9}{row.components:>4}{row.n:>9} {row.where:<11}{row.recall_at_10:>10.4f}"
            f"{row.recall_low:>7.3f}{row.bytes_per_vector:>7.0f}{row.disk_bytes_per_vector:>8.0f}{row.p50_ms:>8.1f}"
            f"{row.p95_ms:>8.1f}{row.cpu_p95_ms:>8.1f}{row.cold_ms:>8.0f}{row.queries_per_cpu_second:>9.1f}"
            f"{besides:>14}{row.build_seconds:>9.1f}"
            f"  {row.settings}"
        )
