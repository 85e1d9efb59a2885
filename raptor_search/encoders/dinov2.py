"""DINOv2 (Oquab et al., arXiv 2304.07193) through transformers: the paper's encoder, in four sizes.

Each comes also with four registers (Darcet et al., arXiv 2309.16588): tokens that the model uses and that are dropped
here.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from raptor_search.encoder_cards import EncoderCard
from raptor_search.encoders.checkpoint import (
    ForeignTensors,
    check_pin,
    local_checkpoint,
    misfit,
    read_tensors,
    sha256_of,
)
from raptor_search.encoders.hub import hub_file
from raptor_search.encoders.int8 import to_int8
from raptor_search.encoders.meta_names import from_meta_names, has_meta_names
from raptor_search.encoders.pixels import fold_grey
from raptor_search.encoders.torchvision_guard import guarded
from raptor_search.errors import WeightsError
from raptor_search.specs import Precision

__all__ = ["Dinov2", "load_dinov2"]

FILE = "model.safetensors"

HEAD_DIM = 64
"""Of every size of DINOv2."""

TRAINED_SIDE = 518
"""Pixels of the images that the position table was trained on: 37 x 37 patches."""

SWIGLU = {"dinov2-giant", "dinov2-giant-reg"}

INSTALL = "pip install 'transformers>=4.57,<6'"

INSTALL_OLDER = "pip install 'transformers>=4.57,<5'"
"""For a torch that later versions no longer take."""

MEND = "give --weights FILE, or choose --encoder efficientnet-lite0"


class Dinov2:
    """A DINOv2 model cut after one block, with its position table interpolated to 16 x 16 once.

    Args:
        card: what it is.
        tensors: the checkpoint, by the published names.
        layer: block whose output goes through the final LayerNorm, or "last".
        weights_sha256: hash of the file that the tensors came from.
        device: where it will run.
        dtype: of its weights, activations and tokens.
        precision: "int8" computes in eight bits what is in float32 otherwise.

    Raises:
        WeightsError: where the tensors are not this model's.
    """

    def __init__(
        self,
        card: EncoderCard,
        tensors: dict[str, Tensor],
        *,
        layer: str,
        weights_sha256: str,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        precision: Precision = "exact",
    ) -> None:
        self.card = card
        self.layer = layer
        self.weights_sha256 = weights_sha256
        self.precision = precision
        self.device = device
        model = _build(card, tensors)
        if layer != "last":
            model.encoder.layer = model.encoder.layer[: int(layer)]
        rows, cols = card.grid
        with torch.inference_mode():
            table = model.embeddings.interpolate_pos_encoding(
                torch.empty(1, 1 + rows * cols, card.dim), rows * card.patch, cols * card.patch
            )
        model.embeddings.position_embeddings = nn.Parameter(table.clone(), requires_grad=False)
        patches = model.embeddings.patch_embeddings
        fold_grey(patches.projection, card)
        patches.num_channels = 1
        if precision == "int8":
            to_int8(model.encoder.layer)
        self._model = model.to(device=device, dtype=dtype).eval()

    def encode(self, slices: Float[Tensor, "b 224 224"]) -> Float[Tensor, "b t d"]:
        """The final LayerNorm of the chosen block's output: CLS, then the patches row by row."""
        with torch.inference_mode():
            tokens: Tensor = self._model(pixel_values=slices[:, None]).last_hidden_state
            if self.card.registers:
                tokens = torch.cat([tokens[:, :1], tokens[:, 1 + self.card.registers :]], dim=1)
        return tokens


def load_dinov2(
    card: EncoderCard,
    *,
    layer: str,
    weights: Path | None,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    precision: Precision = "exact",
) -> Dinov2:
    """DINOv2 from a local checkpoint, or from the hub at the pinned revision.

    Args:
        card: which size.
        layer: a block number, or "last".
        weights: a safetensors file, a folder that holds `model.safetensors`, or Meta's own `.pth`.
        device: where it will run.
        dtype: float32, or bfloat16 where the device computes in it.
        precision: "int8" with float32 alone.

    Raises:
        WeightsError: where the weights cannot be had, cannot be read, or are another model's.
    """
    path = hub_file(card, [FILE], mend=MEND) if weights is None else local_checkpoint(card, weights, [FILE])
    sha256 = sha256_of(card, path)
    if weights is None:
        check_pin(card, path, sha256, mend=f"delete {path} and run again")
    tensors = read_tensors(card, path)
    if has_meta_names(tensors):
        tensors = from_meta_names(tensors)
    try:
        return Dinov2(
            card,
            tensors,
            layer=layer,
            weights_sha256=sha256,
            device=device,
            dtype=dtype,
            precision=precision,
        )
    except ForeignTensors as error:
        raise WeightsError(
            f"{card.name}: {path} holds another model's weights: {error}; expected those of {card.source}: "
            "check --encoder and --weights"
        ) from error


def _build(card: EncoderCard, tensors: dict[str, Tensor]) -> Any:
    """A transformers model holding exactly these tensors, in float32."""
    model_class, config_class = _classes(card)
    config = config_class(
        hidden_size=card.dim,
        num_hidden_layers=card.layers,
        num_attention_heads=card.dim // HEAD_DIM,
        image_size=TRAINED_SIDE,
        patch_size=card.patch,
        use_swiglu_ffn=card.name in SWIGLU,
    )
    # Loading through from_pretrained, as transformers renames the modules, not the checkpoints, between versions.
    load: Any = model_class.from_pretrained
    with _quiet():
        model, report = load(
            None, config=config, state_dict=tensors, output_loading_info=True, ignore_mismatched_sizes=True
        )
    _check_fit(card, report)
    return model.float().requires_grad_(False)


def _classes(card: EncoderCard) -> tuple[Any, Any]:
    """Model and configuration. With registers the position table is resampled with antialiasing, without them not."""
    with guarded(card.name, "transformers", INSTALL):
        import transformers
        from transformers.utils.import_utils import is_torch_available

        if not is_torch_available():  # then its models are there, and fail where they are used
            raise WeightsError(
                f"{card.name}: transformers {transformers.__version__} does not take torch {torch.__version__}: "
                f"run `{INSTALL_OLDER}`"
            )
        if card.registers:
            from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

            return Dinov2WithRegistersModel, Dinov2WithRegistersConfig
        from transformers import Dinov2Config, Dinov2Model

        return Dinov2Model, Dinov2Config


def _check_fit(card: EncoderCard, report: dict[str, Any]) -> None:
    names = {
        kind: {str(n[0]) if isinstance(n, tuple) else str(n) for n in report[f"{kind}_keys"]}
        for kind in ("missing", "unexpected", "mismatched")
    }
    found = misfit(missing=names["missing"], unexpected=names["unexpected"], mismatched=names["mismatched"])
    if found:
        raise ForeignTensors(found)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps transformers' loading report and progress bar from the terminal; what they say is checked instead."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
