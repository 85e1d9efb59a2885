"""Streamlit's command, stopping within a few seconds whatever browsers do.

A connection that was opened, or not read on, just when the server was told to stop may live on, as an open page asks
again and again. Uvicorn waits for its end without limit, and Streamlit has no setting for that.
"""

from typing import Any

import uvicorn
from streamlit.web.cli import main

__all__ = ["STOP_SECONDS", "launch"]

STOP_SECONDS = 3
"""Which open connections may take to end by themselves."""


class _Bounded(uvicorn.Config):
    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{"timeout_graceful_shutdown": STOP_SECONDS} | settings)


def launch() -> None:
    """Run Streamlit's command with the arguments of this process."""
    uvicorn.Config = _Bounded  # type: ignore[misc]
    main(prog_name="streamlit")


if __name__ == "__main__":
    launch()
