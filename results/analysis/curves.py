"""Every point of a sweep with its scores, intervals and bootstrap draws: one `Curve` a method and merge.

Legend: P points, S seeds, B replicates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from results.analysis.points import Points, name_of, references, unstable
from results.statistics.closed_form import FloatArray
from results.statistics.estimates import Estimate, Measure
from results.statistics.inference import Statistic, combined, contrast
from results.study.lineup import Model
from results.study.sweep import TEST, Sweep, lambdas_of, one_lambda

PPL = "wikitext"
#: Mean of the merged tasks, and the same with each task divided by its expert's own score (`selection.normalised`).
RAW, NORMALISED = "mean", "normalised"


@dataclass(frozen=True)
class Scored:
    """One quantity at every point: its values for each seed with what moves them, and the bootstrap's replicates."""

    statistic: Statistic
    draws_PSB: FloatArray

    @property
    def value_PS(self) -> FloatArray:
        return self.statistic.value_xS

    def light(self) -> Scored:
        """The values alone; the rest is a hundred times larger."""
        return Scored(Statistic(self.value_PS, {}), np.zeros((*self.value_PS.shape, 0)))


@dataclass(frozen=True)
class Curve:
    """One method on one merge.

    Attributes:
        merge: name of the merge.
        label: the method.
        points: in the order of tables.
        seeds: all seeds of the sweep.
        present_PS: which points were scored for which seed.
        unstable_PS: not finite, or over ten times pre's perplexity, on either split.
        scored: task, `RAW`, and `NORMALISED` where there is a reference → values; the tasks are perplexity and those
            that were merged.
        estimates: the same names → one estimate a point: the mean over stable seeds (over all where none is).
        distance_P: ‖merged − pre‖, mean over seeds.
        pre: perplexity of pre, one point.
        drawn: the names of `scored` → what the bootstrap of one seed draws from: items or clusters; of a mean the
            fewest of its tasks.
    """

    merge: str
    label: str
    points: tuple[str, ...]
    seeds: tuple[int, ...]
    present_PS: np.ndarray
    unstable_PS: np.ndarray
    scored: dict[str, Scored]
    estimates: dict[str, list[Estimate | None]]
    distance_P: FloatArray
    pre: Scored | None
    drawn: dict[str, int | None]

    kind: ClassVar[str] = "learn"

    @property
    def objective(self) -> str:
        """What λ is chosen by: `NORMALISED` where every expert has a score, else `RAW`."""
        return NORMALISED if NORMALISED in self.scored else RAW

    @property
    def stable_PS(self) -> np.ndarray:
        return np.asarray(self.present_PS & ~self.unstable_PS)

    @property
    def line(self) -> list[int]:
        """Places of the points with one λ for all tasks, in the order of λ."""
        lams = [one_lambda(point) for point in self.points]
        return sorted((place for place, lam in enumerate(lams) if lam == lam), key=lambda place: lams[place])

    @property
    def lam_P(self) -> FloatArray:
        """λ of each point, NaN where it has one λ a task."""
        return np.array([one_lambda(point) for point in self.points])


def estimate(mean: Statistic) -> Estimate:
    """A score, statistic of shape (S,), with its interval: over trainings, with one seed over items."""
    found = contrast(mean)
    return Estimate(found.value, max(found.low, 0.0), found.high, 0, found.seeds)


def curves(sweep: Sweep, merge: str, test: Points, dev: Points | None, normalise: bool) -> Iterator[Curve]:
    """The curves of one merge, a method each.

    Args:
        sweep: where the points come from.
        merge: a learning merge.
        test: its points on the test split.
        dev: its points on the development split, whose instability counts as well.
        normalise: whether every merge of the sweep has `references`. They are taken as fixed: their own error moves
            all points together and no difference between two points.
    """
    models, skip = test.lineup.models, skips(test, dev)
    tasks = [task for task in (PPL, *test.lineup.members(merge)) if task in test.measures]
    found = {task: test.measures[task].estimates(models, skip) for task in tasks}
    shares = references(sweep, merge) if normalise else None
    for label in dict.fromkeys(name for kind, other, name in sweep.methods if (kind, other) == ("learn", merge)):
        yield _curve(sweep, merge, label, test, skip, found, shares)


def skips(test: Points, dev: Points | None) -> dict[int, list[int]]:
    """Place of a model → places of the seeds for which it is unstable on either split."""
    seeds = test.lineup.seeds
    return {
        place: [seeds.index(seed) for seed in unstable(key, test, dev)]
        for place, key in enumerate(test.lineup.models)
    }


def _curve(
    sweep: Sweep,
    merge: str,
    label: str,
    test: Points,
    skip: dict[int, list[int]],
    found: dict[str, list[Estimate | None]],
    shares: dict[str, dict[int, float]] | None,
) -> Curve:
    lineup, seeds = test.lineup, tuple(test.lineup.seeds)
    points = tuple(sweep.points("learn", merge, label))
    places = [lineup.position[Model("learn", merge, name_of(label, point))] for point in points]
    rows = sweep.rows("scores", TEST)
    present = np.array([[(s, "learn", merge, label, point) in rows for s in seeds] for point in points])
    broken = np.array([[s in skip[place] for s in range(len(seeds))] for place in places])
    measures = {task: test.measures[task] for task in found}
    scored = {task: scored_at(measure, places) for task, measure in measures.items()}
    estimates = {task: [own[place] for place in places] for task, own in found.items()}
    drawn = {task: m.units((0,)) for task, m in measures.items()}
    members = [task for task in scored if task != PPL]
    for name, share in ((RAW, None), (NORMALISED, shares)):
        if members and (name == RAW or share):
            scored[name] = mean_of(
                [scored[task] for task in members], [_scale(share, task, seeds) for task in members]
            )
            estimates[name] = [estimate_of(scored[name], place, present, broken) for place in range(len(points))]
            drawn[name] = fewest(drawn, members)
    distance = np.array([lineup.distance(lineup.models[place]) for place in places])
    return Curve(merge, label, points, seeds, present, broken, scored, estimates, distance, pre_of(test), drawn)


def _scale(shares: dict[str, dict[int, float]] | None, task: str, seeds: tuple[int, ...]) -> FloatArray:
    return np.array([shares[task][seed] if shares else 1.0 for seed in seeds])


def scored_at(measure: Measure, places: list[int]) -> Scored:
    """A measure at some places of the model axis, for all seeds."""
    return Scored(measure.statistic(places, range(measure.point_MS.shape[1])), measure.replicates.draws_MSB[places])


def mean_of(tasks: list[Scored], scales: list[FloatArray]) -> Scored:
    """Mean over tasks, each divided by its scale (S,)."""
    shares = [1 / (scale * len(tasks)) for scale in scales]
    draws = np.zeros_like(tasks[0].draws_PSB)
    for task, share in zip(tasks, shares, strict=True):
        draws += task.draws_PSB * share[:, None]
    return Scored(combined([task.statistic for task in tasks], shares), draws)


def fewest(drawn: Mapping[str, int | None], tasks: Iterable[str]) -> int | None:
    """What the bootstrap of one seed draws from for a mean over tasks (`Curve.drawn`)."""
    return min((drawn[task] or 0 for task in tasks), default=0) or None


def pre_of(test: Points) -> Scored | None:
    """Perplexity of pre."""
    place, measure = test.lineup.position.get(Model("model", "", "pre")), test.measures.get(PPL)
    if place is None or measure is None:
        return None
    return scored_at(measure, [place])


def estimate_of(mean: Scored, place: int, present_PS: np.ndarray, broken_PS: np.ndarray) -> Estimate | None:
    """The mean over stable seeds, over all where none is stable; None where nothing was scored."""
    have = present_PS[place] & np.isfinite(mean.value_PS[place])
    stable = have & ~broken_PS[place]
    kept = np.flatnonzero(stable if stable.any() else have)
    return estimate(mean.statistic.at([place] * len(kept), kept.tolist())) if len(kept) else None


def is_grid(curve: Curve) -> bool:
    """Whether its points with one λ a task fill at least half of a grid over at least two tasks."""
    points = [lambdas_of(point) for point in curve.points if "=" in point]
    if not points or len(points[0]) < 2:
        return False
    steps = [len({point[expert] for point in points}) for expert in points[0]]
    return min(steps) > 1 and len(points) >= 0.5 * math.prod(steps)


def grid_experts(curve: Curve) -> list[str]:
    """The experts that have a λ of their own."""
    return sorted({expert for point in curve.points if "=" in point for expert in lambdas_of(point)})
