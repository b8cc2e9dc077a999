"""The sweep: one study at many λ. Points are cached steps as any other; this is what is done in which order.

λ is chosen on the development split alone. A point is looked at twice there: its perplexity first, which says
whether it is stable, and only if it is, the tasks; so a broken merge costs one task, not all.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

from eval.schema import PRIMARY
from experiments.config.methods import MethodChoice
from experiments.config.study import LoggerKind, Mode
from experiments.config.sweep import Selection, SweepPlan
from experiments.steps.jobs import DEVELOPMENT, STABILITY, TEST, Curve, Entry, Job, Lam
from experiments.steps.queue import Files, Scoring, Steps, Weights
from experiments.study.run import again, merge_entry, models, prepared, publish
from results.study.selection import best, best_forgetting, is_stable, normalised, utilities

if TYPE_CHECKING:
    from results.summaries.study import Summary


def run(plan: SweepPlan) -> Summary | None:
    """Run a sweep and write its results to ``plan.out``; None where it is one of several processes and writes none.

    Raises:
        ValueError: something is wrong with the configuration, the cache or the output folder.
    """
    more: dict[str, dict[str, Any]] = {}
    if plan.development:
        dev = {"split": "dev", "limit": plan.sweep.dev_limit or plan.config.eval.limit}
        more = {STABILITY: {**dev, "tasks": ("wikitext",)}, DEVELOPMENT: {**dev, "tasks": plan.development}}
    with prepared(plan, more) as study:
        sweep = Sweeping(plan, study.steps)
        with study.watch.stage("evaluate models"):
            sweep.score(sweep.models, (TEST, *more))
            sweep.warn_of_useless_experts()
        with study.watch.stage(f"choose by {plan.sweep.selection.value}"):
            choices = sweep.choose()
        with study.watch.stage("evaluate"):
            chosen, *others = (
                [e for e in sweep.entries if e.point == own.get(curve_of(e))] for own in choices.values()
            )
            needed = sweep.entries if plan.sweep.hindsight else dict.fromkeys(chain(chosen, *others))
            sweep.score(needed, (TEST,))
            sweep.evaluate(again(plan, [*sweep.models, *chosen], sweep.steps))
        with study.watch.stage("similarity"):
            similarities = sweep.steps.similarities(tuple(sorted(plan.experts)))
    if plan.several:
        return None

    from experiments.study.frames import make_sweep
    from results.summaries.sweep import summarise_sweep

    run_key = study.key(plan)
    rows = {entry: sweep.weights[entry.job] for entry in (*sweep.models, *sweep.entries)}
    with study.watch.stage("tables, figures, report"):
        frames = make_sweep(plan, rows, sweep.evaluations, choices, similarities, run_key)
        summary = summarise_sweep(frames, plan.out)
    record = {**study.record(plan, run_key, rows), "objective": sweep.mean_objective(chosen)}
    publish(plan.out, record, summary.files)
    if plan.config.logger.kind is LoggerKind.wandb:
        from experiments.study import tracking

        tracking.log_sweep(plan, frames, summary, record)
    return summary


def curve_of(entry: Entry) -> Curve:
    """The curve that a point lies on."""
    return entry.job.seed, entry.merge, entry.label


@dataclass
class Sweeping:
    """The points of a sweep, and what is known of them so far.

    Attributes:
        plan: what is asked for.
        steps: the cached steps.
    """

    plan: SweepPlan
    steps: Steps

    def __post_init__(self) -> None:
        self.weights: dict[Job, Weights] = {}
        self.evaluations: dict[Scoring, Files] = {}
        #: Every point, by its curve.
        self.points: dict[Curve, dict[Entry, None]] = {curve: {} for curve in self.curves}

    @cached_property
    def models(self) -> list[Entry]:
        """Models as they are: base, pre, the experts that are merged, and what forgets."""
        return [entry for seed in self.plan.seeds for entry in models(seed, self.plan.models)]

    @property
    def entries(self) -> list[Entry]:
        """Every point, a curve after another."""
        return [entry for own in self.points.values() for entry in own]

    @cached_property
    def curves(self) -> dict[Curve, MethodChoice]:
        """Every method of every merge and family."""
        return {
            (seed, label, choice.label): choice
            for seed in self.plan.seeds
            for label, combination in self.plan.combinations.items()
            for choice in self.plan.methods_of(combination)
        }

    def entry(self, curve: Curve, lam: Lam) -> Entry:
        """A point of a curve; it stands in the tables from now on."""
        seed, label, _ = curve
        combination = self.plan.combinations[label]
        entry = merge_entry(combination.kind, label, self.curves[curve], combination.job(seed, lam))
        self.points[curve][entry] = None
        return entry

    def score(self, entries: Iterable[Entry], names: Iterable[str]) -> None:
        """Make the weights of some rows and evaluate them in some ways."""
        rows, ways = list(entries), list(names)
        missing = [entry.job for entry in rows if entry.job not in self.weights]
        self.weights |= self.steps.merge(missing)
        self.evaluate((entry.job, name) for entry in rows for name in ways)

    def evaluate(self, scorings: Iterable[Scoring]) -> None:
        """Evaluate jobs whose weights are known."""
        wanted = [scoring for scoring in dict.fromkeys(scorings) if scoring not in self.evaluations]
        self.evaluations |= self.steps.evaluate(wanted, self.weights)

    def choose(self) -> dict[Selection, dict[Curve, str]]:
        """Each way of choosing → λ of every curve, as a point's name; none where nothing is stable.

        A way that tries λ out sees the development split alone, and of all points those that it visits itself.
        """
        for curve in self.curves:
            for lam in self.plan.points[curve[1]]:
                self.entry(curve, lam)
        return {way: self._chosen(way) for way in self.plan.ways}

    def _chosen(self, way: Selection) -> dict[Curve, str]:
        if way is Selection.fixed:
            return self._given(dict.fromkeys(self.curves, self.plan.config.lam))
        if way is Selection.metagpt:
            return self._given(self._coefficients())
        visited = [self.entry(curve, lam) for curve in self.curves for lam in self.plan.grid[curve[1]]]
        if way is Selection.search:
            from experiments.study.search import search

            visited += search(self)
        self.develop(visited)
        own: dict[Curve, dict[Entry, None]] = {curve: {} for curve in self.curves}
        for entry in visited:
            if self.stable(entry):
                own[curve_of(entry)][entry] = None
        return {curve: self._best(entries) for curve, entries in own.items() if entries}

    def _given(self, lams: Mapping[Curve, Lam]) -> dict[Curve, str]:
        """λ that no score has a say in; beside ways that try λ out their points are developed as all others are."""
        entries = {curve: self.entry(curve, lam) for curve, lam in lams.items()}
        if self.plan.development:
            self.develop(entries.values())
        return {curve: entry.point for curve, entry in entries.items()}

    def develop(self, entries: Iterable[Entry]) -> None:
        """Evaluate points on the development split: all for their perplexity, stable ones for their tasks."""
        rows = list(entries)
        self.score(rows, (STABILITY,))
        self.evaluate((entry.job, DEVELOPMENT) for entry in rows if self.stable(entry))

    def stable(self, entry: Entry) -> bool:
        """Whether a point's weights are finite and its perplexity is not over ten times that of θ_pre.

        A forgetting is held against its target as well: in the target's language θ_pre can be far worse.
        """
        if not self.weights[entry.job].finite:
            return False
        starts = dict.fromkeys(("pre", entry.job.start))
        before = min(self._primary(Job(entry.job.seed, start), STABILITY)["wikitext"] for start in starts)
        return is_stable(self._primary(entry.job, STABILITY)["wikitext"], before)

    def objective(self, entry: Entry) -> float:
        """Mean over the merged tasks of a stable point's score relative to the expert's own; development split.

        Plain scores where some expert has learned nothing: nothing can be measured against it. To forget, the mean
        utility less what the harm is over its threshold.
        """
        config, seed = self.plan.config, entry.job.seed
        if entry.kind == "forget":
            harm, utility = self._harm_and_utility(entry)
            return utility - max(0.0, harm - config.harm_threshold)
        own = {config.family.expert_task[expert]: expert for expert in entry.job.experts}
        tasks = [task for task in self.plan.development if task in own]
        scores = self._primary(entry.job, DEVELOPMENT)
        experts = {task: self._primary(Job(seed, own[task]), DEVELOPMENT)[task] for task in tasks}
        if not all(experts.values()):
            experts = dict.fromkeys(tasks, 1.0)
        return normalised({task: scores[task] for task in tasks}, experts)

    def warn_of_useless_experts(self) -> None:
        """Say on standard error which experts score nothing on the development split of their own task."""
        if self.plan.config.mode is Mode.forget:
            return
        for entry in self.models:
            task = self.plan.config.family.expert_task.get(entry.label)
            if task in self.plan.development and not self._primary(entry.job, DEVELOPMENT)[task]:
                print(
                    f"warning: {entry.label} of seed {entry.job.seed} scores 0 on {task}; where it is merged, λ is "
                    "chosen by plain scores instead of scores relative to the experts'",
                    file=sys.stderr,
                )

    def mean_objective(self, chosen: Iterable[Entry]) -> float | None:
        """Mean `objective` of the points that were chosen; None where λ was not tried out."""
        values = [self.objective(entry) for entry in chosen if self.plan.development and self.stable(entry)]
        return math.fsum(values) / len(values) if values else None

    def _best(self, entries: Iterable[Entry]) -> str:
        """The best of one curve's stable points."""
        rows = list(entries)
        if rows[0].kind == "learn":
            return best([(entry.point, self.objective(entry)) for entry in rows])
        scored = [(entry.point, *self._harm_and_utility(entry)) for entry in rows]
        return best_forgetting(scored, self.plan.config.harm_threshold)

    def _harm_and_utility(self, entry: Entry) -> tuple[float, float]:
        """A forgetting's harm, and its mean utility, 0 where none is known; development split."""
        (forgotten,) = entry.job.experts
        harm = self.plan.config.family.expert_task[forgotten]
        scores = self._primary(entry.job, DEVELOPMENT)
        known = [scores[task] for task in utilities(scores, harm)]
        return scores[harm], math.fsum(known) / len(known) if known else 0.0

    def _coefficients(self) -> dict[Curve, Lam]:
        """MetaGPT's λ of every curve."""
        method = self.plan.sweep.metagpt
        found = self.steps.coefficients(
            Job(seed, "pre", method, tuple(sorted(experts)))
            for seed in self.plan.seeds
            for experts in self.plan.merges.values()
        )
        return {
            curve: found[Job(curve[0], "pre", method, self.plan.combinations[curve[1]].experts)]
            for curve in self.curves
        }

    def _primary(self, job: Job, name: str) -> dict[str, float]:
        """Task → its main score."""
        rows = json.loads(self.evaluations[job, name]["scores.json"])
        return {row["task"]: row["value"] for row in rows if (row["metric"], row["filter"]) == PRIMARY[row["task"]]}
