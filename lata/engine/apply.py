"""The last step of every merge, in memory and on disk alike: θ = round(θ_start + λ·D).

One multiplication and one addition in fp32, one rounding to the dtype of the model that the merge starts from. Where
a method adds nothing the stored bytes are copied.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lata.engine.stream import Block, Piece
from lata.engine.vectors import Direction
from lata.numerics.dtypes import from_float32, to_float32
from lata.numerics.tensors import CHUNK, Raw


@dataclass(frozen=True)
class Applied:
    """What is known of merged weights.

    Attributes:
        squares: Σ (θ − θ_start)² in fp64, chunk by chunk.
        finite: whether every value of θ is.
    """

    squares: Sequence[float]
    finite: bool


def apply(block: Block, direction: Direction, lam: float, dtype: str, out: Raw) -> Applied:
    """Fill `out` with θ of one block, in `dtype`."""
    from lata.numerics.kernels import add_scaled, distances, finite, merge_bf16

    step = direction(block)
    if step is None:
        block.copy("start", dtype, out)
        return Applied((), finite=True)
    if block.dtype("start") == dtype == "BF16":
        # All in one loop, since a merge in memory is bound by it; the numbers are those of the steps below.
        bits, squares = block.raw("start").view(np.uint16), np.empty(-(-block.count // CHUNK))
        merge_bf16(bits, step, np.float32(lam), out.view(np.uint16), CHUNK, squares)
        # No sum of squares of fp32 differences overflows fp64, so one that is not finite tells of such a value.
        return Applied(squares.tolist(), bool(np.isfinite(squares).all()))
    origin = block.origin
    merged = block.scratch.floats("merged", block.count)
    add_scaled(origin, step, np.float32(lam), merged)
    if dtype != "F32":
        from_float32(merged, dtype, out)
        to_float32(out, dtype, merged)
    else:
        out.view(np.float32)[:] = merged
    return Applied(block.sums(distances, merged, origin), finite(merged.view(np.uint32)))


def length(found: Iterable[tuple[Piece, Applied]]) -> float:
    """‖θ − θ_start‖₂ from what was found of all blocks: sums of one parameter first, then of all."""
    squares: dict[str, list[float]] = {}
    for piece, applied in found:
        squares.setdefault(piece.name, []).extend(applied.squares)
    return math.sqrt(math.fsum(math.fsum(parts) for parts in squares.values()))
