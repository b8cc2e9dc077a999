"""Folders of weights for tests: sound ones, and safetensors files written byte by byte to be unsound."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from lata.numerics.tensors import ITEM_SIZE, Checkpoint


def write(
    folder: Path,
    *shards: Mapping[str, torch.Tensor],
    config: Mapping[str, Any] | None = None,
    index: bool = True,
) -> Path:
    """A checkpoint folder; several shards have an index unless `index` is False."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"tie_word_embeddings": False, **(config or {})}))
    where = {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors" if len(shards) > 1 else "model.safetensors"
        save_file({name: tensor.contiguous().clone() for name, tensor in shard.items()}, folder / file)
        where.update(dict.fromkeys(shard, file))
    if index and len(shards) > 1:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return folder


def write_raw(file: Path, header: Mapping[str, Any] | bytes, data: bytes = b"", length: int | None = None) -> None:
    """A safetensors file with exactly this header and these bytes, right or wrong."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)


def read(checkpoint: Checkpoint, name: str, start: int = 0, count: int | None = None) -> bytes:
    """The bytes of `count` elements of a tensor."""
    info = checkpoint.tensors[name]
    out = np.empty((info.count - start if count is None else count) * ITEM_SIZE[info.dtype], np.uint8)
    checkpoint.read(name, start, out)
    return out.tobytes()


def raw(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
