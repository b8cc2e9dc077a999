"""A method's scores over λ, with intervals and bootstrap draws: one `Curve` a method and merge.

A curve of learning holds the merges that were made, and what the model before merging scores beside them (`from_pre`
makes it the first point). A curve of forgetting starts at its target, λ = 0. All curves of a run share their draws of
test items: differences of curves are paired.

Legend: P points, S seeds, B replicates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from results.analysis.points import REFUSED, Points, Scored
from results.statistics.closed_form import FloatArray
from results.statistics.estimates import Estimate
from results.statistics.inference import Statistic, combined, contrast
from results.study.lineup import Model
from results.study.selection import utilities
from results.study.sweep import TEST, lambdas_of, one_lambda
from results.study.wording import heading_of

PPL = "wikitext"
#: Mean of the merged tasks (of a forgetting: of the utility tasks), and the same with each merged task divided by its
#: expert's own score (`selection.normalised`).
RAW, NORMALISED = "mean", "normalised"
PRE = Model("model", "", "pre")
#: The point of the model before merging, and of a forgetting's target.
BEFORE = "0"
#: Fewer λ than this, beside 0, do not make a curve: what lies between them would be a guess.
FEWEST = 3


@dataclass(frozen=True)
class Curve:
    """One method on one merge, learning or forgetting.

    Attributes:
        kind: learn or forget.
        merge: name of the merge.
        label: the method.
        points: names of λ, in the order of tables.
        seeds: all seeds of the run.
        present_PS: which points were scored for which seed.
        unstable_PS: not finite, or over ten times the perplexity before, on either split.
        scored: names → values. Of learning perplexity, the merged tasks, `RAW`, and `NORMALISED` where there is a
            reference. Of forgetting every task, `REFUSED` where refusals were counted, and `RAW`, the mean utility,
            where there are several utility tasks.
        estimates: the same names → one estimate a point: the mean over stable seeds (over all where none is).
        distance_PS: ‖merged − start‖₂ of each seed; NaN where unknown.
        distance_P: mean over seeds.
        drawn: the names of `scored` → what the bootstrap of one seed draws from: items or clusters; of a mean the
            fewest of its tasks.
        pre: perplexity and merged tasks of the model before merging, one point.
        harm: of a forgetting the task whose score should fall.
        utilities: of a forgetting the tasks whose scores should stay (`selection.utilities`).
        started: whether the first point is the model before.
    """

    kind: str
    merge: str
    label: str
    points: tuple[str, ...]
    seeds: tuple[int, ...]
    present_PS: np.ndarray
    unstable_PS: np.ndarray
    scored: dict[str, Scored]
    estimates: dict[str, list[Estimate | None]]
    distance_PS: FloatArray
    distance_P: FloatArray
    drawn: dict[str, int | None]
    pre: dict[str, Scored]
    harm: str = ""
    utilities: tuple[str, ...] = ()
    started: bool = False

    @property
    def objective(self) -> str:
        """What λ of learning is chosen by: `NORMALISED` where every expert has a score, else `RAW`."""
        return NORMALISED if NORMALISED in self.scored else RAW

    @property
    def utility(self) -> str | None:
        """The name of the mean utility of a forgetting, or of its only utility task."""
        return RAW if len(self.utilities) > 1 else next(iter(self.utilities), None)

    @property
    def tasks(self) -> list[str]:
        """The merged tasks that were scored."""
        return [name for name in self.scored if name not in (PPL, RAW, NORMALISED)]

    @property
    def stable_PS(self) -> np.ndarray:
        return np.asarray(self.present_PS & ~self.unstable_PS)

    @property
    def complete_PS(self) -> np.ndarray:
        """Stable, and with a finite perplexity and finite scores of all merged tasks."""
        finite = [np.isfinite(self.scored[name].value_PS) for name in (PPL, *self.tasks) if name in self.scored]
        return np.asarray(np.logical_and.reduce([self.stable_PS, *finite]))

    def complete(self, seeds: Sequence[int]) -> np.ndarray:
        """Places of the points that are complete for all these seeds, shape (≤ P,)."""
        return np.flatnonzero(self.complete_PS[:, list(seeds)].all(1))

    @property
    def made_seeds(self) -> tuple[int, ...]:
        """Places of the seeds for which any merge was made."""
        return tuple(np.flatnonzero(self.present_PS[int(self.started) :].any(0)).tolist())

    @property
    def line(self) -> list[int]:
        """Places of the points with one λ for all tasks, in the order of λ."""
        lams = [one_lambda(point) for point in self.points]
        return sorted((place for place, lam in enumerate(lams) if lam == lam), key=lambda place: lams[place])

    @property
    def lam_P(self) -> FloatArray:
        """λ of each point, NaN where it has one λ a task."""
        return np.array([one_lambda(point) for point in self.points])

    def light(self) -> Curve:
        """The curve without its draws."""
        scored, pre = ({name: one.light() for name, one in part.items()} for part in (self.scored, self.pre))
        return replace(self, scored=scored, pre=pre)


def learning_curves(points: Points, references: dict[str, dict[int, float]] | None = None) -> Iterator[Curve]:
    """The curves of one learning merge, a method each.

    Args:
        points: its settings on the test split.
        references: merged task → seed → its expert's score, where scores are normalised. They are taken as fixed:
            their own error moves all points together and no difference between two points.
    """
    merge, lineup = points.merge, points.lineup
    tasks = [task for task in lineup.members(merge) if task in points.measures]
    names = [name for name in (PPL, *tasks) if name in points.measures]
    before = lineup.position.get(PRE)
    pre = {name: points.scored(name, [before]) for name in names} if before is not None else {}
    for label in _labels(points, "learn"):
        keys = [Model("learn", merge, label, point) for point in points.sweep.points("learn", merge, label)]
        curve = replace(_curve(points, "learn", label, keys, names), pre=pre)
        if tasks:
            curve = _with_mean(curve, RAW, tasks, [np.ones(len(curve.seeds))] * len(tasks))
        if tasks and references:
            scales = [np.array([references[task][seed] for seed in curve.seeds]) for task in tasks]
            curve = _with_mean(curve, NORMALISED, tasks, scales)
        yield curve


def forgetting_curves(points: Points) -> Iterator[Curve]:
    """The curves of one forgetting, a method each, from the target on where it was scored."""
    merge, lineup = points.merge, points.lineup
    target, harm = lineup.target(merge), lineup.harm_task(merge)
    for label in _labels(points, "forget"):
        keys = [Model("forget", merge, label, point) for point in points.sweep.points("forget", merge, label)]
        if target is not None:
            keys = [target, *(key for key in keys if one_lambda(key.setting) != 0)]
        curve = _curve(points, "forget", label, keys, list(points.measures))
        curve = replace(curve, harm=harm, started=target is not None)
        # A task that the models of the family alone were scored on has no curve.
        merged = int(curve.started)
        kept = {name: one for name, one in curve.scored.items() if np.isfinite(one.value_PS[merged:]).any()}
        useful = utilities([name for name in kept if name != REFUSED], harm)
        curve = replace(curve, scored=kept, utilities=tuple(useful))
        yield _with_mean(curve, RAW, useful, [np.ones(len(curve.seeds))] * len(useful)) if len(useful) > 1 else curve


def from_pre(curve: Curve) -> Curve:
    """A curve of learning with the model before merging as its first point, at distance 0.

    Raises:
        ValueError: the model before merging was not scored.
    """
    names = [name for name in (PPL, *curve.tasks) if name in curve.scored]
    if not all(name in curve.pre for name in names):
        raise ValueError("no score of pre, the model before merging; curves over λ start there")
    scored_S = np.logical_and.reduce([np.isfinite(curve.pre[name].value_PS[0]) for name in names])
    start_S = np.zeros((1, len(curve.seeds)))
    return replace(
        curve,
        points=(BEFORE, *curve.points),
        present_PS=np.concatenate([scored_S[None], curve.present_PS]),
        unstable_PS=np.concatenate([start_S.astype(bool), curve.unstable_PS]),
        scored={name: curve.scored[name].after(curve.pre[name]) for name in names},
        estimates={},
        distance_PS=np.concatenate([start_S, curve.distance_PS]),
        distance_P=np.concatenate([[0.0], curve.distance_P]),
        started=True,
    )


def _labels(points: Points, kind: str) -> list[str]:
    """The methods that were made of this merge."""
    return list(dict.fromkeys(label for k, m, label in points.sweep.methods if (k, m) == (kind, points.merge)))


def _curve(points: Points, kind: str, label: str, keys: Sequence[Model], names: Sequence[str]) -> Curve:
    """The curve through some models; a model of the family among them is the point `BEFORE`."""
    lineup, rows = points.lineup, points.sweep.rows("scores", TEST)
    places, seeds = [lineup.position[key] for key in keys], lineup.seeds
    family = [key.kind == "model" for key in keys]
    return Curve(
        kind,
        points.merge,
        label,
        points=tuple(BEFORE if own else key.setting for key, own in zip(keys, family, strict=True)),
        seeds=tuple(seeds),
        present_PS=np.array([[(seed, *key) in rows for seed in seeds] for key in keys]),
        unstable_PS=np.array([[s in points.unstable[place] for s in range(len(seeds))] for place in places]),
        scored={name: points.scored(name, places) for name in names},
        estimates={name: [points.estimates(name)[place] for place in places] for name in names},
        distance_PS=np.array([[lineup.distance(key, seed) for seed in seeds] for key in keys]),
        distance_P=np.array([0.0 if own else lineup.distance(key) for key, own in zip(keys, family, strict=True)]),
        drawn={name: points.measures[name].units((0,)) for name in names},
        pre={},
    )


def _with_mean(curve: Curve, name: str, tasks: Sequence[str], scales: Sequence[FloatArray]) -> Curve:
    """The curve with the mean over tasks, each divided by its scale (S,), as one more quantity."""
    parts, shares = [curve.scored[task] for task in tasks], [1 / (scale * len(tasks)) for scale in scales]
    draws = np.zeros_like(parts[0].draws_PSB)
    for part, share in zip(parts, shares, strict=True):
        draws += part.draws_PSB * share[:, None]
    mean = Scored(combined([part.statistic for part in parts], shares), draws)
    fewest = min((curve.drawn[task] or 0 for task in tasks), default=0) or None
    return replace(
        curve,
        scored={**curve.scored, name: mean},
        estimates={**curve.estimates, name: [_estimate_of(curve, mean, p) for p in range(len(curve.points))]},
        drawn={**curve.drawn, name: fewest},
    )


def _estimate_of(curve: Curve, mean: Scored, place: int) -> Estimate | None:
    """The mean over stable seeds, over all where none is stable; None where nothing was scored."""
    have = curve.present_PS[place] & np.isfinite(mean.value_PS[place])
    stable = have & ~curve.unstable_PS[place]
    kept = np.flatnonzero(stable if stable.any() else have)
    return estimate(mean.statistic.at([place] * len(kept), kept.tolist())) if len(kept) else None


def estimate(mean: Statistic) -> Estimate:
    """A score, statistic of shape (S,), with its interval: over trainings, with one seed over items."""
    mean_contrast = contrast(mean)
    return Estimate(mean_contrast.value, max(mean_contrast.low, 0.0), mean_contrast.high, 0, mean_contrast.seeds)


def merges_of(curves: Mapping[tuple[str, str], Curve]) -> list[str]:
    """The merges of some curves, in their order."""
    return list(dict.fromkeys(merge for merge, _ in curves))


def labels_of(curves: Mapping[tuple[str, str], Curve], merge: str, fewest: int = 0) -> list[str]:
    """The methods of a merge that have at least so many λ beside 0."""
    return [label for (m, label), curve in curves.items() if m == merge and len(curve.points) > fewest]


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


def heading(name: str, curve: Curve) -> str:
    """What a quantity of a forgetting is called, with its unit."""
    if name == curve.harm:
        return f"harm: {heading_of(name)}"
    return {RAW: "mean utility (%)", REFUSED: "refused (%)"}.get(name) or heading_of(name)
