"""Lets transformers be imported beside a torchvision whose compiled operators cannot load.

pip installs torchvision's CUDA build next to a CPU-only torch without complaint; its import then fails with "operator
torchvision::nms does not exist", and with it that of transformers. Its operators are not needed here, only its import.
"""

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

__all__ = ["guard_torchvision"]

NAMESPACE = "torchvision::"


def guard_torchvision() -> None:
    """Import torchvision leniently, where it is installed and its compiled operators do not load; else do nothing.

    While it is imported, registering shapes for its missing operators passes instead of failing.
    """
    library = _compiled_library()
    if library is None or _loads(library):
        return
    register = torch.library.register_fake

    def lenient(op: Any, *args: Any, **settings: Any) -> Any:
        if isinstance(op, str) and op.startswith(NAMESPACE):
            return lambda function: function
        return register(op, *args, **settings)

    torch.library.register_fake = lenient
    try:
        importlib.import_module("torchvision")
    finally:
        torch.library.register_fake = register


def _compiled_library() -> Path | None:
    spec = find_spec("torchvision")
    folders = list(spec.submodule_search_locations or []) if spec else []
    return next((file for folder in folders for file in Path(folder).glob("_C*.so")), None)


def _loads(library: Path) -> bool:
    load: Any = torch.ops.load_library
    try:
        load(str(library))
    except OSError:
        return False
    return True
