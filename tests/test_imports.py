"""The directions that imports may take, read from the source, and what an import really loads."""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYERS = (
    {"errors", "specs", "spreadsheet", "places"},
    {"volume", "intensity", "planes", "slicing", "resampling", "projection", "reference", "sketch", "scoring"}
    | {"encoder_cards", "staging"},
    {"embedding", "engine"},
    {"encoders", "encoder_listing", "readers", "index", "catalog", "keys", "access", "filters", "preview"}
    | {"viewing", "slice_pictures", "viewer_link"},
    {"unfinished", "unopened", "index_files", "publishing", "tuning", "search", "explain", "status", "encoder_cache"}
    | {"background", "candidates", "drift", "duplicates", "feedback", "hits", "measures", "region", "region_sketch"}
    | {"rerank", "serving", "sketching", "surveying", "truth"}
    | {"contents", "selecting", "erasure", "verifying", "backups", "upkeep", "reprojection"}
    | {"knn", "auroc", "classes", "intervals", "propagation", "evaluation", "cohort"}
    | {"gram", "splitting", "classification", "regression", "retrieval", "calibration", "conformal", "knn_model", "roc"}
    | {"linear_model", "leaks", "confounds", "published", "protocol", "figures", "efficiency"}
    | {"evaluation_setup", "assessment", "graph", "clusters", "map_quality", "map_points", "placing", "other_vectors"}
    | {"narrowing", "calibration_interval", "hit_table"}
    | {"svg", "typical"},
    {"diffusion", "landmarks", "mapping"},
    {"comparing"},
    {"questions"},
    {"archive"},
    {"labelling", "assessing", "deciding", "kept_proposals", "leaving_out"},
    {"report"},
)
"""The modules of raptor_search, lowest first: each imports its own layer and those below. A new module finds its place
here."""

GROUPS = ("statistics", "searching", "cohorts")
"""Folders whose modules each have a place of their own above."""

STRANGERS = ("encoders", "readers", "index", "catalog")
"""Modules of one layer that know nothing of each other."""

OWNERS = {
    "torch": {f"raptor_search.{name}" for name in ("staging", "slicing", "embedding", "engine", "encoders")},
    "transformers": {"raptor_search.encoders"},
    "safetensors": {"raptor_search.encoders"},
    "onnx": {"raptor_search.encoders"},
    "open_clip": {"raptor_search.encoders"},
    "torchvision": {"raptor_search.encoders"},
    "huggingface_hub": {"raptor_search.encoders", "raptor_search.encoder_listing"},
    "efficientnet_lite_pytorch": {"raptor_search.encoders"},
    "pydicom": {"raptor_search.readers"},
    "nibabel": {"raptor_search.readers"},
    "nrrd": {"raptor_search.readers"},
    "isal": {"raptor_search.readers"},
    "pyarrow": {"raptor_search.readers", "indexer"},
    "sqlalchemy": {"raptor_search.catalog", "migrations"},
    "alembic": {"raptor_search.catalog", "migrations"},
    "faiss": {"raptor_search.index"},
    "cryptography": {"raptor_search.keys"},
    "sqlglot": {"raptor_search.filters"},
    "umap": {"raptor_search.cohort"},
    "streamlit": {"app"},
    "uvicorn": {"app.launch"},
    "plotly": {"app"},
    "typer": {"indexer"},
    "rich": {"indexer"},
}
"""Who knows each third-party package; everybody else speaks in our own types."""


def modules(package: str) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), ast.parse(path.read_text(), path.name)


def imported(tree: ast.Module) -> set[str]:
    """Dotted names that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import of {node.module}"
            names |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def within(name: str, owners: set[str]) -> bool:
    return any(name == owner or name.startswith(f"{owner}.") for owner in owners)


def _within_library(name: str) -> str:
    """The module of raptor_search that a dotted name lies in; of a group it is the module inside."""
    _, first, *rest = name.split(".")
    return rest[0] if first in GROUPS and rest else first


ALL = [pair for package in ("raptor_search", "indexer", "app", "migrations") for pair in modules(package)]
INSIDE = "raptor_search."
LIBRARY = [(m, tree) for m, tree in ALL if m.startswith(INSIDE) and m.removeprefix(INSIDE) not in GROUPS]
PLACE = {name: layer for layer, names in enumerate(LAYERS) for name in names}


@pytest.mark.parametrize(("module", "tree"), LIBRARY)
def test_imports_within_the_library_point_one_way(module, tree):
    own = _within_library(module)
    assert own in PLACE, f"{module} has no place in LAYERS"
    used = {_within_library(name) for name in imported(tree) if name.startswith("raptor_search.")}
    higher = {name for name in used & PLACE.keys() if PLACE[name] > PLACE[own]}
    assert not higher, f"{module} imports {higher}, which stand above it"
    if own in STRANGERS:
        assert not used & (set(STRANGERS) - {own})


@pytest.mark.parametrize("package", OWNERS)
def test_a_third_party_package_is_known_to_its_owners_alone(package):
    knowing = {module for module, tree in ALL if any(within(name, {package}) for name in imported(tree))}
    assert {module for module in knowing if not within(module, OWNERS[package])} == set()


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [("raptor_search", {"indexer", "app", "tests"}), ("indexer", {"app", "tests"}), ("app", {"indexer", "tests"})],
)
def test_the_library_the_indexer_and_the_page_do_not_reach_into_each_other(package, forbidden):
    for module, tree in modules(package):
        assert not {name for name in imported(tree) if within(name, forbidden)}, module


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import raptor_search", "torch faiss sqlalchemy pydicom nibabel scipy sklearn umap transformers"),
        (
            "import raptor_search.engine, raptor_search.embedding, raptor_search.encoders",
            "faiss sqlalchemy pydicom nibabel",
        ),
        (
            "import raptor_search.encoder_listing, indexer.encoder_table",
            "torch transformers open_clip sqlalchemy faiss",
        ),
        ("from raptor_search import Archive", "torch transformers pydicom nibabel umap streamlit"),
    ],
)
def test_an_import_loads_no_more_than_it_needs(statement, absent):
    check = f"{statement}\nimport sys; print(*sorted(set({absent.split()!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_every_public_name_of_the_library_is_there():
    import raptor_search

    assert raptor_search.Archive.__name__ == "Archive"
    for name in raptor_search.__all__:
        assert getattr(raptor_search, name)
    with pytest.raises(AttributeError, match="no attribute 'Archiv'"):
        _ = raptor_search.Archiv


@pytest.mark.parametrize("script", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_no_benchmark_hides_a_package(script: Path) -> None:
    # A script's folder is the first place that Python looks in: one named coverage.py hid what numba imports.
    assert importlib.util.find_spec(script.stem) is None
