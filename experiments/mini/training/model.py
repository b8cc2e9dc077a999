"""The architecture of the family: LlamaForCausalLM, as small as it can be and still learn the four tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.mini.training.stages import Shape
from experiments.mini.training.tokenizer import EOS, PAD

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


#: Standard deviation of the initial weights. 0.02 is for wide models; at this width it starts too close to zero.
SPREAD = 0.06


def new_model(shape: Shape, seed: int) -> LlamaForCausalLM:
    """A model with random weights in fp32, a function of `seed` alone: the same bits on every machine.

    The weights are uniform, made of the integers of a counter-based generator (Philox) without any rounding that a
    processor or a library could do in its own way.
    """
    import numpy as np
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

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
        initializer_range=SPREAD,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            if parameter.dim() == 2:
                words = np.random.Philox(key=[seed, number]).random_raw(parameter.numel()) >> np.uint64(40)
                unit = torch.from_numpy(words.astype(np.float32) * np.float32(2**-23) - np.float32(1))  # [-1, 1)
                parameter.copy_((unit * (3**0.5 * SPREAD)).view_as(parameter))
    return model
