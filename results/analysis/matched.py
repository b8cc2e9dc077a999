"""Methods compared where they moved equally far from the model before merging.

At one λ two methods move by different amounts, and a lower perplexity could come from that alone (the controls of
`lineup.CONTROLS` ask the same in another way). Over λ each method gives a curve of score against ‖merged − pre‖₂;
between its points it is interpolated on a line, perplexities by their logarithm. A method is then compared with the
baseline at the distances that both reach, within each seed: at the distance of each of its own λ, and on average over
the whole common range, from 0 (pre itself) on. A curve ends before its first unstable point; points with one λ a task
have no place on it.

Between few points a line says little: both curves need at least `compared_curves.FEWEST` stable λ, and the error of
interpolating is not in the intervals; a finer grid shrinks it. Means over seeds of perplexities are geometric here.
Distances are taken as exact, so that every difference is one weighted sum of scores: its interval is over trainings,
with one seed over items (`inference`).

Legend: P points, S seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from results.analysis.point_curves import FEWEST, Curve, Curves
from results.statistics.closed_form import FloatArray
from results.statistics.inference import Contrast, Statistic, contrast, mean_of

RANGE = "range"
#: The mean of the merged tasks, and of all merges, where a name of a task or merge stands.
MEAN, ALL = "mean", "all"


@dataclass(frozen=True)
class Match:
    """A method against the baseline at equal distance.

    Attributes:
        merge: name of the merge, or "all".
        task: task, or "mean" over the merged tasks.
        label: the method.
        at: the method's λ whose distance is taken, or "range": the mean over the common range.
        distance: the distance, mean over seeds; for the range its upper end.
        value: score of the method there.
        baseline: score of the baseline there.
        gap: the difference ``value − baseline``, uncorrected: all of this is exploratory.
    """

    merge: str
    task: str
    label: str
    at: str
    distance: float
    value: float
    baseline: float
    gap: Contrast


def weights_at(knots_P: FloatArray, at: float) -> FloatArray:
    """Weights of P points in the linear interpolation at one place within their range.

    Args:
        knots_P: ascending.
        at: between the first and the last.
    """
    return np.array([np.interp(at, knots_P, unit) for unit in np.eye(len(knots_P))])


def weights_over(knots_P: FloatArray, low: float, high: float) -> FloatArray:
    """Weights of P points in the mean of their linear interpolation from `low` to `high`, exact.

    The trapezoid rule on the knots within the range and its two ends; where they are equal, the value there.
    """
    if high <= low:
        return weights_at(knots_P, low)
    inner = knots_P[(knots_P > low) & (knots_P < high)]
    grid = np.concatenate([[low], inner, [high]])
    # Divided by the whole first: half of the smallest float there is would be 0.
    steps = np.diff(grid) / (high - low) / 2
    share = np.zeros(len(grid))
    share[:-1] += steps
    share[1:] += steps
    return np.asarray(sum(s * weights_at(knots_P, x) for s, x in zip(share, grid, strict=True)))


@dataclass(frozen=True)
class _Track:
    """The usable part of a curve for one seed: ascending distances and the places of their points."""

    distance_P: FloatArray
    places: np.ndarray
    points: tuple[str, ...]


def _track(curve: Curve, seed: int) -> _Track:
    one = np.isfinite(curve.lam_P) & curve.made_PS[:, seed]
    order = [place for place in np.argsort(curve.lam_P, kind="stable") if one[place]]
    kept: list[int] = []
    for place in order:
        if not curve.stable_PS[place, seed]:
            break
        if not kept or curve.distance_PS[place, seed] > curve.distance_PS[kept[-1], seed]:
            kept.append(int(place))
    return _Track(curve.distance_PS[kept, seed], curve.places[kept], tuple(curve.points[place] for place in kept))


@dataclass(frozen=True)
class _Sides:
    """Both sides at one place: weights of points for each seed, and how far that is."""

    a: list[tuple[np.ndarray, FloatArray]]  # (places of points, their weights), one a seed
    b: list[tuple[np.ndarray, FloatArray]]
    distance: float


def matches(curves: Curves, baseline: str) -> list[Match]:
    """Every method against the baseline: on each merge and task at each common distance and over the range; means."""
    found: list[Match] = []
    for label in dict.fromkeys(label for merge in curves.merges for label in curves.labels(merge)):
        if label == baseline:
            continue
        over: list[tuple[str, list[int], _Sides]] = []
        for merge in curves.merges:
            if not {label, baseline} <= set(curves.labels(merge)):
                continue
            a, b = curves.curve(merge, label), curves.curve(merge, baseline)
            seeds = [seed for seed in a.seeds() if seed in b.seeds()]
            for at, sides in _places(a, b, seeds):
                tasks = curves.lineup.members(merge)
                for name, members in (("wikitext", ["wikitext"]), *((t, [t]) for t in tasks), (MEAN, tasks)):
                    found.append(_match(curves, name, [(merge, members)], label, at, [sides], seeds))
                if at == RANGE:
                    over.append((merge, seeds, sides))
        if len(over) > 1 and len({tuple(seeds) for _, seeds, _ in over}) == 1:
            sides_of = [sides for _, _, sides in over]
            for name in ("wikitext", MEAN):
                cells = [(m, curves.lineup.members(m) if name == MEAN else [name]) for m, _, _ in over]
                found.append(_match(curves, name, cells, label, RANGE, sides_of, over[0][1]))
    return found


def over_range(found: Sequence[Match], label: str) -> Match | None:
    """A method's mean score against the baseline over the common range: the mean of merges, or of the only one."""
    own = [match for match in found if (match.label, match.task, match.at) == (label, MEAN, RANGE)]
    return next((match for match in own if match.merge == ALL), own[0] if len(own) == 1 else None)


def _places(a: Curve, b: Curve, seeds: Sequence[int]) -> list[tuple[str, _Sides]]:
    """Where two curves can be compared: the λ of `a` that every seed reaches, then the common range."""
    tracks = [(_track(a, seed), _track(b, seed)) for seed in seeds]
    if not tracks or any(min(len(one.points), len(other.points)) <= FEWEST for one, other in tracks):
        return []
    found = []
    for point in tracks[0][0].points:
        if not point or not all(point in one.points for one, _ in tracks):
            continue
        far = [float(one.distance_P[one.points.index(point)]) for one, _ in tracks]
        if all(distance <= other.distance_P[-1] for distance, (_, other) in zip(far, tracks, strict=True)):
            found.append((point, _sides(tracks, weights_at, far)))
    ends = [float(min(one.distance_P[-1], other.distance_P[-1])) for one, other in tracks]
    return [*found, (RANGE, _sides(tracks, lambda knots, end: weights_over(knots, 0.0, end), ends))]


def _sides(
    tracks: Sequence[tuple[_Track, _Track]], weigh: Callable[[FloatArray, float], FloatArray], where: Sequence[float]
) -> _Sides:
    """Both sides with the weights that `weigh` gives at one distance of each seed."""
    a, b = (
        [(track.places, weigh(track.distance_P, far)) for track, far in zip(part, where, strict=True)]
        for part in zip(*tracks, strict=True)
    )
    return _Sides(a, b, float(np.mean(where)))


def _match(
    curves: Curves,
    name: str,
    cells: Sequence[tuple[str, Sequence[str]]],
    label: str,
    at: str,
    sides: Sequence[_Sides],
    seeds: Sequence[int],
) -> Match:
    """One comparison, called `name`: the mean over all tasks of all merges (perplexities by their logarithm)."""
    a, b = (
        mean_of(
            [
                _side(curves, task, getattr(both, side), seeds)
                for (_, members), both in zip(cells, sides, strict=True)
                for task in members
            ]
        )
        for side in ("a", "b")
    )
    if name == "wikitext":
        a, b = a.exp_of_mean(), b.exp_of_mean()
    return Match(
        merge=cells[0][0] if len(cells) == 1 else ALL,
        task=name,
        label=label,
        at=at,
        distance=float(np.mean([both.distance for both in sides])),
        value=float(a.value),
        baseline=float(b.value),
        gap=contrast(a - b),
    )


def _side(
    curves: Curves, task: str, weighted: Sequence[tuple[np.ndarray, FloatArray]], seeds: Sequence[int]
) -> Statistic:
    """The interpolated score of each seed, shape (S,); perplexities as logarithms."""
    own = curves.measures[task].statistic(range(len(curves.lineup.models)), seeds)
    return (own.log() if task == "wikitext" else own).weighed(weighted)
