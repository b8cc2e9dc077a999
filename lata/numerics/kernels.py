"""Inner loops of the engine, compiled once by numba: conversions, histograms, masks, sums.

Each works on one block that fits a processor's cache. No fast-math: additions happen in the order written, products
are rounded before they are added, so results are those of IEEE arithmetic on every machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

Float = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]
Bits16 = npt.NDArray[np.uint16]
Bits32 = npt.NDArray[np.uint32]
Counts = npt.NDArray[np.int64]


@intrinsic
def _number(context: Any, word: Any) -> Any:
    """The fp32 number that a 32-bit word holds."""
    del context, word

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), generate


@intrinsic
def _word(context: Any, number: Any) -> Any:
    """The 32-bit word that holds a fp32 number."""
    del context, number

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), generate


_compiled = njit(nogil=True, cache=True, boundscheck=False)

_LANES = 64


@_compiled
def widen(bits: Bits16, out: Bits32) -> None:
    """bf16 → fp32, exact; `out` is the fp32 array seen as 32-bit words."""
    for i in range(bits.size):
        out[i] = np.uint32(bits[i]) << np.uint32(16)


@_compiled
def narrow(values: Bits32, out: Bits16) -> None:
    """fp32 (as words) → bf16, to nearest with ties to even; NaN stays NaN."""
    for i in range(values.size):
        out[i] = _rounded(values[i])


@_compiled
def _rounded(word: np.uint32) -> np.uint16:
    rounded = (word + np.uint32(0x7FFF) + ((word >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    nan = (word & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    return np.uint16(0x7FC0) if nan else np.uint16(rounded)


@_compiled
def _bf16(bits: np.uint16) -> np.float32:
    number: np.float32 = _number(np.uint32(bits) << np.uint32(16))  # type: ignore[call-arg]
    return number


@_compiled
def widen_minus(bits: Bits16, other: Float, out: Float) -> None:
    """bf16 → fp32, less `other`: the difference of bf16 numbers in fp32."""
    for i in range(bits.size):
        out[i] = _bf16(bits[i]) - other[i]


@_compiled
def finite(words: Bits32) -> bool:
    """Whether no fp32 number (as words) is infinite or NaN."""
    largest = np.uint32(0)
    for i in range(words.size):
        largest = max(largest, words[i] & np.uint32(0x7FFFFFFF))
    return bool(largest < np.uint32(0x7F800000))


@_compiled
def finite_bf16(bits: Bits16) -> bool:
    """Whether no bf16 number is infinite or NaN."""
    largest = np.uint16(0)
    for i in range(bits.size):
        largest = max(largest, bits[i] & np.uint16(0x7FFF))
    return bool(largest < np.uint16(0x7F80))


@_compiled
def add_scaled(start: Float, direction: Float, lam: np.float32, out: Float) -> None:
    """start + λ·D: one product and one sum, each rounded to fp32."""
    for i in range(start.size):
        out[i] = start[i] + lam * direction[i]


# Sums keep `_LANES` partial sums side by side and add them in order at the end: vector instructions in a fixed order.


@_compiled
def dots(a: Float, b: Float, chunk: int, out: Double) -> None:
    """Σ aᵢ·bᵢ in fp64 of each chunk of so many elements."""
    for c in range(out.size):
        x, y, lanes = a[c * chunk : (c + 1) * chunk], b[c * chunk : (c + 1) * chunk], np.zeros(_LANES)
        for row in range(x.size // _LANES):
            first = row * _LANES
            for lane in range(_LANES):
                lanes[lane] += np.float64(x[first + lane]) * np.float64(y[first + lane])
        first = x.size // _LANES * _LANES
        for lane in range(x.size - first):
            lanes[lane] += np.float64(x[first + lane]) * np.float64(y[first + lane])
        out[c] = _added(lanes)


@_compiled
def distances(a: Float, b: Float, chunk: int, out: Double) -> None:
    """Σ (aᵢ − bᵢ)² of each chunk, differences and sums in fp64."""
    for c in range(out.size):
        x, y, lanes = a[c * chunk : (c + 1) * chunk], b[c * chunk : (c + 1) * chunk], np.zeros(_LANES)
        for row in range(x.size // _LANES):
            first = row * _LANES
            for lane in range(_LANES):
                lanes[lane] += (np.float64(x[first + lane]) - np.float64(y[first + lane])) ** 2
        first = x.size // _LANES * _LANES
        for lane in range(x.size - first):
            lanes[lane] += (np.float64(x[first + lane]) - np.float64(y[first + lane])) ** 2
        out[c] = _added(lanes)


@_compiled
def merge_bf16(start: Bits16, direction: Float, lam: np.float32, out: Bits16, chunk: int, squares: Double) -> None:
    """`widen`, `add_scaled`, `narrow` and `distances` (of what was rounded) of bf16 weights in one loop."""
    for c in range(squares.size):
        x, step = start[c * chunk : (c + 1) * chunk], direction[c * chunk : (c + 1) * chunk]
        y, lanes = out[c * chunk : (c + 1) * chunk], np.zeros(_LANES)
        for row in range(x.size // _LANES):
            first = row * _LANES
            for lane in range(_LANES):
                origin = _bf16(x[first + lane])
                bits = _rounded(_word(origin + lam * step[first + lane]))  # type: ignore[call-arg]
                y[first + lane] = bits
                merged = _bf16(bits)
                lanes[lane] += (np.float64(merged) - np.float64(origin)) ** 2
        first = x.size // _LANES * _LANES
        for lane in range(x.size - first):
            origin = _bf16(x[first + lane])
            bits = _rounded(_word(origin + lam * step[first + lane]))  # type: ignore[call-arg]
            y[first + lane] = bits
            merged = _bf16(bits)
            lanes[lane] += (np.float64(merged) - np.float64(origin)) ** 2
        squares[c] = _added(lanes)


@_compiled
def absolute_sums(a: Float, chunk: int, out: Double) -> None:
    """Σ |aᵢ| in fp64 of each chunk."""
    for c in range(out.size):
        x, lanes = a[c * chunk : (c + 1) * chunk], np.zeros(_LANES)
        for row in range(x.size // _LANES):
            first = row * _LANES
            for lane in range(_LANES):
                lanes[lane] += abs(np.float64(x[first + lane]))
        first = x.size // _LANES * _LANES
        for lane in range(x.size - first):
            lanes[lane] += abs(np.float64(x[first + lane]))
        out[c] = _added(lanes)


@_compiled
def _added(lanes: Double) -> float:
    total = 0.0
    for lane in range(_LANES):
        total += lanes[lane]
    return total


@_compiled
def count_high(values: Bits32, counts: Counts) -> None:
    """Histogram of magnitudes by the upper 15 of their 31 bits; magnitudes order like their bits."""
    for i in range(values.size):
        counts[(values[i] & np.uint32(0x7FFFFFFF)) >> np.uint32(16)] += 1


@_compiled
def count_low(values: Bits32, high: np.uint32, counts: Counts) -> None:
    """Histogram of the lower 16 bits of the magnitudes whose upper 15 bits are `high`."""
    for i in range(values.size):
        if (values[i] & np.uint32(0x7FFFFFFF)) >> np.uint32(16) == high:
            counts[values[i] & np.uint32(0xFFFF)] += 1


@_compiled
def trim(values: Bits32, limit: np.uint32) -> None:
    """Set fp32 values (as words) to zero where their magnitude is under `limit` (as bits)."""
    for i in range(values.size):
        if values[i] & np.uint32(0x7FFFFFFF) < limit:
            values[i] = np.uint32(0)


@_compiled
def nth_equal(values: Bits32, limit: np.uint32, n: int) -> tuple[int, int]:
    """Position of the `n`-th (from 0) magnitude equal to `limit`, or −1, and how many there are before it."""
    found = 0
    for i in range(values.size):
        if values[i] & np.uint32(0x7FFFFFFF) == limit:
            if found == n:
                return i, found
            found += 1
    return -1, found


@_compiled
def philox(
    counter: np.uint64, hash0: np.uint32, hash1: np.uint32, key0: np.uint32, key1: np.uint32, words: Bits32
) -> None:
    """Fill `words` (a multiple of four) with the Philox-4x32-10 outputs of consecutive counters.

    Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. The 128-bit counters are (`counter` + i)
    in the lower half and (`hash0`, `hash1`) in the upper one.
    """
    for i in range(words.size // 4):
        count = counter + np.uint64(i)
        c0, c1, c2, c3 = np.uint32(count), np.uint32(count >> np.uint64(32)), hash0, hash1
        k0, k1 = key0, key1
        for _ in range(10):
            p0 = np.uint64(0xD2511F53) * np.uint64(c0)
            p1 = np.uint64(0xCD9E8D57) * np.uint64(c2)
            c0, c1, c2, c3 = (
                np.uint32(p1 >> np.uint64(32)) ^ c1 ^ k0,
                np.uint32(p1),
                np.uint32(p0 >> np.uint64(32)) ^ c3 ^ k1,
                np.uint32(p0),
            )
            k0 = np.uint32(k0 + np.uint32(0x9E3779B9))
            k1 = np.uint32(k1 + np.uint32(0xBB67AE85))
        words[4 * i] = c0
        words[4 * i + 1] = c1
        words[4 * i + 2] = c2
        words[4 * i + 3] = c3


@_compiled
def drop(values: Bits32, words: Bits32, threshold: np.uint32) -> None:
    """Set `values` (fp32 as words) to zero where the random word is under `threshold`."""
    for i in range(values.size):
        values[i] = values[i] if words[i] >= threshold else np.uint32(0)


@_compiled
def add_agreeing(
    values: Float,
    votes: Float,
    positive_zero: bool,
    factor: np.float32,
    unit: np.float32,
    merged: Float,
    divisor: Float,
) -> None:
    """Where `values` have the sign of `votes`, add factor · values to `merged` and unit to `divisor`."""
    zero = np.float32(0)
    for i in range(values.size):
        positive = (votes[i] > zero) | (positive_zero & (votes[i] == zero))
        agrees = values[i] > zero if positive else values[i] < zero
        merged[i] += factor * values[i] if agrees else zero
        divisor[i] += unit if agrees else zero


@_compiled
def divide(values: Float, divisor: Float) -> None:
    """Divide `values` where the divisor is not zero."""
    one = np.float32(1)
    for i in range(values.size):
        values[i] = values[i] / (divisor[i] if divisor[i] != np.float32(0) else one)
