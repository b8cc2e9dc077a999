"""A lean forward pass over the weights of a Hugging Face Llama, for training on CPU.

The same function of the same parameters (a test compares the logits), without caches, masks or dispatch: on matrices
this small half of the time would go there. Right padding needs no mask, for attention is causal.

Shapes: B sequences, T positions, H heads, N head size, D width, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


class LeanLlama:
    """The forward pass of `model`, whose parameters stay where they are.

    Raises:
        ValueError: the model has features that this pass leaves out (grouped keys, biases, untied embeddings).
    """

    def __init__(self, model: LlamaForCausalLM) -> None:
        config = model.config
        plain = config.num_key_value_heads == config.num_attention_heads and config.tie_word_embeddings
        if not plain or config.attention_bias or config.mlp_bias:
            raise ValueError("the lean forward pass needs tied embeddings, as many key as query heads, and no biases")
        self.model = model.model
        self.heads = config.num_attention_heads
        self.width = config.hidden_size
        self.eps = config.rms_norm_eps
        size = self.width // self.heads
        # Rotary tables in the layout of transformers: the two halves of a head rotate against each other.
        steps_N = torch.arange(0, size, 2, dtype=torch.float32) / size
        angle_TN = torch.outer(torch.arange(config.max_position_embeddings, dtype=torch.float32), 10000.0**-steps_N)
        angle_TN = torch.cat([angle_TN, angle_TN], -1).to(model.device)
        self.cos_TN, self.sin_TN = angle_TN.cos(), angle_TN.sin()
        self.sin_TN[:, : size // 2] *= -1

    def hidden(self, ids_BT: Tensor) -> Tensor:
        """The last hidden states (B, T, D) after the final norm."""
        B, T = ids_BT.shape
        H, D = self.heads, self.width
        N = D // H
        cos_TN, sin_TN = self.cos_TN[:T], self.sin_TN[:T]
        h_BTD = F.embedding(ids_BT, self.model.embed_tokens.weight)
        for layer in self.model.layers:
            attention, mlp = layer.self_attn, layer.mlp
            z_BTD = F.rms_norm(h_BTD, (D,), layer.input_layernorm.weight, self.eps)
            joined = torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight])
            qkv_BH3TN = F.linear(z_BTD, joined).view(B, T, 3, H, N).transpose(1, 3)
            qk_BH2TN = qkv_BH3TN[:, :, :2]
            qk_BH2TN = qk_BH2TN * cos_TN + torch.roll(qk_BH2TN, N // 2, -1) * sin_TN
            mixed_BHTN = F.scaled_dot_product_attention(
                qk_BH2TN[:, :, 0], qk_BH2TN[:, :, 1], qkv_BH3TN[:, :, 2], is_causal=True
            )
            h_BTD = h_BTD + F.linear(mixed_BHTN.transpose(1, 2).reshape(B, T, D), attention.o_proj.weight)
            z_BTD = F.rms_norm(h_BTD, (D,), layer.post_attention_layernorm.weight, self.eps)
            gate = F.silu(F.linear(z_BTD, mlp.gate_proj.weight))
            h_BTD = h_BTD + F.linear(gate * F.linear(z_BTD, mlp.up_proj.weight), mlp.down_proj.weight)
        return F.rms_norm(h_BTD, (D,), self.model.norm.weight, self.eps)

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (…, V) of hidden states (…, D)."""
        return F.linear(hidden, self.model.embed_tokens.weight)
