"""The comparison as one HTML file for the record: no script, no font, no picture from elsewhere."""

import base64
import time
from collections.abc import Mapping, Sequence

from app.filters import Asked
from app.querying import Query
from app.standing import WEAK, above_pairs, stands_out
from app.words import literal_html, when
from raptor_search.search import Hit, SearchResult

__all__ = ["comparison_html"]

STYLE = """
body{font:14px/1.45 system-ui,sans-serif;color:#1f2933;max-width:62rem;margin:1.5rem auto;padding:0 1rem}
h1{font-size:1.4rem}img{width:100%;background:#000;display:block}
.note{background:#fff8e1;padding:.4rem .8rem;border-left:4px solid #f0b429}.quiet{color:#616e7c}
.hits{display:grid;grid-template-columns:1fr 1fr;gap:1rem}.hits>div,.query{border:1px solid #cbd2d9;padding:.6rem}
.query{max-width:30rem}.hits>div{break-inside:avoid}
"""


def comparison_html(
    query: Query,
    result: SearchResult,
    previews: Mapping[int, bytes | None],
    *,
    asked: Asked,
    steered: str,
    notice: str | None,
) -> str:
    """The page as a document; everything that people wrote is escaped, patients are pseudonyms, no path is in it.

    Args:
        query: what was compared.
        result: the answer.
        previews: pictures of the hits by case.
        asked: what the search was narrowed to.
        steered: what steered the search, in words; empty where nothing did.
        notice: what every reader of this archive's results must know, or None.
    """
    version = result.index_version or "none"
    found = "exact" if result.exact else "approximate"
    filters = literal_html("; ".join(asked.narrowed) or "none")
    facts = " · ".join([*query.facts, *([steered] if steered else [])])
    parts = [
        f"<h1>Scans similar to {literal_html(query.title)}</h1>",
        '<p class="note"><strong>Research use only; not a medical device.</strong></p>',
        *(f'<p class="note">{literal_html(note)}</p>' for note in (*([notice] if notice else []), *result.notes)),
        f'<div class="query">{_image(query.picture, query.title)}<p>{literal_html(facts)}</p></div>',
        f'<p class="quiet">{when(time.time())}. {result.passed:,} scans passed the filters ({filters}); '
        f"the answer is {found}. Index version {version}, spec {literal_html(result.spec_fingerprint[:12])}. "
        "A score is a cosine, at most 1.</p>",
        '<div class="hits">',
        *(_hit(result, hit, previews.get(hit.volume_id)) for hit in result.hits),
        "</div>",
    ]
    body = "\n".join(parts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Similar scans</title>'
        f"<style>{STYLE}</style></head><body>{body}</body></html>\n"
    )


def _hit(result: SearchResult, hit: Hit, png: bytes | None) -> str:
    above = "" if hit.percentile is None else f", {above_pairs(hit.percentile)}"
    record = hit.record
    age = None if record.age is None else f"{record.age:g} years"
    facts = [record.modality, record.body_part, hit.metadata["patient"], record.sex, age]
    facts += [f"{name}: {value}" for name, value in record.labels.items()]
    facts += ["same bytes as the query"] if hit.duplicate else []
    facts += [] if stands_out(result, hit) else [WEAK]
    facts += [f"stands for its equals: {_cases(hit.copies)}"] if hit.copies else []
    line = " · ".join(str(fact) for fact in facts if fact)
    title = f"Case {hit.volume_id}"
    return (
        f"<div><p><strong>{hit.rank}. {hit.score:.3f}</strong>{above} · {title}</p>"
        f"{_image(png, title)}<p>{literal_html(line)}</p></div>"
    )


def _cases(cases: Sequence[int]) -> str:
    return ", ".join(f"case {case}" for case in cases)


def _image(png: bytes | None, title: str) -> str:
    if png is None:
        return '<p class="quiet">No picture is stored for this scan.</p>'
    alt = literal_html(f"{title}: axial, coronal and sagittal middle slices")
    return f'<img alt="{alt}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
