"""The schema of ``experiments.evaluate``, and what its configuration asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import MISSING, DictConfig, OmegaConf

from experiments.config.study import EvalConfig, checked_object, eval_settings
from lata.checkpoints.hub import is_folder
from lata.names import for_file


@dataclass
class EvaluateConfig:
    """The scores of one model; see the comments in ``conf/evaluate.yaml``."""

    model: str = MISSING
    tokenizer: str | None = None
    eval: EvalConfig = field(default_factory=EvalConfig)
    out: str | None = None
    cache: str = MISSING


@dataclass(frozen=True)
class EvaluatePlan:
    """A checked configuration.

    Attributes:
        config: as composed.
        name: of the model in tables and folders: the last part of a folder's path, or the hub id.
        cache: folder of finished evaluations.
    """

    config: EvaluateConfig
    name: str
    cache: Path


def register_schemas() -> None:
    """Make the dataclass known to Hydra under the name that ``conf/evaluate.yaml`` refers to."""
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="evaluate_schema", node=EvaluateConfig)


def evaluate_plan(raw: DictConfig) -> EvaluatePlan:
    """Check a composed configuration.

    Raises:
        ValueError: something that no evaluation could do, whatever the model is.
    """
    if not str(OmegaConf.select(raw, "model", throw_on_missing=False) or "").strip():
        raise ValueError("model is missing; give model=…, a folder, a hub id, or either with an adapter behind a +")
    config = checked_object(raw, EvaluateConfig, free=())
    if config.out is not None and not config.out.strip():
        raise ValueError("out is empty; name a folder")
    if not config.cache.strip():
        raise ValueError("cache is empty; name a folder or unset LATA_CACHE")
    if re.fullmatch(r"auto|cpu|cuda(:\d+)?", config.eval.device) is None:
        raise ValueError(f"eval.device={config.eval.device!r} must be auto, cpu, cuda, or a GPU such as cuda:1")
    # The miniature data have a place of their own that is looked up when it is needed.
    eval_settings(config.eval, **({"data_dir": Path()} if config.eval.reads_family_data else {}))
    return EvaluatePlan(config, _name(config.model), Path(config.cache).expanduser())


def _name(model: str) -> str:
    """What names a model in a path: ``DIR/math+lora`` → ``math+lora``, ``org/name@main`` → ``org--name@main``."""
    parts = [model] if is_folder(model) else model.split("+")
    named = [Path(part).expanduser().resolve().name if is_folder(part) else part for part in parts]
    return for_file(re.sub(r"[^\w.@+-]+", "--", "+".join(named)).strip("-") or "model")
