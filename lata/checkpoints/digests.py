"""Naming weights by their content, and remembering the names of large files.

A tensor's digest is the blake3 of the digests of its chunks, so that threads can take chunks in any order; the
digest of a checkpoint is the blake3 of its tensors' names, dtypes, shapes and digests. Neither depends on how the
checkpoint is sharded.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from blake3 import blake3

from lata.numerics.tensors import CHUNK, ITEM_SIZE, Checkpoint, Raw, TensorInfo

# Elements that one thread reads at a time; a multiple of CHUNK.
_BLOCK = 2**20


def chunk_digests(raw: Raw, item_size: int) -> bytes:
    """The 32-byte digests, one after another, of the chunks of a block that starts at a multiple of `CHUNK`.

    Args:
        raw: bytes of the block; it ends where a chunk or the tensor ends.
        item_size: bytes an element.
    """
    step = CHUNK * item_size
    return b"".join(blake3(raw[start : start + step].data).digest() for start in range(0, raw.nbytes, step))


def tensor_digest(chunks: bytes) -> str:
    """Hexadecimal digest of a tensor whose `chunk_digests` are `chunks`; of an empty tensor they are empty."""
    return blake3(chunks).hexdigest()


def weights_digest(tensors: Mapping[str, TensorInfo], digests: Mapping[str, str]) -> str:
    """Hexadecimal digest of a checkpoint with these headers and these digests of tensors."""
    total = blake3()
    for name, info in sorted(tensors.items()):
        total.update(f"{name}\0{info.dtype}\0{list(info.shape)}\0{digests[name]}\n".encode())
    return total.hexdigest()


def digest(checkpoint: Checkpoint) -> str:
    """`weights_digest` of a checkpoint: remembered, or made by reading all of it."""
    known = remembered(checkpoint)
    if known is None:
        known = tensor_digests(checkpoint)
        remember(checkpoint, known)
    return weights_digest(checkpoint.tensors, known)


def tensor_digests(checkpoint: Checkpoint, names: Iterable[str] | None = None) -> dict[str, str]:
    """Tensor name → `tensor_digest`, by reading these tensors (all, where none are named) in threads.

    Raises:
        ValueError: a file cannot be read.
    """
    local = threading.local()

    def chunks(job: tuple[str, int, int]) -> bytes:
        name, start, count = job
        if not hasattr(local, "buffer"):
            local.buffer = np.empty(_BLOCK * max(ITEM_SIZE.values()), np.uint8)
        item_size = ITEM_SIZE[checkpoint.tensors[name].dtype]
        raw = local.buffer[: count * item_size]
        checkpoint.read(name, start, raw)
        return chunk_digests(raw, item_size)

    wanted = sorted(checkpoint.tensors if names is None else names)
    jobs = [
        (name, start, min(_BLOCK, checkpoint.tensors[name].count - start))
        for name in wanted
        for start in range(0, checkpoint.tensors[name].count, _BLOCK)
    ]
    found: dict[str, list[bytes]] = {name: [] for name in wanted}
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for (name, _, _), part in zip(jobs, pool.map(chunks, jobs), strict=True):
            found[name].append(part)
    return {name: tensor_digest(b"".join(parts)) for name, parts in found.items()}


def remembered(checkpoint: Checkpoint) -> dict[str, str] | None:
    """The tensor digests noted for a checkpoint whose files have not changed since; None where there are none."""
    if checkpoint.identity is None:
        return None
    try:
        note = json.loads(_note(checkpoint.identity).read_text(encoding="utf-8"))
        digests: dict[str, str] = note["digests"]
        intact = note["seal"] == _seal(digests) and digests.keys() == checkpoint.tensors.keys()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return digests if intact else None


def remember(checkpoint: Checkpoint, digests: Mapping[str, str]) -> None:
    """Note the tensor digests of a checkpoint for `remembered`; nothing where the cache cannot be written."""
    if checkpoint.identity is None:
        return
    note = _note(checkpoint.identity)
    content = json.dumps({"digests": dict(digests), "seal": _seal(digests)})
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(dir=note.parent, prefix=".", suffix=".tmp")
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(content)
        os.replace(draft, note)
    except OSError:
        return


def _note(identity: str) -> Path:
    cache = Path(os.environ.get("LATA_CACHE") or "~/.cache/lata").expanduser()
    return cache / "digests" / f"{blake3(identity.encode()).hexdigest()}.json"


def _seal(digests: Mapping[str, str]) -> str:
    return blake3(json.dumps(dict(digests), sort_keys=True).encode()).hexdigest()
