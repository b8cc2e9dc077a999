from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from folders import raw, read, write
from safetensors.torch import load_file, save_file

from lata.checkpoints import open_checkpoint
from lata.checkpoints.digests import digest
from lata.checkpoints.lora import AdapterCheckpoint

Q = "model.layers.0.self_attn.q_proj.weight"
EMBEDDINGS = "model.embed_tokens.weight"
HEAD = "lm_head.weight"


def rand(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def model(folder: Path, **config: Any) -> Path:
    tensors = {Q: rand(6, 4, dtype=torch.bfloat16), EMBEDDINGS: rand(9, 4, seed=1), HEAD: rand(9, 4, seed=2)}
    tensors["model.layers.0.norm.weight"] = rand(4, seed=3)
    if config.get("tie_word_embeddings"):
        del tensors[HEAD]
    return write(folder, tensors, config=config)


def adapter(folder: Path, tensors: dict[str, torch.Tensor], **config: Any) -> Path:
    folder.mkdir()
    whole = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "target_modules": ["q_proj"], **config}
    (folder / "adapter_config.json").write_text(json.dumps(whole))
    save_file({f"base_model.model.{name}": t for name, t in tensors.items()}, folder / "adapter_model.safetensors")
    return folder


def factors(name: str, outputs: int, inputs: int, rank: int = 2, infix: str = "") -> dict[str, torch.Tensor]:
    stem = name.removesuffix(".weight")
    return {
        f"{stem}.lora_A{infix}.weight": rand(rank, inputs, seed=4),
        f"{stem}.lora_B{infix}.weight": rand(outputs, rank, seed=5),
    }


def opened(model: Path, adapter: Path) -> AdapterCheckpoint:
    checkpoint = open_checkpoint(f"{model}+{adapter}", "math")
    assert isinstance(checkpoint, AdapterCheckpoint)
    return checkpoint


def values(checkpoint: AdapterCheckpoint, name: str) -> np.ndarray:
    return np.frombuffer(read(checkpoint, name), np.float32).reshape(checkpoint.tensors[name].shape)


def in_order(weight: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scaling: float) -> np.ndarray:
    """W + scaling·Σ_r b·a, element by element in fp32, the sum in the order of r."""
    total = np.zeros(weight.shape, np.float32)
    for r in range(a.shape[0]):
        total += b.numpy()[:, r, None] * a.numpy()[None, r]
    return weight.float().numpy() + np.float32(scaling) * total


@pytest.mark.parametrize("infix", ["", ".default"])
def test_an_adapted_parameter_is_w_plus_scaled_b_a_in_fp32(tmp_path: Path, infix: str) -> None:
    base, parts = model(tmp_path / "m"), factors(Q, 6, 4, infix=infix)
    checkpoint = opened(base, adapter(tmp_path / "a", parts))
    a, b = parts.values()
    expected = in_order(rand(6, 4, dtype=torch.bfloat16), a, b, 3.0)
    assert checkpoint.tensors[Q].dtype == "F32"
    assert np.array_equal(values(checkpoint, Q), expected)
    assert read(checkpoint, HEAD) == raw(rand(9, 4, seed=2))
    assert checkpoint.source == f"{base}+{tmp_path / 'a'}"


@pytest.mark.parametrize(
    ("config", "scaling"),
    [
        ({"use_rslora": True}, 6 / math.sqrt(2)),
        ({"lora_alpha": 1}, 0.5),
        ({"alpha_pattern": {"q_proj": 10}}, 5.0),
        ({"alpha_pattern": {"proj": 10, r"layers\.0\.self_attn\.q_proj": 4}}, 2.0),
        ({"r": 64, "rank_pattern": {"self_attn.q_proj": 2}}, 3.0),
    ],
)
def test_the_scaling_follows_the_config(tmp_path: Path, config: dict[str, Any], scaling: float) -> None:
    parts = factors(Q, 6, 4)
    checkpoint = opened(model(tmp_path / "m"), adapter(tmp_path / "a", parts, **config))
    a, b = parts.values()
    assert np.array_equal(values(checkpoint, Q), in_order(rand(6, 4, dtype=torch.bfloat16), a, b, scaling))


def test_the_bytes_do_not_depend_on_the_range_that_is_read(tmp_path: Path) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    base = write(tmp_path / "m", {name: rand(5, 2100, dtype=torch.bfloat16)})
    parts = factors(name, 5, 2100, rank=7)
    checkpoint = opened(base, adapter(tmp_path / "a", parts, r=7, lora_alpha=7))
    whole = in_order(rand(5, 2100, dtype=torch.bfloat16), *parts.values(), 1.0).tobytes()
    assert read(checkpoint, name) == whole
    count = checkpoint.tensors[name].count
    for step in (1, 997, 1024, 2100, 4096, count):
        starts = range(0, count if step > 1 else 50, step)
        pieces = [read(checkpoint, name, start, min(step, count - start)) for start in starts]
        assert b"".join(pieces) == whole[: 4 * step * len(pieces)]


def test_an_embedding_is_adapted_along_its_rows(tmp_path: Path) -> None:
    stem = EMBEDDINGS.removesuffix(".weight")
    a, b = rand(2, 9, seed=6), rand(4, 2, seed=7)
    parts = {f"{stem}.lora_embedding_A": a, f"{stem}.lora_embedding_B": b}
    parts[f"{stem}.base_layer.weight"] = rand(9, 4, seed=8)
    checkpoint = opened(model(tmp_path / "m"), adapter(tmp_path / "a", parts))
    expected = in_order(rand(9, 4, seed=8), b.T, a.T, 3.0)
    assert np.array_equal(values(checkpoint, EMBEDDINGS), expected)
    assert read(checkpoint, EMBEDDINGS, 7, 6) == expected.reshape(-1)[7:13].tobytes()


@pytest.mark.parametrize(
    ("config", "transposed"), [({"fan_in_fan_out": True}, True), ({}, False), ({"model_type": "gpt2"}, True)]
)
def test_a_square_weight_is_turned_where_the_model_keeps_it_so(
    tmp_path: Path, config: dict[str, Any], transposed: bool
) -> None:
    name = "transformer.h.0.attn.c_proj.weight"
    kind = config.pop("model_type", "of_my_own")
    base = write(tmp_path / "m", {name: rand(4, 4)}, config={"model_type": kind})
    parts = factors(name, 4, 4)
    checkpoint = opened(base, adapter(tmp_path / "a", parts, **config))
    a, b = parts.values()
    expected = in_order(rand(4, 4), b.T, a.T, 3.0) if transposed else in_order(rand(4, 4), a, b, 3.0)
    assert np.array_equal(values(checkpoint, name), expected)


def test_a_model_stored_without_the_first_part_of_its_names_is_matched(tmp_path: Path) -> None:
    base = write(tmp_path / "m", {"h.0.attn.c_attn.weight": rand(4, 12)}, config={"model_type": "gpt2"})
    parts = factors("transformer.h.0.attn.c_attn.weight", 12, 4)
    a, b = parts.values()
    checkpoint = opened(base, adapter(tmp_path / "a", parts))
    assert np.array_equal(values(checkpoint, "h.0.attn.c_attn.weight"), in_order(rand(4, 12), b.T, a.T, 3.0))


@pytest.mark.parametrize("infix", ["", ".modules_to_save", ".modules_to_save.default"])
def test_a_module_that_was_trained_whole_stands_in_the_place_of_the_models(tmp_path: Path, infix: str) -> None:
    new = rand(11, 4, seed=9, dtype=torch.float16)
    checkpoint = opened(model(tmp_path / "m"), adapter(tmp_path / "a", {f"lm_head{infix}.weight": new}))
    assert checkpoint.tensors[HEAD].dtype == "F16"
    assert checkpoint.tensors[HEAD].shape == (11, 4)
    assert read(checkpoint, HEAD) == raw(new)
    assert read(checkpoint, HEAD, 5, 3) == raw(new.reshape(-1)[5:8])


def test_an_adapter_alone_finds_the_model_that_its_config_names(tmp_path: Path) -> None:
    base, parts = model(tmp_path / "m"), factors(Q, 6, 4)
    alone = open_checkpoint(adapter(tmp_path / "a", parts, base_model_name_or_path=str(base)))
    assert digest(alone) == digest(opened(base, tmp_path / "a"))
    assert digest(alone) != digest(open_checkpoint(base))


def test_an_adapter_alone_without_its_model_says_how_to_give_it(tmp_path: Path) -> None:
    lost = adapter(tmp_path / "a", factors(Q, 6, 4), base_model_name_or_path="/no/such/model")
    with pytest.raises(
        ValueError, match=r"math: the adapter .*a names the base /no/such/model, which is not here; give MODEL\+"
    ):
        open_checkpoint(lost, "math")
    nameless = adapter(tmp_path / "b", factors(Q, 6, 4))
    with pytest.raises(ValueError, match=r"the adapter .*b names no base model; give MODEL\+"):
        open_checkpoint(nameless)


def test_a_folder_with_a_model_and_an_adapter_must_be_made_plain(tmp_path: Path) -> None:
    both = model(tmp_path / "m")
    adapter(tmp_path / "a", factors(Q, 6, 4))
    for file in (tmp_path / "a").iterdir():
        file.rename(both / file.name)
    with pytest.raises(ValueError, match=r"holds a model and an adapter; give .* to apply the adapter, or move"):
        open_checkpoint(both)
    assert opened(both, both).tensors[Q].dtype == "F32"


def test_the_adapters_tokenizer_goes_before_the_models(tmp_path: Path) -> None:
    base, extra = model(tmp_path / "m"), adapter(tmp_path / "a", factors(Q, 6, 4))
    for file in (base / "tokenizer.json", base / "generation_config.json", extra / "tokenizer.json"):
        file.write_text("{}")
    assert opened(base, extra).tokenizer_files() == [base / "generation_config.json", extra / "tokenizer.json"]


def test_the_adapters_files_are_part_of_the_identity(tmp_path: Path) -> None:
    base, extra = model(tmp_path / "m"), adapter(tmp_path / "a", factors(Q, 6, 4))
    before = opened(base, extra).identity
    assert opened(base, extra).identity == before
    save_file({"x.lora_A.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    save_file(load_file(extra / "adapter_model.safetensors"), extra / "adapter_model.safetensors")
    assert opened(base, extra).identity != before


@pytest.mark.parametrize(
    ("tensors", "config", "message"),
    [
        (factors(Q, 6, 4), {"peft_type": "IA3"}, "is of type IA3, not LORA; merge it with PEFT"),
        (factors(Q, 6, 4), {"use_dora": True}, "sets use_dora, which cannot be applied exactly; merge it with PEFT"),
        (factors(Q, 6, 4), {"trainable_token_indices": [1]}, "sets trainable_token_indices"),
        (factors(Q, 6, 4), {"layer_replication": [[0, 1]]}, "sets layer_replication"),
        (
            factors(Q, 6, 4),
            {"init_lora_weights": "pissa_niter_4"},
            "init_lora_weights=pissa_niter_4, which changes the mod",
        ),
        ({f"{Q[:-7]}.lora_magnitude_vector": rand(6)}, {}, "holds .*lora_magnitude_vector, which cannot be applied"),
        ({f"{Q[:-7]}.lora_B.bias": rand(6)}, {}, r"holds .*lora_B\.bias, which cannot be applied"),
        (
            {f"{Q[:-7]}.bias": rand(6)},
            {"bias": "all"},
            r"changes .*q_proj\.bias, which .*m lacks; give the model that",
        ),
        (factors("model.layers.7.q.weight", 6, 4), {}, r"changes model\.layers\.7\.q\.weight, which .*m lacks; give"),
        (
            factors(Q, 6, 5),
            {},
            r"does not fit .*q_proj\.weight, \[6, 4\] in .*: its factors are F32 \[2, 5\] and F32 \[6, 2\]",
        ),
        (factors(Q, 6, 4, rank=3), {}, "its factors have rank 3 and its config says 2; give the model"),
        (dict([*factors(Q, 6, 4).items()][:1]), {}, r"has only one of two factors for .*q_proj\.weight; fetch"),
        (
            {"lm_head.weight": rand(9, 5)},
            {},
            r"replaces lm_head\.weight, F32 \[9, 4\] in .*, by .*, F32 \[9, 5\]; give",
        ),
        ({"model.layers.0.norm.weight": rand(5)}, {}, r"replaces model\.layers\.0\.norm\.weight, F32 \[4\] in"),
    ],
)
def test_what_is_not_plain_lora_or_does_not_fit_is_named(
    tmp_path: Path, tensors: dict[str, torch.Tensor], config: dict[str, Any], message: str
) -> None:
    base, extra = model(tmp_path / "m"), adapter(tmp_path / "a", tensors, **config)
    with pytest.raises(ValueError, match=f"math: the adapter .*{message}"):
        opened(base, extra)


@pytest.mark.parametrize("name", [HEAD, EMBEDDINGS])
def test_an_adapter_on_tied_embeddings_is_refused(tmp_path: Path, name: str) -> None:
    base = model(tmp_path / "m", tie_word_embeddings=True)
    with pytest.raises(ValueError, match="ties embeddings and output head, so it is open which of the two is meant"):
        opened(base, adapter(tmp_path / "a", factors(name, 9, 4)))


def test_a_pickled_adapter_is_refused(tmp_path: Path) -> None:
    base, extra = model(tmp_path / "m"), adapter(tmp_path / "a", factors(Q, 6, 4))
    (extra / "adapter_model.safetensors").rename(extra / "adapter_model.bin")
    with pytest.raises(
        ValueError, match=r"holds only a pickled adapter_model\.bin; load it with PEFT and save it again"
    ):
        opened(base, extra)


def llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_key_value_heads": 1}
    return LlamaForCausalLM(LlamaConfig(num_hidden_layers=2, vocab_size=31, attention_bias=True, **sizes))


def gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=31, n_positions=8))


LLAMA = {"target_modules": ["q_proj", "o_proj", "down_proj", "embed_tokens"], "modules_to_save": ["lm_head"]}


@pytest.mark.parametrize(
    ("build", "config"),
    [
        (llama, {**LLAMA, "r": 3, "lora_alpha": 5}),
        (llama, {"target_modules": "all-linear", "r": 4, "use_rslora": True, "bias": "all"}),
        (llama, {**LLAMA, "rank_pattern": {"o_proj": 2}, "alpha_pattern": {"layers.1.self_attn.o_proj": 3}}),
        (gpt2, {"target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True, "bias": "all"}),
    ],
)
def test_the_result_is_that_of_peft(tmp_path: Path, build: Any, config: dict[str, Any]) -> None:
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    build().save_pretrained(tmp_path / "m")
    base = build().from_pretrained(tmp_path / "m")
    tuned = peft.get_peft_model(base, peft.LoraConfig(task_type="CAUSAL_LM", **config))
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn_like(parameter)
    tuned.save_pretrained(tmp_path / "a")
    checkpoint = opened(tmp_path / "m", tmp_path / "a")
    merged = tuned.merge_and_unload().state_dict()
    changed = 0
    for name in checkpoint.tensors:
        ours, theirs = values(checkpoint, name), merged[name].numpy()
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-7, err_msg=name)
        changed += read(checkpoint, name) != read(checkpoint.base, name)
    assert changed >= 7
