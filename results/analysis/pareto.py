"""Perplexity against task score over λ: which points of a method nothing else beats, and how much they cover.

A point of a merge is its word perplexity (lower is better) and the mean score of its merged tasks (higher is better),
each the mean over seeds. The *front* of a method is the points that no other of its points beats in both. Its
*hypervolume* is the share of a fixed box that lies under the front: perplexity on a log scale from that of pre to ten
times that, where a merge counts as unstable, and score from 0 to 1. A perplexity below that of pre earns no more than
that of pre. λ = 0, which is pre itself, belongs to every front; unstable points belong to none.

A front of noisy points is a little too good, and the more points it has the more so; methods at the same λ on the
same items share that excess, so that differences are what to read. Intervals hold the λ; they are over trainings,
with one seed over items.

Source: Zitzler and Thiele, "Multiobjective evolutionary algorithms", IEEE Trans. Evolutionary Computation 3 (1999).

Legend: P points, B replicates (or 1), S seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from results.analysis.curves import FEWEST, PPL, Curve, labels_of, merges_of
from results.statistics.bootstrap import over_seeds
from results.statistics.closed_form import FloatArray
from results.statistics.inference import Contrast
from results.study.selection import UNSTABLE_RATIO

ALL = "all"

#: (merge, label) → the curve from the model before merging on.
Curves = Mapping[tuple[str, str], Curve]


@dataclass(frozen=True)
class Front:
    """A method's points on one merge.

    Attributes:
        merge: name of the merge.
        label: the method.
        points: names of λ, the model before merging first.
        ppl_P: word perplexity, mean over seeds; NaN where unstable.
        score_P: mean over merged tasks and seeds, 0 to 1; NaN where unstable.
        front_P: whether the point is on the front.
    """

    merge: str
    label: str
    points: tuple[str, ...]
    ppl_P: FloatArray
    score_P: FloatArray
    front_P: np.ndarray


@dataclass(frozen=True)
class Volume:
    """The hypervolume of a method on a merge (or its mean over merges, ``merge`` = "all"), and against the baseline.

    ``gap`` is the difference from the baseline; None where there is nothing to compare with.
    """

    merge: str
    label: str
    value: float
    low: float
    high: float
    gap: Contrast | None = None


def on_front(ppl_P: FloatArray, score_P: FloatArray) -> np.ndarray:
    """Which points no other point beats: none is at least as good in both and better in one. NaN is on no front."""
    known = np.isfinite(ppl_P) & np.isfinite(score_P)
    with np.errstate(invalid="ignore"):
        at_least = (ppl_P[None, :] <= ppl_P[:, None]) & (score_P[None, :] >= score_P[:, None])
        better = (ppl_P[None, :] < ppl_P[:, None]) | (score_P[None, :] > score_P[:, None])
    return np.asarray(known & ~(at_least & better & known[None, :]).any(1))


def hypervolume(ppl_PB: FloatArray, score_PB: FloatArray, pre: float) -> FloatArray:
    """Share of the box under the front of P points, for each column; see the module's text.

    Args:
        ppl_PB: word perplexities; P may be 0.
        score_PB: scores, 0 to 1.
        pre: perplexity of the model before merging, where the box begins.

    Returns:
        Shape (B,), in [0, 1].
    """
    width = np.clip(1 - np.log(ppl_PB / pre) / math.log(UNSTABLE_RATIO), 0.0, 1.0)
    height = np.clip(score_PB, 0.0, 1.0)
    order = np.argsort(-width, axis=0, kind="stable")
    width = np.take_along_axis(width, order, axis=0)
    best = np.maximum.accumulate(np.take_along_axis(height, order, axis=0), axis=0)
    # Between one point's width and the next lies a strip as high as the best point that reaches it.
    strips = width - np.concatenate([width[1:], np.zeros((1, width.shape[1]))])[: len(width)]
    return np.asarray((strips * best).sum(0))


def front(curve: Curve, seeds: Sequence[int] | None = None) -> Front:
    """A method's points and front on one merge, means over `seeds` (places; default: all that it has).

    Args:
        curve: from the model before merging on (`curves.from_pre`).
        seeds: which.
    """
    used = list(curve.made_seeds if seeds is None else seeds)
    keep = curve.complete(used) if used else np.zeros(0, dtype=np.int64)
    ppl, score = (np.full(len(curve.points), np.nan) for _ in range(2))
    at = np.ix_(keep, np.array(used, dtype=np.int64))
    ppl[keep] = curve.scored[PPL].value_PS[at].mean(1)
    score[keep] = np.mean([curve.scored[task].value_PS[at].mean(1) for task in curve.tasks], axis=0)
    return Front(curve.merge, curve.label, curve.points, ppl, score, on_front(ppl, score))


def volumes(curves: Curves, baseline: str) -> list[Volume]:
    """Hypervolumes of every merge and method that make a curve, then the means over merges of methods with all."""
    swept = {merge: labels for merge in merges_of(curves) if (labels := labels_of(curves, merge, FEWEST))}
    if not swept:
        return []
    shared = [label for label in next(iter(swept.values())) if all(label in labels for labels in swept.values())]
    cells = [([merge], label, labels) for merge, labels in swept.items() for label in labels]
    cells += [([*swept], label, shared) for label in shared if len(swept) > 1]
    return [
        _volume(curves, merges, label, baseline if baseline in labels else None) for merges, label, labels in cells
    ]


def _volume(curves: Curves, merges: Sequence[str], label: str, baseline: str | None) -> Volume:
    """Mean hypervolume of a method over merges, and its difference from the baseline on the seeds that both have."""
    name, mine = merges[0] if len(merges) == 1 else ALL, [curves[merge, label] for merge in merges]
    value, own_S, own_SB = _covered(mine, _common(mine))
    own = over_seeds(own_S, own_SB)
    moved = value - own.value
    made = Volume(name, label, value, max(own.low + moved, 0.0), min(own.high + moved, 1.0))
    others = [] if baseline in (None, label) else [curves[merge, str(baseline)] for merge in merges]
    if not others or not (seeds := _common([*mine, *others])):
        return made
    a, a_S, a_SB = _covered(mine, seeds)
    b, b_S, b_SB = _covered(others, seeds)
    gap = over_seeds(a_S - b_S, a_SB - b_SB)
    moved = a - b - gap.value
    return replace(made, gap=replace(gap, value=a - b, low=gap.low + moved, high=gap.high + moved))


def _common(curves: Sequence[Curve]) -> tuple[int, ...]:
    return tuple(sorted(set.intersection(*[set(curve.made_seeds) for curve in curves])))


def _covered(curves: Sequence[Curve], seeds: tuple[int, ...]) -> tuple[float, FloatArray, FloatArray]:
    """Mean over merges: the volume of the mean over seeds, those of each seed alone (S,), their replicates (S, B)."""
    value = [_points_volume(curve, seeds) for curve in curves]
    alone = [[_points_volume(curve, (seed,)) for seed in seeds] for curve in curves]
    draws = [[_draws(curve, seed) for seed in seeds] for curve in curves]
    return float(np.mean(value)), np.mean(alone, axis=0), np.mean(draws, axis=0)


def _points_volume(curve: Curve, seeds: tuple[int, ...]) -> float:
    made = front(curve, seeds)
    keep = np.isfinite(made.ppl_P)
    return float(hypervolume(made.ppl_P[keep, None], made.score_P[keep, None], _before(curve, seeds))[0])


def _draws(curve: Curve, seed: int) -> FloatArray:
    places = curve.complete((seed,))
    ppl = curve.scored[PPL].draws_PSB[places, seed]
    score = np.mean([curve.scored[task].draws_PSB[places, seed] for task in curve.tasks], axis=0)
    return hypervolume(ppl, score, _before(curve, (seed,)))


def _before(curve: Curve, seeds: tuple[int, ...]) -> float:
    """Perplexity of the model before merging, mean over seeds: the corner of the box, held fixed."""
    return float(curve.scored[PPL].value_PS[0, list(seeds)].mean())
