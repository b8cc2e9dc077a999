"""Norms that do not depend on threads: fp64 sums over chunks of a fixed size, added by `math.fsum`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: Small enough that torch sums one chunk in one thread, so that the order of additions is fixed.
CHUNK = 1 << 15


def norm(tensors: Iterable[torch.Tensor]) -> float:
    """Euclidean norm over all elements of `tensors`, in fp64."""
    squares: list[float] = []
    for tensor in tensors:
        flat = tensor.reshape(-1)
        for start in range(0, flat.numel(), CHUNK):
            squares.append(float(flat[start : start + CHUNK].double().square().sum()))
    return math.sqrt(math.fsum(squares))
