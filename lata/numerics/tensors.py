"""What the engine knows of a tensor before it reads it, and what it can read tensors from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

#: Elements that sums and digests are taken over: small enough that a chunk of each checkpoint stays in the cache.
CHUNK = 1 << 18

Raw = npt.NDArray[np.uint8]

#: Bytes an element of every safetensors dtype.
ITEM_SIZE = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U64": 8,
    "U32": 4,
    "U16": 2,
    "U8": 1,
    "BOOL": 1,
}
#: The dtypes that are merged; tensors of any other are copied from the model that a merge starts from.
FLOATS = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})


@dataclass(frozen=True)
class TensorInfo:
    """Header of one tensor.

    Attributes:
        dtype: as safetensors writes it, e.g. ``BF16``.
        shape: sizes of its dimensions; ``()`` is a scalar.
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.count * ITEM_SIZE[self.dtype]

    @property
    def is_float(self) -> bool:
        """Whether it is merged rather than copied."""
        return self.dtype in FLOATS


class Checkpoint(Protocol):
    """Weights that can be read in pieces.

    Attributes:
        label: what the user called it; messages name it so.
        tensors: canonical parameter name → header. A parameter that the config ties to another is left out.
        config: the model's ``config.json``; empty for weights that are only held in memory.
        identity: what changes when the weights may have changed, without reading them: files with their sizes and
            modification times. None for weights held in memory.
    """

    @property
    def label(self) -> str: ...

    @property
    def tensors(self) -> Mapping[str, TensorInfo]: ...

    @property
    def config(self) -> Mapping[str, Any]: ...

    @property
    def identity(self) -> str | None: ...

    def read(self, name: str, start: int, out: Raw) -> None:
        """Fill `out` with the bytes of tensor `name` from element `start` on (row-major). Safe in many threads.

        Raises:
            ValueError: the file ends early or cannot be read; it names the tensor and the file.
        """
        ...


class InMemoryCheckpoint:
    """Weights in memory. Implements `lata.numerics.tensors.Checkpoint`.

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
