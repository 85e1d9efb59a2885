"""The `raptor` command. Each command is a few lines over the library; errors are one line and exit status 1.

What a command needs is imported by it: torch takes seconds, and most commands do without.
"""

import io
import json
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from indexer import label_commands, search_command
from indexer.parameters import DEFAULT_HOME, Factory, Home, Json, err, out
from indexer.plain_text import say
from indexer.upkeep import commands as upkeep_commands
from raptor_search.errors import RaptorError

__all__ = ["app", "main"]

EXIT_ERROR = 1
EXIT_QUARANTINED = 3
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="raptor",
    help="Search 3D medical scans by similarity. Research use only; not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(upkeep_commands)
Paths = Annotated[list[Path], typer.Argument(help="Files and folders: DICOM, NIfTI, NRRD, MHA, npz, zips of them.")]
Encoder = Annotated[
    str | None,
    typer.Option(
        help="dinov2-small|base|large|giant (with registers: -reg), vits14-packaged, efficientnet-lite0, or "
        "open_clip:MODEL/PRETRAINED; `raptor encoders` lists them."
    ),
]
Layer = Annotated[str | None, typer.Option(help="Transformer block whose output is taken, or `last`.")]
Weights = Annotated[
    Path | None, typer.Option(help="A local checkpoint: safetensors, Meta's .pth, open_clip's, or the packaged file.")
]
Preset = Annotated[str | None, typer.Option(help="official, paper, full or default.")]
Precision = Annotated[str | None, typer.Option(help="exact, or int8: DINOv2 in eight bits on a CPU, near exact.")]
Components = Annotated[int | None, typer.Option(help="K: numbers kept of each token, 1 to 4096.")]
Seed = Annotated[int | None, typer.Option(help="Seed of the random projection, from 0.")]
Devices = Annotated[
    str,
    typer.Option(
        "--device",
        "--devices",
        help="Where the encoder runs: auto (a CUDA GPU where there is one), cpu, cuda, cuda:N or mps; several, parted "
        "by commas, take a process each.",
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(help="What a transformer computes in: float32 or bfloat16; by the device where left out."),
]
Volume = Annotated[
    str | None,
    typer.Option("--volume-index", help="Volume of 4D files that is taken, from 0, or `all` for each as its own."),
]


@app.command()
def index(
    paths: Annotated[list[Path] | None, typer.Argument(help="Files and folders to index.")] = None,
    home: Home = DEFAULT_HOME,
    encoder: Encoder = None,
    layer: Layer = None,
    weights: Weights = None,
    preset: Preset = None,
    precision: Precision = None,
    components: Components = None,
    seed: Seed = None,
    labels: Annotated[
        list[Path] | None, typer.Option(help="CSV, TSV or Parquet joined on file, series or patient.")
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="A column of the tables to keep; without it all but names, ids and dates are kept."),
    ] = None,
    volume_index: Volume = None,
    add_spec: Annotated[bool, typer.Option("--add-spec", help="Embed under a second spec.")] = False,
    factory: Factory = None,
    keep_tokens: Annotated[
        bool, typer.Option("--keep-tokens", help="Keep the mean tokens too (1.5 MB a scan), for `raptor reproject`.")
    ] = False,
    devices: Devices = "auto",
    dtype: Dtype = None,
    status_file: Annotated[
        Path | None, typer.Option(help="A file that always says how far the run is, as JSON, instead of bars.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Embed every scan that the archive does not have yet, and publish the index.

    Exit status 3 where a file was quarantined or could not be opened, in this run as in one before: those quarantined
    before that have not changed are counted, not listed; --json says of each whether it is new.
    """
    from indexer import render
    from indexer.pipeline import index as index_paths
    from indexer.progress import Terminal
    from indexer.recipe import Options
    from indexer.status_file import StatusFile
    from raptor_search.readers.source import UNOPENED
    from raptor_search.readers.volumes4d import parse_volume_index

    options = Options(
        encoder=encoder,
        layer=layer,
        weights=weights,
        preset=preset,
        precision=precision,
        components=components,
        seed=seed,
        keep_tokens=keep_tokens,
        devices=tuple(devices.split(",")),
        dtype=dtype,
    )
    report = index_paths(
        paths or [],
        home=home,
        options=options,
        labels=labels or [],
        keep=keep,
        volume_index=parse_volume_index(volume_index),
        add_spec=add_spec,
        factory=factory,
        progress=StatusFile(status_file) if status_file else Terminal(err),
    )
    if as_json:
        print(json.dumps(render.report_json(report, home), indent=2))
    else:
        render.report(out, report, home)
    if report.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    if report.quarantined or UNOPENED in report.skipped:
        raise typer.Exit(EXIT_QUARANTINED)


@app.command()
def embed(
    paths: Paths,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the vectors, of this spec alone.")],
    encoder: Encoder = None,
    layer: Layer = None,
    weights: Weights = None,
    preset: Preset = None,
    precision: Precision = None,
    components: Components = None,
    seed: Seed = None,
    volume_index: Volume = None,
    devices: Devices = "auto",
    dtype: Dtype = None,
    as_json: Json = False,
) -> None:
    """Embed scans without an archive: one float32 `.npy` a volume, `scans.csv`, `spec.json`."""
    from indexer import render
    from indexer.export import export
    from indexer.progress import Terminal
    from indexer.recipe import Options
    from raptor_search.readers.volumes4d import parse_volume_index

    options = Options(
        encoder=encoder,
        layer=layer,
        weights=weights,
        preset=preset,
        precision=precision,
        components=components,
        seed=seed,
        devices=tuple(devices.split(",")),
        dtype=dtype,
    )
    written, refused = export(paths, out_dir, options, Terminal(err), volume_index=parse_volume_index(volume_index))
    if as_json:
        print(json.dumps(render.export_json(out_dir, written, refused), indent=2))
    else:
        say(out, f"{len(written)} vectors in {out_dir}; {len(refused)} files could not be read")
    if refused:
        raise typer.Exit(EXIT_QUARANTINED)


search_command.register(app)


@app.command()
def encoders(
    open_clip: Annotated[bool, typer.Option("--open-clip", help="List open_clip's image towers instead.")] = False,
    as_json: Json = False,
) -> None:
    """List the encoders, and whether their weights are here or would be downloaded."""
    from indexer.encoder_table import encoders_json, encoders_table, open_clip_line
    from raptor_search.encoder_listing import list_encoders, listed

    if open_clip:
        from raptor_search.encoders.open_clip_cards import open_clip_card, open_clip_names

        rows = [listed(open_clip_card(name)) for name in open_clip_names()]
    else:
        rows = list_encoders()
    if as_json:
        print(json.dumps(encoders_json(rows), indent=2))
        return
    encoders_table(out, rows)
    if not open_clip:
        say(out, open_clip_line())


@app.command()
def reproject(
    home: Home = DEFAULT_HOME,
    components: Components = None,
    seed: Seed = None,
    spec: Annotated[str | None, typer.Option(help="Fingerprint (or its start) of the spec with tokens.")] = None,
    as_json: Json = False,
) -> None:
    """Add a spec of another K or seed from the tokens that `index --keep-tokens` kept; nothing is embedded again."""
    from indexer.progress import Terminal
    from raptor_search.archive import Archive

    with Archive.open(home) as archive, Terminal(err).counting("Projecting") as count:
        target, done = archive.reproject(
            components=components, seed=seed, spec=spec, progress=lambda _, done, total: count(done, total)
        )
    if as_json:
        print(json.dumps({"spec": target.fingerprint, "projected": done}, indent=2))
        return
    say(out, f"{done} scans projected anew; search them by --spec {target.fingerprint[:12]}")


@app.command()
def status(home: Home = DEFAULT_HOME, as_json: Json = False) -> None:
    """Say what the archive holds: volumes, specs, index versions, quarantine."""
    from indexer import render
    from raptor_search.archive import Archive

    with Archive.open(home) as archive:
        facts = archive.status()
        if as_json:
            print(json.dumps(facts.to_dict(), indent=2))
        else:
            render.status(out, facts)


@app.command()
def upgrade(home: Home = DEFAULT_HOME, as_json: Json = False) -> None:
    """Bring an older archive to this version's tables, after a backup."""
    from raptor_search.archive import Archive

    Archive.open(home, upgrade=True).close()
    if as_json:
        print(json.dumps({"home": str(home), "up_to_date": True}, indent=2))
    else:
        say(out, f"{home} is up to date")


label_commands.register(app)


@app.command(name="app")
def app_(
    home: Home = DEFAULT_HOME,
    port: Annotated[int, typer.Option(help="Port.", min=1, max=65535)] = 8501,
    address: Annotated[str, typer.Option(help="Address to listen on; another one only with --auth.")] = "127.0.0.1",
    auth: Annotated[
        Path | None,
        typer.Option(envvar="RAPTOR_AUTH_FILE", help="TOML file with the OpenID Connect provider: users log in."),
    ] = None,
) -> None:
    """Serve the page, on 127.0.0.1 unless users log in."""
    from indexer.serve import serve

    serve(home, port=port, address=address, auth=auth)


@app.command()
def demo(
    home: Annotated[
        Path, typer.Option(help="Folder for the demo's scans and archive.", callback=lambda path: path.expanduser())
    ] = Path("raptor-demo"),
    no_serve: Annotated[bool, typer.Option("--no-serve", help="Stop after the first search.")] = False,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.", min=1, max=65535)] = 8501,
    seed: Annotated[int, typer.Option(help="Seed of the derived scans.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Make an archive of scans derived from real ones, index it, search it, and serve the page."""
    from indexer.demo.run import run_demo
    from indexer.serve import serve

    told = err if as_json else out
    made = run_demo(home, seed=seed, out=told, err=err)
    if as_json:
        held_out = [str(made.path(scan)) for scan in made.held_out]
        facts = {"home": str(home), "scans": len(made.scans), "folder": str(made.root), "held_out": held_out}
        print(json.dumps(facts, indent=2))
    if not no_serve:
        say(told, f"Serving on http://127.0.0.1:{port} - stop with Ctrl-C")
        serve(home, port=port)


def main() -> None:
    """Run the command; a user's mistake is one line on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name need not be text
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except RaptorError as error:
        _fail(error.message)
    except OSError as error:
        _fail(f"{error.filename or 'the system'}: {error.strerror or error}; check the path, its rights and the disk")
    except MemoryError:
        _fail("out of memory: embed fewer or smaller scans at once, or use a machine with more")
    except ModuleNotFoundError as error:
        if error.name != "faiss":
            raise
        _fail("FAISS is not installed: run `pip install 'raptor-search[cpu]'`")


def _fail(message: str) -> NoReturn:
    say(err, f"raptor: {message}", "red")
    sys.exit(EXIT_ERROR)
