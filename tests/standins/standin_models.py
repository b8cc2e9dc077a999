"""Families of random models, a few thousand parameters each, with the files of the published ones.

What is published is imitated where it could make a difference: keys of ``config.json`` and their absence, dtypes,
shards and their index, generation settings, heads that are tied or not, a head that is stored although the config
ties it, an adapter. Sizes are the only thing that is not the real one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import standin_tokenizers
import torch
from safetensors.torch import save_file
from standin_tokenizers import TinyTokenizer
from transformers import AutoConfig, AutoModelForCausalLM

LAYERS = 3
HIDDEN = 32
#: Most tokens of a prompt and its answer: five shots of GSM8K, or a program of 1,024 tokens, and little more.
CONTEXT = 1280

GEMMA_CONFIG: dict[str, Any] = {
    "architectures": ["Gemma2ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attn_logit_softcapping": 50.0,
    "cache_implementation": "hybrid",
    "final_logit_softcapping": 30.0,
    "head_dim": 16,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": HIDDEN,
    "initializer_range": 0.02,
    "intermediate_size": 64,
    "max_position_embeddings": CONTEXT,
    "model_type": "gemma2",
    "num_attention_heads": 4,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": 2,
    "query_pre_attn_scalar": 16,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000.0,
    "sliding_window": 96,
    "transformers_version": "4.42.4",
    "use_cache": True,
}
LLAMA_CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "hidden_act": "silu",
    "hidden_size": HIDDEN,
    "initializer_range": 0.02,
    "intermediate_size": 64,
    "max_position_embeddings": CONTEXT,
    "model_type": "llama",
    "num_attention_heads": 4,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": 2,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
    "transformers_version": "4.40.0.dev0",
    "use_cache": True,
}
#: Since Llama 3.1.
LONG_CONTEXT = {
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": CONTEXT // 4,
    "rope_type": "llama3",
}


@dataclass(frozen=True)
class Architecture:
    """One published family, by what its files say.

    Attributes:
        config: ``config.json`` without the vocabulary.
        tokenizer: makes one from texts.
        ends: the tokens that end an answer of a tuned model; the raw model's is the first.
        eos: EOS of the tuned models' tokenizer.
        sampling: what ``generation_config.json`` says besides.
        base_dtype: in which the raw model is stored; the tuned ones are bf16.
        ending: how strongly a random model of it tends to end its answers (ours, found by trying).
    """

    config: Mapping[str, Any]
    tokenizer: Callable[[Sequence[str]], TinyTokenizer]
    ends: tuple[str, ...]
    eos: str
    sampling: Mapping[str, Any]
    base_dtype: torch.dtype
    ending: float


def architecture(base: str) -> Architecture:
    """The architecture of a family, by the hub id of its raw model; ValueError for one that is not known here."""
    if "gemma-2-" in base:
        return Architecture(
            GEMMA_CONFIG,
            standin_tokenizers.gemma,
            ("<eos>", "<end_of_turn>"),
            "<eos>",
            {"cache_implementation": "hybrid"},
            torch.float32,
            ending=2.4,
        )
    if "Llama-3" in base:
        long, small = "3-8B" not in base, "3.2" in base
        config = dict(LLAMA_CONFIG, tie_word_embeddings=small)
        if long:
            config |= {"head_dim": HIDDEN // 4, "rope_scaling": {"factor": 32.0 if small else 8.0, **LONG_CONTEXT}}
        sampling = {"do_sample": True, "temperature": 0.6, "top_p": 0.9}
        ends = ("<|end_of_text|>", "<|eot_id|>")
        ending = 4.0 if small else 2.5
        return Architecture(config, standin_tokenizers.llama, ends, "<|eot_id|>", sampling, torch.bfloat16, ending)
    raise ValueError(f"no stand-in for {base}; add its architecture to tests/standins/standin_models.py")


State = dict[str, torch.Tensor]


class StandInFamily:
    """Folders of stand-ins for the models of one family, made when they are asked for.

    Args:
        root: where the folders are.
        base: hub id of the raw model, which decides the architecture.
        texts: what the vocabulary is made of.
    """

    def __init__(self, root: Path, base: str, texts: Sequence[str]) -> None:
        self.root, self.architecture = root, architecture(base)
        self.tokenizer = self.architecture.tokenizer(texts)
        ids = self.tokenizer.ids
        self.config = {**self.architecture.config, "vocab_size": max(ids.values()) + 1}
        self.config["bos_token_id"] = ids[self.tokenizer.settings["bos_token"]]
        if "pad_token" in self.tokenizer.settings:
            self.config["pad_token_id"] = ids[self.tokenizer.settings["pad_token"]]
        self.ends = [ids[end] for end in self.architecture.ends]
        self._base = self._random()
        self._pre = moved(self._base, 1, 0.05, 0.05)

    def source(self, name: str, published: str, *, own_head: bool = False) -> str:
        """What ``family.models.<name>.source`` is to be in place of a hub id.

        Args:
            name: ``base``, ``pre``, an expert or a target.
            published: the hub id; ``model+adapter`` makes an adapter.
            own_head: also store a head of its own, although the config ties it.
        """
        if "+" in published:
            return f"{self.source('pre', '')}+{self._adapter(self.root / name)}"
        folder = self.root / name
        if folder.is_dir():
            return str(folder)
        if name == "base":
            state, dtype = self._base, self.architecture.base_dtype
        elif name == "pre":
            state, dtype = self._pre, torch.bfloat16
        else:
            # Late layers have changed most, as the paper says they do.
            state, dtype = moved(self._pre, sum(name.encode()), 0.005, 0.05), torch.bfloat16
        if own_head:
            head = next(tensor for key, tensor in state.items() if "embed_tokens" in key)
            state = {**state, "lm_head.weight": head.roll(1, 0)}
        self._write(folder, state, dtype, tuned=name != "base")
        return str(folder)

    def _random(self) -> State:
        """Small random weights that give EOS a good chance, so that answers end."""
        config = AutoConfig.for_model(**self.config)
        with torch.device("meta"):
            shapes = {
                name: tensor.shape for name, tensor in AutoModelForCausalLM.from_config(config).state_dict().items()
            }
        if config.tie_word_embeddings:
            del shapes["lm_head.weight"]
        generator = torch.Generator().manual_seed(0)
        centred = self.config["model_type"] == "gemma2"  # its norms multiply by 1 + weight
        state = {}
        for name, shape in shapes.items():
            noise = torch.randn(shape, generator=generator)
            if "norm" in name:
                # What blocks add stays small beside the embeddings; Gemma has norms behind a block as well.
                state[name] = 0.1 * noise + (-0.8 if "post_" in name else 0.0) * centred + (not centred)
            else:
                state[name] = noise / noise.norm(dim=-1, keepdim=True)
                if name.endswith(("o_proj.weight", "down_proj.weight")):
                    state[name] *= 0.3
        common = torch.ones(HIDDEN) / HIDDEN**0.5
        state["model.embed_tokens.weight"] += common
        head = state.get("lm_head.weight", state["model.embed_tokens.weight"])
        head[self.ends] = self.architecture.ending * common
        return state

    def _write(self, folder: Path, state: State, dtype: torch.dtype, *, tuned: bool) -> None:
        folder.mkdir(parents=True)
        ends = self.ends if tuned else self.ends[0]
        config = {**self.config, "torch_dtype": str(dtype).removeprefix("torch."), "eos_token_id": ends}
        generation = {"_from_model_config": not tuned, "bos_token_id": config["bos_token_id"], "eos_token_id": ends}
        generation |= {**self.architecture.sampling, "transformers_version": config["transformers_version"]}
        for name, content in (("config", config), ("generation_config", generation)):
            (folder / f"{name}.json").write_text(json.dumps(content, indent=2), encoding="utf-8")
        self.tokenizer.write(folder, chat=tuned, **({"eos_token": self.architecture.eos} if tuned else {}))
        write_shards(folder, {name: tensor.to(dtype).contiguous() for name, tensor in state.items()})

    def _adapter(self, folder: Path) -> Path:
        """A LoRA adapter for the tuned model, as PEFT stores it."""
        if folder.is_dir():
            return folder
        folder.mkdir(parents=True)
        rank, modules = 4, ["q_proj", "v_proj", "down_proj"]
        config = {
            "base_model_name_or_path": "pre",
            "bias": "none",
            "fan_in_fan_out": False,
            "inference_mode": True,
            "init_lora_weights": True,
            "lora_alpha": 8,
            "lora_dropout": 0.05,
            "modules_to_save": None,
            "peft_type": "LORA",
            "r": rank,
            "target_modules": modules,
            "task_type": "CAUSAL_LM",
            "use_dora": False,
            "use_rslora": False,
        }
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
        generator = torch.Generator().manual_seed(7)
        factors = {}
        for name, tensor in self._pre.items():
            stem = name.removesuffix(".weight")
            if stem.rpartition(".")[2] in modules:
                outputs, inputs = tensor.shape
                shapes = {"lora_A": (rank, inputs), "lora_B": (outputs, rank)}
                for part, shape in shapes.items():
                    factors[f"base_model.model.{stem}.{part}.weight"] = 0.05 * torch.randn(shape, generator=generator)
        save_file(factors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        return folder


def moved(start: State, seed: int, first: float, last: float) -> State:
    """`start` with random steps, relative to its values: `first` in the first block up to `last` in the last."""
    generator = torch.Generator().manual_seed(seed)
    result = {}
    for name, tensor in start.items():
        parts = name.split(".")
        depth = int(parts[2]) / (LAYERS - 1) if parts[1] == "layers" else 0.0
        step = torch.randn(tensor.shape, generator=generator) * tensor.std()
        result[name] = tensor + (first + (last - first) * depth) * step
    return result


def write_shards(folder: Path, state: State) -> None:
    """Two shards and their index, under the names that the hub's models have."""
    names = sorted(state)
    halves = {1: names[: len(names) // 2], 2: names[len(names) // 2 :]}
    places = {}
    for number, own in halves.items():
        file = f"model-{number:05d}-of-{len(halves):05d}.safetensors"
        save_file({name: state[name] for name in own}, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(own, file)
    total = sum(tensor.nbytes for tensor in state.values())
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
