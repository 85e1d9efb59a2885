"""The process that fills an archive: discover, read, embed, commit, publish; and the `raptor` command.

`index` and `Options` are imported on first use: they need torch, which takes seconds, and `raptor status` does not.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from indexer.pipeline import IndexReport, index
    from indexer.recipe import Options

__all__ = ["IndexReport", "Options", "index"]


def __getattr__(name: str) -> Any:
    if name in ("IndexReport", "index"):
        from indexer import pipeline

        return getattr(pipeline, name)
    if name == "Options":
        from indexer.recipe import Options

        return Options
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
