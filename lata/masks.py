"""Which elements DARE drops: a mask that is a function of (seed, task, parameter name, element) alone.

Every parameter of every task has its own Philox-4x64 stream, keyed by a hash of those names, and element i reads
the i-th 32-bit word of it. So the mask does not change with the order of experts or parameters, with blocks
(any range can be computed by itself), with threads or with sharding. numpy keeps raw Philox streams stable
between versions (https://numpy.org/doc/stable/reference/random/compatibility.html).
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

_WORDS_PER_STEP = 8  # one step of the counter gives four 64-bit outputs, read as eight 32-bit words


def exact_drop_rate(drop_rate: float) -> float:
    """The probability that `keep` really drops with: `drop_rate` rounded to a multiple of 2⁻³²."""
    return _threshold(drop_rate) / 2**32


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
    digest = hashlib.sha256(f"dare\0{seed}\0{task}\0{name}".encode()).digest()
    stream = np.random.Philox(key=int.from_bytes(digest[:16], "little"))
    step, skip = divmod(start, _WORDS_PER_STEP)
    stream.advance(step)
    outputs = stream.random_raw((skip + count + 1) // 2)
    words = np.asarray(outputs, dtype="<u8").view("<u4")[skip : skip + count]
    return np.asarray(words >= np.uint32(_threshold(drop_rate)), dtype=np.bool_)


def _threshold(drop_rate: float) -> int:
    # 2³² itself would not fit a 32-bit comparison; it is reached only by rates within 2⁻³³ of 1.
    return min(round(drop_rate * 2**32), 2**32 - 1)
