"""The shape of a decoder-only transformer: parameters, key-value cache and arithmetic, from its ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shape:
    """A decoder with gated feed-forward layers and grouped-query attention.

    Attributes:
        layers: transformer blocks.
        hidden: width.
        ffn: width of the feed-forward layers.
        heads, kv_heads, head_dim: of attention.
        vocabulary: rows of the embeddings.
        context: most tokens of a forward pass.
        tied: whether embeddings and output head are one table.
        norms: normalisations a block.
        eager: whether transformers holds a layer's attention weights all at once, as it does where they are capped.
    """

    layers: int
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    context: int
    tied: bool
    norms: int = 2
    eager: bool = False

    @property
    def parameters(self) -> int:
        """Number of parameters, a table that is tied counted once."""
        attention = 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)
        block = attention + 3 * self.hidden * self.ffn + self.norms * self.hidden
        return self.layers * block + self.hidden + self.table * (1 if self.tied else 2)

    @property
    def table(self) -> int:
        """Elements of the embeddings."""
        return self.vocabulary * self.hidden

    def kv_bytes(self, item: int) -> int:
        """Bytes of the key-value cache for one token, `item` bytes a value."""
        return 2 * self.layers * self.kv_heads * self.head_dim * item

    def token_flops(self, parameters: int, seen: float) -> float:
        """Arithmetic of one token that sees `seen` others: 2 a parameter that is multiplied with, and attention."""
        multiplied = parameters - (0 if self.tied else self.table)
        return 2.0 * multiplied + 4.0 * self.layers * self.heads * self.head_dim * seen


def shape_of(config: Mapping[str, Any]) -> Shape | None:
    """The shape that a ``config.json`` describes; None where it is of another kind or says too little."""
    said = config.get("text_config") or config

    def number(*keys: str) -> int | None:
        return next((said[key] for key in keys if type(said.get(key)) is int and said[key] > 0), None)

    layers, hidden = number("num_hidden_layers", "n_layer"), number("hidden_size", "n_embd")
    heads, vocabulary = number("num_attention_heads", "n_head"), number("vocab_size")
    if layers is None or hidden is None or heads is None or vocabulary is None:
        return None
    model_type = str(said.get("model_type", ""))
    return Shape(
        layers=layers,
        hidden=hidden,
        ffn=number("intermediate_size", "n_inner") or 4 * hidden,
        heads=heads,
        kv_heads=number("num_key_value_heads") or heads,
        head_dim=number("head_dim") or hidden // heads,
        vocabulary=vocabulary,
        context=number("max_position_embeddings", "n_positions") or 2_048,
        tied=bool(said.get("tie_word_embeddings", model_type.startswith("gemma"))),
        norms=4 if model_type.startswith(("gemma2", "gemma3")) else 2,
        eager=bool(said.get("attn_logit_softcapping", model_type == "gemma2")),
    )


_GEMMA_2_2B = Shape(26, 2304, 9216, 8, 4, 256, 256_000, 8_192, tied=True, norms=4, eager=True)
_GEMMA_2_9B = Shape(42, 3584, 14336, 16, 8, 256, 256_000, 8_192, tied=True, norms=4, eager=True)
_LLAMA_3_8B = Shape(32, 4096, 14336, 32, 8, 128, 128_256, 8_192, tied=False)
_LLAMA_31_8B = Shape(32, 4096, 14336, 32, 8, 128, 128_256, 131_072, tied=False)
_LLAMA_32_3B = Shape(28, 3072, 8192, 24, 8, 128, 128_256, 131_072, tied=True)

#: Shapes as published, for who cannot reach the hub or has not accepted a licence yet: the Gemma 2 report (arXiv
#: 2408.00118, table 1), "The Llama 3 Herd of Models" (arXiv 2407.21783, table 3), and the models' ``config.json``.
PUBLISHED = {
    "google/gemma-2-2b-it": _GEMMA_2_2B,
    "google/gemma-2-9b-it": _GEMMA_2_9B,
    "meta-llama/Meta-Llama-3-8B-Instruct": _LLAMA_3_8B,
    "meta-llama/Llama-3.1-8B-Instruct": _LLAMA_31_8B,
    "meta-llama/Llama-3.2-3B-Instruct": _LLAMA_32_3B,
}
