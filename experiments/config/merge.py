"""The schemas of ``experiments.merge`` and ``experiments.analyze``, and what their configurations ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import yaml
from omegaconf import MISSING, DictConfig, OmegaConf

from experiments import CONF
from experiments.config.keys import checked_object
from experiments.config.profiles import profile
from lata.engine.layers import GRANULARITIES, OUTSIDE
from lata.merging.request import SHARD_BYTES, Request, checked
from lata.methods import get, suggest


class Export(Enum):
    """What is written beside a merge, or instead of it."""

    none = "none"
    mergekit = "mergekit"


@dataclass
class SourcesConfig:
    """Where the models are: folders, hub ids (``org/name@revision``), or either with an adapter (``model+adapter``).

    Attributes:
        base: θ_base, for methods that compare layers with it.
        pre: θ_pre.
        experts: task → θ_ft,t.
        target: the model that is to forget.
    """

    base: str | None = None
    pre: str = MISSING
    experts: dict[str, str] = field(default_factory=dict)
    target: str | None = None


@dataclass
class MergeConfig:
    """One merge; see the comments in ``conf/merge.yaml``."""

    family: SourcesConfig = field(default_factory=SourcesConfig)
    merge: list[str] = field(default_factory=list)
    method: dict[str, Any] = field(default_factory=dict)
    lam: Any = 1.0
    mode: str = "learn"
    seed: int = 0
    vocab: str = "error"
    blocks: str | None = None
    shard_bytes: int = SHARD_BYTES
    allow_unstable: bool = False
    output: str = MISSING
    dry_run: bool = False
    export: Export = Export.none
    push: str | None = None
    threads: int | None = None
    digests: dict[str, str] = field(default_factory=dict)


@dataclass
class AnalyzeConfig:
    """One measurement of similarity; see the comments in ``conf/analyze.yaml``."""

    family: SourcesConfig = field(default_factory=SourcesConfig)
    granularity: str = "block"
    outside: str = "keep"
    blocks: str | None = None
    output: str | None = None
    threads: int | None = None


@dataclass(frozen=True)
class MergePlan:
    """A checked merge configuration.

    Attributes:
        config: as composed.
        request: what to merge.
    """

    config: MergeConfig
    request: Request


def register_schemas() -> None:
    """Make the dataclasses known to Hydra under the names that `conf/` refers to."""
    from hydra.core.config_store import ConfigStore

    for name, schema, free in (
        ("merge_schema", MergeConfig, ("family.experts", "method", "digests")),
        ("analyze_schema", AnalyzeConfig, ("family.experts",)),
    ):
        node = OmegaConf.structured(schema)
        for key in free:
            # The keys of these are the user's: names of tasks, parameters of a method.
            OmegaConf.set_struct(OmegaConf.select(node, key), False)
        ConfigStore.instance().store(name=name, node=node)


def merge_plan(raw: DictConfig) -> MergePlan:
    """Check a composed merge configuration.

    Raises:
        ValueError: something that no merge could do, whatever its checkpoints are.
    """
    _require(raw, {"family.pre": "the model that the experts were tuned from", "output": "the folder to make"})
    config = checked_object(raw, MergeConfig, free=("family.experts.", "method.", "lam.", "digests."))
    experts = config.family.experts
    if not experts:
        raise ValueError("family.experts is empty; give at least one, such as 'family.experts={math: FOLDER}'")
    tasks = config.merge or sorted(experts)
    for task in tasks:
        if task not in experts:
            raise ValueError(f"merge: {task!r} is not one of {', '.join(experts)}{suggest(task, experts)}")
    if len(set(tasks)) < len(tasks):
        raise ValueError(f"merge: an expert stands twice in {', '.join(tasks)}")
    method = dict(config.method)
    name = get(str(method.pop("name", ""))).name
    defaults = yaml.safe_load((CONF / "method" / f"{name}.yaml").read_text(encoding="utf-8"))
    lam = dict(config.lam) if isinstance(config.lam, Mapping) else config.lam
    sources = {"pre": config.family.pre, **{f"experts.{task}": experts[task] for task in tasks}}
    if config.family.base is not None:
        sources["base"] = config.family.base
    if config.family.target is not None:
        sources["target"] = config.family.target
    parameters = {key: value for key, value in {**defaults, **method}.items() if key != "name"}
    if "profile" in defaults:
        parameters["profile"] = profile(parameters["profile"])
    request = Request(
        sources=sources,
        method=name,
        parameters=parameters,
        lam=lam,
        mode=config.mode,
        seed=config.seed,
        vocab=config.vocab,
        blocks=config.blocks,
        shard_bytes=config.shard_bytes,
        allow_unstable=config.allow_unstable,
        digests=dict(config.digests),
    )
    checked(request)
    if config.threads is not None and config.threads < 1:
        raise ValueError(f"threads={config.threads} must be at least 1")
    return MergePlan(config, request)


def analyze_plan(raw: DictConfig) -> AnalyzeConfig:
    """Check a composed configuration of a measurement; ValueError as `merge_plan`."""
    _require(raw, {"family.base": "the raw pretrained model", "family.pre": "the model that experts were tuned from"})
    config = checked_object(raw, AnalyzeConfig, free=("family.experts.",))
    if not config.family.experts:
        raise ValueError("family.experts is empty; give at least one, such as 'family.experts={math: FOLDER}'")
    for key, value, known in (
        ("granularity", config.granularity, GRANULARITIES),
        ("outside", config.outside, OUTSIDE),
    ):
        if value not in known:
            raise ValueError(f"{key}={value!r} must be one of {', '.join(known)}{suggest(value, list(known))}")
    return config


def _require(raw: DictConfig, keys: Mapping[str, str]) -> None:
    for key, meaning in keys.items():
        if OmegaConf.select(raw, key, throw_on_missing=False) is None:
            raise ValueError(f"{key} is missing; give {key}=…, {meaning}")


def folder(config: MergeConfig) -> Path:
    """Where the merge, or its export alone, is written."""
    return Path(config.output).expanduser()
