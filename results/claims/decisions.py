"""What decides a claim, as pure functions of intervals and tests: 1 supported, −1 not supported, 0 inconclusive.

*Not supported* means that the opposite is shown, never that support is lacking. The first axis of every argument is
what a claim speaks of (comparisons, cells, conditions); further axes are studies of their own, so that the rules can
be tried on thousands of made-up ones (`error_rates`). The files beside this one bring a study's numbers here and put
the result into words.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.statistics.closed_form import FloatArray, holm
from results.statistics.inference import ALPHA

Signs = NDArray[np.int64]


def decided(supported: Any, opposite: Any) -> Signs:
    """1 where supported, else −1 where the opposite is shown, else 0."""
    return np.where(supported, 1, np.where(opposite, -1, 0))


def ahead_of_all(lead: Signs, p: FloatArray, complete: bool = True) -> Signs:
    """C1. Ahead in every comparison: an intersection-union test, which needs no correction.

    The opposite: behind in one, by a test corrected after Holm over the comparisons; one that is behind without a
    test (an unstable merge) counts. Source: Berger, Technometrics 24 (1982).

    Args:
        lead: (comparisons, …): +1 where the interval shows LATA ahead, −1 behind.
        p: two-sided, uncorrected; NaN where there is none.
        complete: whether nothing is missing that the claim names.
    """
    behind = (lead == -1) & ~(holm(p) >= ALPHA)
    return decided((lead == 1).all(0) & complete, behind.any(0))


def ahead_in_most(sign: Signs) -> Signs:
    """C2. A cell is won where all rivals are beaten, lost where one is better; more than half must be won.

    The opposite: half or more lost, for then even the undecided cells could not make a majority.

    Args:
        sign: (cells, rivals, …) by corrected tests; 0 where undecided or missing.
    """
    cells = len(sign)
    won, lost = (sign == 1).all(1).sum(0), (sign == -1).any(1).sum(0)
    return decided(won > cells / 2, lost >= cells / 2)


def all_hold(verdict: Signs) -> Signs:
    """C3. Every condition holds; the opposite: one is shown not to."""
    return decided((verdict == 1).all(0), (verdict == -1).any(0))


def under(low: FloatArray, high: FloatArray, limit: float) -> Signs:
    """C3. Harm under the threshold: its interval lies under it; the opposite: over it."""
    return decided(high < limit, low > limit)


def kept(p_not_worse: FloatArray, high: FloatArray, margin: float) -> Signs:
    """C3. Utility not worse than before by the margin (one-sided test); the opposite: its interval lies below that.

    An improvement is no loss.

    Args:
        p_not_worse: p-value of "it fell by the margin or more" against "it did not".
        high: upper end of the interval of the change, higher is better.
        margin: in the unit of the change.
    """
    return decided(p_not_worse < ALPHA, high < -margin)


def all_below(low: FloatArray, high: FloatArray, p: FloatArray) -> Signs:
    """C4. Every correlation below 0; the opposite: one above, by a test corrected after Holm over them."""
    return decided((high < 0).all(0), ((low > 0) & (holm(p) < ALPHA)).any(0))


def within(low: FloatArray, high: FloatArray, least: float, most: float) -> Signs:
    """C5. The interval of a share lies in a range; the opposite: outside of it."""
    return decided((low >= least) & (high <= most), (high < least) | (low > most))


def breaks(first: FloatArray, top: FloatArray, limit: float) -> Signs:
    """C6. Some merge breaks at some λ up to `limit` in every seed; the opposite: none does in any, and all reach it.

    Args:
        first: (merges, seeds, …) the smallest unstable λ, infinite where there is none.
        top: (merges, …) the largest λ that was swept, with every seed.
        limit: the largest λ that the claim speaks of.
    """
    early = first <= limit
    return decided(early.all(1).any(0), ~early.any((0, 1)) & (top >= limit).all(0))


def unexplained(reach: Signs, gained: np.ndarray, complete: np.ndarray) -> Signs:
    """C7. More than half of the gains are reached by no control; the opposite: half or more are reached by some.

    Args:
        reach: (cells, controls, …): +1 where a control is shown to have more than half of LATA's gain over ta, −1
            where it is shown to have less, 0 where neither.
        gained: (cells, …) whether LATA has a gain there at all.
        complete: (cells, …) whether every control is there.
    """
    gains = gained.sum(0)
    none = gained & complete & (reach == -1).all(1)
    some = gained & (reach == 1).any(1)
    return decided(none.sum(0) > gains / 2, (gains > 0) & (some.sum(0) >= gains / 2))
