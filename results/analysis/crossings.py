"""Where each method breaks: the λ of its best score, of ten times pre's perplexity, and of half its best score.

Between neighbouring λ of the sweep the logarithm of the perplexity, and the score, are taken as straight lines; at
λ = 0 the merge is pre itself. Where a curve crosses several times the first crossing counts. A point that is not
finite cannot be interpolated to: the crossing is then put at that point and its interval reaches back to the one
before. Every replicate of the bootstrap is a set of curves of its own, with crossings of its own, so that intervals
carry the error of documents and items. With several seeds a crossing is the mean over seeds and its interval one over
trainings; a seed that does not cross counts with the largest λ of the sweep, which makes the mean a lower bound,
marked as one. The interval of the best λ is over items, also with several seeds.

Legend: L points with one λ for all tasks, S seeds, B replicates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from results.analysis.curves import PPL, Curve
from results.statistics.bootstrap import over_seeds
from results.statistics.closed_form import FloatArray
from results.statistics.inference import Contrast
from results.study.selection import UNSTABLE_RATIO


@dataclass(frozen=True)
class Crossing:
    """A λ with its 95 % interval.

    Attributes:
        value: mean over seeds.
        low: lower end.
        high: upper end.
        seeds_S: λ of each seed, infinite where its curve does not cross.
        draws_SB: replicates of each seed, cut at `top`.
        top: largest λ of the sweep.
    """

    value: float
    low: float
    high: float
    seeds_S: FloatArray
    draws_SB: FloatArray
    top: float

    @property
    def never(self) -> bool:
        """No seed crosses within the sweep."""
        return bool(np.isinf(self.seeds_S).all())

    @property
    def bound(self) -> bool:
        """Some seed does not cross, so that `value` is a lower bound."""
        return self.beyond(self.top)

    def beyond(self, lam: float) -> bool:
        """Whether some seed has not crossed by this λ."""
        return bool((self.seeds_S > lam).any())

    @property
    def open_end(self) -> bool:
        """The interval reaches the end of the sweep."""
        return self.high >= self.top


@dataclass(frozen=True)
class Peak:
    """The best point: its place in `Curve.points`, its λ, and the interval of the best λ of each replicate."""

    place: int
    lam: float
    low: float
    high: float


@dataclass(frozen=True)
class Break:
    """What one method does on one merge as λ grows.

    Attributes:
        peak: best mean score over seeds among the points that are stable for all of them.
        limit: where perplexity passes ten times pre's.
        half: where the score, after its peak among stable points, has fallen to half of it.
        first: seed → smallest λ of the sweep that is unstable; seeds without one are absent.
        top: largest λ of the sweep.
    """

    peak: Peak | None
    limit: Crossing | None
    half: Crossing | None
    first: dict[int, float]
    top: float


def break_of(curve: Curve) -> Break | None:
    """Find the λ of one curve; None where no seed has two points with one λ for all tasks."""
    line = curve.line
    seeds = [s for s in range(len(curve.seeds)) if curve.present_PS[line, s].sum() >= 2]
    if not seeds:
        return None
    first = {}
    for s in seeds:
        broken = [place for place in line if curve.unstable_PS[place, s]]
        if broken:
            first[curve.seeds[s]] = float(curve.lam_P[broken[0]])
    top = float(curve.lam_P[[place for place in line if curve.present_PS[place].any()]].max())
    scored = curve.objective in curve.scored
    return Break(
        _peak(curve, line, seeds) if scored else None,
        _limit(curve, line, seeds, top) if PPL in curve.pre and PPL in curve.scored else None,
        _half(curve, line, seeds, top) if scored else None,
        first,
        top,
    )


def first_crossing(
    x_L: FloatArray, y_LB: FloatArray, limit: float, after_B: np.ndarray | None = None, reach: bool = False
) -> tuple[FloatArray, FloatArray]:
    """The x at which each column of y first passes `limit` from below, by straight lines.

    Args:
        x_L: ascending.
        y_LB: values; those that are not finite count as passed.
        limit: passed means y > limit.
        after_B: only points after this place count.
        reach: passed means y ≥ limit.

    Returns:
        (crossing, back), each (B,): the crossing, infinite where there is none; and how far back it may lie, which is
        the point before where the crossing had to be put at a point that is not finite, else the crossing itself.
    """
    bad_LB = ~np.isfinite(y_LB)
    passed = bad_LB | (y_LB >= limit if reach else y_LB > limit)
    if after_B is not None:
        passed &= np.arange(len(x_L))[:, None] > after_B
    columns = np.arange(y_LB.shape[1])
    at = passed.argmax(0)
    before = np.maximum(at - 1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (limit - y_LB[before, columns]) / (y_LB[at, columns] - y_LB[before, columns])
        straight = x_L[before] + share * (x_L[at] - x_L[before])
    jump = bad_LB[at, columns]
    found = np.where(jump | (at == 0), x_L[at], straight)
    crossed = passed.any(0)
    return np.where(crossed, found, math.inf), np.where(crossed, np.where(jump, x_L[before], found), math.inf)


def lambda_text(one: Crossing) -> str:
    """`1.10 [1.09, 1.11]`, with marks for bounds."""
    return f"{'≥ ' * one.bound}{one.value:.2f} [{one.low:.2f}, {'> ' * one.open_end}{one.high:.2f}]"


def bounds(a: Crossing, b: Crossing) -> tuple[bool, bool]:
    """Whether a, and whether b, is a lower bound of its λ up to where both were swept."""
    top = min(a.top, b.top)
    return a.beyond(top), b.beyond(top)


def difference(a: Crossing, b: Crossing) -> Contrast:
    """a − b with its paired interval, both cut at the smaller end of the two sweeps."""
    top = min(a.top, b.top)
    (one_S, one_SB), (other_S, other_SB) = (
        (np.minimum(one.seeds_S, top), np.minimum(one.draws_SB, top)) for one in (a, b)
    )
    return over_seeds(one_S - other_S, one_SB - other_SB)


def _peak(curve: Curve, line: list[int], seeds: list[int]) -> Peak | None:
    stable = [place for place in line if curve.stable_PS[place, seeds].all()]
    score = curve.scored[curve.objective]
    stable = [place for place in stable if np.isfinite(score.value_PS[place, seeds]).all()]
    if not stable:
        return None
    lam = curve.lam_P[stable]
    draws = score.draws_PSB[np.ix_(stable, seeds)].mean(1)
    low, high = np.quantile(lam[draws.argmax(0)], [0.025, 0.975], method="nearest")
    place = int(score.value_PS[np.ix_(stable, seeds)].mean(1).argmax())
    return Peak(stable[place], float(lam[place]), float(low), float(high))


def _limit(curve: Curve, line: list[int], seeds: list[int], top: float) -> Crossing:
    own, pre, found = curve.scored[PPL], curve.pre[PPL], []
    for s in seeds:
        have = [place for place in line if curve.present_PS[place, s]]
        x_L = np.array([0.0, *curve.lam_P[have]])
        sides = (
            (pre.value_PS[0, [s]], own.value_PS[have, s][:, None]),
            (pre.draws_PSB[0, s], own.draws_PSB[have, s]),
        )
        with np.errstate(invalid="ignore", over="ignore"):
            ratios = [np.log(np.vstack([start, values]) / start) for start, values in sides]
        found.append([first_crossing(x_L, ratio, math.log(UNSTABLE_RATIO)) for ratio in ratios])
    return mean_crossing(found, top, curve.drawn[PPL] if len(seeds) == 1 else None)


def _half(curve: Curve, line: list[int], seeds: list[int], top: float) -> Crossing | None:
    own, found = curve.scored[curve.objective], []
    for s in seeds:
        have = [place for place in line if curve.present_PS[place, s]]
        good = curve.stable_PS[have, s] & np.isfinite(own.value_PS[have, s])
        if not (good.any() and own.value_PS[have, s][good].max() > 0):
            return None
        crossings = []
        for score_LB in (own.value_PS[have, s][:, None], own.draws_PSB[have, s]):
            stable = np.where(good[:, None], score_LB, -math.inf)
            crossings.append(
                first_crossing(curve.lam_P[have], stable.max(0) / 2 - score_LB, 0.0, after_B=stable.argmax(0))
            )
        found.append(crossings)
    return mean_crossing(found, top, None)


def mean_crossing(found: list[list[tuple[FloatArray, FloatArray]]], top: float, units: int | None) -> Crossing:
    """Mean over seeds.

    Args:
        found: for each seed (observed, replicates), each as `first_crossing` returns it.
        top: largest λ of the sweep.
        units: what the bootstrap of the only seed draws from (`bootstrap.interval`).
    """
    seeds_S = np.array([observed[0][0] for observed, _ in found])
    back = float(np.minimum([observed[1][0] for observed, _ in found], top).mean())
    draws_SB = np.minimum(np.stack([replicates[0] for _, replicates in found]), top)
    mean = over_seeds(np.minimum(seeds_S, top), draws_SB, units)
    low, high = max(mean.low, 0.0), min(mean.high, top)
    return Crossing(mean.value, min(low, back), high, seeds_S, draws_SB, top)
