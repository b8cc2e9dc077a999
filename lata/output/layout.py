"""How a model is divided into safetensors files: which tensor lies where, and the headers that say so.

Everything is known before the first weight is read, so that blocks can be written in any order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lata.numerics.pages import PAGE
from lata.numerics.tensors import ITEM_SIZE, TensorInfo


@dataclass(frozen=True)
class Piece:
    """One tensor of a shard.

    Attributes:
        name: the tensor.
        info: its dtype and shape.
        offset: where its bytes begin, counted from the start of the file; a multiple of its item size.
    """

    name: str
    info: TensorInfo
    offset: int


@dataclass(frozen=True)
class Shard:
    """One file of a model.

    Attributes:
        file: its name, ``model.safetensors`` or ``model-00001-of-00003.safetensors``.
        pieces: its tensors, by ascending offset, without holes.
        header: the first bytes of the file: length, JSON, and spaces up to a multiple of `PAGE`.
        size: bytes of the whole file.
    """

    file: str
    pieces: tuple[Piece, ...]
    header: bytes
    size: int


def layout(tensors: Mapping[str, TensorInfo], shard_bytes: int = 5_000_000_000) -> tuple[Shard, ...]:
    """Divide tensors into shards.

    Tensors keep the order given, except that within a shard those with larger items come first: the format allows
    no holes, and readers map tensors in place, which only works where an offset is a multiple of the item size.

    Args:
        tensors: name → header.
        shard_bytes: most bytes of data in a file. A tensor that is larger has a file of its own.

    Raises:
        ValueError: `shard_bytes` is not positive.
    """
    if shard_bytes < 1:
        raise ValueError(f"shard_bytes={shard_bytes} must be at least 1; the usual value is 5000000000")
    groups: list[list[str]] = [[]]
    held = 0
    for name, info in tensors.items():
        if groups[-1] and held + info.nbytes > shard_bytes:
            groups.append([])
            held = 0
        groups[-1].append(name)
        held += info.nbytes
    shards = []
    for number, group in enumerate(groups, start=1):
        file = f"model-{number:05d}-of-{len(groups):05d}.safetensors" if len(groups) > 1 else "model.safetensors"
        ordered = sorted(group, key=lambda name: -ITEM_SIZE[tensors[name].dtype])
        shards.append(_shard(file, {name: tensors[name] for name in ordered}))
    return tuple(shards)


def index_json(shards: Iterable[Shard]) -> bytes:
    """``model.safetensors.index.json``: which shard holds each tensor, and the bytes of all tensors."""
    pieces = [(piece, shard.file) for shard in shards for piece in shard.pieces]
    index = {
        "metadata": {"total_size": sum(piece.info.nbytes for piece, _ in pieces)},
        "weight_map": {piece.name: file for piece, file in pieces},
    }
    return (json.dumps(index, indent=2, sort_keys=True) + "\n").encode()


def _shard(file: str, tensors: Mapping[str, TensorInfo]) -> Shard:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    starts = {}
    end = 0
    for name, info in tensors.items():
        starts[name] = end
        end += info.nbytes
        entries[name] = {"dtype": info.dtype, "shape": list(info.shape), "data_offsets": [starts[name], end]}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    begin = -(-(8 + len(text)) // PAGE) * PAGE
    header = (begin - 8).to_bytes(8, "little") + text.ljust(begin - 8, b" ")
    pieces = tuple(Piece(name, info, begin + starts[name]) for name, info in tensors.items())
    return Shard(file, pieces, header, begin + end)
