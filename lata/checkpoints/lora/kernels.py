"""Inner loop of low-rank updates, compiled once by numba; products are rounded before they are added."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

Float = npt.NDArray[np.float32]

#: Columns worked on at a time: a strip of A and the sums stay in the cache.
_STRIP = 1024


@njit(nogil=True, cache=True, boundscheck=False)
def add_product(out: Float, first: int, rows_IR: Float, columns_RJ: Float, scaling: np.float32) -> None:
    """out += scaling·Σ_r rows[i, r]·columns[r, j] for a range of a row-major (…, J) matrix.

    The sum runs over r = 0 … R−1 in this order in fp32 for every element, whatever the range.

    Args:
        out: the elements of the range, which may begin and end inside a row.
        first: column of its first element.
        rows_IR: the left factor's rows, from the row of the first element to that of the last.
        columns_RJ: the right factor, all columns.
        scaling: multiplies the finished sum.
    """
    ranks, width = columns_RJ.shape
    buffer = np.empty(_STRIP, np.float32)
    for strip in range(0, width, _STRIP):
        for i in range(rows_IR.shape[0]):
            origin = i * width - first
            low, high = max(strip, -origin), min(strip + _STRIP, width, out.size - origin)
            if low >= high:
                continue
            sums = buffer[: high - low]
            sums[:] = 0
            for r in range(0, ranks - ranks % 4, 4):
                a, b, c, d = rows_IR[i, r], rows_IR[i, r + 1], rows_IR[i, r + 2], rows_IR[i, r + 3]
                one, two = columns_RJ[r, low:high], columns_RJ[r + 1, low:high]
                three, four = columns_RJ[r + 2, low:high], columns_RJ[r + 3, low:high]
                for j in range(sums.size):
                    sums[j] = (((sums[j] + a * one[j]) + b * two[j]) + c * three[j]) + d * four[j]
            for r in range(ranks - ranks % 4, ranks):
                a, one = rows_IR[i, r], columns_RJ[r, low:high]
                for j in range(sums.size):
                    sums[j] += a * one[j]
            part = out[origin + low : origin + high]
            for j in range(sums.size):
                part[j] += scaling * sums[j]
