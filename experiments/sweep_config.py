"""The schema of ``experiments.sweep``, and which λ it visits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from omegaconf import DictConfig

from eval.settings import TASKS
from experiments.config import FREE, Config, StudyPlan, checked_object, study_plan
from experiments.jobs import Lam
from lata.methods import suggest

#: What is swept where nothing is said.
LAMBDAS = {"start": 0.2, "stop": 1.6, "step": 0.2}

#: More points than this for one method and merge are taken for a slip.
MOST_POINTS = 2_000


class Selection(Enum):
    """How λ is chosen: the configured ``lam``; the best of ``lambdas``; data-free MetaGPT; a search beside them."""

    fixed = "fixed"
    grid = "grid"
    metagpt = "metagpt"
    search = "search"


@dataclass
class SearchConfig:
    """The search for λ: number of trials for each merge, method and seed of the family, and its own seed."""

    trials: int = 24
    seed: int = 0


@dataclass
class SweepConfig(Config):
    """A sweep over λ; see the comments in ``conf/sweep.yaml``."""

    lambdas: Any = None
    selection: Selection = Selection.grid
    search: SearchConfig = field(default_factory=SearchConfig)
    metagpt: str = "ta"
    hindsight: bool = True


@dataclass(frozen=True)
class SweepPlan(StudyPlan):
    """A checked configuration of a sweep.

    Attributes:
        sweep: the composed configuration.
        points: merge → the λ that are visited, in order.
        development: the tasks that λ is chosen by; none where it is not tried out.
    """

    sweep: SweepConfig = field(default_factory=SweepConfig)
    points: Mapping[str, tuple[Lam, ...]] = field(default_factory=dict)
    development: tuple[str, ...] = ()


def register_schemas() -> None:
    """Make the dataclass known to Hydra under the name that ``conf/sweep.yaml`` refers to."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    ConfigStore.instance().store(name="sweep_schema", node=OmegaConf.structured(SweepConfig))


def sweep_plan(raw: DictConfig) -> SweepPlan:
    """Check a composed configuration of a sweep.

    Raises:
        ValueError: as `experiments.config.study_plan`, or λ that cannot be swept.
    """
    config = checked_object(raw, SweepConfig, free=(*FREE, "lambdas."))
    config.forget, config.forget_methods = [], []
    plan = study_plan(config)
    if "wikitext" not in config.eval.tasks:
        raise ValueError("eval.tasks lacks wikitext: a sweep tells stable merges from broken ones by its perplexity")
    if config.search.trials < 1:
        raise ValueError(f"search.trials={config.search.trials} must be at least 1")
    axis = _Axis(LAMBDAS if config.lambdas is None else config.lambdas, config.family.experts)
    points = {label: axis.points(label, experts) for label, experts in plan.merges.items()}
    if config.selection is Selection.fixed:
        points = {label: tuple(dict.fromkeys((*own, config.lam))) for label, own in points.items()}
    if axis.by_task or config.selection is Selection.metagpt:
        _refuse_one_lambda(plan, "selection=metagpt" if not axis.by_task else "a λ for each task")
    if config.metagpt not in (known := ["ta", "lata_linear", "lata_log", "lata_threshold"]):
        raise ValueError(
            f"metagpt={config.metagpt!r} must be one of {', '.join(known)}{suggest(config.metagpt, known)}"
        )
    chosen_by = {config.family.expert_task.get(expert, "") for experts in plan.merges.values() for expert in experts}
    tried = config.selection in (Selection.grid, Selection.search)
    development = tuple(task for task in TASKS if tried and task in chosen_by and task in config.eval.tasks)
    if config.eval.source.value != "mini" and "humaneval" in development:
        development = tuple(task for task in development if task != "humaneval")
    if tried and not development:
        raise ValueError(
            f"selection={config.selection.value} needs a development split, which none of the merged tasks has here; "
            "set selection=fixed or selection=metagpt"
        )
    return SweepPlan(**{**vars(plan), "door": "sweep"}, sweep=config, points=points, development=development)


def _refuse_one_lambda(plan: StudyPlan, what: str) -> None:
    for choice in plan.methods:
        if not choice.method.takes_scales(choice.parameters):
            raise ValueError(
                f"{what}: {choice.label} has one λ for all tasks; leave it out of methods, or give it "
                "variant: mergekit or peft"
            )


class _Axis:
    """What ``lambdas`` says: a list, ``{start, stop, step}``, or one of these for each task."""

    def __init__(self, said: Any, experts: Sequence[str]) -> None:
        self.by_task = isinstance(said, Mapping) and not said.keys() <= {"start", "stop", "step"}
        if not self.by_task:
            self._one = _numbers("lambdas", said)
            return
        self._each = {}
        for task, values in said.items():
            if task not in experts:
                raise ValueError(
                    f"lambdas: {task!r} is not one of {', '.join(experts)}{suggest(task, list(experts))}"
                )
            self._each[task] = _numbers(f"lambdas.{task}", values)

    def points(self, label: str, experts: Sequence[str]) -> tuple[Lam, ...]:
        """The λ that a merge is made with, in order."""
        if not self.by_task:
            return self._one
        if missing := sorted(set(experts) - self._each.keys()):
            raise ValueError(f"lambdas has no values for {', '.join(missing)} of merge {label!r}")
        tasks = sorted(experts)
        grid = itertools.product(*(self._each[task] for task in tasks))
        points = tuple(tuple(zip(tasks, values, strict=True)) for values in itertools.islice(grid, MOST_POINTS + 1))
        if len(points) > MOST_POINTS:
            raise ValueError(f"lambdas gives merge {label!r} more than {MOST_POINTS:,} points; give fewer values")
        return points


def _numbers(key: str, said: Any) -> tuple[float, ...]:
    """A list of numbers, or ``{start, stop, step}`` with both ends, as numbers."""
    if isinstance(said, Mapping):
        if missing := [name for name in ("start", "stop", "step") if not _finite(said.get(name))]:
            raise ValueError(
                f"{key}: {missing[0]} must be a number; write '{key}={{start: 0.2, stop: 1.2, step: 0.2}}'"
            )
        start, stop, step = (float(said[name]) for name in ("start", "stop", "step"))
        if step <= 0 or stop < start:
            raise ValueError(f"{key}: step must be over 0 and stop at least start")
        count = math.floor((stop - start) / step + 1e-9) + 1
        values = [round(start + place * step, 10) for place in range(min(count, MOST_POINTS + 1))]
    elif isinstance(said, Sequence) and not isinstance(said, str):
        values = list(said)
    else:
        raise ValueError(f"{key}={said!r} is neither a list, such as '{key}=[0.5,1.0]', nor {{start, stop, step}}")
    for value in values:
        if not _finite(value):
            raise ValueError(f"{key}: {value!r} is not a finite number")
    if not values:
        raise ValueError(f"{key} is empty; give at least one number, such as '{key}=[1.0]'")
    if len(values) > MOST_POINTS:
        raise ValueError(f"{key} has more than {MOST_POINTS:,} values; give fewer")
    if len(set(map(float, values))) < len(values):
        raise ValueError(f"{key}: a number stands twice")
    return tuple(float(value) for value in values)


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
