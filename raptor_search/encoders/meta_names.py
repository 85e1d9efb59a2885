"""Meta's own DINOv2 checkpoints (`dinov2_vitl14_pretrain.pth`), renamed to what Hugging Face calls the same tensors.

Source: the models of facebookresearch/dinov2 as published, one flat list of blocks, and transformers' conversion.
"""

import re

import torch
from torch import Tensor

__all__ = ["from_meta_names", "has_meta_names"]

MARKS = ("patch_embed.proj.weight", "pos_embed")
"""Tensors of every such checkpoint, of none of Hugging Face's."""

OUTSIDE = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "register_tokens": "embeddings.register_tokens",
    "mask_token": "embeddings.mask_token",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    "norm.weight": "layernorm.weight",
    "norm.bias": "layernorm.bias",
}

IN_BLOCK = {
    "attn.proj.weight": "attention.output.dense.weight",
    "attn.proj.bias": "attention.output.dense.bias",
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
    "mlp.w12.weight": "mlp.weights_in.weight",
    "mlp.w12.bias": "mlp.weights_in.bias",
    "mlp.w3.weight": "mlp.weights_out.weight",
    "mlp.w3.bias": "mlp.weights_out.bias",
}
"""Those that differ; `norm1`, `norm2`, `mlp.fc1` and `mlp.fc2` have one name in both."""

QKV = ("query", "key", "value")
"""In the order in which Meta stacks them in one matrix."""


def has_meta_names(tensors: dict[str, Tensor]) -> bool:
    """Whether a checkpoint uses Meta's names."""
    return all(name in tensors for name in MARKS)


def from_meta_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors by Hugging Face's names, the stacked attention matrices cut in three.

    A name that DINOv2 does not have is kept, so that it is reported as such where the tensors are loaded.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        block = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
        if block is None:
            renamed[OUTSIDE.get(name, name)] = tensor
            continue
        prefix, rest = f"encoder.layer.{block[1]}", block[2]
        stacked = re.fullmatch(r"attn\.qkv\.(weight|bias)", rest)
        if stacked is None:
            renamed[f"{prefix}.{IN_BLOCK.get(rest, rest)}"] = tensor
        else:
            for part, piece in zip(QKV, torch.tensor_split(tensor, len(QKV)), strict=True):
                renamed[f"{prefix}.attention.attention.{part}.{stacked[1]}"] = piece
    return renamed
