"""Item tables as arrays: one `Grid` a task and metric, models × seeds × units, checked for completeness.

Legend: N items, G units (clusters, or items where nothing belongs together), M models, S seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from eval.schema import METRICS
from results.statistics.closed_form import FloatArray
from results.study.lineup import Lineup, Model
from results.study.run import ITEM_KEY, Study
from results.study.wording import PERCENT


@dataclass(frozen=True)
class SeedGrid:
    """The items of one task and metric for one seed, for every model of the line-up (NaN where not scored)."""

    value_NM: FloatArray
    weight_NM: FloatArray
    unit_N: np.ndarray  # unit of each item
    units: tuple[str, ...]

    @property
    def scored_M(self) -> np.ndarray:
        """Which models were scored (with no item at all: none were)."""
        if not len(self.weight_NM):
            return np.zeros(self.weight_NM.shape[1], dtype=bool)
        return np.asarray(~np.isnan(self.weight_NM).all(axis=0))

    @property
    def clustered(self) -> bool:
        """Whether some items belong together."""
        return len(self.units) < len(self.unit_N)

    def sums(self) -> tuple[FloatArray, FloatArray]:
        """Σ value and Σ weight of each unit (G, M); weights are one column where all models share them."""
        weight = self.weight_NM
        shared = weight[:, self.scored_M]
        if shared.shape[1] and (shared == shared[:, :1]).all():
            weight = shared[:, :1]
        return self._by_unit(self.value_NM), self._by_unit(weight)

    def _by_unit(self, array_NK: FloatArray) -> FloatArray:
        if not self.clustered:
            return array_NK[np.argsort(self.unit_N, kind="stable")]
        out = np.zeros((len(self.units), array_NK.shape[1]))
        np.add.at(out, self.unit_N, array_NK)
        return out


@dataclass(frozen=True)
class Grid:
    """All items of one task, metric and filter on one split."""

    task: str
    metric: str
    filter: str
    split: str
    kind: str  # as `eval.schema` names it
    seeds: tuple[SeedGrid, ...]  # in the order of the line-up's seeds

    @property
    def clustered(self) -> bool:
        return any(seed.clustered for seed in self.seeds)

    @cached_property
    def binary(self) -> bool:
        """Whether every item is simply right or wrong."""
        return self.kind == "rate" and all(
            bool(np.isin(seed.value_NM[:, seed.scored_M], (0.0, 1.0)).all()) for seed in self.seeds
        )

    def finish(self, ratio: FloatArray) -> FloatArray:
        """Σ value / Σ weight → the metric."""
        with np.errstate(over="ignore"):
            if self.kind == "perplexity":
                return np.exp(-ratio)
            return -ratio / np.log(2) if self.kind == "bits" else ratio

    def slope(self, point: FloatArray) -> FloatArray:
        """How the metric moves with Σ value / Σ weight, where it is `point`."""
        if self.kind == "perplexity":
            return -point
        return np.full(np.shape(point), -1 / np.log(2) if self.kind == "bits" else 1.0)

    @property
    def range(self) -> tuple[float, float]:
        """The least and the greatest value that the metric can have."""
        if self.kind in PERCENT:
            return 0.0, 1.0
        return {"perplexity": 1.0, "bits": 0.0}.get(self.kind, -np.inf), np.inf

    def point_MS(self) -> FloatArray:
        """The score of every model and seed; NaN where not scored."""
        columns = []
        with np.errstate(invalid="ignore", divide="ignore"):
            for seed in self.seeds:
                value, weight = seed.sums()
                columns.append(self.finish(value.sum(0) / weight.sum(0)))
        return np.stack(columns, axis=1)


def grids(study: Study, lineup: Lineup) -> dict[tuple[str, str, str, str], Grid]:
    """Sort the item table into grids, keyed by task, metric, filter and split.

    Raises:
        ValueError: a model has other items than the rest, or the same item twice.
    """
    if study.items.empty:
        return {}
    coded = _Coded(study.items, lineup)
    found: dict[tuple[str, str, str, str], Grid] = {}
    for rows, name in coded.groups():
        task, metric, filter_, split = name
        if (task, metric) not in METRICS:
            continue
        seeds = tuple(
            coded.seed_grid(rows[coded.seed[rows] == place], f"{task} {metric} ({filter_}, {split}), seed {seed}")
            for place, seed in enumerate(lineup.seeds)
        )
        found[name] = Grid(task, metric, filter_, split, METRICS[task, metric].kind, seeds)
    return found


class _Coded:
    """The item table with every name replaced by its number."""

    def __init__(self, items: pd.DataFrame, lineup: Lineup) -> None:
        self.models = lineup.models
        model, keys = _combined(items, lineup.columns)
        self.model = np.array([lineup.position.get(Model(*key), -1) for key in keys], np.int64)[model]
        places = {seed: place for place, seed in enumerate(lineup.seeds)}
        self.seed = items["seed"].map(places).fillna(-1).to_numpy(np.int64)
        self.group, self.group_names = _combined(items, ITEM_KEY)
        self.item, self.item_names = pd.factorize(items["item"].astype(str), sort=True)
        cluster, names = pd.factorize(items["cluster"])  # −1 where there is none
        self.cluster_names = [str(name) for name in names]
        alone = np.array([name == "" for name in self.cluster_names] + [True])
        self.cluster = np.where(alone[cluster], -1, cluster)
        self.value = items["value"].to_numpy(np.float64)
        self.weight = items["weight"].to_numpy(np.float64)

    def groups(self) -> list[tuple[np.ndarray, tuple[str, str, str, str]]]:
        """Row numbers of each task, metric, filter and split."""
        known = np.flatnonzero((self.model >= 0) & (self.seed >= 0))
        order = known[np.argsort(self.group[known], kind="stable")]
        starts = np.flatnonzero(np.diff(self.group[order], prepend=-1))
        parts = np.split(order, starts[1:]) if len(order) else []
        return [(rows, self.group_names[self.group[rows[0]]]) for rows in parts]

    def seed_grid(self, rows: np.ndarray, what: str) -> SeedGrid:
        """The arrays of one seed; `what` names the table in errors."""
        codes, item_N = np.unique(self.item[rows], return_inverse=True)
        shape = (len(codes), len(self.models))
        value, weight = np.full(shape, np.nan), np.full(shape, np.nan)
        value[item_N, self.model[rows]] = self.value[rows]
        weight[item_N, self.model[rows]] = self.weight[rows]
        have = np.bincount(self.model[rows], minlength=shape[1])
        for place in np.flatnonzero((have > 0) & (have != len(codes))):
            raise ValueError(
                f"{what}: {self.models[place].words} has {have[place]} items where others have "
                f"{len(codes)} (missing, or the same twice); evaluate every model on the same items"
            )
        cluster_N = np.full(len(codes), -1)
        cluster_N[item_N] = self.cluster[rows]
        names = [
            f"item {self.item_names[code]}" if cluster < 0 else f"cluster {self.cluster_names[cluster]}"
            for code, cluster in zip(codes, cluster_N, strict=True)
        ]
        units, unit_N = np.unique(np.array(names, dtype=str), return_inverse=True)
        return SeedGrid(value, weight, unit_N, tuple(units.tolist()))


def _combined(frame: pd.DataFrame, columns: tuple[str, ...]) -> tuple[np.ndarray, list[tuple[str, ...]]]:
    """Numbers for the combinations of some columns, and what each number stands for."""
    mixed = np.zeros(len(frame), dtype=np.int64)
    levels = []
    for column in columns:
        codes, values = pd.factorize(frame[column].astype(str))
        mixed = mixed * len(values) + codes
        levels.append(values)
    unique, inverse = np.unique(mixed, return_inverse=True)
    names = []
    for code in unique.tolist():
        parts = []
        for values in reversed(levels):
            code, place = divmod(code, len(values))
            parts.append(str(values[place]))
        names.append(tuple(reversed(parts)))
    return inverse, names
