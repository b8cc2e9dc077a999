"""Every λ setting of one merge as a model of its own, beside the models of the family, on one split.

All of them share the draws of `bootstrap`: differences between settings, methods and the model before merging are
paired. One merge is held at a time, which bounds the memory.

Legend: P points, S seeds, B replicates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from eval.schema import PRIMARY
from results.statistics.closed_form import FloatArray
from results.statistics.estimates import Estimate, Measure, fill_scores, measure_all, primary_measures
from results.statistics.inference import Statistic
from results.statistics.items import grids
from results.study.lineup import Lineup, Model
from results.study.run import ITEM_KEY, KEY, Study
from results.study.sweep import DEV, TEST, Sweep

#: Task, metric and filter of the share of answers that refuse, which is no task's primary metric; and its name.
REFUSALS = ("refusal", "refused", "none")
REFUSED = REFUSALS[1]


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

    def after(self, first: Scored) -> Scored:
        """The same quantity with other points before these."""
        a, b = first.statistic, self.statistic
        moves = {name: np.concatenate([a.moves[name], move]) for name, move in b.moves.items()}
        value_PS = np.concatenate([a.value_xS, b.value_xS])
        return Scored(Statistic(value_PS, moves), np.concatenate([first.draws_PSB, self.draws_PSB]))


class Points:
    """The λ settings of one merge, and the family, on one split.

    Attributes:
        sweep: where they come from.
        merge: name of the merge.
        lineup: every setting as a model of its own (`Model.setting`).
        measures: task → measure of its primary metric; `REFUSED` where refusals were counted.
    """

    def __init__(self, sweep: Sweep, merge: str, split: str = TEST, dev: Lineup | None = None) -> None:
        """Sort scores and items.

        Args:
            sweep: the run.
            merge: name of the merge.
            split: test or dev.
            dev: the line-up of the development split, whose instability counts as well.

        Raises:
            ValueError: scores and items do not belong together.
        """

        def wanted(key: tuple[Any, ...]) -> bool:
            return key[1] == "model" or key[2] == merge

        scores, items = (sweep.part(table, split, wanted) for table in ("scores", "items"))
        self.sweep, self.merge = sweep, merge
        self._study, self._dev = Study(scores, items, meta=sweep.meta), dev
        self._estimates: dict[str, list[Estimate | None]] = {}
        self.lineup = Lineup(self._study, settings=True)
        self._all = measure_all(grids(self._study, self.lineup))
        primary = primary_measures(self._all)
        self.measures: dict[str, Measure] = {task: one for task, one in primary.items() if task in self.lineup.tasks}
        for refusals in primary_measures(self._all, {REFUSALS[0]: REFUSALS[1:]}).values():
            self.measures[REFUSED] = refusals

    @cached_property
    def scores(self) -> pd.DataFrame:
        """The filled score table."""
        return fill_scores(self._study, self.lineup, self._all)

    @cached_property
    def unstable(self) -> dict[int, list[int]]:
        """Place of a model → places of the seeds for which it is unstable on either split."""
        lineups = [self.lineup, *([self._dev] if self._dev else [])]
        unstable = [{seed for one in lineups for seed in one.unstable_seeds(key)} for key in self.lineup.models]
        seeds = self.lineup.seeds
        return {place: [seeds.index(seed) for seed in sorted(bad)] for place, bad in enumerate(unstable)}

    def estimates(self, name: str) -> list[Estimate | None]:
        """One of `measures` for every model: the mean over its stable seeds (over all where none is)."""
        if name not in self._estimates:
            self._estimates[name] = self.measures[name].estimates(self.lineup.models, self.unstable)
        return self._estimates[name]

    def scored(self, name: str, places: list[int]) -> Scored:
        """One of `measures` at some places of the model axis, for all seeds."""
        measure = self.measures[name]
        return Scored(measure.statistic(places, range(len(self.lineup.seeds))), measure.replicates.draws_MSB[places])


def references(sweep: Sweep, merge: str, split: str = TEST) -> dict[str, dict[int, float]] | None:
    """Merged task → seed → the score of its own expert; None where one is missing or 0."""
    experts = sweep.meta.get("merges", {}).get(merge, merge.split("+"))
    tasks = {expert: sweep.meta.get("expert_task", {}).get(expert) for expert in experts}
    scores = sweep.scores[(sweep.scores["kind"] == "model") & (sweep.scores["split"] == split)]
    seeds = [int(seed) for seed in sorted(sweep.scores["seed"].unique())]
    expert_scores = {}
    for expert, task in tasks.items():
        if task not in PRIMARY:
            continue
        metric, filter_ = PRIMARY[task]
        rows = scores[(scores["label"] == expert) & (scores["task"] == task)]
        rows = rows[(rows["metric"] == metric) & (rows["filter"] == filter_)]
        values = {int(seed): float(value) for seed, value in zip(rows["seed"], rows["value"], strict=True)}
        if set(values) != set(seeds) or min(values.values()) <= 0:
            return None
        expert_scores[task] = values
    return expert_scores or None


def lineup_of(sweep: Sweep) -> Lineup:
    """Who takes part in a sweep, whatever the λ."""
    return Lineup(Study(sweep.scores, sweep.items.iloc[:0], sweep.similarity, sweep.weights, sweep.meta))


def all_scores(sweep: Sweep, lineup: Lineup, parts: list[pd.DataFrame]) -> pd.DataFrame:
    """The filled score tables of all merges and splits as one, each row once, in the order of tables."""
    model = ["seed", *KEY, "point"]
    table = pd.concat(parts, ignore_index=True).drop_duplicates([*model, *ITEM_KEY], ignore_index=True)
    table["unstable"] = table.groupby(model, sort=False)["unstable"].transform("any")
    settings = {point: place for place, point in enumerate(sweep.ordered(set(table["point"])))}
    order = table.assign(
        _model=[lineup.position[Model(*key)] for key in table[list(KEY)].itertuples(index=False)],
        _point=table["point"].map(settings),
        _split=(table["split"] == DEV),
        _task=table["task"].map({task: place for place, task in enumerate(PRIMARY)}).fillna(99),
    )
    keys = ["seed", "_model", "_point", "_split", "_task", "task", "metric", "filter", "split"]
    return table.loc[order.sort_values(keys, kind="stable").index].reset_index(drop=True)
