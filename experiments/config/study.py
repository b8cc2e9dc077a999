"""The schema of a study, and the checks that types alone cannot make.

Hydra composes plain YAML; these dataclasses say which keys exist and of which type each value is, so that a typo
is refused before anything runs. `study` turns the composed configuration into the object that the pipeline
reads, with every method resolved and every name checked. Nothing heavy is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig

from experiments.commands.pages import choices
from experiments.config.evaluate import EvalConfig, eval_settings
from experiments.config.family import (
    FamilyConfig,
    FamilyKind,
    ForgetConfig,
    check_family,
    check_sources,
    experts_of,
    has_base,
    known,
    mini_family,
    refuse_twice,
)
from experiments.config.keys import checked_object
from experiments.config.methods import MethodChoice, label_of, resolve_methods
from experiments.steps.jobs import Job, Lam, negated
from lata.methods import methods as lata_methods
from lata.methods.rules import lam_problem

#: Beginnings of keys that a user names.
FREE = ("family.expert_task.", "family.models.", "family.threshold.")


class Mode(Enum):
    """Which part of a study is run: learning and forgetting, one of them, or the similarity of layers alone."""

    both = "both"
    learn = "learn"
    forget = "forget"
    layers = "layers"


class Vocabularies(Enum):
    """What is done with vocabularies that differ: they are refused, or the rows that all share are merged."""

    error = "error"
    common = "common"


class LoggerKind(Enum):
    """Where a study is logged beside its own folder."""

    wandb = "wandb"
    none = "none"


@dataclass
class LoggerConfig:
    """Weights & Biases or nothing."""

    kind: LoggerKind = LoggerKind.none
    project: str = "lata-bench"
    entity: str | None = None


@dataclass
class LanguageConfig:
    """The group ``language``: that of the models that forget, for the names of a study."""

    name: str = ""
    title: str = ""


@dataclass
class ScheduleConfig:
    """The LATA method that claims are decided by, named before results are seen."""

    learn: str = "lata_linear"
    forget: str = "lata_threshold"


@dataclass
class Config:
    """A whole study; see the comments in `conf/`."""

    name: str = "custom"
    title: str = ""
    mode: Mode = Mode.both
    family: FamilyConfig = field(default_factory=FamilyConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    language: LanguageConfig = field(default_factory=LanguageConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    lam: float = 1.0
    vocab: Vocabularies = Vocabularies.error
    merges: list[str] = field(default_factory=list)
    methods: list[Any] = field(default_factory=list)
    forget: list[ForgetConfig] = field(default_factory=list)
    forget_methods: list[Any] = field(default_factory=list)
    baseline: str = "ta"
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    harm_threshold: float = 0.10
    utility_margin: float = 0.02
    seeds: list[int] | None = None
    workers: int | None = None
    process: int = 0
    out: str = MISSING
    cache: str = MISSING


@dataclass(frozen=True)
class Combination:
    """What is merged, whatever the method and λ.

    Attributes:
        kind: ``learn`` or ``forget``.
        start: the model that is changed: ``pre``, or the target that forgets.
        experts: names of the experts, sorted.
    """

    kind: str
    start: str
    experts: tuple[str, ...]

    def job(self, seed: int, lam: Lam) -> Job:
        """The job without its method; `lam` is positive for forgetting too."""
        return Job(seed, self.start, experts=self.experts, lam=negated(lam) if self.kind == "forget" else lam)


@dataclass(frozen=True)
class StudyPlan:
    """A checked configuration: what the pipeline runs.

    Attributes:
        config: the composed configuration; what its mode leaves out is gone.
        merges: label (``ua+math``) → names of experts, as given.
        methods: the rows of the learning tables.
        forget_methods: the rows of the forgetting tables.
        seeds: the seeds of the family and of the random methods.
        out: folder of the results.
        cache: folder of models and finished steps.
        door: the command that runs it.
        several: whether this is one of several processes that share the work; such a one writes no results.
    """

    config: Config
    merges: dict[str, list[str]]
    methods: list[MethodChoice]
    forget_methods: list[MethodChoice]
    seeds: list[int]
    out: Path
    cache: Path
    door: str = "reproduce"
    several: bool = False

    @property
    def combinations(self) -> dict[str, Combination]:
        """Everything that is merged by its name in tables, learning before forgetting."""
        learn = {label: Combination("learn", "pre", tuple(sorted(names))) for label, names in self.merges.items()}
        return learn | {job.name: Combination("forget", job.target, (job.forget,)) for job in self.config.forget}

    def methods_of(self, combination: Combination) -> list[MethodChoice]:
        """The methods that a combination is merged by."""
        return self.methods if combination.kind == "learn" else self.forget_methods

    @property
    def experts(self) -> list[str]:
        """The experts that take part, in the family's order."""
        used = {name for combination in self.combinations.values() for name in combination.experts}
        layers = self.config.mode is Mode.layers
        return [name for name in self.config.family.experts if layers or name in used]

    @property
    def baseline(self) -> str:
        """The label of the row that marks compare with."""
        return label_of(self.config.baseline, self.methods or self.forget_methods)

    @property
    def schedule(self) -> dict[str, str]:
        """``learn`` and ``forget`` → the label of the row that claims are decided by."""
        named = self.config.schedule
        return {
            "learn": label_of(named.learn, self.methods),
            "forget": label_of(named.forget, self.forget_methods),
        }

    @property
    def needs_base(self) -> bool:
        """Whether something compares layers with θ_base."""
        chosen = [choice for one in self.combinations.values() for choice in self.methods_of(one)]
        return self.config.mode is Mode.layers or any(choice.method.needs_similarity for choice in chosen)

    @property
    def models(self) -> list[str]:
        """The models that take part: base, where it is needed or given; pre, experts, targets."""
        base = ["base"] if self.needs_base or has_base(self.config.family) else []
        return list(dict.fromkeys((*base, "pre", *self.experts, *(job.target for job in self.config.forget))))


def register_schemas() -> None:
    """Make the dataclasses known to Hydra under the names that `conf/` refers to."""
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="schema", node=Config)


def study(raw: DictConfig) -> StudyPlan:
    """Check a composed configuration and resolve its methods; ValueError as `study_plan`."""
    return study_plan(checked_object(raw, Config, free=FREE))


def study_plan(config: Config, complete: bool = True) -> StudyPlan:
    """Resolve and check the names in a configuration.

    Args:
        config: as composed.
        complete: whether a model or a folder of documents that the user has still to give is an error.

    Raises:
        ValueError: something that no run could do: an unknown method or expert, no merges, λ that is not finite …
    """
    family = config.family
    if problem := lam_problem(config.lam):
        raise ValueError(f"lam={config.lam} {problem}")
    _keep_mode(config)
    check_family(family)
    merges = {label: experts_of(label, family) for label in config.merges}
    refuse_twice("merges", config.merges)
    by_content: dict[tuple[str, ...], str] = {}
    for label, experts in merges.items():
        same = by_content.setdefault(tuple(sorted(experts)), label)
        if same != label:
            raise ValueError(f"merges: {same!r} and {label!r} are the same")
    _check_language(config)
    for job in config.forget:
        known("forget target", job.target, family.targets)
        known("forget expert", job.forget, family.experts)
    refuse_twice("forget", [job.name for job in config.forget])
    methods = resolve_methods(config.methods)
    forget_methods = resolve_methods(config.forget_methods)
    for key, wanted, given in (("methods", merges, methods), ("forget_methods", config.forget, forget_methods)):
        if wanted and not given:
            raise ValueError(f"{key}=[] leaves nothing to compare; give at least one, such as '{key}=[ta, lata_log]'")
    names = dict.fromkeys((*lata_methods(), *(choice.label for choice in (*methods, *forget_methods))))
    known("baseline", config.baseline, list(names))
    for kind, name in vars(config.schedule).items():
        known(f"schedule.{kind}", name, [method for method in names if method.startswith("lata_")])
    for key in ("harm_threshold", "utility_margin"):
        if not 0 <= (value := getattr(config, key)) <= 1:
            raise ValueError(f"{key}={value} must be a number from 0 to 1")
    for key in ("out", "cache"):
        if not getattr(config, key).strip():
            raise ValueError(f"{key} is empty; name a folder" + (" or unset LATA_CACHE" if key == "cache" else ""))
    known("eval.device", config.eval.device, ["auto", "cpu", "cuda"])
    elsewhere = config.eval.reads_family_data or (config.eval.data_dir is None and not complete)
    eval_settings(config.eval, **({"data_dir": Path()} if elsewhere else {}))
    seeds = config.seeds if config.seeds is not None else [family.seed]
    if not seeds:
        raise ValueError("seeds=[] leaves nothing to do; give at least one, such as 'seeds=[0]'")
    refuse_twice("seeds", seeds)
    if config.workers is not None and config.workers < 1:
        raise ValueError(f"workers={config.workers} must be at least 1")
    cache = Path(config.cache).expanduser()
    if family.kind is FamilyKind.mini:
        for seed in seeds:
            mini_family(family, cache, seed)
    plan = StudyPlan(
        config=config,
        merges=merges,
        methods=methods,
        forget_methods=forget_methods,
        seeds=list(seeds),
        out=Path(config.out).expanduser(),
        cache=cache,
        several=_in_multirun(),
    )
    if complete:
        check_sources(family, plan.models)
    for combination in plan.combinations.values():
        for choice in plan.methods_of(combination):
            choice.method.check_tasks(choice.parameters, combination.experts)
    return plan


def _keep_mode(config: Config) -> None:
    """Leave out of a configuration what its mode does not run; ValueError where that leaves nothing."""
    if config.mode in (Mode.forget, Mode.layers):
        config.merges, config.methods = [], []
    if config.mode in (Mode.learn, Mode.layers):
        config.forget, config.forget_methods = [], []
    if config.merges or config.forget or config.mode is Mode.layers:
        return
    if config.mode is Mode.forget:
        raise ValueError("mode=forget: nothing to forget; give 'forget=[{target: MODEL, forget: ua}]'")
    raise ValueError("merges=[] leaves nothing to do; give at least one, such as 'merges=[math+code]'")


def _check_language(config: Config) -> None:
    """ValueError where the family has no model that forgets, or none of the language."""
    family, language = config.family, config.language.name
    if config.forget and not family.targets:
        raise ValueError(
            f"family {family.name} names no model that forgets; choose another family, or experiment=learning"
        )
    if language and f"target_{language}" not in [job.target for job in config.forget]:
        raise ValueError(f"language={language} is for experiment=forgetting; leave it out, or choose that")
    have = [name for name in choices("language") if f"target_{name}" in family.targets]
    if language and language not in have:
        raise ValueError(
            f"family {family.name} has no model that forgets in language={language}; "
            f"choose language={' or '.join(have)}"
        )


def _in_multirun() -> bool:
    """Whether Hydra runs this as one job of several (``--multirun``)."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    return HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN
