"""Weights that lie in memory, read without copying them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lata.tensors import ITEM_SIZE, Raw, TensorInfo


class HeldCheckpoint:
    """Weights in memory. Implements `lata.tensors.Checkpoint`.

    Args:
        label: what messages call them.
        tensors: parameter name → header.
        raw: parameter name → bytes, row-major.
    """

    identity = None
    config: Mapping[str, Any] = {}

    def __init__(self, label: str, tensors: Mapping[str, TensorInfo], raw: Mapping[str, Raw]) -> None:
        self.label, self.tensors, self._raw = label, tensors, raw

    def view(self, name: str, start: int, count: int) -> Raw:
        """The bytes of `count` elements of tensor `name` from element `start` on; do not change them."""
        size = ITEM_SIZE[self.tensors[name].dtype]
        return self._raw[name][start * size : (start + count) * size]

    def whole(self, name: str) -> Raw:
        """All bytes of tensor `name`; do not change them."""
        return self._raw[name]

    def read(self, name: str, start: int, out: Raw) -> None:
        """Fill `out` with the bytes of tensor `name` from element `start` on."""
        out[:] = self.view(name, start, out.size // ITEM_SIZE[self.tensors[name].dtype])
