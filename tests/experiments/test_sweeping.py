"""What a sweep visits, develops and chooses, with scores that are functions of λ in place of models."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import cast

import pytest
from hydra import compose, initialize_config_dir

from eval.schema import PRIMARY
from experiments import CONF
from experiments.config.sweep import register_schemas, sweep_plan
from experiments.steps.jobs import DEVELOPMENT, STABILITY, Job, Lam
from experiments.steps.queue import Files, Scoring, Steps, Weights
from experiments.study.sweep import Sweeping

TASKS = {STABILITY: ("wikitext",), DEVELOPMENT: ("gsm8k", "humaneval")}
#: MetaGPT's λ.
NORMS = (("code", 0.25), ("math", 0.75))


class Played:
    """Steps whose merges score best at λ = 0.7 and break from 5 on; experts and other models score 1."""

    def merge(self, jobs: Iterable[Job]) -> dict[Job, Weights]:
        return {job: Weights("", 0.0, finite=True) for job in jobs}

    def evaluate(self, scorings: Iterable[Scoring], weights: Mapping[Job, Weights]) -> dict[Scoring, Files]:
        return {(job, name): self._files(job, TASKS[name]) for job, name in scorings if weights[job].finite}

    def coefficients(self, jobs: Iterable[Job]) -> dict[Job, Lam]:
        return dict.fromkeys(jobs, NORMS)

    def _files(self, job: Job, tasks: Iterable[str]) -> Files:
        score = 1 - abs(mean(job.lam) - 0.7) if job.method else 1.0
        values = dict.fromkeys(tasks, score) | {"wikitext": 1e3 if mean(job.lam) > 5 else 10.0}
        rows = [
            {"task": task, "metric": PRIMARY[task][0], "filter": PRIMARY[task][1], "value": values[task]}
            for task in tasks
        ]
        return {"scores.json": json.dumps(rows).encode()}


def mean(lam: Lam) -> float:
    return lam if isinstance(lam, float) else sum(value for _, value in lam) / len(lam)


def played(*overrides: str) -> Sweeping:
    """A sweep of `ta` whose models are evaluated, and nothing else."""
    register_schemas()
    words = ("methods=[ta]", "merges=[math+code]", *overrides)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        sweep = Sweeping(sweep_plan(compose("sweep", overrides=list(words))), cast(Steps, Played()))
    sweep.score(sweep.models, (STABILITY, DEVELOPMENT) if sweep.plan.development else ())
    return sweep


def chosen(sweep: Sweeping) -> dict[str, str]:
    """Way of choosing → the point that it chose."""
    return {way.value: point for way, own in sweep.choose().items() for point in own.values()}


@pytest.mark.parametrize("selection", ["metagpt", "fixed"])
@pytest.mark.parametrize("also", ["grid", "search"])
def test_a_choice_that_no_score_made_is_developed_where_others_are(selection: str, also: str) -> None:
    sweep = played(f"selection={selection}", f"also=[{also}]", "lambdas=[0.5,1.0]", "search.trials=2", "lam=0.9")
    point = chosen(sweep)[selection]
    (entry,) = (entry for entry in sweep.entries if entry.point == point)
    assert sweep.mean_objective([entry]) == pytest.approx(1 - 0.2)
    assert all((entry.job, DEVELOPMENT) in sweep.evaluations for entry in sweep.entries)


@pytest.mark.parametrize("selection", ["metagpt", "fixed"])
def test_nothing_is_developed_where_no_score_has_a_say(selection: str) -> None:
    sweep = played(f"selection={selection}", "lambdas=[0.5]")
    chosen(sweep)
    assert sweep.evaluations == {}
    assert sweep.mean_objective(sweep.entries) is None


def test_a_fixed_lambda_beside_a_grid_is_visited_and_is_not_the_grids() -> None:
    sweep = played("selection=grid", "also=[fixed]", "lambdas=[0.2,0.4]", "lam=0.7")
    assert chosen(sweep) == {"grid": "0.4", "fixed": "0.7"}
    assert [entry.point for entry in sweep.entries] == ["0.2", "0.4", "0.7"]
    assert chosen(played("also=[fixed]", "lambdas=[0.2,0.7]", "lam=0.7")) == {"grid": "0.7", "fixed": "0.7"}


def test_a_fixed_lambda_moves_no_end_of_a_search() -> None:
    words = ("selection=search", "lambdas=[0.2,0.4]", "search.trials=20")
    alone, beside = played(*words), played(*words, "also=[fixed]", "lam=3.0")
    own = chosen(alone)["search"]
    assert chosen(beside) == {"search": own, "fixed": "3"}
    tried = {entry.point for entry in beside.entries}
    assert tried == {entry.point for entry in alone.entries} | {"3"}
    assert [entry.point for entry in beside.entries][:3] == ["0.2", "0.4", "3"]


def test_a_fixed_lambda_that_breaks_a_merge_is_chosen_all_the_same_and_has_no_say() -> None:
    sweep = played("selection=fixed", "also=[grid]", "lambdas=[0.5]", "lam=9")
    assert chosen(sweep) == {"fixed": "9", "grid": "0.5"}
    broken = next(entry for entry in sweep.entries if entry.point == "9")
    assert (broken.job, STABILITY) in sweep.evaluations
    assert (broken.job, DEVELOPMENT) not in sweep.evaluations
    assert sweep.mean_objective([broken]) is None
