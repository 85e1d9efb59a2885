"""Transformers computed in eight bits on a CPU: a spec of its own ("int8"), near the exact one and never mixed with it.

The matrix products of the blocks take most of a slice's time. Here their weights are rounded once, column by column,
and their inputs as they come, token by token, so that no number depends on the batch. Everything else (patches,
attention, norms) stays in float32.

Some of a norm's outputs are much larger than the others and would spend all eight bits; part of their size is moved
into the weights that they meet, by the norm's own gain, so that no data is needed for it.

Source: Xiao et al., "SmoothQuant", ICML 2023, with the norm's gain and shift in place of measured activations; Dettmers
et al., "LLM.int8()", NeurIPS 2022, for a scale a token.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Int8Linear", "to_int8"]

STEPS = 127
"""Rounded values run from -127 to 127."""

SHARE = 0.7
"""Of a column's size that moves from the norm into the weights: with it the least is lost in `vits14-packaged`."""

LEAST = 1e-5
"""Below it a size counts as this: divisions stay finite."""


class Int8Linear(nn.Module):
    """A linear layer whose matrix product is one of whole numbers.

    x ~ r q + m and W ~ s V give  x W + b ~ r (q V) s + m (sum of V) s + b,  r and m of each token, s of each column.

    Args:
        linear: the layer that it takes the place of.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        scale = weight.abs().amax(1).clamp(min=LEAST) / STEPS
        whole = (weight / scale[:, None]).round()
        self._weight = whole.to(torch.int8).t()
        self._scale = scale
        self._sums = whole.sum(1) * scale
        self._bias = torch.zeros_like(scale) if linear.bias is None else linear.bias.detach().float()

    def forward(self, tokens: Float[Tensor, "*b d"]) -> Float[Tensor, "*b out"]:
        """The layer's output in float32."""
        rows = tokens.reshape(-1, tokens.shape[-1])
        low, high = rows.amin(1, keepdim=True), rows.amax(1, keepdim=True)  # a fifth of the time of `aminmax`
        step = ((high - low) / (2 * STEPS)).clamp_(min=LEAST / STEPS)
        middle = (high + low) / 2
        whole = torch.addcmul(-middle / step, rows, 1 / step).round_().to(torch.int8)
        product = torch._int_mm(whole, self._weight).to(torch.float32)
        # One plain step after another: fused over rows and columns, torch takes ten times as long.
        out = product.mul_(self._scale).mul_(step).addr_(middle[:, 0], self._sums).add_(self._bias)
        return out.reshape(*tokens.shape[:-1], -1)


def to_int8(blocks: nn.ModuleList) -> None:
    """Make the linear layers of DINOv2's blocks ones of eight bits, in place.

    Args:
        blocks: as transformers has them, in float32.
    """
    for block in blocks:
        for norm, layers in _fed_by(block):
            _smooth(norm, layers)
        for module in list(block.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(module, name, Int8Linear(child))


def _fed_by(block: Any) -> list[tuple[nn.LayerNorm, list[nn.Linear]]]:
    """The block's norms, each with the linear layers that take its output and nothing else.

    Those are all of an attention or a gate but the last one, which takes what the others made; their names change from
    one version of transformers to the next.
    """
    parts = ((block.norm1, block.attention), (block.norm2, block.mlp))
    return [(norm, [layer for layer in part.modules() if isinstance(layer, nn.Linear)][:-1]) for norm, part in parts]


def _smooth(norm: nn.LayerNorm, layers: list[nn.Linear]) -> None:
    """Move part of the size of a norm's outputs into the weights after it: the same function."""
    size = (norm.weight.abs() + norm.bias.abs()).clamp(min=LEAST)
    met = torch.stack([layer.weight.abs().amax(0) for layer in layers]).amax(0).clamp(min=LEAST)
    moved = size**SHARE / met ** (1 - SHARE)
    norm.weight.div_(moved)
    norm.bias.div_(moved)
    for layer in layers:
        layer.weight.mul_(moved)
