"""Scores with intervals: each score of each seed, and the means over seeds that tables show.

Legend: M models, S seeds, K columns.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from eval.schema import PRIMARY, SCORE_COLUMNS
from results.statistics.bootstrap import Replicates, Resampler, interval
from results.statistics.closed_form import FloatArray, cluster_variance, effective_n, wilson
from results.statistics.inference import Statistic
from results.statistics.items import Grid
from results.study.lineup import Lineup, Model
from results.study.run import ITEM_KEY, Study


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, and what it rests on."""

    value: float
    low: float
    high: float
    n: int
    seeds: int


def replicates(grid: Grid, resampler: Resampler) -> Replicates:
    """Bootstrap replicates of a grid's score for all models and seeds.

    Each task has its own stream of draws. Seeds with the same units share it (see `Replicates`).
    """
    models = grid.seeds[0].value_NM.shape[1]
    out = np.full((models, len(grid.seeds), resampler.replicates), np.nan)
    first: dict[tuple[str, ...], int] = {}
    for place, seed in enumerate(grid.seeds):
        if not seed.units:
            continue
        stream = zlib.crc32(grid.task.encode()) + first.setdefault(seed.units, place)
        value_GM, weight_GK = seed.sums()
        drawn = resampler.sums(value_GM.T, stream)
        with np.errstate(invalid="ignore"):
            out[:, place] = grid.finish(drawn / resampler.sums(weight_GK.T, stream))
    return Replicates(out)


class Measure:
    """One metric of one task for every model of a study: points, replicates and intervals."""

    def __init__(self, grid: Grid, resampler: Resampler) -> None:
        self.grid = grid
        self._resampler = resampler
        self.task = grid.task
        self.point_MS = grid.point_MS()

    @cached_property
    def replicates(self) -> Replicates:
        return replicates(self.grid, self._resampler)

    @cached_property
    def _moves(self) -> dict[int, FloatArray]:
        """First seed of a set of units → how each of them moves every score (M, S, G), by linearised ratios."""
        grid, moves = self.grid, dict[int, FloatArray]()
        for name, places in self._shared.items():
            move = np.zeros((*self.point_MS.shape, len(grid.seeds[places[0]].units)))
            for place in places:
                value_GM, weight_GK = grid.seeds[place].sums()
                with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                    total_K = weight_GK.sum(0)
                    move_GM = (value_GM - weight_GK * (value_GM.sum(0) / total_K)) / total_K
                    move[:, place] = (move_GM * grid.slope(self.point_MS[:, place])).T
            moves[name] = move
        return moves

    @cached_property
    def _shared(self) -> dict[int, list[int]]:
        """Places of the seeds that have the same units, by the first of them."""
        by_units: dict[tuple[str, ...], list[int]] = {}
        for place, seed in enumerate(self.grid.seeds):
            if seed.units:
                by_units.setdefault(seed.units, []).append(place)
        return {places[0]: places for places in by_units.values()}

    def statistic(self, models: int | Sequence[int] | np.ndarray, seeds: Sequence[int]) -> Statistic:
        """The scores of some models (or one), shape (models, seeds), with what moves them; places on both axes."""
        rows, columns = np.asarray(models, dtype=np.int64), list(seeds)
        used = [name for name, places in self._shared.items() if set(places) & set(columns)]
        moves = {f"{self.grid.task} {name}": self._moves[name][rows][..., columns, :] for name in used}
        return Statistic(self.point_MS[rows][..., columns], moves)

    @property
    def n(self) -> int:
        """Items a seed (the smallest number, where seeds differ)."""
        return min((len(seed.unit_N) for seed in self.grid.seeds if len(seed.unit_N)), default=0)

    def units(self, seeds: Sequence[int]) -> int | None:
        """What the bootstrap of one seed draws from: its number of items or clusters. None for several seeds."""
        return len(self.grid.seeds[seeds[0]].units) if len(seeds) == 1 else None

    def scored_seeds(self, *models: int) -> tuple[int, ...]:
        """Places of the seeds for which all these models have a score."""
        return tuple(place for place, seed in enumerate(self.grid.seeds) if seed.scored_M[list(models)].all())

    @cached_property
    def seed_intervals(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(standard error, lower, upper), each (M, S): Wilson for right-or-wrong items, else the bootstrap's.

        The bootstrap's are expanded for the number of units (`bootstrap.interval`).
        """
        if not self.grid.binary:
            draws = self.replicates.draws_MSB
            bounds = [interval(draws[:, place], units=self.units((place,))) for place in range(draws.shape[1])]
            low, high = (np.stack(side, axis=1) for side in zip(*bounds, strict=True))
            return draws.std(axis=2, ddof=1), low, high
        error, low, high = (np.full(self.point_MS.shape, np.nan) for _ in range(3))
        for place, seed in enumerate(self.grid.seeds):
            if not seed.units:
                continue
            sums, _ = seed.sums()
            sizes = np.bincount(seed.unit_N, minlength=len(seed.units)).astype(float)
            rate, variance = self.point_MS[:, place], cluster_variance(sums, sizes)
            size = effective_n(rate, variance, len(seed.unit_N), len(seed.units))
            error[:, place] = np.sqrt(variance)
            low[:, place], high[:, place] = wilson(rate, size)
        return error, low, high

    def estimates(self, models: list[Model], skip: dict[int, list[int]] | None = None) -> list[Estimate | None]:
        """The mean over seeds of every model, with its interval over trainings; None where never scored.

        One seed keeps that score's own interval, over items. Intervals end where the metric does. Where all items of
        a rate agree in all seeds, Wilson's interval on one seed's units stands in.

        Args:
            models: the line-up.
            skip: place of a model → places of seeds to leave out of its mean (unstable ones).
        """
        out: list[Estimate | None] = [None] * len(models)
        by_seeds: dict[tuple[int, ...], list[int]] = {}
        for place in range(len(models)):
            all_seeds = self.scored_seeds(place)
            kept = tuple(s for s in all_seeds if s not in (skip or {}).get(place, [])) or all_seeds
            if kept:
                by_seeds.setdefault(kept, []).append(place)
        for seeds, places in by_seeds.items():
            value = self.point_MS[np.ix_(places, list(seeds))].mean(1)
            if len(seeds) == 1:
                _, low_MS, high_MS = self.seed_intervals
                low, high = low_MS[places, seeds[0]], high_MS[places, seeds[0]]
            else:
                low, high = (
                    np.clip(side, *self.grid.range) for side in self.statistic(places, seeds).infer().interval()
                )
                if self.grid.binary:
                    flat = (value <= 0) | (value >= 1)
                    units = min(len(self.grid.seeds[s].units) for s in seeds)
                    floor, ceiling = wilson(value, units)
                    low, high = np.where(flat, floor, low), np.where(flat, ceiling, high)
            for i, place in enumerate(places):
                out[place] = Estimate(float(value[i]), float(low[i]), float(high[i]), self.n, len(seeds))
        return out


Key = tuple[str, str, str, str]  # task, metric, filter, split


def measure_all(all_grids: dict[Key, Grid]) -> dict[Key, Measure]:
    """A measure for every grid, sharing what can be shared."""
    resampler = Resampler()
    return {key: Measure(grid, resampler) for key, grid in all_grids.items()}


def primary_measures(
    measures: dict[Key, Measure], metrics: Mapping[str, tuple[str, str]] = PRIMARY
) -> dict[str, Measure]:
    """Task → its primary metric's measure, on the test split where there is one.

    Args:
        measures: see `measure_all`.
        metrics: task → metric and filter, where others than the primary ones are wanted.
    """
    found: dict[str, Measure] = {}
    for task, (metric, filter_) in metrics.items():
        splits = [key for key in measures if key[:3] == (task, metric, filter_)]
        if splits:
            found[task] = measures[min(splits, key=lambda key: (key[3] != "test", key[3]))]
    return found


def fill_scores(study: Study, lineup: Lineup, measures: dict[Key, Measure]) -> pd.DataFrame:
    """The score table with `stderr`, `ci_low`, `ci_high` and `unstable`, in table order.

    Raises:
        ValueError: a score is not the aggregate of its items.
    """
    scores = study.scores.reset_index(drop=True).copy()
    keys = [Model(*row) for row in scores[list(lineup.columns)].itertuples(index=False)]
    model = np.array([lineup.position[key] for key in keys])
    seed = scores["seed"].map({name: place for place, name in enumerate(lineup.seeds)}).to_numpy(np.int64)
    columns = {name: np.full(len(scores), np.nan) for name in ("stderr", "ci_low", "ci_high")}
    value = scores["value"].to_numpy(np.float64)
    indices: dict[Any, Any] = dict(scores.groupby(list(ITEM_KEY), sort=False).indices)
    for name, rows in indices.items():
        measure = measures.get(name)
        if measure is None:
            continue
        point = measure.point_MS[model[rows], seed[rows]]
        with np.errstate(invalid="ignore"):
            wrong = rows[np.abs(point - value[rows]) > 1e-4 * np.maximum(1.0, np.abs(point))]
        if len(wrong):
            what = f"{keys[wrong[0]].words}, seed {scores['seed'][wrong[0]]}, {' '.join(map(str, name))}"
            raise ValueError(
                f"score and items disagree for {what}: {value[wrong[0]]:.6g} is not the aggregate of its items; "
                "evaluate this model again"
            )
        for column, array in zip(columns, measure.seed_intervals, strict=True):
            columns[column][rows] = array[model[rows], seed[rows]]
    for column, filled in columns.items():
        scores[column] = rounded(filled)
    scores["unstable"] = [int(s) in lineup.unstable_seeds(k) for k, s in zip(keys, scores["seed"], strict=True)]
    places = {key: place for place, key in enumerate(lineup.models)}
    task = scores["task"].map({name: place for place, name in enumerate(lineup.tasks)}).fillna(99)
    order = scores.assign(_s=seed, _m=[places[key] for key in keys], _t=task)
    order = order.sort_values(["_s", "_m", "_t", "task", "metric", "filter", "split"], kind="stable")
    extra = [column for column in scores.columns if column not in SCORE_COLUMNS]
    return scores.loc[order.index, [c for c in SCORE_COLUMNS if c in scores.columns] + extra].reset_index(drop=True)


def rounded(values: FloatArray, digits: int = 10) -> FloatArray:
    """Ten significant digits: what is left does not depend on the order in which a library sums."""
    array = np.asarray(values, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 10.0 ** (digits - 1 - np.floor(np.log10(np.abs(array))))
        out = np.round(array * scale) / scale
    return np.where(np.isfinite(out), out, array)


def is_harmless(before: Estimate, threshold: float) -> bool:
    """Whether the harm of a target is at or under the threshold, so that there is nothing to forget."""
    # A mean over seeds that all stand at the threshold may lie a rounding above it.
    return round(before.value, 10) <= threshold
