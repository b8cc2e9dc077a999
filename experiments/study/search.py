"""λ by search: Optuna's TPE (Watanabe, arXiv 2304.11127), one study for each merge, method and seed of the family.

All studies take a step at a time together, so that the workers have something to do and the trials do not depend on
how many workers there are. The objective is the mean normalised development score; a point whose perplexity alone
shows that it is unstable is pruned before its tasks are evaluated.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Protocol

import optuna
from optuna.trial import Trial, TrialState
from tqdm import tqdm

from experiments.config.methods import MethodChoice
from experiments.config.sweep import SweepPlan
from experiments.steps.jobs import Curve, Entry, Lam

#: λ are multiples of this, so that their names are exact.
STEP = 0.01


class Searched(Protocol):
    """What a search needs of a sweep."""

    plan: SweepPlan

    @property
    def curves(self) -> Mapping[Curve, MethodChoice]: ...

    def entry(self, curve: Curve, lam: Lam) -> Entry: ...
    def develop(self, entries: Iterable[Entry]) -> None: ...
    def stable(self, entry: Entry) -> bool: ...
    def objective(self, entry: Entry) -> float: ...


def search(sweep: Searched) -> list[Entry]:
    """The points that a search adds to a sweep, beside those of ``lambdas``.

    It looks between the smallest and the largest of ``lambdas``, at one λ for each task where the method takes that.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    settings = sweep.plan.sweep.search
    studies = {curve: _study(curve, settings.seed) for curve in sweep.curves}
    visited: list[Entry] = []
    for _ in tqdm(range(settings.trials), desc="search", unit="round", disable=None):
        asked = {curve: study.ask() for curve, study in studies.items()}
        entries = {curve: sweep.entry(curve, _suggested(sweep, curve, trial)) for curve, trial in asked.items()}
        sweep.develop(entries.values())
        visited += entries.values()
        for curve, trial in asked.items():
            if sweep.stable(entries[curve]):
                studies[curve].tell(trial, sweep.objective(entries[curve]))
            else:
                studies[curve].tell(trial, state=TrialState.PRUNED)
    return visited


def _study(curve: Curve, seed: int) -> optuna.Study:
    own = zlib.crc32(repr((curve, seed)).encode())
    return optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=own, multivariate=True))


def _suggested(sweep: Searched, curve: Curve, trial: Trial) -> Lam:
    label = curve[1]
    choice = sweep.curves[curve]
    tasks = sorted(sweep.plan.merges[label])

    def suggest(name: str, values: list[float]) -> float:
        return round(trial.suggest_float(name, min(values), max(values), step=STEP), 10)

    grid = sweep.plan.grid[label]
    if not choice.method.takes_scales(choice.parameters):
        return suggest("lam", [point for point in grid if isinstance(point, float)])
    by_task = {task: [dict(point)[task] if isinstance(point, tuple) else point for point in grid] for task in tasks}
    return tuple((task, suggest(task, by_task[task])) for task in tasks)
