"""Everything computed once from a study; tables, figures, claims and the report read it and compute nothing twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from results.statistics.comparisons import compare
from results.statistics.contrasts import Standing, standings
from results.statistics.estimates import Estimate, Measure, fill_scores, measure_all, primary_measures
from results.statistics.items import grids
from results.study.lineup import Lineup, Model
from results.study.run import Study, rows_of

#: Task, metric and filter of the share of answers that refuse.
REFUSED = ("refusal", "refused", "none")


@dataclass(frozen=True)
class Analysis:
    """A study with its intervals and comparisons.

    Attributes:
        study: what was handed over.
        lineup: who takes part.
        scores: the filled score table, one row a score and seed.
        measures: task → its primary metric for all models.
        comparisons: see `results.statistics.comparisons.COLUMNS`.
        refusals: share of refusing answers (`REFUSED`) for all models; None where it was not scored.
    """

    study: Study
    lineup: Lineup
    scores: pd.DataFrame
    measures: dict[str, Measure]
    comparisons: pd.DataFrame
    refusals: Measure | None = None
    _index: dict[tuple[str, str, str, str], Any] = field(default_factory=dict)

    @property
    def meta(self) -> dict[str, Any]:
        return self.study.meta

    @cached_property
    def estimates(self) -> dict[str, dict[Model, Estimate]]:
        """Task → model → mean over its stable seeds with interval (over all seeds where none is stable)."""
        return {task: self._estimated(measure) for task, measure in self.measures.items()}

    @cached_property
    def refused(self) -> dict[Model, Estimate]:
        """Model → share of its answers that refuse, as `estimates`; empty where it was not scored."""
        return self._estimated(self.refusals) if self.refusals else {}

    def _estimated(self, measure: Measure) -> dict[Model, Estimate]:
        lineup = self.lineup
        bad = {place: lineup.unstable_seeds(key) for place, key in enumerate(lineup.models)}
        skip = {place: [lineup.seeds.index(seed) for seed in seeds] for place, seeds in bad.items() if seeds}
        found = measure.estimates(lineup.models, skip)
        return {key: one for key, one in zip(lineup.models, found, strict=True) if one is not None}

    @cached_property
    def task_cells(self) -> list[tuple[str, str]]:
        """Every (merge, task) that was merged and scored."""
        lineup = self.lineup
        cells = [(merge, task) for merge in lineup.merges("learn") for task in lineup.members(merge)]
        return [(merge, task) for merge, task in cells if task in self.measures]

    @cached_property
    def task_standings(self) -> dict[str, Standing]:
        """Label → mean over `task_cells`."""
        return standings(self.lineup, self.measures, self.task_cells)

    @cached_property
    def ppl_standings(self) -> dict[str, Standing]:
        """Label → mean word perplexity over the learning merges."""
        return standings(self.lineup, self.measures, [(merge, "wikitext") for merge in self.lineup.merges("learn")])

    def comparison(self, merge: str, task: str, a: str, b: str) -> Any | None:
        """The row that compares label `a` with label `b` (difference a − b), whichever way it was made, or None."""
        if not self._index:
            for row in rows_of(self.comparisons):
                self._index[row.merge, row.task, row.a, row.b] = row
        row = self._index.get((merge, task, a, b))
        if row is None and (other := self._index.get((merge, task, b, a))) is not None:
            row = self._index[merge, task, a, b] = _turned(other)
        return row

    def direction(self, row: Any) -> int:
        """+1 where a higher value is better in this comparison, −1 where a lower is, else 0."""
        return self.lineup.direction(row.kind, row.merge, row.task)

    def lead(self, row: Any) -> int:
        """+1 where the interval shows `a` ahead of `b`, −1 where it shows `b` ahead, 0 where it shows neither.

        A side that is unstable in every seed is behind one that is not in any.
        """
        if row.unstable_a != row.unstable_b:
            broken = Model(row.kind, row.merge, row.a if row.unstable_a else row.b)
            every = len(self.lineup.unstable_seeds(broken)) == len(self.lineup.seeds)
            return (-1 if row.unstable_a else 1) * every
        return self.direction(row) * ((row.ci_low > 0) - (row.ci_high < 0))


def _turned(row: Any) -> Any:
    """A comparison from the other side."""
    swapped = {"a": row.b, "b": row.a, "value_a": row.value_b, "value_b": row.value_a}
    swapped |= {"unstable_a": row.unstable_b, "unstable_b": row.unstable_a, "p_not_worse": float("nan")}
    return row._replace(difference=-row.difference, ci_low=-row.ci_high, ci_high=-row.ci_low, **swapped)


def analyse(study: Study) -> Analysis:
    """Intervals and comparisons of a study.

    Raises:
        ValueError: the tables do not belong together (see `items.grids`, `estimates.fill_scores`).
    """
    lineup = Lineup(study)
    every = measure_all(grids(study, lineup))
    measures = {task: measure for task, measure in primary_measures(every).items() if task in lineup.tasks}
    refusals = primary_measures(every, {REFUSED[0]: REFUSED[1:]}).get(REFUSED[0])
    scores = fill_scores(study, lineup, every)
    return Analysis(study, lineup, scores, measures, compare(lineup, measures), refusals)
