"""Intervals and tests, of two kinds that are never mixed.

*Over items* (one seed): would the difference be there with other test items? This checkpoint, these benchmarks. The
variance of a score is that of its linearised units (clusters, or items that stand alone); a t interval with G − 1
degrees of freedom.

*Over trainings* (several seeds): would it be there in another training? A t interval on the seeds' own values, S − 1
degrees of freedom. Where seeds share their test items, what the items do to all seeds alike does not show between
seeds: their covariance is added. With s² the variance of the seeds' values and c the mean covariance of two seeds'
values over items,

    V = s²/S + max(c, 0),   1/df = (s²/S)/V · 1/(S − 1) + c/V · 1/(G − 1).

This is the analysis of several readers who read the same cases, Obuchowski and Rockette, Communications in Statistics
B 24 (1995). The degrees of freedom are ours: those of Hillis, Statistics in Medicine 26 (2007), weigh by the squares
of the shares of V, and their intervals cover 92 of 100 with three seeds. With three seeds s² is small by chance now
and then, and a difference then looks certain; it is therefore at least what items alone give it in 95 of 100 cases,
v·χ²(0.05; S − 1)/(S − 1) with v = (mean variance of a seed's value over items) − c.

No function here draws a random number. How far the intervals can be trusted is simulated in
tests/results/test_results_coverage.py: over trainings 94 to 97 of 100 cover, for 3 to 10 seeds whose spread is 0.5 to
4 times the error of their items.

Other sources: Cochran, "Sampling Techniques" (3rd ed. 1977), §6 and eq. 9A.10 (linearised ratios and clusters).

Legend: S seeds, G units, … any leading axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from results.statistics.closed_form import FloatArray

ALPHA, POWER = 0.05, 0.80
#: How often the spread between seeds may be smaller, by chance alone, than the smallest that is believed.
_LUCK = 0.05


@dataclass(frozen=True)
class Inference:
    """Estimates with their standard errors and degrees of freedom, all of one shape (…). NaN where there is none."""

    value: FloatArray
    error: FloatArray
    df: FloatArray

    def interval(self, level: float = 1 - ALPHA) -> tuple[FloatArray, FloatArray]:
        """Two-sided t interval."""
        from scipy.special import stdtrit

        half = np.asarray(stdtrit(self.df, (1 + level) / 2)) * self.error
        return self.value - half, self.value + half

    @property
    def p(self) -> FloatArray:
        """Two-sided p-value of "it is 0": below 0.05 exactly where the 95 % interval leaves 0 out."""
        return np.minimum(1.0, 2 * np.minimum(self.p_above(0.0), self.p_below(0.0)))

    def p_above(self, bound: float | FloatArray) -> FloatArray:
        """One-sided p-value of "it is at most `bound`" against "it is more"."""
        from scipy.special import stdtr

        gap = np.asarray(bound) - self.value
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(gap == 0, 0.0, gap / self.error)
        return np.where(np.isnan(self.error), np.nan, stdtr(self.df, t))

    def p_below(self, bound: float | FloatArray) -> FloatArray:
        """One-sided p-value of "it is at least `bound`" against "it is less"."""
        return Inference(-self.value, self.error, self.df).p_above(-np.asarray(bound))

    def detectable(self, alpha: float | FloatArray = ALPHA, power: float = POWER) -> FloatArray:
        """The true difference that a two-sided test at `alpha` would have found with this power, given this error.

        By the noncentral t distribution; the error is the estimated one, which itself varies from study to study.
        """
        from scipy.special import nctdtrinc, stdtrit

        df = np.minimum(self.df, 1e6)
        return np.asarray(nctdtrinc(df, 1 - power, stdtrit(df, 1 - np.asarray(alpha) / 2)) * self.error)


def over_items(value: FloatArray, variance: FloatArray, units: int) -> Inference:
    """Inference over items.

    Args:
        value: estimates (…).
        variance: of them over items.
        units: G, the clusters or items that the variance is of.
    """
    df = np.full(np.shape(value), max(units - 1.0, 1.0))
    return Inference(np.asarray(value), np.sqrt(_sure(value, variance, units)), df)


def over_trainings(value_xS: FloatArray, cov_xSS: FloatArray, units: int) -> Inference:
    """Inference on the mean of several trained seeds; on the only seed over items.

    Args:
        value_xS: one value a seed, shape (…, S).
        cov_xSS: covariance of these values over test items, (…, S, S); 0 between seeds that have items of their own.
        units: G, the fewest units of a seed.
    """
    from scipy.special import chdtri

    seeds = value_xS.shape[-1]
    value, own = value_xS.mean(-1), np.einsum("...ss->...s", cov_xSS)
    if seeds == 1:
        return over_items(value, own[..., 0], units)
    own = _sure(value_xS, own, units).mean(-1)
    pairs = seeds * (seeds - 1)
    shared = np.maximum((cov_xSS.sum((-2, -1)) - np.einsum("...ss->...", cov_xSS)) / pairs, 0.0)
    with np.errstate(invalid="ignore"):
        between = value_xS.var(-1, ddof=1)
        least = chdtri(seeds - 1, 1 - _LUCK) / (seeds - 1) * np.maximum(own - shared, 0.0)
        among = np.maximum(between, least) / seeds
        total = among + shared
        df = total / (among / (seeds - 1) + shared / max(units - 1, 1))
    return Inference(value, np.sqrt(total), np.where(total == 0, seeds - 1.0, df))


def _sure(value: FloatArray, variance: FloatArray, units: int) -> FloatArray:
    """The variance, where every unit says the same at least that of half a unit that says otherwise."""
    with np.errstate(invalid="ignore"):
        return np.where((variance <= 0) & (value != 0), value**2 / (2 * units**2), variance)


@dataclass(frozen=True)
class Statistic:
    """Something computed from scores: its value for each seed, and how each unit of the test sets moves it.

    Sums and differences of statistics know how their parts hang together, for they name the units they share.

    Attributes:
        value_xS: one value a seed, shape (…, S).
        moves: set of units → influence of each of its G units on the value of each seed, (…, S, G), summing to 0;
            zero for seeds that have other units.
    """

    value_xS: FloatArray
    moves: dict[str, FloatArray]

    @property
    def value(self) -> FloatArray:
        return np.asarray(self.value_xS.mean(-1))

    def __sub__(self, other: Statistic) -> Statistic:
        return combined([self, other], [1.0, -1.0])

    def __getitem__(self, place: int | Sequence[int] | np.ndarray) -> Statistic:
        """Some of the leading axis."""
        return Statistic(self.value_xS[place], {name: move[place] for name, move in self.moves.items()})

    def at(self, places: Sequence[int], seeds: Sequence[int]) -> Statistic:
        """Of statistics of shape (P, S) one place a seed, for some seeds: shape (len(seeds),)."""
        rows, columns = list(places), list(seeds)
        return Statistic(
            self.value_xS[rows, columns], {name: move[rows, columns] for name, move in self.moves.items()}
        )

    def of(self, seeds: Sequence[int]) -> Statistic:
        """Some of the seeds."""
        columns = list(seeds)
        return Statistic(
            self.value_xS[..., columns], {name: move[..., columns, :] for name, move in self.moves.items()}
        )

    def weighed(self, picks: Sequence[tuple[np.ndarray, FloatArray]]) -> Statistic:
        """Of statistics of shape (P, S) a weighted sum for each seed, (places, weights) a seed: shape (S,)."""
        seeds = list(enumerate(picks))
        return Statistic(
            np.array([weight @ self.value_xS[places, s] for s, (places, weight) in seeds]),
            {
                name: np.stack([weight @ move[places, s] for s, (places, weight) in seeds])
                for name, move in self.moves.items()
            },
        )

    def mapped(self, value_xS: FloatArray, slope_xS: FloatArray) -> Statistic:
        """A smooth function of each seed's value: what it is and its slope there."""
        return Statistic(value_xS, {name: move * slope_xS[..., None] for name, move in self.moves.items()})

    def log(self) -> Statistic:
        """Logarithms."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.mapped(np.log(self.value_xS), 1 / self.value_xS)

    def exp_of_mean(self) -> Statistic:
        """exp of the mean over seeds, as a straight line around it."""
        level = np.exp(self.value)[..., None]
        straight = level * (1 + self.value_xS - self.value[..., None])
        return self.mapped(straight, np.broadcast_to(level, straight.shape))

    def infer(self) -> Inference:
        """Over trainings, with one seed over items."""
        cov: FloatArray = np.zeros((*self.value_xS.shape, self.value_xS.shape[-1]))
        for move in self.moves.values():
            units = move.shape[-1]
            with np.errstate(invalid="ignore"):
                cov = cov + units / max(units - 1, 1) * (move @ np.swapaxes(move, -1, -2))
        least = min((move.shape[-1] for move in self.moves.values()), default=1)
        return over_trainings(self.value_xS, cov, least)


def combined(parts: Sequence[Statistic], weights: Sequence[float | FloatArray]) -> Statistic:
    """Σ weight · part. Weights are numbers, or one a seed (S,)."""
    value = sum((np.asarray(w) * part.value_xS for w, part in zip(weights, parts, strict=True)), np.zeros(()))
    moves: dict[str, FloatArray] = {}
    for weight, part in zip(weights, parts, strict=True):
        for name, move in part.moves.items():
            scaled = np.asarray(weight)[..., None] * move if np.ndim(weight) else weight * move
            moves[name] = moves[name] + scaled if name in moves else scaled
    return Statistic(np.asarray(value), moves)


def mean_of(parts: Sequence[Statistic]) -> Statistic:
    """The mean of several."""
    return combined(parts, [1 / len(parts)] * len(parts))


@dataclass(frozen=True)
class Contrast:
    """A difference (or a mean) of scores, with what a table and a verdict need.

    Attributes:
        value: the difference, mean over seeds.
        low: lower end of its 95 % interval.
        high: upper end.
        p: two-sided, uncorrected.
        seeds: how many trainings; with one the interval is over items.
        same_sign: in how many of them the difference has the sign of the mean. A fact beside the test, no part of it.
        detectable: what would have been found with 80 % power.
        names: the seeds, where they matter.
        statistic: what it was computed from, so that it can be set against others; None for what is no sum of scores.
    """

    value: float
    low: float
    high: float
    p: float
    seeds: int
    same_sign: int
    detectable: float
    names: tuple[int, ...] = ()
    statistic: Statistic | None = field(default=None, repr=False, compare=False)

    @property
    def sign(self) -> int:
        """`sign_of` its interval."""
        return int(sign_of(np.asarray(self.low), np.asarray(self.high)))

    @property
    def clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.sign != 0

    def against(self, other: Contrast) -> Contrast:
        """The paired difference from another one of the same seeds."""
        assert self.statistic is not None
        assert other.statistic is not None
        return contrast(self.statistic - other.statistic, self.names)


def sign_of(low: FloatArray, high: FloatArray) -> np.ndarray:
    """+1 where an interval lies above 0, −1 where below, 0 where it holds 0 or does not exist."""
    return np.asarray((low > 0).astype(np.int64) - (high < 0))


def contrast(gap: Statistic, names: Sequence[int] = ()) -> Contrast:
    """The contrast of one difference.

    Args:
        gap: of shape (S,).
        names: its seeds.
    """
    return replace(as_contrast(gap.infer(), gap.value_xS), names=tuple(names), statistic=gap)


def as_contrast(found: Inference, value_S: FloatArray) -> Contrast:
    """One inference as a contrast.

    Args:
        found: of shape ().
        value_S: the difference in each seed.
    """
    low, high = found.interval()
    return Contrast(
        float(found.value),
        float(low),
        float(high),
        float(found.p),
        len(value_S),
        int(same_sign(value_S)),
        float(found.detectable()),
    )


def same_sign(value_xS: FloatArray) -> np.ndarray:
    """How many seeds have the sign of the mean, (…)."""
    mean = value_xS.mean(-1, keepdims=True)
    return np.asarray(((np.sign(value_xS) == np.sign(mean)) & (value_xS != 0)).sum(-1))
