"""The points of a sweep as studies: one merge and split at a time, every point a model named "label at λ = point".

All of them, and the models of the family, then share the draws of `bootstrap`: differences between points, methods
and pre are paired. One merge is held at a time, which bounds the memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from eval.schema import PRIMARY
from results.analysis.snapshot import REFUSED as REFUSALS
from results.statistics.estimates import Measure, fill_scores, measure_all, primary_measures
from results.statistics.items import grids
from results.study.lineup import Lineup, Model
from results.study.run import KEY, Study
from results.study.sweep import DEV, TEST, Sweep

#: The name of the share of answers that are refusals, which is no task's primary metric.
REFUSED = REFUSALS[1]


@dataclass(frozen=True)
class Points:
    """All points of one merge, and the family, on one split.

    Attributes:
        lineup: models are named by `name_of`.
        measures: task → measure of its primary metric.
        scores: the filled score table, with the column ``_row``: place in the sweep's own.
        refused: the share of answers that are refusals, where it was scored.
    """

    lineup: Lineup
    measures: dict[str, Measure]
    scores: pd.DataFrame
    refused: Measure | None = None


def name_of(label: str, point: str) -> str:
    """How a point is named in error messages and in a line-up of points."""
    return f"{label} at λ = {point}"


def points_of(sweep: Sweep, merge: str, split: str) -> Points:
    """The points of one merge as one study.

    Raises:
        ValueError: scores and items do not belong together.
    """
    scores, items = (_named(sweep, table, merge, split) for table in ("scores", "items"))
    study = Study(scores, items, sweep.similarity, sweep.weights, sweep.meta)
    lineup = Lineup(study)
    measures = measure_all(grids(study, lineup))
    filled = fill_scores(study, lineup, measures)
    primary = {task: one for task, one in primary_measures(measures).items() if task in lineup.tasks}
    refused = next((one for key, one in measures.items() if key[:3] == REFUSALS), None)
    return Points(lineup, primary, filled, refused)


def _named(sweep: Sweep, table: str, merge: str, split: str) -> pd.DataFrame:
    found = {key: rows for key, rows in sweep.rows(table, split).items() if key[1] == "model" or key[2] == merge}
    frame: pd.DataFrame = getattr(sweep, table)
    places = np.concatenate([*found.values(), np.zeros(0, dtype=np.int64)]).astype(np.int64)
    names = [key[3] if key[1] == "model" else name_of(key[3], key[4]) for key in found]
    label = np.repeat(np.array(names, dtype=object), [len(rows) for rows in found.values()])
    part = frame.iloc[places].reset_index(drop=True).assign(label=label)
    return part.assign(_row=places) if table == "scores" else part


def references(sweep: Sweep, merge: str, split: str = TEST) -> dict[str, dict[int, float]] | None:
    """Merged task → seed → the score of its own expert; None where one is missing or 0."""
    experts = sweep.meta.get("merges", {}).get(merge, merge.split("+"))
    tasks = {expert: sweep.meta.get("expert_task", {}).get(expert) for expert in experts}
    scores = sweep.scores[(sweep.scores["kind"] == "model") & (sweep.scores["split"] == split)]
    seeds = [int(seed) for seed in sorted(sweep.scores["seed"].unique())]
    found = {}
    for expert, task in tasks.items():
        if task not in PRIMARY:
            continue
        metric, filter_ = PRIMARY[task]
        own = scores[(scores["label"] == expert) & (scores["task"] == task)]
        own = own[(own["metric"] == metric) & (own["filter"] == filter_)]
        values = {int(seed): float(value) for seed, value in zip(own["seed"], own["value"], strict=True)}
        if set(values) != set(seeds) or min(values.values()) <= 0:
            return None
        found[task] = values
    return found or None


def unstable(key: Model, test: Points, dev: Points | None) -> list[int]:
    """Seeds for which a point is unstable on either split."""
    return sorted({*test.lineup.unstable_seeds(key), *(dev.lineup.unstable_seeds(key) if dev else [])})


def lineup_of(sweep: Sweep) -> Lineup:
    """Who takes part in a sweep, whatever the λ."""
    return Lineup(Study(sweep.scores, sweep.items.iloc[:0], sweep.similarity, sweep.weights, sweep.meta))


def all_scores(sweep: Sweep, lineup: Lineup, parts: list[pd.DataFrame]) -> pd.DataFrame:
    """The filled score tables of all merges and splits as one, each row once, in the order of tables."""
    filled = pd.concat(parts, ignore_index=True).drop_duplicates("_row").set_index("_row")
    table = filled.assign(label=sweep.scores["label"].to_numpy()[filled.index])
    table["unstable"] = table.groupby(["seed", *KEY, "point"], sort=False)["unstable"].transform("any")
    places = {point: place for place, point in enumerate(sweep.ordered(set(table["point"])))}
    order = table.assign(
        _model=[lineup.position[Model(*key)] for key in table[list(KEY)].itertuples(index=False)],
        _point=table["point"].map(places),
        _split=(table["split"] == DEV),
        _task=table["task"].map({task: place for place, task in enumerate(PRIMARY)}).fillna(99),
    )
    keys = ["seed", "_model", "_point", "_split", "_task", "task", "metric", "filter", "split"]
    return table.loc[order.sort_values(keys, kind="stable").index].reset_index(drop=True)
