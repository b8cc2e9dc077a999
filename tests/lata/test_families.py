"""Tiny random models of every supported family: merged on disk, reloaded and run.

The merge that they are compared with is plain arithmetic on the state dicts of the loaded models, so that names and
layouts that transformers changes between memory and disk are covered too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import lata

LAYERS = 3
LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 99,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT2 = {"n_embd": 32, "n_layer": LAYERS, "n_head": 4, "n_positions": 64, "vocab_size": 99}
MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
FAMILIES: dict[str, Mapping[str, Any]] = {
    "llama": LLAMA,
    "gemma2": LLAMA,
    "gemma3_text": LLAMA,
    "qwen2": LLAMA,
    "qwen3": {**LLAMA, "tie_word_embeddings": True},
    "mistral": LLAMA,
    "phi3": LLAMA,
    "olmo2": LLAMA,
    "gpt2": {**GPT2, "bos_token_id": 1, "eos_token_id": 2},
    "gpt_neox": LLAMA,
    "mixtral": {**LLAMA, "num_local_experts": 4},
    "qwen2_moe": {**LLAMA, **MOE, "shared_expert_intermediate_size": 40},
    "qwen3_moe": {**LLAMA, **MOE},
}
TOKENS = torch.tensor([[3, 14, 15, 92, 65, 35, 89, 79]])
State = dict[str, torch.Tensor]


def block(name: str) -> int | None:
    found = re.search(r"\.(\d+)\.", name)
    return int(found[1]) if found else None


def layer_weights(base: State, pre: State, expert: State) -> list[float]:
    """Rank of every block by cos(θ_ft − θ_base, θ_pre − θ_base), highest first, over L − 1."""

    def vector(a: State, b: State, number: int) -> torch.Tensor:
        return torch.cat([(a[n].float() - b[n].float()).flatten().double() for n in a if block(n) == number])

    cosines = [
        torch.cosine_similarity(vector(expert, base, number), vector(pre, base, number), dim=0).item()
        for number in range(LAYERS)
    ]
    order = sorted(range(LAYERS), key=lambda number: -cosines[number])
    return [order.index(number) / (LAYERS - 1) for number in range(LAYERS)]


def merged(models: Mapping[str, State]) -> State:
    """θ_pre + Σ_t w_t·τ_t, in fp32, rounded once."""
    pre = models["pre"]
    weights = {task: layer_weights(models["base"], pre, models[task]) for task in ("code", "math")}
    result = {}
    for name, start in pre.items():
        number = block(name)
        direction = torch.zeros(start.shape)
        for task, ranks in weights.items():
            weight = 1.0 if number is None else ranks[number]
            direction += weight * (models[task][name].float() - start.float())
        result[name] = (start.float() + direction).to(start.dtype)
    return result


def make(kind: str, folder: Path, dtype: torch.dtype) -> tuple[Any, dict[str, State]]:
    """Save base, pre, math and code of a family; a loaded model and every state dict."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **FAMILIES[kind]), dtype=dtype)
    states = {}
    for label, scale, shard in (
        ("base", 0.1, "1GB"),
        ("pre", 0.05, "30KB"),
        ("math", 0.03, "1GB"),
        ("code", 0.03, "50KB"),
    ):
        if label in ("math", "code"):
            model.load_state_dict(states["pre"])
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += (scale * torch.rand(()) * torch.randn(parameter.shape)).to(dtype)
        model.save_pretrained(folder / label, max_shard_size=shard)
        states[label] = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return model, states


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_merge_reloads_and_computes_what_the_merge_in_memory_does(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATA_CACHE", str(tmp_path / "cache"))
    dtype = torch.float32 if kind in ("gpt2", "llama", "mixtral", "gemma2") else torch.bfloat16
    model, states = make(kind, tmp_path, dtype)
    lata.merge(
        pre=tmp_path / "pre",
        base=tmp_path / "base",
        experts={task: tmp_path / task for task in ("math", "code")},
        method="lata_linear",
        lam=1.0,
        output=tmp_path / "merged",
        shard_bytes=40_000,
    )
    model.load_state_dict(merged(states))
    reloaded = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype="auto")
    assert next(reloaded.parameters()).dtype == dtype
    with torch.no_grad():
        ours, theirs = reloaded.eval()(TOKENS).logits, model.eval()(TOKENS).logits
        model.load_state_dict(states["pre"])
        assert not torch.equal(ours, model(TOKENS).logits)
    assert torch.equal(ours, theirs)
