"""Make a synthetic family of checkpoints to time merges on: ``python -m tests.benchmarks.merge_family DIR``.

DIR/{base,pre,math,code} get the shape of Llama-3.2-1B (1.24 B parameters, bf16, tied embeddings); ``--parameters``
scales width and depth. Weights are random: ``pre`` is normal, the experts are ``pre`` with about half of the
elements moved by 1 to 8 units in the last place, as fine-tuning in bf16 leaves them, and ``base`` is further away.
Every block of elements has its own random stream, so the bytes depend only on the size. A family that is already
there is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

#: Parameters of Llama-3.2-1B.
DEFAULT_PARAMETERS = 1.236e9
MEMBERS = ("base", "pre", "math", "code")

# Largest change in units in the last place; about half of the elements do not change.
_MOVES = {"base": 64, "math": 8, "code": 8}
_BLOCK = 1 << 20
_HEAD_DIM = 64
_VOCABULARY = 128256
# The embedding may take this share of a small model; the vocabulary shrinks to fit.
_EMBEDDING_SHARE = 0.6

Bits = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class _Tensor:
    name: str
    shape: tuple[int, ...]
    offset: int  # in elements from the start of the data

    @property
    def count(self) -> int:
        return int(np.prod(self.shape))


def make_family(folder: Path, parameters: float = DEFAULT_PARAMETERS) -> dict[str, Path]:
    """The folders of a family with about `parameters` parameters under `folder`, made where they are missing."""
    config = model_config(parameters)
    folders = {member: folder / member for member in MEMBERS}
    if all(_is_made(path, config) for path in folders.values()):
        return folders
    tensors = _tensors(config)
    header = _header(tensors)
    partial = {member: folder / f".{member}.partial" for member in MEMBERS}
    files = {}
    for member, path in partial.items():
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        _write_settings(path, config)
        files[member] = os.open(path / "model.safetensors", os.O_WRONLY | os.O_CREAT, 0o644)
        os.pwrite(files[member], header, 0)
    blocks = [(tensor, start) for tensor in tensors for start in range(0, tensor.count, _BLOCK)]

    def write(index: int) -> None:
        tensor, start = blocks[index]
        for member, bits in _block(tensor, start, index):
            os.pwrite(files[member], bits.tobytes(), len(header) + 2 * (tensor.offset + start))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(write, range(len(blocks))):
            pass
    for member, descriptor in files.items():
        os.fsync(descriptor)
        os.close(descriptor)
        shutil.rmtree(folders[member], ignore_errors=True)
        partial[member].rename(folders[member])
    return folders


def model_config(parameters: float) -> dict[str, Any]:
    """``config.json`` of a Llama with about `parameters` parameters; Llama-3.2-1B's shape at its size."""
    scale = (parameters / DEFAULT_PARAMETERS) ** (1 / 3)
    hidden = max(1, round(2048 * scale / 256)) * 256
    vocabulary = min(_VOCABULARY, int(_EMBEDDING_SHARE * parameters / hidden / 256) * 256)
    # Attention takes 2.5 h² a layer (keys and values have a quarter of the heads) and the MLP 12 h².
    layers = max(2, round((parameters - vocabulary * hidden) / (14.5 * hidden**2)))
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "head_dim": _HEAD_DIM,
        "hidden_act": "silu",
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "intermediate_size": 4 * hidden,
        "max_position_embeddings": 2048,
        "mlp_bias": False,
        "num_attention_heads": hidden // _HEAD_DIM,
        "num_hidden_layers": layers,
        "num_key_value_heads": hidden // _HEAD_DIM // 4,
        "rms_norm_eps": 1e-05,
        "rope_theta": 500000.0,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": vocabulary,
    }


def _tensors(config: dict[str, Any]) -> list[_Tensor]:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    keys = config["num_key_value_heads"] * config["head_dim"]
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    for layer in range(config["num_hidden_layers"]):
        shapes |= {
            f"model.layers.{layer}.{name}.weight": shape
            for name, shape in {
                "input_layernorm": (hidden,),
                "mlp.down_proj": (hidden, inner),
                "mlp.gate_proj": (inner, hidden),
                "mlp.up_proj": (inner, hidden),
                "post_attention_layernorm": (hidden,),
                "self_attn.k_proj": (keys, hidden),
                "self_attn.o_proj": (hidden, hidden),
                "self_attn.q_proj": (hidden, hidden),
                "self_attn.v_proj": (keys, hidden),
            }.items()
        }
    shapes["model.norm.weight"] = (hidden,)
    tensors: list[_Tensor] = []
    offset = 0
    for name in sorted(shapes):
        tensors.append(_Tensor(name, shapes[name], offset))
        offset += tensors[-1].count
    return tensors


def _header(tensors: list[_Tensor]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    for tensor in tensors:
        span = [2 * tensor.offset, 2 * (tensor.offset + tensor.count)]
        entries[tensor.name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": span}
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _block(tensor: _Tensor, start: int, index: int) -> Iterator[tuple[str, Bits]]:
    """One block of every member, as bf16 bit patterns."""
    random = np.random.Generator(np.random.Philox(key=index))
    count = min(_BLOCK, tensor.count - start)
    if tensor.name.endswith("norm.weight"):
        values = 1 + 0.1 * random.standard_normal(count, dtype=np.float32)
    else:
        values = 0.02 * random.standard_normal(count, dtype=np.float32)
    pre = ((values.view(np.uint32) + np.uint32(0x8000)) >> np.uint32(16)).astype(np.uint16)
    yield "pre", pre
    # The bit patterns of magnitudes are consecutive integers; those near zero stay, so that no sign changes.
    movable = ((pre & 0x7FFF) > max(_MOVES.values())).astype(np.int16)
    for member, largest in _MOVES.items():
        moves = _moves(largest)[np.frombuffer(random.bytes(count), np.uint8)]
        yield member, (pre.view(np.int16) + moves * movable).view(np.uint16)


def _moves(largest: int) -> npt.NDArray[np.int16]:
    """Random byte → change in units in the last place: 0 for half of the bytes, else ±1 … ±`largest`."""
    sizes = np.arange(128, dtype=np.int16) // 2 % largest + 1
    signs = np.where(np.arange(128) % 2, 1, -1).astype(np.int16)
    return np.concatenate([np.zeros(128, np.int16), sizes * signs])


def _write_settings(folder: Path, config: dict[str, Any]) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokens = ["<s>", "</s>", "<unk>", *(chr(code) for code in range(33, 127)), *(f"word{i}" for i in range(128))]
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    settings = {
        "config.json": config,
        "generation_config.json": {"bos_token_id": 0, "eos_token_id": 1},
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", **special},
    }
    for name, value in settings.items():
        (folder / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _is_made(folder: Path, config: dict[str, Any]) -> bool:
    settings = folder / "config.json"
    return settings.is_file() and json.loads(settings.read_text(encoding="utf-8")) == config


def main() -> None:
    """Make a family and say what it is."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.merge_family", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--parameters", type=float, default=DEFAULT_PARAMETERS, help="default 1.236e9")
    given = parser.parse_args()
    began = time.perf_counter()
    folders = make_family(given.folder, given.parameters)
    config = model_config(given.parameters)
    count = sum(tensor.count for tensor in _tensors(config))
    print(
        f"{', '.join(str(path) for path in folders.values())}: {count:,} parameters, "
        f"{config['num_hidden_layers']} layers of width {config['hidden_size']}, vocabulary {config['vocab_size']}; "
        f"{time.perf_counter() - began:.1f} s"
    )


if __name__ == "__main__":
    main()
