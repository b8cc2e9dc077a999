"""Architectures × (merge on disk, hold, write at several λ, load, score): all give what transformers loads.

Tiny random models of families whose checkpoints have other names or shapes than the loaded model: experts stored one
by one, prefixes of multimodal models, tensors that transformers leaves out.
"""

from __future__ import annotations

import json
import string
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

import lata
from eval.harness import EvalSettings, Evaluator
from experiments.steps.models import find
from lata.merging.in_memory.destinations import load
from lata.numerics.tensors import TensorInfo
from lata.numerics.torch_views import DTYPES

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 99,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
ROUTED = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "n_group": 1, "topk_group": 1}
LATENT = {"kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8}
MAMBA = {"mamba_num_heads": 4, "mamba_head_dim": 8, "ssm_state_size": 4, "n_groups": 1, "chunk_size": 8}
LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"],
}
SEES = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
QUICK: dict[str, Mapping[str, Any]] = {
    "llama": TEXT,
    "mixtral": {**TEXT, "num_local_experts": 4},
    "gemma3": {"text_config": TEXT, "vision_config": SEES, "mm_tokens_per_image": 4},
    "deepseek_v3": {**TEXT, **ROUTED, **LATENT, "num_key_value_heads": 4, "first_k_dense_replace": 1},
    "qwen3_next": {**TEXT, **EXPERTS, **LINEAR, "shared_expert_intermediate_size": 24},
}
THOROUGH: dict[str, Mapping[str, Any]] = {
    "qwen2_moe": {**TEXT, **EXPERTS, "shared_expert_intermediate_size": 40},
    "qwen3_moe": {**TEXT, **EXPERTS},
    "olmoe": {**TEXT, "num_experts": 4, "num_experts_per_tok": 2},
    "phimoe": {**TEXT, "num_local_experts": 4},
    "jamba": {**TEXT, "num_experts": 4, "attn_layer_period": 2, "attn_layer_offset": 1, "mamba_dt_rank": 4},
    "nemotron_h": {**TEXT, **MAMBA, "layers_block_type": ["mamba", "attention"]},
    "granitemoe": {**TEXT, "num_local_experts": 4},
    "gpt_oss": {**TEXT, "num_local_experts": 4},
    "glm4_moe": {**TEXT, **ROUTED, "first_k_dense_replace": 1},
    "deepseek_v2": {**TEXT, **ROUTED, **LATENT, "num_key_value_heads": 4, "first_k_dense_replace": 1},
    "ernie4_5_moe": {**TEXT, "moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 24},
    "minimax": {**TEXT, "num_local_experts": 4, "block_size": 8},
    "falcon_h1": {**TEXT, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_ssm": 64, "mamba_d_state": 4},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512, "vocab_size": 99},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 99},
    "mamba2": {
        "chunk_size": 8,
        "hidden_size": 32,
        "num_heads": 8,
        "head_dim": 8,
        "state_size": 4,
        "n_groups": 1,
        "vocab_size": 99,
    },
    "gemma2": TEXT,
    "lfm2": {**TEXT, "layer_types": ["conv", "full_attention"]},
}
#: Tensors of a head that predicts further tokens; numbered like a block, and left out by transformers.
FURTHER = {"mtp.layers.0.mlp.up_proj.weight": (6, 5), "mtp.fc.weight": (4, 4)}
TOKENS = torch.tensor([[3, 14, 15, 92, 65, 35, 89, 79]])
TASKS = ("code", "math")
DOCUMENTS = {
    "wikitext": [{"page": " = Town = \n\n Town lies on the river Ona .\n"}, {"page": " = River = \n\n The Ona .\n"}],
    "gsm8k": [
        {"question": f"Tom has {n} books and finds 1 more. How many books now?", "answer": f"#### {n + 1}"}
        for n in (2, 3)
    ],
}


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a character."""
    tokens = ["<pad>", "<s>", "</s>", "<unk>", *string.printable[:94], "\n"]
    made = Tokenizer(models.WordLevel({token: number for number, token in enumerate(tokens)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    made.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def settings_of(folder: Path) -> EvalSettings:
    """Write a few documents and say how models are scored on them."""
    for task, rows in DOCUMENTS.items():
        (folder / f"{task}_test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return EvalSettings(tasks=tuple(DOCUMENTS), data_dir=folder, batch_size=2, dtype="bfloat16", device="cpu")


def make(kind: str, config: Mapping[str, Any], folder: Path, further: bool) -> None:
    """Save base, pre, math and code of an architecture as transformers saves it."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **config), dtype=torch.bfloat16)
    model.save_pretrained(folder / "base")
    start = load_file(folder / "base" / "model.safetensors")
    if further:
        start |= {name: torch.randn(shape).bfloat16() for name, shape in FURTHER.items()}
        save_file(start, folder / "base" / "model.safetensors", metadata={"format": "pt"})
    settings = (folder / "base" / "config.json").read_bytes()
    for label in ("pre", *TASKS):
        start = {
            name: (t + 0.05 * torch.randn(t.shape)).to(t.dtype) if t.is_floating_point() else t
            for name, t in (start if label == "pre" else load_file(folder / "pre" / "model.safetensors")).items()
        }
        (folder / label).mkdir()
        save_file(start, folder / label / "model.safetensors", metadata={"format": "pt"})
        (folder / label / "config.json").write_bytes(settings)
    tokenizer().save_pretrained(folder / "pre")


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=TOKENS).logits
    return found


def check(kind: str, config: Mapping[str, Any], folder: Path, further: bool) -> None:
    make(kind, config, folder, further)
    given: dict[str, Any] = {
        "pre": folder / "pre",
        "base": folder / "base",
        "experts": {task: folder / task for task in TASKS},
        "method": "lata_linear",
    }
    merged = lata.merge(**given, lam=0.7, output=folder / "merged")
    settings = settings_of(folder)
    scored = find(str(folder / "merged"), None)
    text = scored.tokenizer()
    expected: Any = scored.model(settings, text)
    hot = lata.hold(**given)
    live, other = (find(str(folder / "pre"), None).model(settings, text) for _ in range(2))
    assert not torch.equal(logits(live), logits(expected))
    for lam in (2.0, 0.0, 0.7):
        point = hot.write(lam, live, digest=True)
    assert point.digest == merged.facts.digests["merged"]
    tensors = load_file(folder / "merged" / "model.safetensors")
    headers = {
        n: TensorInfo(DTYPES[str(t.dtype)], tuple(t.shape)) for n, t in tensors.items() if t.is_floating_point()
    }
    load(other, ((name, tensors[name]) for name in headers), headers)
    wanted = expected.state_dict()
    for model in (live, other):
        assert [name for name, t in model.state_dict().items() if not torch.equal(t, wanted[name])] == []
        assert torch.equal(logits(model), logits(expected))
    evaluator = Evaluator(settings, text)
    ours, theirs = evaluator(live), evaluator(expected)
    assert {*ours.items["task"]} == {*DOCUMENTS}
    pd.testing.assert_frame_equal(ours.items, theirs.items, check_exact=True)
    assert ours.answers == theirs.answers


@pytest.mark.parametrize("kind", QUICK)
def test_a_live_model_gets_what_the_merged_folder_loads(kind: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(kind, QUICK[kind], tmp_path, further=kind in ("llama", "qwen3_next", "deepseek_v3"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", THOROUGH)
def test_so_does_one_of_a_family_that_is_tested_less_often(kind: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(kind, THOROUGH[kind], tmp_path, further=False)
