"""Everything computed once from a run, at one λ a model or over many; tables, figures, claims and pages read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from results.analysis.choice import Choice, Way, choice_of, ways_of
from results.analysis.crossings import Break, break_of
from results.analysis.curves import NORMALISED, RAW, Curve, forgetting_curves, learning_curves
from results.analysis.forgetting import Forgotten, Passage, forgotten_of, passage_of
from results.analysis.points import REFUSALS, Points, all_scores, lineup_of, references
from results.statistics.comparisons import compare
from results.statistics.contrasts import mean_scores
from results.statistics.estimates import Estimate, Measure, fill_scores, measure_all, primary_measures
from results.statistics.inference import Contrast, sign_of
from results.statistics.items import grids
from results.study.lineup import Lineup, Model
from results.study.run import Study, rows_of
from results.study.selection import harm_threshold
from results.study.sweep import DEV, TEST, Sweep, one_lambda


@dataclass(frozen=True)
class Analysis:
    """A study with its intervals and comparisons.

    Attributes:
        study: what was handed over.
        lineup: who takes part.
        scores: the filled score table, one row a score and seed.
        measures: task → its primary metric for all models.
        comparisons: see `results.statistics.comparisons.COLUMNS`.
        refusals: share of refusing answers (`REFUSALS`) for all models; None where it was not scored.
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
    def task_means(self) -> dict[str, Contrast]:
        """Label → mean over `task_cells`."""
        return mean_scores(self.lineup, self.measures, self.task_cells)

    @cached_property
    def ppl_means(self) -> dict[str, Contrast]:
        """Label → mean word perplexity over the learning merges."""
        return mean_scores(self.lineup, self.measures, [(merge, "wikitext") for merge in self.lineup.merges("learn")])

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
        return self.direction(row) * int(sign_of(np.asarray(row.ci_low), np.asarray(row.ci_high)))


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
    refusals = primary_measures(every, {REFUSALS[0]: REFUSALS[1:]}).get(REFUSALS[0])
    scores = fill_scores(study, lineup, every)
    return Analysis(study, lineup, scores, measures, compare(lineup, measures), refusals)


@dataclass(frozen=True)
class Forgetting:
    """One method on one target: its points, without their bootstrap draws, and what becomes of them.

    Attributes:
        curve: the points.
        passage: where harm falls to the threshold; None where the target was not scored.
        choice: the λ that was chosen.
    """

    curve: Curve
    passage: Passage | None
    choice: Forgotten


@dataclass(frozen=True)
class SweepAnalysis:
    """A sweep with its intervals, breaks and choices.

    Attributes:
        sweep: what was handed over.
        scores: every score with its interval, both splits.
        curves: (merge, label) → its points, without their bootstrap draws.
        breaks: (merge, label) → where it breaks; absent where no λ was swept.
        choices: (merge, label) → what was chosen, and the cost.
        objective: what λ is chosen by, the same for all merges: `NORMALISED`, or `RAW` where an expert has no score.
        chosen: the study at the chosen points, with all its comparisons.
        fixed: the study at λ = 1, where that was swept; the claims that name this λ are decided by it. Where only
            one of learning and forgetting was swept there, the other stands in it at its chosen points.
        forgettings: (merge, label) → what forgets there.
        ways: (merge, label) → what each way of choosing λ made of it; empty where there is one way alone.
    """

    sweep: Sweep
    scores: pd.DataFrame
    curves: dict[tuple[str, str], Curve]
    breaks: dict[tuple[str, str], Break]
    choices: dict[tuple[str, str], Choice]
    objective: str
    chosen: Analysis
    fixed: Analysis | None
    forgettings: dict[tuple[str, str], Forgetting]
    ways: dict[tuple[str, str], dict[str, Way]]

    @property
    def meta(self) -> dict[str, Any]:
        return self.sweep.meta

    @property
    def by_development(self) -> bool:
        """Whether λ was chosen on the development split."""
        return self.meta.get("selection", "grid") in ("grid", "search")

    @property
    def choosing(self) -> str:
        """Where a method's λ comes from, as words that follow it."""
        if self.by_development:
            return "chosen on the development split"
        return "from the norms of the task vectors" if self.meta["selection"] == "metagpt" else "set beforehand"

    @property
    def seeds(self) -> list[int]:
        return self.chosen.lineup.seeds

    @property
    def merges(self) -> list[str]:
        """Learning merges, in order."""
        return list(dict.fromkeys(merge for merge, _ in self.curves))

    def labels(self, merge: str | None = None) -> list[str]:
        """Methods of one merge, or of all, in the order of tables."""
        return list(dict.fromkeys(label for other, label in self.curves if merge in (None, other)))

    @property
    def forgets(self) -> list[str]:
        """Forgetting merges, in order."""
        return list(dict.fromkeys(merge for merge, _ in self.forgettings))

    @property
    def forgetting_labels(self) -> list[str]:
        """Methods that forget, in the order of tables."""
        return list(dict.fromkeys(label for _, label in self.forgettings))

    @property
    def threshold(self) -> float:
        """The harm that is still acceptable."""
        return harm_threshold(self.meta)

    def of(self, merge: str) -> Iterator[Curve]:
        """The curves of one merge."""
        return (curve for (other, _), curve in self.curves.items() if other == merge)

    def forgetting(self, merge: str) -> dict[str, Forgetting]:
        """The methods of one forgetting."""
        return {label: one for (other, label), one in self.forgettings.items() if other == merge}

    def members(self, merge: str) -> list[str]:
        """Tasks that were merged, in table order."""
        return self.chosen.lineup.members(merge)


def analyse_sweep(sweep: Sweep) -> SweepAnalysis:
    """Intervals of every point, where each method breaks, what was chosen and what that cost.

    Raises:
        ValueError: the tables do not belong together.
    """
    lineup = lineup_of(sweep)
    merges = lineup.merges("learn")
    normalise = bool(merges) and all(references(sweep, merge) is not None for merge in merges)
    parts: list[pd.DataFrame] = []
    found: dict[tuple[str, str], Curve] = {}
    breaks: dict[tuple[str, str], Break] = {}
    choices: dict[tuple[str, str], Choice] = {}
    ways: dict[tuple[str, str], dict[str, Way]] = {}
    forgettings: dict[tuple[str, str], Forgetting] = {}
    for merge in merges + lineup.merges("forget") or [""]:
        dev = Points(sweep, merge, DEV) if sweep.rows("scores", DEV) else None
        test = Points(sweep, merge, TEST, dev.lineup if dev else None)
        parts += [part.scores for part in (test, dev) if part is not None]
        del dev
        for curve in learning_curves(test, references(sweep, merge) if normalise else None):
            key = (merge, curve.label)
            if (one := break_of(curve)) is not None:
                breaks[key] = one
            choices[key] = choice_of(sweep, curve)
            ways[key] = ways_of(sweep, curve)
            found[key] = curve.light()
        for harmful in forgetting_curves(test):
            passage, choice = passage_of(harmful, harm_threshold(sweep.meta)), forgotten_of(sweep, harmful)
            forgettings[merge, harmful.label] = Forgetting(harmful.light(), passage, choice)
    rank = {label: place for place, label in enumerate(lineup.labels("learn"))}
    order = sorted(found, key=lambda key: (merges.index(key[0]), rank[key[1]]))
    found, choices = ({key: own[key] for key in order} for own in (found, choices))  # type: ignore[assignment]
    breaks = {key: breaks[key] for key in order if key in breaks}
    ways = {key: ways[key] for key in order if ways[key]}
    order = [(merge, label) for merge in lineup.merges("forget") for label in lineup.labels("forget", merge)]
    forgettings = {key: forgettings[key] for key in order}
    scores = all_scores(sweep, lineup, parts)
    chosen, fixed = analyse(sweep.at()), _at_one(sweep)
    objective = NORMALISED if normalise else RAW
    return SweepAnalysis(sweep, scores, found, breaks, choices, objective, chosen, fixed, forgettings, ways)


def _at_one(sweep: Sweep) -> Analysis | None:
    """The study at λ = 1, of the merges that were scored there, and at the choices of a kind that never was."""
    found = {key[:4]: key[4] for key in sweep.rows("scores", TEST) if key[4] and one_lambda(key[4]) == 1.0}
    if not found:
        return None
    kinds = {key[1] for key in found}
    others = (row for row in rows_of(sweep.choices) if row.kind not in kinds)
    chosen = {(int(row.seed), str(row.kind), str(row.merge), str(row.label)): str(row.point) for row in others}
    return analyse(sweep.at(found | chosen))


def section_of(analysis: SweepAnalysis, merge: str) -> str:
    """`target_l2 forgets ua`."""
    entry = analysis.meta.get("forgets", {}).get(merge, {})
    return f"{entry.get('target', merge)} forgets {entry.get('forget', 'ua')}"
