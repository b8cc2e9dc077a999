from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from folders import raw, read, write
from safetensors.torch import load_file, save_file

import lata
from lata.checkpoints import open_checkpoint
from lata.checkpoints.digests import digest
from lata.checkpoints.lora.adapter import TRANSPOSED_NAMES, TRANSPOSED_TYPES
from lata.checkpoints.lora.checkpoint import AdapterCheckpoint

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


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize(
    ("kind", "leaf", "transposed"),
    [("of_my_own", "c_proj", False), ("llama", "o_proj", False), ("gpt2", "c_proj", True), ("gpt2", "score", False)],
)
def test_a_square_weight_is_turned_where_the_model_keeps_it_so_whatever_the_adapter_says(
    tmp_path: Path, kind: str, leaf: str, transposed: bool, said: bool
) -> None:
    name = f"transformer.h.0.attn.{leaf}.weight"
    base = write(tmp_path / "m", {name: rand(4, 4)}, config={"model_type": kind})
    parts = factors(name, 4, 4)
    checkpoint = opened(base, adapter(tmp_path / "a", parts, fan_in_fan_out=said))
    a, b = parts.values()
    expected = in_order(rand(4, 4), b.T, a.T, 3.0) if transposed else in_order(rand(4, 4), a, b, 3.0)
    assert np.array_equal(values(checkpoint, name), expected)


def test_the_layers_that_are_kept_turned_are_those_of_transformers() -> None:
    """`TRANSPOSED_NAMES` against the classes themselves, of every type that has any."""
    from transformers import AutoConfig, AutoModel
    from transformers.pytorch_utils import Conv1D

    small = {"n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": 9, "n_positions": 8, "hidden_size": 8}
    for kind in sorted(TRANSPOSED_TYPES):
        built = AutoModel.from_config(AutoConfig.for_model(kind, **small, add_cross_attention=kind == "gpt2"))
        for name, module in built.named_modules():
            if isinstance(module, torch.nn.Linear | Conv1D):
                leaf = name.rpartition(".")[2]
                assert isinstance(module, Conv1D) == (leaf in TRANSPOSED_NAMES), (kind, name)


def test_a_model_stored_without_the_first_part_of_its_names_is_matched(tmp_path: Path) -> None:
    base = write(tmp_path / "m", {"h.0.attn.c_attn.weight": rand(4, 12)}, config={"model_type": "gpt2"})
    parts = factors("transformer.h.0.attn.c_attn.weight", 12, 4)
    a, b = parts.values()
    checkpoint = opened(base, adapter(tmp_path / "a", parts))
    assert np.array_equal(values(checkpoint, "h.0.attn.c_attn.weight"), in_order(rand(4, 12), b.T, a.T, 3.0))


@pytest.mark.parametrize("infix", ["", ".modules_to_save", ".modules_to_save.default"])
def test_a_module_that_was_trained_whole_stands_in_the_place_of_the_models(tmp_path: Path, infix: str) -> None:
    new = rand(9, 4, seed=9, dtype=torch.float16)
    checkpoint = opened(model(tmp_path / "m"), adapter(tmp_path / "a", {f"lm_head{infix}.weight": new}))
    assert checkpoint.tensors[HEAD].dtype == "F16"
    assert checkpoint.vocabulary is None
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
    for name in ("vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json", "chat_template.jinja"):
        (base / name).write_text("{}")
    assert opened(base, extra).tokenizer_files() == [base / "generation_config.json", extra / "tokenizer.json"]
    (extra / "tokenizer.json").unlink()
    assert len(opened(base, extra).tokenizer_files()) == 7


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
            r"changes .*q_proj\.bias, which .*m lacks or stores in",
        ),
        (factors("model.layers.7.q.weight", 6, 4), {}, r"changes model\.layers\.7\.q\.weight, which .*m lacks or"),
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


def gemma3() -> Any:
    """Trained as model.language_model.…, stored as language_model.model.…"""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**sizes, "vocab_size": 31, "num_key_value_heads": 1, "head_dim": 8}
    vision = {**sizes, "num_hidden_layers": 1, "image_size": 28, "patch_size": 14}
    return Gemma3ForConditionalGeneration(Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4))


def tied_llama() -> Any:
    from transformers import LlamaForCausalLM

    config = llama().config
    config.tie_word_embeddings = True
    return LlamaForCausalLM(config)


def mixtral() -> Any:
    from transformers import MixtralConfig, MixtralForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_key_value_heads": 1}
    return MixtralForCausalLM(MixtralConfig(num_hidden_layers=2, vocab_size=31, num_local_experts=3, **sizes))


def tune(build: Any, folder: Path, rows: int, config: dict[str, Any]) -> Callable[[], Any]:
    """A model in `folder` / m and an adapter of PEFT for it in `folder` / a; returns what makes PEFT's merge."""
    import peft
    from transformers import AutoModelForCausalLM

    def base() -> Any:
        loaded = AutoModelForCausalLM.from_pretrained(folder / "m")
        if rows:
            loaded.resize_token_embeddings(rows)
        return loaded

    torch.manual_seed(0)
    build().save_pretrained(folder / "m")
    tuned = peft.get_peft_model(base(), peft.LoraConfig(task_type="CAUSAL_LM", **config))
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn_like(parameter)
    tuned.save_pretrained(folder / "a")
    return lambda: peft.PeftModel.from_pretrained(base(), folder / "a").merge_and_unload()


LLAMA = {"target_modules": ["q_proj", "o_proj", "down_proj", "embed_tokens"], "modules_to_save": ["lm_head"]}
Q_ALONE = {"target_modules": ["q_proj"], "r": 2}
BOTH = {**Q_ALONE, "modules_to_save": ["embed_tokens", "lm_head"]}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("build", "rows", "config"),
    [
        (llama, 0, {**LLAMA, "r": 3, "lora_alpha": 5}),
        (llama, 0, {"target_modules": "all-linear", "r": 4, "use_rslora": True, "bias": "all"}),
        (llama, 0, {**LLAMA, "rank_pattern": {"o_proj": 2}, "alpha_pattern": {"layers.1.self_attn.o_proj": 3}}),
        (llama, 0, {**Q_ALONE, "fan_in_fan_out": True}),
        (llama, 0, {**Q_ALONE, "bias": "lora_only"}),
        (llama, 0, {**Q_ALONE, "modules_to_save": ["norm", "mlp"]}),
        (llama, 0, {"target_modules": ["q_proj", "o_proj"], "layers_to_transform": [1], "layers_pattern": "layers"}),
        (llama, 0, {"target_modules": ["q_proj", "o_proj"], "exclude_modules": r".*layers\.0\.self_attn\.q_proj"}),
        (llama, 0, BOTH),
        (llama, 36, Q_ALONE),
        (llama, 36, BOTH),
        (llama, 36, LLAMA),
        (tied_llama, 0, Q_ALONE),
        (tied_llama, 36, Q_ALONE),
        (tied_llama, 36, {**Q_ALONE, "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}),
        (gpt2, 0, {"target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True, "bias": "all"}),
        (gpt2, 0, {"target_modules": ["c_proj"], "fan_in_fan_out": False}),
        (gemma3, 0, {"target_modules": r".*language_model.*(q|o)_proj", "rank_pattern": {r"layers\.0.*o_proj": 3}}),
    ],
)
def test_the_result_is_that_of_peft(tmp_path: Path, build: Any, rows: int, config: dict[str, Any]) -> None:
    pytest.importorskip("peft")
    tune(build, tmp_path, rows, config)().save_pretrained(tmp_path / "merged")
    merged = load_file(tmp_path / "merged" / "model.safetensors")
    checkpoint = opened(tmp_path / "m", tmp_path / "a")
    assert checkpoint.tensors.keys() == merged.keys()
    changed = 0
    for name, theirs in merged.items():
        np.testing.assert_allclose(values(checkpoint, name), theirs.numpy(), rtol=0, atol=2e-7, err_msg=name)
        changed += read(checkpoint, name) != read(checkpoint.base, name)
    assert changed >= 2
    known = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert checkpoint.config.get("vocab_size") == known.get("vocab_size")
    assert checkpoint.vocabulary == (rows or None)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("build", "config", "message"),
    [
        (llama, {"use_dora": True}, "sets use_dora, which cannot be applied exactly"),
        (llama, {"lora_bias": True}, "sets lora_bias"),
        (llama, {"trainable_token_indices": [1, 2]}, "sets trainable_token_indices"),
        (llama, {"layer_replication": [[0, 2], [1, 2]]}, "sets layer_replication"),
        (mixtral, {"target_parameters": ["mlp.experts.down_proj"]}, "sets target_parameters"),
        (tied_llama, {"modules_to_save": ["embed_tokens"]}, "it is open which of the two is meant"),
        (tied_llama, {"target_modules": ["embed_tokens"]}, "it is open which of the two is meant"),
    ],
)
def test_what_peft_applies_and_this_does_not_is_refused_by_name(
    tmp_path: Path, build: Any, config: dict[str, Any], message: str
) -> None:
    pytest.importorskip("peft")
    tune(build, tmp_path, 0, {**Q_ALONE, **config})
    with pytest.raises(ValueError, match=f"{message}.*; merge it with PEFT"):
        opened(tmp_path / "m", tmp_path / "a")


def test_a_table_that_stands_twice_must_be_one(tmp_path: Path) -> None:
    names = ("lm_head.weight", "lm_head.modules_to_save.weight", "lm_head.original_module.weight")
    new, old = rand(9, 4, seed=9), rand(9, 4, seed=2)
    base = model(tmp_path / "m")
    checkpoint = opened(base, adapter(tmp_path / "a", dict(zip(names, (new, new.clone(), old), strict=True))))
    assert read(checkpoint, HEAD) == raw(new)
    with pytest.raises(ValueError, match=r"holds .*lm_head.* and .*lm_head.*, which differ; merge it with PEFT"):
        opened(base, adapter(tmp_path / "b", dict(zip(names, (new, new + 1, old), strict=True))))


def test_an_adapter_that_resizes_one_table_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"leaves tables of tokens with other rows \(lm_head.weight 11, model.embed"):
        opened(model(tmp_path / "m"), adapter(tmp_path / "a", {HEAD: rand(11, 4)}))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("build", [llama, tied_llama])
def test_a_merge_of_models_with_a_larger_vocabulary_says_so_and_is_loaded(tmp_path: Path, build: Any) -> None:
    pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    tune(build, tmp_path, 36, Q_ALONE)
    other = tmp_path / "b"
    shutil.copytree(tmp_path / "a", other)
    parts = load_file(other / "adapter_model.safetensors")
    save_file({n: t if "lora_" in n else t * 2 for n, t in parts.items()}, other / "adapter_model.safetensors")
    (tmp_path / "m" / "vocab.json").write_text("{}")
    for folder in (tmp_path / "a", other):
        (folder / "tokenizer.json").write_text('{"model": {"vocab": {}}}')
    pre, expert = (f"{tmp_path / 'm'}+{folder}" for folder in (tmp_path / "a", other))
    lata.merge(pre, {"math": expert}, method="ta", lam=1.0, output=tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["vocab_size"] == 36
    assert (tmp_path / "out" / "tokenizer.json").is_file()
    assert not (tmp_path / "out" / "vocab.json").exists()
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out").get_input_embeddings().weight
    expected = parts["base_model.model.model.embed_tokens.weight"] * 2
    torch.testing.assert_close(loaded.detach(), expected, rtol=0, atol=1e-6)
    small = lata.merge(tmp_path / "m", {"math": expert}, method="ta", vocab="common", output=tmp_path / "small")
    assert small.facts.finite
    assert json.loads((tmp_path / "small" / "config.json").read_text())["vocab_size"] == 31
