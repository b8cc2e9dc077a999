"""Reading checkpoints from folders of safetensors, and naming weights by their content.

Tensors are compared, merged and digested under their canonical names: a parameter that a config ties to another
(``lm_head`` to the embeddings) counts once and is left out.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from lata.methods import TensorDict


def load(folder: Path) -> TensorDict:
    """All parameters of the checkpoint in `folder`, on the CPU in their stored dtype, without tied copies."""
    from safetensors.torch import load_file

    tensors: TensorDict = {}
    for file in _files(folder):
        tensors.update(load_file(file))
    for name in tied_names(folder):
        tensors.pop(name, None)
    return tensors


def tied_names(folder: Path) -> tuple[str, ...]:
    """Parameter names that the config in `folder` ties to others, and that a reload would overwrite."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return ("lm_head.weight",) if config.get("tie_word_embeddings") else ()


def digest(tensors: TensorDict) -> str:
    """sha256 of the weights: of every tensor's name, dtype, shape and bytes, in sorted order of names."""
    import torch

    def raw(tensor: torch.Tensor) -> bytes:
        return bytes(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())

    return _digest(
        (name, _DTYPE_NAMES[str(tensor.dtype)], list(tensor.shape), raw(tensor))
        for name, tensor in sorted(tensors.items())
    )


def digest_folder(folder: Path) -> str:
    """`digest` of the checkpoint in `folder`, read from its files without torch."""
    tied = set(tied_names(folder))
    found: dict[str, tuple[str, list[int], Path, int, int]] = {}
    for file in _files(folder):
        with file.open("rb") as stream:
            (size,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(size))
        for name, entry in header.items():
            if name != "__metadata__" and name not in tied:
                start, end = entry["data_offsets"]
                found[name] = (entry["dtype"], entry["shape"], file, 8 + size + start, end - start)

    def read(file: Path, offset: int, length: int) -> bytes:
        with file.open("rb") as stream:
            stream.seek(offset)
            return stream.read(length)

    return _digest(
        (name, dtype, shape, read(file, offset, length))
        for name, (dtype, shape, file, offset, length) in sorted(found.items())
    )


_DTYPE_NAMES = {
    "torch.float32": "F32",
    "torch.bfloat16": "BF16",
    "torch.float16": "F16",
    "torch.float64": "F64",
}


def _digest(tensors: Iterable[tuple[str, str, list[int], bytes]]) -> str:
    total = hashlib.sha256()
    for name, dtype, shape, data in tensors:
        total.update(f"{name}\0{dtype}\0{shape}\0{len(data)}\0".encode())
        total.update(data)
    return total.hexdigest()


def _files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ValueError(f"no safetensors file in {folder}; a checkpoint folder holds config.json and *.safetensors")
    return files
