"""The architecture of the family: LlamaForCausalLM, as small as it can be and still learn the four tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.mini.stages import Shape
from experiments.mini.tokenizer import EOS, PAD

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


def new_model(shape: Shape, seed: int) -> LlamaForCausalLM:
    """A model with random weights in fp32, a function of `seed` alone."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=True,
        bos_token_id=EOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
        rms_norm_eps=1e-6,
        initializer_range=0.06,  # 0.02 is for wide models; at width 128 it starts too close to zero
    )
    return LlamaForCausalLM(config)
