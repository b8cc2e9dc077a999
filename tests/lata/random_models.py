"""Checkpoints of random numbers, shaped like a four-block decoder."""

from __future__ import annotations

from typing import Any

import torch

BLOCKS = 4

#: Parameters of the methods that have no default for one of theirs.
NEEDED: dict[str, dict[str, Any]] = {
    "lata_transferred": {
        "profile": {
            **dict.fromkeys(("a", "b", "code"), (0.9, 0.8, 0.7)),
            "math": (0.7, 0.9, 0.8),
            "ua": (0.8, 0.7, 0.9),
        }
    }
}


def random_checkpoint(seed: int, scale: float = 1.0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (7, 4), "model.norm.weight": (4,)}
    for block in range(BLOCKS):
        prefix = f"model.layers.{block}"
        shapes[f"{prefix}.self_attn.q_proj.weight"] = (4, 4)
        shapes[f"{prefix}.mlp.up_proj.weight"] = (6, 4)
        shapes[f"{prefix}.input_layernorm.weight"] = (4,)
    return {name: scale * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def moved(start: dict[str, torch.Tensor], seed: int, scale: float) -> dict[str, torch.Tensor]:
    step = random_checkpoint(seed, scale)
    return {name: tensor + step[name] for name, tensor in start.items()}
