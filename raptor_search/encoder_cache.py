"""The encoders of an archive's specs, loaded when a scan is to be embedded, never another than the spec's."""

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from raptor_search.catalog import Catalog, StoredSpec
from raptor_search.errors import KeyMismatchError, WeightsError

if TYPE_CHECKING:  # torch takes seconds to import: only what embeds pays for it
    from raptor_search.embedding import Encoder

__all__ = ["EncoderCache"]


class EncoderCache:
    """The encoders that this process has loaded for an archive. Threads may share it.

    Args:
        catalog: remembers where the weights of each spec lie, encrypted with its key.
        device: where the encoders run, as torch names it, or "auto".
    """

    def __init__(self, catalog: Catalog, device: str) -> None:
        self._catalog = catalog
        self._device = device
        self._lock = threading.Lock()
        self._loaded: dict[tuple[str, ...], Encoder] = {}

    def get(self, stored: StoredSpec) -> "Encoder":
        """The encoder of a spec, loaded on first use; other threads wait for it.

        Raises:
            WeightsError: its weights cannot be had, or are not the ones that the spec was made with.
        """
        name = _name(stored)
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self._load(stored)
            return self._loaded[name]

    def put(self, stored: StoredSpec, encoder: "Encoder", weights: Path | None) -> None:
        """Take an encoder that is loaded already, and remember the file or folder of its weights.

        Raises:
            WeightsError: its weights are not the ones that the spec was made with.
        """
        _check_weights(stored, encoder)
        with self._lock:
            self._loaded[_name(stored)] = encoder
        if weights is not None:
            token = self._catalog.key.encrypt(os.fspath(weights.absolute()))
            self._catalog.set_setting(_setting(stored), token.decode("ascii"))

    def share(self, stored: StoredSpec, other: StoredSpec) -> None:
        """Remember for another spec of the same encoder where its weights lie."""
        token = self._catalog.setting(_setting(stored))
        if token is not None:
            self._catalog.set_setting(_setting(other), token)

    def remembered(self, stored: StoredSpec) -> Path | None:
        """Where the weights of a spec lay when it was last indexed, if they still do."""
        token = self._catalog.setting(_setting(stored))
        if token is None:
            return None
        try:
            path = Path(self._catalog.key.decrypt(token.encode()))
        except KeyMismatchError:  # in clear, from a version that did not encrypt it: the next `put` replaces it
            return None
        return path if path.exists() else None

    def _load(self, stored: StoredSpec) -> "Encoder":
        from raptor_search.encoders import load_encoder

        weights = self.remembered(stored)
        spec = stored.spec
        encoder = load_encoder(
            spec.encoder, layer=spec.layer, weights=weights, device=self._device, precision=spec.precision
        )
        _check_weights(stored, encoder)
        return encoder


def _name(stored: StoredSpec) -> tuple[str, ...]:
    """What makes two encoders one: specs that differ in the recipe alone share theirs."""
    return stored.spec.encoder, stored.spec.layer, stored.spec.weights_sha256, stored.spec.precision


def _setting(stored: StoredSpec) -> str:
    return f"weights {stored.fingerprint}"


def _check_weights(stored: StoredSpec, encoder: "Encoder") -> None:
    """Refuse weights that would make other numbers than the archive's.

    Raises:
        WeightsError: their hash is not the spec's.
    """
    expected, got = stored.spec.weights_sha256, encoder.weights_sha256
    if got != expected:
        raise WeightsError(
            f"the weights of {stored.spec.encoder} are not the ones that this archive was made with: SHA-256 "
            f"{got[:12]}, expected {expected[:12]}; run `raptor index --weights FILE` with those"
        )
