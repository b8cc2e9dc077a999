"""Which elements DARE drops: a mask that is a function of (seed, task, parameter name, element) alone.

Every parameter of every task has its own Philox-4x32-10 stream, keyed by a hash of those names, and element i reads
the i-th 32-bit word of it. So the mask does not change with the order of experts or parameters, with blocks
(any range can be computed by itself), with threads or with sharding.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

_WORDS_PER_COUNTER = 4


def exact_drop_rate(drop_rate: float) -> float:
    """The probability that `keep` really drops with: `drop_rate` rounded to a multiple of 2⁻³²."""
    return threshold(drop_rate) / 2**32


def threshold(drop_rate: float) -> int:
    """An element is dropped where its 32-bit word is under this number."""
    # 2³² itself would not fit a 32-bit comparison; it is reached only by rates within 2⁻³³ of 1.
    return min(round(drop_rate * 2**32), 2**32 - 1)


def words(seed: int, task: str, name: str, start: int, count: int) -> npt.NDArray[np.uint32]:
    """The random words of elements `start` … `start + count − 1` (row-major) of one parameter."""
    from lata.numerics.kernels import philox

    digest = hashlib.sha256(f"dare\0{seed}\0{task}\0{name}".encode()).digest()
    hash0, hash1, key0, key1 = np.frombuffer(digest[:16], dtype="<u4")
    counter, skip = divmod(start, _WORDS_PER_COUNTER)
    drawn = np.empty(-(-(skip + count) // _WORDS_PER_COUNTER) * _WORDS_PER_COUNTER, dtype=np.uint32)
    philox(np.uint64(counter), hash0, hash1, key0, key1, drawn)
    return drawn[skip : skip + count]


def keep(seed: int, task: str, name: str, count: int, drop_rate: float, start: int = 0) -> npt.NDArray[np.bool_]:
    """True where elements `start` … `start + count − 1` of parameter `name` (row-major) are kept.

    Args:
        seed: the merge's seed.
        task: name of the expert.
        name: parameter name.
        count: number of elements.
        drop_rate: p in [0, 1), the probability that an element is dropped.
        start: index of the first element; any range equals the same range of the whole mask.
    """
    return np.asarray(words(seed, task, name, start, count) >= np.uint32(threshold(drop_rate)), dtype=np.bool_)
