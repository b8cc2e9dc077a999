"""The group ``eval``: tasks, documents, and how they are scored; and the schema of ``experiments.evaluate``."""

from __future__ import annotations

import re
from dataclasses import MISSING as DATACLASS_MISSING
from dataclasses import dataclass, field, fields, make_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

from omegaconf import MISSING, DictConfig, OmegaConf

from eval.judge.settings import JudgeSettings
from eval.settings import EvalSettings
from experiments.config.keys import checked_object, plain
from lata.checkpoints.hub import is_folder
from lata.names import for_file


class EvalSource(Enum):
    """Where the documents of the tasks come from."""

    mini = "mini"
    local = "local"
    hub = "hub"


#: The fields of `eval.judge.settings.JudgeSettings`; there is no judge where no endpoint is named.
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
