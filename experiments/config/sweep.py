"""The schema of ``experiments.sweep``, and which λ it visits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from omegaconf import DictConfig

from eval.settings import TASKS, has_development_split
from experiments.config.family import check_sources, refuse_twice
from experiments.config.keys import checked_object
from experiments.config.study import FREE, Config, Mode, StudyPlan, study_plan
from experiments.steps.jobs import Lam
from lata.methods import get, suggest
from lata.methods.rules import lam_problem

#: What is swept where nothing is said.
LAMBDAS = {"start": 0.2, "stop": 1.6, "step": 0.2}

#: Beginnings of the keys of a sweep that a user names.
SWEEP_FREE = (*FREE, "lambdas.")

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
    also: list[Selection] = field(default_factory=list)
    search: SearchConfig = field(default_factory=SearchConfig)
    metagpt: str = "ta"
    hindsight: bool = True
    dev_limit: int | None = None


@dataclass(frozen=True)
class SweepPlan(StudyPlan):
    """A checked configuration of a sweep.

    Attributes:
        sweep: the composed configuration.
        grid: name of a combination → the λ of ``lambdas``: what a grid is the best of, and a search looks between.
        points: the same and, where a way of choosing takes it, the fixed λ: what is visited anyway, in order.
        development: the tasks that λ is chosen by; none where it is not tried out.
    """

    sweep: SweepConfig = field(default_factory=SweepConfig)
    grid: Mapping[str, tuple[Lam, ...]] = field(default_factory=dict)
    points: Mapping[str, tuple[Lam, ...]] = field(default_factory=dict)
    development: tuple[str, ...] = ()

    @property
    def needs_base(self) -> bool:
        """Whether something compares layers with θ_base: MetaGPT by a LATA method's vectors as well."""
        return super().needs_base or (Selection.metagpt in self.ways and get(self.sweep.metagpt).needs_similarity)

    @property
    def ways(self) -> tuple[Selection, ...]:
        """All ways in which λ is chosen; the first one's choices are the sweep's own."""
        return (self.sweep.selection, *self.sweep.also)


def register_schemas() -> None:
    """Make the dataclass known to Hydra under the name that ``conf/sweep.yaml`` refers to."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    ConfigStore.instance().store(name="sweep_schema", node=OmegaConf.structured(SweepConfig))


def sweep_plan(raw: DictConfig) -> SweepPlan:
    """Check a composed configuration of a sweep.

    Raises:
        ValueError: as `experiments.config.study.study_plan`, or λ that cannot be swept.
    """
    return checked_sweep(checked_object(raw, SweepConfig, free=SWEEP_FREE))


def checked_sweep(config: SweepConfig, complete: bool = True) -> SweepPlan:
    """Resolve and check a sweep's configuration; `complete` as for `study_plan`, ValueError as `sweep_plan`."""
    if config.mode in (Mode.layers, Mode.both):
        raise ValueError(f"mode={config.mode.value} cannot be swept; choose mode=learn or mode=forget")
    plan = study_plan(config, complete)
    if "wikitext" not in config.eval.tasks:
        raise ValueError("eval.tasks lacks wikitext: a sweep tells stable merges from broken ones by its perplexity")
    if config.dev_limit is not None and config.dev_limit < 1:
        raise ValueError(f"dev_limit={config.dev_limit} must be at least 1, or null for eval.limit")
    if config.search.trials < 1:
        raise ValueError(f"search.trials={config.search.trials} must be at least 1")
    axis = _Axis(LAMBDAS if config.lambdas is None else config.lambdas, config.family.experts)
    grid = {label: axis.points(label, one.experts) for label, one in plan.combinations.items()}
    ways = (config.selection, *config.also)
    refuse_twice("selection and also", [way.value for way in ways])
    fixed = (config.lam,) if Selection.fixed in ways else ()
    points = {label: tuple(dict.fromkeys((*own, *fixed))) for label, own in grid.items()}
    if axis.by_task:
        _refuse_one_lambda(plan, "a λ for each task")
    elif Selection.metagpt in ways:
        beside = Selection.metagpt in config.also
        _refuse_one_lambda(plan, _said(config, [Selection.metagpt]), ", or leave metagpt out of also" * beside)
    if config.mode is Mode.forget:
        _refuse_for_forgetting(config, axis.by_task)
    if config.metagpt not in (known := ["ta", "lata_linear", "lata_log", "lata_threshold"]):
        raise ValueError(
            f"metagpt={config.metagpt!r} must be one of {', '.join(known)}{suggest(config.metagpt, known)}"
        )
    tried = [way for way in ways if way in (Selection.grid, Selection.search)]
    development = _development(plan) if tried else ()
    if tried and not development:
        rest = "set selection=fixed" + " or selection=metagpt" * (config.mode is Mode.learn)
        if config.selection not in tried:
            rest = f"leave {' and '.join(way.value for way in tried)} out of also"
        raise ValueError(
            f"{_said(config, tried)} needs a development split, which none of the tasks that λ is chosen by has "
            f"here; {rest}"
        )
    made = SweepPlan(
        **{**vars(plan), "door": "sweep"}, sweep=config, grid=grid, points=points, development=development
    )
    if complete:
        check_sources(config.family, made.models)
    return made


def _said(config: SweepConfig, ways: Sequence[Selection]) -> str:
    """The key that asks for some ways of choosing: ``selection`` where it names one of them, else ``also``."""
    if config.selection in ways:
        return f"selection={config.selection.value}"
    return f"also=[{','.join(way.value for way in ways)}]"


def _development(plan: StudyPlan) -> tuple[str, ...]:
    """The tasks that λ is chosen by: those of the merged experts; to forget, harm and all utility."""
    config = plan.config
    own = {config.family.expert_task.get(expert, "") for expert in plan.experts}
    wanted = own if config.mode is Mode.learn else {*config.eval.tasks} - {"wikitext"}
    source = config.eval.source.value
    found = tuple(
        task for task in TASKS if task in wanted and task in config.eval.tasks and has_development_split(task, source)
    )
    # What is not known to do harm cannot be chosen by the harm that it does.
    return found if config.mode is Mode.learn or own <= {*found} else ()


def _refuse_for_forgetting(config: SweepConfig, by_task: bool) -> None:
    """ValueError for what has no meaning where one expert is subtracted."""
    if by_task:
        raise ValueError("mode=forget takes one expert away, so lambdas is a list or a range, not one for each task")
    if config.selection not in (Selection.fixed, Selection.grid):
        way = config.selection.value
        raise ValueError(f"selection={way} is for learning; with mode=forget choose grid or fixed")
    if config.also:
        raise ValueError(
            f"{_said(config, config.also)} is for learning, where a table compares ways of choosing λ; with "
            "mode=forget leave also out"
        )


def _refuse_one_lambda(plan: StudyPlan, what: str, rest: str = "") -> None:
    """ValueError where a method cannot have the λ for each task that `what` gives; `rest` is one more way out."""
    for choice in plan.methods:
        if not choice.method.takes_scales(choice.parameters):
            raise ValueError(
                f"{what}: {choice.label} has one λ for all tasks; leave it out of methods, or give it "
                f"variant: mergekit or peft{rest}"
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
        for name in ("start", "stop", "step"):
            if problem := lam_problem(said.get(name)):
                example = f"write '{key}={{start: 0.2, stop: 1.2, step: 0.2}}'"
                raise ValueError(f"{key}: {name} {problem}; {example}")
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
        if problem := lam_problem(value):
            raise ValueError(f"{key}: {value!r} {problem}")
    if not values:
        raise ValueError(f"{key} is empty; give at least one number, such as '{key}=[1.0]'")
    if len(values) > MOST_POINTS:
        raise ValueError(f"{key} has more than {MOST_POINTS:,} values; give fewer")
    if len(set(map(float, values))) < len(values):
        raise ValueError(f"{key}: a number stands twice")
    return tuple(float(value) for value in values)
