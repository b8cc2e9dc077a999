"""Scoring quantised and damaged folders: what transformers reads by its config is scored, nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from eval.settings import EvalSettings
from experiments.scored import find

FP8 = {"quant_method": "fp8", "weight_block_size": [16, 16], "activation_scheme": "dynamic"}
Q = "model.layers.0.self_attn.q_proj.weight"


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    folder = tmp_path / "m"
    config = LlamaConfig(
        **{"vocab_size": 32, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1},
        **{"num_attention_heads": 2, "num_key_value_heads": 2, "tie_word_embeddings": False},
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({f"t{number}": number for number in range(32)}, unk_token="t0"))
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="t0").save_pretrained(folder)
    return folder


def codes(folder: Path, config: dict[str, Any] | None) -> None:
    """Make the linear weights of `folder` fp8 in blocks of 16 × 16, with their scales, as DeepSeek stores them."""
    stored = load_file(folder / "model.safetensors")
    for name in [name for name in stored if name.endswith("proj.weight")]:
        blocks = stored[name].float().reshape(2, 16, 2, 16)
        scale = blocks.abs().amax((1, 3), keepdim=True) / 448
        stored[name] = (blocks / scale).reshape(32, 32).to(torch.float8_e4m3fn)
        stored[name.replace("weight", "weight_scale_inv")] = scale.reshape(2, 2)
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    said = json.loads((folder / "config.json").read_text())
    if config is not None:
        (folder / "config.json").write_text(json.dumps({**said, "quantization_config": config}))


def loaded(folder: Path) -> Any:
    scored = find(str(folder), None)
    return scored.model(EvalSettings(data_dir=folder, device="cpu", dtype="bfloat16"), scored.tokenizer())


def test_codes_that_the_config_declares_are_scored_as_transformers_reads_them(plain: Path) -> None:
    true = load_file(plain / "model.safetensors")[Q].float()
    codes(plain, {**FP8, "dequantize": True})
    read = loaded(plain).state_dict()[Q].float()
    assert (read - true).abs().max() < true.abs().max() / 16


def test_codes_that_nothing_declares_are_refused(plain: Path) -> None:
    codes(plain, None)
    with pytest.raises(ValueError, match="is quantised"):
        find(str(plain), None)


@pytest.mark.parametrize("method", ["modelopt", "no_such_method", None])
def test_codes_of_a_method_that_transformers_passes_over_are_refused(plain: Path, method: str | None) -> None:
    codes(plain, {**FP8, "quant_method": method})
    with pytest.raises(ValueError, match=r"is quantised by .*, which transformers does not know; give the model"):
        loaded(plain)


def test_codes_are_never_handed_over_as_numbers(plain: Path) -> None:
    codes(plain, FP8)
    with pytest.raises(ValueError, match="is quantised"):
        next(find(str(plain), None).tensors("bfloat16"))


@pytest.mark.parametrize("name", ["tokenizer_config.json", "generation_config.json", "tokenizer.json"])
@pytest.mark.parametrize("content", ["[1]", '{"a": ' + "[" * 5000, '{"a": 1, "a": 2}'])
def test_what_transformers_would_read_is_checked_first(plain: Path, name: str, content: str) -> None:
    (plain / name).write_text(content)
    with pytest.raises(ValueError, match=rf"cannot read .*{name}.*; fetch the file again"):
        find(str(plain), None)


def test_code_is_not_run_and_nothing_asks(plain: Path) -> None:
    said = json.loads((plain / "config.json").read_text())
    said |= {"model_type": "my_own", "auto_map": {"AutoConfig": "configuration_own.Own"}}
    (plain / "config.json").write_text(json.dumps(said))
    (plain / "configuration_own.py").write_text(f"open({str(plain / 'ran')!r}, 'w')\n")
    with pytest.raises(ValueError, match="cannot be loaded by transformers"):
        loaded(plain)
    assert not (plain / "ran").exists()
