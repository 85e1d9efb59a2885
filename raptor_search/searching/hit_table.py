"""The hits as a CSV file for the record: what was found, how, and under which index and recipe."""

import csv
import io
from typing import Any

from raptor_search.searching.hits import Hit, SearchResult
from raptor_search.spreadsheet import plain_cell

__all__ = ["hits_csv"]

FIRST = ("query", "rank", "case", "score", "percentile", "exact", "same_bytes", "stands_for")
LAST = ("index_version", "spec")


def hits_csv(query: str, result: SearchResult, *, with_sources: bool = False) -> bytes:
    """One line a hit. Patients are pseudonyms, and no path is in it unless asked for.

    Args:
        query: what the query is called.
        result: the answer.
        with_sources: whether a column says where each hit came from.
    """
    labels = sorted({name for hit in result.hits for name in hit.record.labels})
    columns = sorted({name for hit in result.hits for name, value in hit.record.metadata.items() if value is not None})
    fields = [
        *FIRST,
        *(["source"] if with_sources else []),
        "patient",
        *columns,
        *(f"label {name}" for name in labels),
        *LAST,
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writerow({field: plain_cell(field) for field in fields})
    for hit in result.hits:
        row = _row(hit) | {"query": query, "index_version": result.index_version, "spec": result.spec_fingerprint}
        row |= {name: hit.record.metadata[name] for name in columns} | {"source": hit.source}
        writer.writerow({field: plain_cell(row.get(field)) for field in fields})
    return text.getvalue().encode()


def _row(hit: Hit) -> dict[str, Any]:
    row = {
        "rank": hit.rank,
        "case": hit.volume_id,
        "score": f"{hit.score:.6f}",
        "percentile": None if hit.percentile is None else f"{hit.percentile:.1f}",
        "exact": hit.exact,
        "same_bytes": hit.duplicate,
        "stands_for": " ".join(map(str, hit.copies)),
        "patient": hit.metadata["patient"],
    }
    return row | {f"label {name}": value for name, value in hit.record.labels.items()}
