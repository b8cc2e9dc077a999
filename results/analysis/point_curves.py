"""The points of a sweep as curves over λ: one curve a merge and method, with bootstrap replicates of every point.

λ = 0 is the model before merging, so that it belongs to every curve, at distance 0. A point that is unstable on
either split belongs to none. All points share their draws of test items (`bootstrap`): differences of
curves are paired.

Legend: P points of a curve, S seeds, B replicates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eval.schema import PRIMARY
from results.statistics.closed_form import FloatArray
from results.statistics.estimates import Measure, measure_all, primary_measures
from results.statistics.items import grids
from results.study.lineup import Lineup, Model
from results.study.run import KEY, Study
from results.study.sweep import DEV, TEST, Sweep, one_lambda

PRE = Model("model", "", "pre")
#: Fewer λ than this, beside 0, do not make a curve: what lies between them would be a guess.
FEWEST = 3


@dataclass(frozen=True)
class Curve:
    """One method on one merge.

    Attributes:
        merge: name of the merge.
        label: the method.
        points: names of λ, in order; ``""``, the model before merging, first.
        lam_P: the λ, 0 for the model before merging, NaN where each task has its own.
        places: of the points in the model axis of the measures.
        distance_PS: ‖merged − pre‖₂ of each seed; NaN where unknown.
        made_PS: whether the point stands in the table, however it fared.
        stable_PS: whether the point was scored and is stable.
    """

    merge: str
    label: str
    points: tuple[str, ...]
    lam_P: FloatArray
    places: np.ndarray
    distance_PS: FloatArray
    made_PS: np.ndarray
    stable_PS: np.ndarray

    def whole(self, seeds: Sequence[int]) -> np.ndarray:
        """Places of the points that are stable for all these seeds, shape (≤ P,)."""
        return np.flatnonzero(self.stable_PS[:, list(seeds)].all(1))

    def seeds(self) -> tuple[int, ...]:
        """Places of the seeds for which any point was made."""
        return tuple(np.flatnonzero(self.made_PS[1:].any(0)).tolist())


class Curves:
    """All curves of a sweep's learning merges.

    Attributes:
        lineup: every point as a model of its own, labelled ``method@point``.
        measures: task → primary metric of every point.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        study = _flat(sweep, TEST)
        self.lineup = Lineup(study)
        self._splits = [self.lineup]
        if (sweep.scores["split"] == DEV).any():
            self._splits.append(Lineup(_flat(sweep, DEV)))
        self._plain = Lineup(Study(sweep.scores, sweep.items, meta=sweep.meta))
        self.measures: dict[str, Measure] = primary_measures(measure_all(grids(study, self.lineup)))
        rows = study.scores.drop_duplicates(["seed", *KEY])
        seeds = {seed: place for place, seed in enumerate(self.lineup.seeds)}
        shape = (len(self.lineup.models), len(seeds))
        self._distance, self._made = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
        for seed, kind, merge, label, far in rows[["seed", *KEY, "distance"]].itertuples(index=False):
            place = self.lineup.position[Model(kind, merge, label)], seeds[int(seed)]
            self._distance[place], self._made[place] = far, True
        self._distance[self.lineup.position[PRE]] = 0.0
        self._curves: dict[tuple[str, str], Curve] = {}

    @property
    def merges(self) -> list[str]:
        """Merges with a task whose score can be set against perplexity."""
        return [merge for merge in self.lineup.merges("learn") if self.lineup.members(merge)]

    def labels(self, merge: str) -> list[str]:
        """Methods of a merge in the order of tables."""
        return self._plain.labels("learn", merge)

    def swept(self, merge: str) -> list[str]:
        """The methods of a merge that have at least `FEWEST` λ."""
        return [label for label in self.labels(merge) if len(self.curve(merge, label).points) > FEWEST]

    def curve(self, merge: str, label: str) -> Curve:
        """The curve of a method on a merge; points that no seed has are left out."""
        if (merge, label) not in self._curves:
            self._curves[merge, label] = self._make(merge, label)
        return self._curves[merge, label]

    def _make(self, merge: str, label: str) -> Curve:
        points = ["", *self.sweep.points("learn", merge, label)]
        keys = [PRE if not point else Model("learn", merge, f"{label}@{point}") for point in points]
        places = np.array([self.lineup.position[key] for key in keys])
        needed = [self.measures[task] for task in ("wikitext", *self.lineup.members(merge)) if task in self.measures]
        stable = np.array(
            [
                [all(seed not in lineup.unstable_seeds(key) for lineup in self._splits) for seed in self.lineup.seeds]
                for key in keys
            ],
            dtype=bool,
        )
        for measure in needed:
            stable &= np.isfinite(measure.point_MS[places])
        lam = np.array([0.0 if not point else one_lambda(point) for point in points])
        return Curve(merge, label, tuple(points), lam, places, self._distance[places], self._made[places], stable)


def _flat(sweep: Sweep, split: str) -> Study:
    """The scores and items of one split for the primary metrics, every point of a merge as a label of its own."""

    def flat(frame: pd.DataFrame) -> pd.DataFrame:
        primary = pd.MultiIndex.from_tuples([(task, *PRIMARY[task]) for task in PRIMARY])
        wanted = pd.MultiIndex.from_frame(frame[["task", "metric", "filter"]]).isin(primary)
        part = frame[wanted & (frame["split"] == split) & frame["kind"].isin(["model", "learn"])]
        own = part["kind"] == "model"
        return part.assign(label=part["label"].where(own, part["label"] + "@" + part["point"]))

    scores = flat(sweep.scores)
    if not ((scores["kind"] == "model") & (scores["label"] == "pre")).any():
        raise ValueError("no score of pre, the model before merging; curves over λ start there")
    return Study(scores, flat(sweep.items), meta=sweep.meta)
