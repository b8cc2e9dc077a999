"""The bootstrap of this suite: one matrix of resampling counts, matrix products for all models at once.

A score is a ratio Σ value / Σ weight over the *units* of a task: its items, or its clusters where items belong
together (a page of an article, a variant of a problem). Drawing units with replacement B times is a matrix of
counts C_GB ~ Multinomial(G, 1/G), and every replicate of every model is one entry of
(value_KG @ C_GB) / (weight_KG @ C_GB). All models see the same draws, so that a difference between two rows
*is* the paired bootstrap.

How far the intervals can be trusted (simulated in tests/results/test_results_coverage.py): plain percentile intervals
of few units are too narrow, so those of one seed are expanded (`interval`, ``units``). They then cover the truth 94
to 96 times in 100 for means and perplexities of 20 or more units whose values are not far from symmetric, and for
differences of rates from 60; for documents of very unequal length and skewed loss it takes about 200 (62, as
WikiText-2's test split has, cover 93 to 94 times). Hierarchical intervals are not expanded. They are sound for many
seeds that share their items; too narrow for three, which cannot say how much seeds differ, so that every comparison
counts signs besides; and too wide where each seed has items of its own whose error decides, for it counts twice.

Sources: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), ch. 6, 13 (percentile) and 16 (tests);
Davison and Hinkley, "Bootstrap Methods and their Application" (1997), §2.3 (counts) and §3.8 (hierarchical);
Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69 (2015) (expanded percentile
interval); Koehn, "Statistical significance tests for machine translation evaluation", EMNLP 2004 (paired).

Legend: B replicates (always the last axis), G units, K rows, M models, S seeds, P pairs.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from results.statistics import FloatArray

#: Replicates: the smallest two-sided p-value is 2/(B + 1) ≈ 1e-4, small enough for Holm over 117 tests.
REPLICATES = 20_000
_CHUNK = 1_000  # replicates drawn at once
_PRODUCT = 5_000  # replicates multiplied at once


def counts(units: int, replicates: int, stream: int) -> NDArray[np.uint8]:
    """Resampling counts, shape (B, G), each row a draw of G units from G; the same for the same arguments.

    One byte a count is enough: a count is at most G, and for G > 255 nothing near 255 ever happens.

    Args:
        units: G, how many units are drawn from (and how many are drawn).
        replicates: B.
        stream: which stream of random numbers; streams are independent.
    """
    rng = np.random.Generator(np.random.SFC64([20_260_101, stream, units]))
    out = np.empty((replicates, units), dtype=np.uint8)
    for start in range(0, replicates, _CHUNK):
        rows = min(_CHUNK, replicates - start)
        drawn = rng.integers(0, units, size=(rows, units), dtype=np.int32)
        drawn += np.arange(rows, dtype=np.int32)[:, None] * units
        out[start : start + rows] = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units)
    return out


class Resampler:
    """Resampled sums under shared draws, each computed once however many metrics need it."""

    def __init__(self, replicates: int = REPLICATES) -> None:
        self.replicates = replicates
        self._counts: dict[tuple[int, int], NDArray[np.uint8]] = {}
        self._sums: dict[tuple[int, bytes], FloatArray] = {}

    def sums(self, array_KG: FloatArray, stream: int) -> FloatArray:
        """Σ over drawn units of each row, shape (K, B). Rows that are not finite give NaN.

        Small whole numbers (right or wrong answers, numbers of items) are summed in float32, where they are exact.
        """
        array = np.ascontiguousarray(array_KG, dtype=np.float64)
        bad: NDArray[np.bool_] = np.asarray(~np.isfinite(array).all(axis=1))
        array = np.where(bad[:, None], 0.0, array)
        whole = bool((array == np.rint(array)).all()) and np.abs(array).sum(1).max(initial=0) * array.shape[1] < 2**24
        key = (stream, hashlib.sha256(array.tobytes()).digest())
        if key not in self._sums:
            draw = (stream, array.shape[1])
            if draw not in self._counts:
                self._counts[draw] = counts(array.shape[1], self.replicates, stream)
            kind = np.float32 if whole else np.float64
            rows = array.astype(kind)
            out = np.empty((len(rows), self.replicates))
            for start in range(0, self.replicates, _PRODUCT):
                chunk = self._counts[draw][start : start + _PRODUCT]
                out[:, start : start + len(chunk)] = rows @ chunk.T.astype(kind)
            out[bad] = np.nan
            if whole:
                return out
            self._sums[key] = out
        return self._sums[key]


def seed_weights(seeds: int, replicates: int = REPLICATES) -> FloatArray:
    """The upper level of the hierarchical bootstrap: share of each seed in a replicate, shape (S, B), sums 1."""
    if seeds == 1:
        return np.ones((1, replicates))
    return np.ascontiguousarray(counts(seeds, replicates, stream=1_000_003).T) / seeds


@dataclass(frozen=True)
class Replicates:
    """Bootstrap replicates of one metric for all models: `draws_MSB`, in the metric's own unit.

    Where a model was not scored for a seed its entries are NaN. Means over seeds are taken inside each replicate,
    first drawing the seeds, so that `mean` is the hierarchical bootstrap for several seeds and the plain one for a
    single seed. Seeds that share their test items share the draw of items as well: the items are then crossed with
    seeds, and their error does not average out.
    """

    draws_MSB: FloatArray

    def mean(self, models: Sequence[int], seeds: Sequence[int]) -> FloatArray:
        """Replicates (len(models), B) of the mean over `seeds` (positions)."""
        picked = self.draws_MSB[list(models)]
        if len(seeds) == 1:
            return picked[:, seeds[0]]
        share_SB = seed_weights(len(seeds), picked.shape[-1])
        out = np.zeros((len(models), picked.shape[-1]))
        for place, seed in enumerate(seeds):
            out += picked[:, seed] * share_SB[place]
        return out


def interval(draws_KB: FloatArray, level: float = 0.95, units: int | None = None) -> tuple[FloatArray, FloatArray]:
    """Percentile interval of each row; NaN for rows with replicates that are not finite.

    Args:
        draws_KB: replicates.
        level: wanted coverage.
        units: where all replicates drew this many units (at least 2), the percentiles are moved out to where a t
            interval would be: from z to t·sqrt(n/(n − 1)), Hesterberg's expanded percentile interval. Resampling
            itself has only (n − 1)/n of the variance, and knows nothing of the error in estimating it.
    """
    edge = (1 - level) / 2
    if units is not None and units > 1:
        from scipy.special import ndtr, stdtrit

        edge = float(ndtr(stdtrit(units - 1, edge) * math.sqrt(units / (units - 1))))
    with np.errstate(invalid="ignore"):
        low, high = np.quantile(draws_KB, [edge, 1 - edge], axis=1, method="linear")
    finite = np.isfinite(draws_KB).all(1)
    return np.where(finite, low, np.nan), np.where(finite, high, np.nan)


def two_sided_p(difference_PB: FloatArray, units: int | None = None) -> FloatArray:
    """Bootstrap p-value of "no difference": twice the smaller tail at 0, counted with the usual + 1.

    p = min(1, 2 (1 + min(#{d ≤ 0}, #{d ≥ 0})) / (B + 1)): the level at which the percentile interval starts to
    touch 0, and never 0 itself. With ``units``, the level at which the expanded interval does.
    Source: Davison and Hinkley (1997), eq. 4.11, and ch. 5 for the inversion.
    """
    at_most = np.count_nonzero(difference_PB <= 0, axis=1)
    at_least = np.count_nonzero(difference_PB >= 0, axis=1)
    tail = np.minimum(0.5, (1.0 + np.minimum(at_most, at_least)) / (difference_PB.shape[1] + 1))
    return np.where(np.isfinite(difference_PB).all(1), 2.0 * _expanded(tail, units), np.nan)


def equivalence_p(difference_PB: FloatArray, margin: float, units: int | None = None) -> FloatArray:
    """Two one-sided tests: p-value of "the difference is at least `margin` in size" against "it is smaller".

    The larger of the two one-sided p-values; below 0.05 exactly when the 90 % interval lies inside ±margin, the
    expanded one with ``units``.
    Source: Schuirmann, J. Pharmacokinetics and Biopharmaceutics 15 (1987).
    """
    below = np.count_nonzero(difference_PB <= -margin, axis=1)
    above = np.count_nonzero(difference_PB >= margin, axis=1)
    tail = np.minimum(1.0, (1.0 + np.maximum(below, above)) / (difference_PB.shape[1] + 1))
    return np.where(np.isfinite(difference_PB).all(1), _expanded(tail, units), np.nan)


def _expanded(tail: FloatArray, units: int | None) -> FloatArray:
    """The one-sided level whose expanded percentile is `tail`: the inverse of what `interval` does to its edge."""
    if units is None or units < 2:
        return tail
    from scipy.special import ndtri, stdtr

    return np.asarray(stdtr(units - 1, ndtri(tail) * math.sqrt((units - 1) / units)))
