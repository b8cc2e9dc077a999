"""The schema of every configuration group, and the checks that types alone cannot make.

Hydra composes plain YAML; these dataclasses say which keys exist and of which type each value is, so that a typo
is refused before anything runs. `study` turns the composed configuration into the object that the pipeline
reads, with every method resolved and every name checked. Nothing heavy is imported here.
"""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import MISSING as DATACLASS_MISSING
from dataclasses import dataclass, field, fields, make_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from omegaconf import MISSING, DictConfig, OmegaConf

from eval.judge_settings import JudgeSettings
from eval.settings import EvalSettings
from experiments.family_config import (
    FamilyConfig,
    FamilyKind,
    check_family,
    experts_of,
    known,
    mini_family,
    refuse_twice,
)
from lata.methods import Method, get
from lata.methods import methods as lata_methods

Schema = TypeVar("Schema")

#: Beginnings of keys that a user names.
FREE = ("family.expert_task.", "family.models.")

CONF = Path(__file__).resolve().parent.parent / "conf"


class EvalSource(Enum):
    """Where the documents of the tasks come from."""

    mini = "mini"
    local = "local"
    hub = "hub"


class LoggerKind(Enum):
    """Where a study is logged beside its own folder."""

    wandb = "wandb"
    none = "none"


#: The fields of `eval.judge_settings.JudgeSettings`; there is no judge where no endpoint is named.
JudgeConfig = make_dataclass(
    "JudgeConfig",
    [
        (option.name, get_type_hints(JudgeSettings)[option.name], field(default=option.default))
        if option.default is not DATACLASS_MISSING
        else (option.name, str | None, field(default=None))
        for option in fields(JudgeSettings)
    ],
    # Launchers send configurations to other processes, which must find the class under its name.
    namespace={"__module__": __name__},
)


@dataclass
class EvalConfig:
    """Which tasks, on which documents, and how: the fields of `eval.settings.EvalSettings`."""

    source: EvalSource = EvalSource.mini
    data_dir: str | None = None
    tasks: list[str] = field(default_factory=list)
    split: str = "test"
    limit: int | None = None
    num_fewshot: int | None = None
    batch_size: int = 1
    dtype: str = "float32"
    device: str = "auto"
    threads: int = 1
    backend: str = "hf"
    tensor_parallel: int = 1
    gpu_memory: float = 0.9
    device_map: str | None = None
    chat_template: str = "off"
    samples: int = 1
    temperature: float = 0.8
    k: list[int] = field(default_factory=lambda: [1])
    seed: int = 0
    allow_weaker_sandbox: bool = False
    judge: JudgeConfig = field(default_factory=JudgeConfig)  # type: ignore[valid-type]

    @property
    def reads_family_data(self) -> bool:
        """Whether the documents are those that the miniature family makes, wherever it keeps them."""
        return self.source is EvalSource.mini and self.data_dir is None


@dataclass
class LoggerConfig:
    """Weights & Biases or nothing."""

    kind: LoggerKind = LoggerKind.none
    project: str = "lata-bench"
    entity: str | None = None


@dataclass
class ForgetConfig:
    """One forgetting job: subtract expert `forget`'s direction from model `target`."""

    target: str = MISSING
    forget: str = MISSING


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
    family: FamilyConfig = field(default_factory=FamilyConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    lam: float = 1.0
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
class MethodChoice:
    """One row of a study: a method with all its parameters.

    Attributes:
        method: the registered method.
        parameters: every parameter, defaults included.
        label: its name in every table; parameters stand in it only where the study has the method twice.
    """

    method: Method
    parameters: Mapping[str, Any]
    label: str

    @property
    def changed(self) -> str:
        """The parameters that differ from the method's own defaults, as ``key=value, …``."""
        different = {k: v for k, v in self.parameters.items() if v != self.method.defaults[k]}
        return ", ".join(f"{k}={v}" for k, v in different.items())


@dataclass(frozen=True)
class StudyPlan:
    """A checked configuration: what the pipeline runs.

    Attributes:
        config: the composed configuration.
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


def register_schemas() -> None:
    """Make the dataclasses known to Hydra under the names that `conf/` refers to."""
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="schema", node=Config)


def study(raw: DictConfig) -> StudyPlan:
    """Check a composed configuration and resolve its methods; ValueError as `study_plan`."""
    return study_plan(checked_object(raw, Config, free=FREE))


def study_plan(config: Config) -> StudyPlan:
    """Resolve and check the names in a configuration.

    Raises:
        ValueError: something that no run could do: an unknown method or expert, no merges, λ that is not finite …
    """
    family = config.family
    if not math.isfinite(config.lam):
        raise ValueError(f"lam={config.lam} must be a finite number")
    if not config.merges and not config.forget:
        raise ValueError("merges=[] leaves nothing to do; give at least one, such as 'merges=[math+code]'")
    check_family(family)
    merges = {label: experts_of(label, family) for label in config.merges}
    refuse_twice("merges", config.merges)
    by_content: dict[tuple[str, ...], str] = {}
    for label, experts in merges.items():
        same = by_content.setdefault(tuple(sorted(experts)), label)
        if same != label:
            raise ValueError(f"merges: {same!r} and {label!r} are the same")
    for job in config.forget:
        known("forget target", job.target, family.targets)
        known("forget expert", job.forget, family.experts)
    refuse_twice("forget", [f"{job.target}-{job.forget}" for job in config.forget])
    methods = resolve_methods(config.methods)
    if merges and not methods:
        raise ValueError(
            "methods=[] leaves nothing to compare; give at least one, such as 'methods=[ta, lata_linear]'"
        )
    known("baseline", config.baseline, list(lata_methods()))
    for kind, name in vars(config.schedule).items():
        known(f"schedule.{kind}", name, [method for method in lata_methods() if method.startswith("lata_")])
    for key in ("harm_threshold", "utility_margin"):
        if not 0 <= (value := getattr(config, key)) <= 1:
            raise ValueError(f"{key}={value} must be a number from 0 to 1")
    for key in ("out", "cache"):
        if not getattr(config, key).strip():
            raise ValueError(f"{key} is empty; name a folder" + (" or unset LATA_CACHE" if key == "cache" else ""))
    known("eval.device", config.eval.device, ["auto", "cpu", "cuda"])
    eval_settings(config.eval, **({"data_dir": Path()} if config.eval.reads_family_data else {}))
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
    return StudyPlan(
        config=config,
        merges=merges,
        methods=methods,
        forget_methods=resolve_methods(config.forget_methods),
        seeds=list(seeds),
        out=Path(config.out).expanduser(),
        cache=cache,
        several=_in_multirun(),
    )


def _in_multirun() -> bool:
    """Whether Hydra runs this as one job of several (``--multirun``)."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    return HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN


def checked_object(raw: DictConfig, schema: type[Schema], free: tuple[str, ...]) -> Schema:
    """A composed configuration as an object of its schema.

    Args:
        raw: as composed.
        schema: its dataclass.
        free: beginnings of the keys that a user names.

    Raises:
        ValueError: a key that the schema has not: Hydra's ``+key=value`` adds them, and they would be ignored.
    """
    for key in sorted(_dotted(raw) - set(schema_keys(schema))):
        if not key.startswith(free):
            raise ValueError(unknown_key(key, schema))
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), raw))
    assert isinstance(config, schema)
    return config


def unknown_key(key: str, schema: type) -> str:
    """An error line for a key that the schema has not, with the nearest ones that it has."""
    near = difflib.get_close_matches(key, schema_keys(schema), n=2, cutoff=0.6)
    return f"unknown key {key!r}" + (f"; did you mean {' or '.join(near)}?" if near else "; --help lists the keys")


def schema_keys(schema: type) -> list[str]:
    """Every dotted key of a configuration, and the groups that can be chosen."""
    groups = {folder.name for folder in CONF.iterdir() if folder.is_dir()} - {"hydra", "paths", "method"}
    return sorted({*_dotted(OmegaConf.structured(schema)), *(groups if issubclass(schema, Config) else ())})


def _dotted(node: DictConfig, prefix: str = "") -> set[str]:
    """Every key of a configuration and of the mappings in it, dotted."""
    found: set[str] = set()
    for key in map(str, node):
        found.add(f"{prefix}{key}")
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_missing() and not child._is_none():
            found |= _dotted(child, f"{prefix}{key}.")
    return found


def eval_settings(config: EvalConfig, judge_cache: Path | None = None, **others: Any) -> EvalSettings:
    """The evaluation that a configuration describes.

    Args:
        config: the group ``eval``.
        judge_cache: where judgements are kept unless the configuration says where.
        others: settings in place of what it says.

    Raises:
        ValueError: a value that is wrong whatever the model is.
    """
    options = plain(config)
    judge = options.pop("judge")
    if judge["base_url"] is not None:
        options["judge"] = JudgeSettings(**{**judge, "cache": judge["cache"] or judge_cache})
    elif judge["model"] is not None:
        raise ValueError("eval.judge.base_url is not set: name the endpoint of eval.judge.model.")
    return EvalSettings(**{**options, **others})


def plain(config: Any) -> dict[str, Any]:
    """A configuration, or a part of one, as plain dictionaries, lists and values."""
    container = OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def resolve_methods(entries: Iterable[Any]) -> list[MethodChoice]:
    """Turn ``[ta, {name: ties, density: 0.3}]`` into methods with all their parameters.

    Defaults come from `conf/method/<name>.yaml`. Two entries with equal parameters are an error.
    """
    resolved: list[tuple[Method, dict[str, Any]]] = []
    for entry in entries:
        given = {"name": entry} if isinstance(entry, str) else entry
        if not isinstance(given, dict) or not isinstance(given.get("name"), str):
            raise ValueError(f"methods: {entry!r} is neither a name nor {{name: …, parameter: value}}")
        method = get(given["name"])
        file = yaml.safe_load((CONF / "method" / f"{method.name}.yaml").read_text(encoding="utf-8"))
        parameters = method.parameters({k: v for k, v in {**file, **given}.items() if k != "name"})
        if (method, parameters) in resolved:
            raise ValueError(f"methods: {method.name} stands twice with the same parameters")
        resolved.append((method, parameters))
    repeated = Counter(method.name for method, _ in resolved)
    choices = []
    for method, parameters in resolved:
        choice = MethodChoice(method, parameters, method.name)
        if repeated[method.name] > 1 and choice.changed:
            choice = MethodChoice(method, parameters, f"{method.name}({choice.changed})")
        choices.append(choice)
    return choices
