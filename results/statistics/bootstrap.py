"""The bootstrap of this suite: one matrix of resampling counts, matrix products for all models at once.

A score is a ratio Σ value / Σ weight over the *units* of a task: its items, or its clusters where items belong
together (a page of an article, a variant of a problem). Drawing units with replacement B times is a matrix of
counts C_GB ~ Multinomial(G, 1/G), and every replicate of every model is one entry of
(value_KG @ C_GB) / (weight_KG @ C_GB). All models see the same draws, so that a difference between two rows
*is* the paired bootstrap.

What is linear in its scores needs none of this (`inference`). Resampled are the others: crossings of curves, best
points, ranks, hypervolumes. With several seeds their intervals are either over trainings (`over_seeds`: a t interval
on the seeds' own values, the draws giving only what shared items add), or, where the seeds have no values of their
own, over items for the trainings at hand (`Replicates.mean`); every table says which.

How far the intervals can be trusted (simulated in tests/results/test_results_coverage.py): plain percentile intervals
of few units are too narrow, so those of one seed are expanded (`interval`, ``units``). They then cover the truth 94
to 96 times in 100 for means and perplexities of 20 or more units whose values are not far from symmetric, and for
differences of rates from 60; for documents of very unequal length and skewed loss it takes about 200 (62, as
WikiText-2's test split has, cover 93 to 94 times).

Sources: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), ch. 6 and 13 (percentile);
Davison and Hinkley, "Bootstrap Methods and their Application" (1997), §2.3 (counts);
Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69 (2015) (expanded percentile
interval); Koehn, "Statistical significance tests for machine translation evaluation", EMNLP 2004 (paired).

Legend: B replicates (always the last axis), G units, K rows, M models, S seeds, P pairs.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from results.statistics.closed_form import FloatArray
from results.statistics.inference import Contrast, as_contrast, over_items, over_trainings

#: Replicates. No mark of a table and no verdict rests on them.
REPLICATES = 20_000
_CHUNK = 1_000  # replicates drawn at once
_PRODUCT = 5_000  # replicates multiplied at once


@lru_cache(maxsize=16)
def counts(units: int, replicates: int, stream: int) -> NDArray[np.uint8]:
    """Resampling counts, shape (B, G), each row a draw of G units from G; the same for the same arguments.

    Kept for the next caller: a run draws once for all its models, λ and figures.

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
    out.flags.writeable = False
    return out


class Resampler:
    """Resampled sums under shared draws, each computed once however many metrics need it."""

    def __init__(self, replicates: int = REPLICATES) -> None:
        self.replicates = replicates
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
            drawn_BG = counts(array.shape[1], self.replicates, stream)
            kind = np.float32 if whole else np.float64
            rows = array.astype(kind)
            out = np.empty((len(rows), self.replicates))
            for start in range(0, self.replicates, _PRODUCT):
                chunk = drawn_BG[start : start + _PRODUCT]
                out[:, start : start + len(chunk)] = rows @ chunk.T.astype(kind)
            out[bad] = np.nan
            if whole:
                return out
            self._sums[key] = out
        return self._sums[key]


@dataclass(frozen=True)
class Replicates:
    """Bootstrap replicates of one metric for all models: `draws_MSB`, in the metric's own unit.

    Where a model was not scored for a seed its entries are NaN. Seeds that share their test items share the draw of
    items as well: the items are then crossed with seeds, and their error does not average out.
    """

    draws_MSB: FloatArray

    def mean(self, models: Sequence[int], seeds: Sequence[int]) -> FloatArray:
        """Replicates (len(models), B) of the mean over `seeds` (positions): over items, the trainings held."""
        return np.asarray(self.draws_MSB[np.ix_(list(models), list(seeds))].mean(1))


def over_seeds(value_S: FloatArray, draws_SB: FloatArray, units: int | None = None) -> Contrast:
    """The mean over seeds of something that is no sum of scores: over trainings, with one seed over items.

    Args:
        value_S: what was observed in each seed.
        draws_SB: its replicates; draws of items are those of the other seeds where these have the same items.
        units: what the draws are of: see `interval`.
    """
    if len(value_S) > 1:
        return as_contrast(over_trainings(value_S, np.cov(draws_SB), units or draws_SB.shape[1]), value_S)
    low, high = (float(side[0]) for side in interval(draws_SB, units=units))
    found = over_items(value_S[0], draws_SB[0].var(ddof=1), units or draws_SB.shape[1])
    return replace(as_contrast(found, value_S), low=low, high=high)


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
