"""What choosing λ on the development split cost: the test score at the choice against the best one in hindsight.

The best of many test scores is a noisy maximum: it lies above the best true score even where all λ are equally good,
and so the observed cost is too high on average. The interval allows for it. Its lower end is that of multiple
comparisons with the best: all points are compared with the chosen one at once, by the 97.5 % point of the *largest*
centred difference of a replicate, and negative costs, which cannot be, are cut at 0. Its upper end is the percentile
of the cost of a replicate, in which the best point is picked anew. Simulated (12 points, 60 and 300 items, flat and
peaked curves; tests/results/test_sweep_choice.py) it covers the true cost at least 95 times in 100, where the
plain percentile interval, whose replicates are maxima of noise upon noise, covers a flat curve's 54 to 62 times.
It is an interval over items: with several seeds it is about their mean, and says nothing of other trainings.

Source: Hsu, "Constrained simultaneous confidence intervals for multiple comparisons with the best", Annals of
Statistics 12 (1984), with bootstrap instead of normal quantiles.

Legend: P points, S seeds, B replicates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from results.analysis.curves import RAW, Curve, estimate
from results.statistics.closed_form import FloatArray
from results.statistics.estimates import Estimate
from results.study.sweep import Sweep


@dataclass(frozen=True)
class Cost:
    """Test score lost by choosing on the development split, in units of the score; mean over seeds.

    Attributes:
        value: best in hindsight − chosen.
        low: see the module's text.
        high: see the module's text.
        centred_B: replicates of the largest deviation from what was observed.
        draws_B: replicates of the cost.
    """

    value: float
    low: float
    high: float
    centred_B: FloatArray
    draws_B: FloatArray


@dataclass(frozen=True)
class Choice:
    """One method on one merge at its own λ.

    Attributes:
        chosen: seed → point chosen on the development split; None where nothing was stable.
        unstable: seeds for which the chosen point is unstable after all; they are in no mean.
        score: test score (the objective) at the chosen points, mean over seeds.
        raw: the same without dividing by the experts' scores.
        hindsight: seed → the stable point with the best test score.
        best: test score there.
        cost: None where nothing can be compared.
    """

    chosen: dict[int, str | None]
    unstable: tuple[int, ...]
    score: Estimate | None
    raw: Estimate | None
    hindsight: dict[int, str]
    best: Estimate | None
    cost: Cost | None


def choice_of(sweep: Sweep, curve: Curve) -> Choice:
    """The choice of one method on one merge, and the best point in hindsight."""
    chosen = {seed: sweep.choice(seed, "learn", curve.merge, curve.label) for seed in curve.seeds}
    at = {s: curve.points.index(point) for s, point in enumerate(chosen.values()) if point is not None}
    unstable = tuple(curve.seeds[s] for s, place in at.items() if curve.unstable_PS[place, s])
    kept = {s: place for s, place in at.items() if curve.stable_PS[place, s]}
    if curve.objective not in curve.scored or not kept:
        return Choice(chosen, unstable, None, None, {}, None, None)
    score = curve.scored[curve.objective]
    places, seeds = list(kept.values()), list(kept)
    ok_PS = curve.stable_PS & np.isfinite(score.value_PS)
    value_PS = np.where(ok_PS, score.value_PS, -np.inf)
    tops = [int(value_PS[:, s].argmax()) for s in seeds]
    raw = curve.scored[RAW]
    return Choice(
        chosen,
        unstable,
        estimate(score.statistic.at(places, seeds)),
        estimate(raw.statistic.at(places, seeds)),
        {curve.seeds[s]: curve.points[top] for s, top in zip(seeds, tops, strict=True)},
        estimate(score.statistic.at(tops, seeds)),
        cost_of(
            [value_PS[ok_PS[:, s], s] for s in seeds],
            [score.draws_PSB[ok_PS[:, s], s] for s in seeds],
            [int(ok_PS[:place, s].sum()) for s, place in kept.items()],
        ),
    )


def cost_of(values: Sequence[FloatArray], draws: Sequence[FloatArray], chosen: Sequence[int]) -> Cost:
    """Cost of the chosen points.

    Args:
        values: for each seed the scores of its stable points, (P,).
        draws: for each seed their replicates, (P, B).
        chosen: for each seed the place of the chosen point.
    """
    observed, replicate, centred = [], [], []
    for value_P, draws_PB, place in zip(values, draws, chosen, strict=True):
        gap_P, gaps_PB = value_P - value_P[place], draws_PB - draws_PB[place]
        observed.append(gap_P.max())
        replicate.append(gaps_PB.max(0))
        centred.append((gaps_PB - gap_P[:, None]).max(0))
    return _cost(float(np.mean(observed)), np.mean(centred, axis=0), np.mean(replicate, axis=0))


def mean_cost(costs: Sequence[Cost]) -> Cost:
    """Mean over methods and merges, whose replicates share their draws."""
    return _cost(
        float(np.mean([cost.value for cost in costs])),
        np.asarray(np.mean([cost.centred_B for cost in costs], axis=0)),
        np.asarray(np.mean([cost.draws_B for cost in costs], axis=0)),
    )


def _cost(value: float, centred_B: FloatArray, draws_B: FloatArray) -> Cost:
    low = max(0.0, value - float(np.quantile(centred_B, 0.975)))
    return Cost(value, low, float(np.quantile(draws_B, 0.975)), centred_B, draws_B)
