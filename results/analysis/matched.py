"""Methods compared where they moved equally far from the model before merging.

At one λ two methods move by different amounts, and a lower perplexity could come from that alone (controls ask
the same in another way). Over λ each method gives a curve of score against ‖merged − pre‖₂;
between its points it is interpolated on a line, perplexities by their logarithm. A method is then compared with the
baseline at the distances that both reach, within each seed: at the distance of each of its own λ, and on average over
the whole common range, from 0 (pre itself) on. A curve ends before its first unstable point; points with one λ a task
have no place on it.

Between few points a line says little: both curves need at least `curves.FEWEST` stable λ, and the error of
interpolating is not in the intervals; a finer grid shrinks it. Means over seeds of perplexities are geometric here.
Distances are taken as exact, so that every difference is one weighted sum of scores: its interval is over trainings,
with one seed over items (`inference`).

Legend: P points, S seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from results.analysis.curves import FEWEST, PPL, Curve, labels_of, merges_of
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

    curve: Curve
    distance_P: FloatArray
    places: np.ndarray

    @property
    def points(self) -> list[str]:
        return [self.curve.points[place] for place in self.places]


def _track(curve: Curve, seed: int) -> _Track:
    kept: list[int] = []
    for place in curve.line:
        if not curve.present_PS[place, seed]:
            continue
        if not curve.complete_PS[place, seed]:
            break
        if not kept or curve.distance_PS[place, seed] > curve.distance_PS[kept[-1], seed]:
            kept.append(place)
    return _Track(curve, curve.distance_PS[kept, seed], np.array(kept, dtype=np.int64))


@dataclass(frozen=True)
class _Side:
    """A curve at one place: the weights of its points for each seed."""

    curve: Curve
    seeds: Sequence[int]
    picks: list[tuple[np.ndarray, FloatArray]]  # (places of points, their weights), one a seed

    def score(self, task: str) -> Statistic:
        """The interpolated score of each seed, shape (S,); perplexities as logarithms."""
        points = self.curve.scored[task].statistic.of(self.seeds)
        return (points.log() if task == PPL else points).weighed(self.picks)


@dataclass(frozen=True)
class _Place:
    """Both curves at one distance, mean over seeds."""

    method: _Side
    baseline: _Side
    distance: float


def matches(curves: Mapping[tuple[str, str], Curve], baseline: str) -> list[Match]:
    """Every method against the baseline: on each merge and task at each common distance and over the range; means.

    Args:
        curves: (merge, label) → the curve from the model before merging on.
        baseline: the method on the other side.
    """
    found: list[Match] = []
    for label in dict.fromkeys(label for _, label in curves if label != baseline):
        over: list[_Place] = []
        for merge in merges_of(curves):
            if not {label, baseline} <= set(labels_of(curves, merge)):
                continue
            a, b = curves[merge, label], curves[merge, baseline]
            for at, place in _places(a, b, [seed for seed in a.made_seeds if seed in b.made_seeds]):
                for name, tasks in ((PPL, [PPL]), *((task, [task]) for task in a.tasks), (MEAN, a.tasks)):
                    found.append(_match(name, at, [(place, tasks)]))
                over += [place] * (at == RANGE)
        if len(over) > 1 and len({tuple(place.method.seeds) for place in over}) == 1:
            found.append(_match(PPL, RANGE, [(place, [PPL]) for place in over]))
            found.append(_match(MEAN, RANGE, [(place, place.method.curve.tasks) for place in over]))
    return found


def over_range(found: Sequence[Match], label: str) -> Match | None:
    """A method's mean score against the baseline over the common range: the mean of merges, or of the only one."""
    own = [match for match in found if (match.label, match.task, match.at) == (label, MEAN, RANGE)]
    return next((match for match in own if match.merge == ALL), own[0] if len(own) == 1 else None)


def _places(a: Curve, b: Curve, seeds: Sequence[int]) -> list[tuple[str, _Place]]:
    """Where two curves can be compared: the λ of `a` that every seed reaches, then the common range."""
    tracks = [(_track(a, seed), _track(b, seed)) for seed in seeds]
    if not tracks or any(min(len(one.places), len(other.places)) <= FEWEST for one, other in tracks):
        return []
    found = []
    for point in tracks[0][0].points[1:]:
        if not all(point in one.points for one, _ in tracks):
            continue
        far = [float(one.distance_P[one.points.index(point)]) for one, _ in tracks]
        if all(distance <= other.distance_P[-1] for distance, (_, other) in zip(far, tracks, strict=True)):
            found.append((point, _place(seeds, tracks, weights_at, far)))
    ends = [float(min(one.distance_P[-1], other.distance_P[-1])) for one, other in tracks]
    return [*found, (RANGE, _place(seeds, tracks, lambda knots, end: weights_over(knots, 0.0, end), ends))]


def _place(
    seeds: Sequence[int],
    tracks: Sequence[tuple[_Track, _Track]],
    weigh: Callable[[FloatArray, float], FloatArray],
    where: Sequence[float],
) -> _Place:
    """Both sides with the weights that `weigh` gives at one distance of each seed."""
    method, baseline = (
        _Side(
            part[0].curve,
            seeds,
            [(track.places, weigh(track.distance_P, far)) for track, far in zip(part, where, strict=True)],
        )
        for part in zip(*tracks, strict=True)
    )
    return _Place(method, baseline, float(np.mean(where)))


def _match(name: str, at: str, cells: Sequence[tuple[_Place, Sequence[str]]]) -> Match:
    """One comparison, called `name`: the mean over all tasks of all merges (perplexities by their logarithm)."""
    a = mean_of([place.method.score(task) for place, tasks in cells for task in tasks])
    b = mean_of([place.baseline.score(task) for place, tasks in cells for task in tasks])
    if name == PPL:
        a, b = a.exp_of_mean(), b.exp_of_mean()
    curve = cells[0][0].method.curve
    return Match(
        merge=curve.merge if len(cells) == 1 else ALL,
        task=name,
        label=curve.label,
        at=at,
        distance=float(np.mean([place.distance for place, _ in cells])),
        value=float(a.value),
        baseline=float(b.value),
        gap=contrast(a - b),
    )
