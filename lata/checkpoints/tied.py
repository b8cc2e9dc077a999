"""Which stored tensors are no parameters: a head that the config ties to the embeddings, and what a model derives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lata.numerics.tensors import TensorInfo

#: Modules that map tokens to vectors, and modules that map vectors to tokens, as the supported families call them.
EMBEDDINGS = frozenset({"embed_tokens", "wte", "embed_in", "word_embeddings", "tok_embeddings"})
HEADS = frozenset({"lm_head", "embed_out"})

# What it means that a config lacks `tie_word_embeddings`, by model type; transformers knows the types not named here.
UNTIED = {
    "deepseek_v3",
    "glm4",
    "gpt_neox",
    "gptj",
    "granite",
    "llama",
    "mistral",
    "mixtral",
    "olmo",
    "olmo2",
    "olmo3",
}
UNTIED |= {"phi", "phi3", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "stablelm"}
TIED = {
    "cohere",
    "falcon",
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3_text",
    "gpt2",
    "gpt_neo",
    "opt",
    "smollm3",
    "starcoder2",
}


def is_embedding(name: str) -> bool:
    """Whether parameter `name` is a table of token vectors."""
    return _module(name) in EMBEDDINGS


def is_head(name: str) -> bool:
    """Whether parameter `name` is the weight of an output head."""
    return name.endswith("weight") and _module(name) in HEADS


def copies(names: Iterable[str], config: Mapping[str, Any]) -> dict[str, str]:
    """Stored head → the embeddings that `config` ties it to. A head without stored embeddings is no copy."""
    known = sorted(names)
    heads = [name for name in known if is_head(name)]
    source = next((name for name in known if is_embedding(name)), None)
    if not heads or source is None or not ties(config):
        return {}
    return dict.fromkeys(heads, source)


def derived(tensors: Mapping[str, TensorInfo]) -> list[str]:
    """Buffers that older versions of transformers stored and newer ones compute: causal masks, rotary frequencies."""
    return [
        name
        for name, info in tensors.items()
        if name.endswith((".rotary_emb.inv_freq", ".attn.masked_bias", ".attention.masked_bias"))
        or (name.endswith((".attn.bias", ".attention.bias")) and info.shape[:2] == (1, 1))
    ]


def ties(config: Mapping[str, Any]) -> bool:
    """Whether `config` ties the output head to the embeddings; where it does not say, what its model type does."""
    parts = [config, config.get("text_config") or {}]
    said = [part["tie_word_embeddings"] for part in parts if "tie_word_embeddings" in part]
    if said:
        return any(said)
    kind = config.get("model_type", "")
    return kind in TIED or (kind not in UNTIED and _class_default(kind))


def _class_default(kind: str) -> bool:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return kind in CONFIG_MAPPING and bool(getattr(CONFIG_MAPPING[kind](), "tie_word_embeddings", False))


def _module(name: str) -> str:
    return (["", *name.split(".")])[-2]
