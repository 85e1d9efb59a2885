"""`raptor search`: the scans most similar to a scan, or to a case of the archive, and where they match."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from indexer.parameters import DEFAULT_HOME, Home, Json, Spec, err, out
from indexer.plain_text import say
from raptor_search.errors import ReadError, UsageError

if TYPE_CHECKING:
    from raptor_search.explain import Shares

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to `raptor`."""
    app.command()(search)


def search(
    scan: Annotated[
        Path | None, typer.Argument(help="A scan: a file, a folder or zip of one DICOM series; or none, with --case.")
    ] = None,
    home: Home = DEFAULT_HOME,
    case: Annotated[
        int | None, typer.Option(help="Volume id of a case of the archive, to be asked instead of a scan.")
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Hits.", min=1)] = 10,
    where: Annotated[
        str | None,
        typer.Option(
            help="A filter, such as \"modality = 'CT' and age > 60\"; `raptor columns` lists what it may name."
        ),
    ] = None,
    exclude_patient: Annotated[
        str | None, typer.Option(help="Leave out the scans of this patient id, or of a pseudonym such as P-3f9a2c41.")
    ] = None,
    exclude_same_patient: Annotated[
        bool, typer.Option("--exclude-same-patient", help="Leave out the scans of the query's own patient.")
    ] = False,
    like: Annotated[list[int] | None, typer.Option(help="Volume id of an example that hits should resemble.")] = None,
    unlike: Annotated[list[int] | None, typer.Option(help="Volume id of one that they should not.")] = None,
    region: Annotated[
        list[str] | None, typer.Option(help="Cells to compare, PLANE:ROWS,COLUMNS, such as axial:4-7,9-11.")
    ] = None,
    collapse: Annotated[bool, typer.Option("--collapse", help="Show equal scans once.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say of each hit which cells its score comes from; --json has them all.")
    ] = False,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write the hits to this file, as a table.")] = None,
    volume_index: Annotated[
        int | None, typer.Option("--volume-index", help="Volume of a 4D file that is the query, from 0.", min=0)
    ] = None,
    spec: Spec = None,
    as_json: Json = False,
) -> None:
    """Find the archive's scans most similar to one scan."""
    from indexer import render
    from indexer.progress import Terminal
    from raptor_search.archive import Archive
    from raptor_search.search import check_examples
    from raptor_search.searching.hit_table import hits_csv
    from raptor_search.searching.region import parse_region

    check_examples(like or (), unlike or ())
    query = _query(scan, case, volume_index)
    if csv is not None and not csv.absolute().parent.is_dir():
        raise UsageError(f"--csv {csv}: there is no folder {csv.parent}; make it first")
    regions = [parse_region(text) for text in region or ()]
    with Archive.open(home) as archive:
        try:
            with Terminal(err).counting("Embedding") as count:
                result = archive.search(
                    query,
                    k=k,
                    where=where,
                    exclude_patient=exclude_patient,
                    exclude_same_patient=exclude_same_patient,
                    like=like or (),
                    unlike=unlike or (),
                    region=regions,
                    collapse=collapse,
                    spec=spec,
                    progress=count,
                )
        except ReadError as error:  # its own message names no path, so that it can be stored
            raise UsageError(f"{query}: {error.message}") from error
        if csv is not None:
            archive.audit("export", f"{len(result.hits)} hits as a table")
            part = csv.with_name(f".{csv.name}.part")
            part.write_bytes(hits_csv(f"case {query}" if case is not None else str(query), result, with_sources=True))
            part.replace(csv)
        parts = {hit.volume_id: archive.explain(result, hit) for hit in result.hits} if explain else {}
        if as_json:
            print(json.dumps(_with_shares(result.to_dict(), parts), indent=2))
        else:
            render.hits(out, result, archive.notice, parts)
            if csv is not None:
                say(out, f"Hits: {csv}")


def _query(scan: Path | None, case: int | None, volume_index: int | None) -> Path | int:
    if (scan is None) == (case is None):
        raise UsageError("expected one question: a scan's path, or --case ID for a case of the archive")
    if case is not None:
        if volume_index is not None:
            raise UsageError("--volume-index: names a volume of a 4D file; --case names its volume already")
        return case
    assert scan is not None
    if volume_index is None:
        return scan
    if not scan.is_file():
        raise UsageError(f"{scan}: expected a 4D file, of which --volume-index names a volume")
    return scan.with_name(f"{scan.name}#t{volume_index}")


def _with_shares(answer: dict[str, Any], parts: dict[int, "Shares"]) -> dict[str, Any]:
    for hit in answer["hits"]:
        if hit["volume_id"] in parts:
            part = parts[hit["volume_id"]]
            hit["shares"] = {"cells": part.cells.tolist(), "cls": part.cls.tolist()}
    return answer
