"""The schema of the group ``family``: which models there are, and which merges they allow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, make_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

from omegaconf import MISSING

from eval.settings import CHOICES, TASKS
from experiments.mini.family import MODELS, MiniFamily
from lata.methods import suggest


class FamilyKind(Enum):
    """Where a family's models come from: trained here, or checkpoints in folders and on the hub."""

    mini = "mini"
    checkpoints = "checkpoints"


#: Every field of the training recipe; what decides it besides (seed, cache) has keys of its own.
MiniRecipe = make_dataclass(
    "MiniRecipe",
    [
        (option.name, get_type_hints(MiniFamily)[option.name], field(default=option.default))
        for option in fields(MiniFamily)
        if option.name not in ("seed", "cache")
    ],
    # Launchers send configurations to other processes, which must find the class under its name.
    namespace={"__module__": __name__},
)


@dataclass
class ModelConfig:
    """One model of a family of checkpoints.

    Attributes:
        source: a folder, a hub id ``org/name``, or either with a LoRA adapter (``model+adapter``). Where it is empty
            the user is to give it.
        revision: commit of the last hub id in `source`; None takes what is newest, and results name what that was.
        dtype: in which it is stored, for plans made where its files cannot be asked.
        licence: under which it was published.
        gated: whether the hub gives it only to who has accepted its licence.
    """

    source: str = ""
    revision: str | None = None
    dtype: str = "bfloat16"
    licence: str = ""
    gated: bool = False

    @property
    def reference(self) -> str:
        """What `lata.checkpoints.open_checkpoint` finds it by."""
        return f"{self.source}@{self.revision}" if self.revision else self.source


@dataclass
class ForgetConfig:
    """One forgetting job: subtract expert `forget`'s direction from model `target`."""

    target: str = MISSING
    forget: str = MISSING

    @property
    def name(self) -> str:
        """How tables call it."""
        return f"{self.target}-{self.forget}"


@dataclass
class FamilyConfig:
    """Which models: names of experts and forgetting targets, and the task that scores each expert.

    Attributes:
        language: of the miniature family's evaluation data, ``en`` or ``l2``.
        blocks: container of the decoder's blocks, such as ``model.layers``; None finds it.
        title: how titles of studies call it.
        merges: what experiments merge; those of one merge take the first.
        schedule: the LATA schedule that decides claims of learning.
        threshold: the row of ``lata_threshold``.
        forget: what the whole study forgets.
    """

    name: str = MISSING
    title: str = MISSING
    kind: FamilyKind = FamilyKind.mini
    seed: int = 0
    language: str = "en"
    blocks: str | None = None
    experts: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    expert_task: dict[str, str] = field(default_factory=dict)
    models: dict[str, ModelConfig] = field(default_factory=dict)
    merges: list[str] = field(default_factory=list)
    schedule: str = "lata_linear"
    threshold: Any = "lata_threshold"
    forget: list[ForgetConfig] = field(default_factory=list)
    recipe: MiniRecipe = field(default_factory=MiniRecipe)  # type: ignore[valid-type]


def check_family(family: FamilyConfig) -> None:
    """ValueError for names that the family has no model or no task for."""
    have = list(MODELS) if family.kind is FamilyKind.mini else list(family.models)
    if "pre" not in have:
        raise ValueError(missing_source("pre"))
    rest = [name for name in have if name not in ("base", "pre")]
    for name in family.experts:
        known("family.experts", name, rest)
    for name in family.targets:
        known("family.targets", name, rest)
    for name, model in family.models.items():
        known(f"family.models.{name}.dtype", model.dtype, CHOICES["dtype"])
    for expert, task in family.expert_task.items():
        known("family.expert_task", expert, rest)
        known(f"family.expert_task.{expert}", task, list(TASKS))


def check_sources(family: FamilyConfig, names: Iterable[str]) -> None:
    """ValueError where a model that is read is still to be given by the user."""
    for name in names:
        if family.kind is FamilyKind.checkpoints and not family.models.get(name, ModelConfig()).source:
            raise ValueError(missing_source(name))


def has_base(family: FamilyConfig) -> bool:
    """Whether θ_base is there for what needs it."""
    return family.kind is FamilyKind.mini or bool(family.models.get("base", ModelConfig()).source)


def missing_source(name: str) -> str:
    """What is said of a model that the user has to give."""
    key = f"family.models.{name}.source"
    return f"{key} is missing: to be given by the user; give {key}=FOLDER_OR_ID"


def experts_of(label: str, family: FamilyConfig) -> list[str]:
    """The experts that ``math+code`` names."""
    experts = [part.strip() for part in str(label).split("+")]
    for expert in experts:
        known(f"merge {label!r}: expert", expert, family.experts)
    refuse_twice(f"merge {label!r}", experts)
    return experts


def mini_family(family: FamilyConfig, cache: Path, seed: int) -> MiniFamily:
    """The family that a configuration describes; ValueError where a field of its recipe is out of range."""
    return MiniFamily(seed=seed, cache=cache, **asdict(family.recipe))


def known(what: str, name: str, names: Sequence[str]) -> None:
    """ValueError where `name` is not one of `names`, with the nearest."""
    if name not in names:
        raise ValueError(f"{what} {name!r} is not one of {', '.join(names) or 'none'}{suggest(name, list(names))}")


def refuse_twice(what: str, values: Iterable[Any]) -> None:
    """ValueError where a value stands twice."""
    twice = [str(value) for value, count in Counter(values).items() if count > 1]
    if twice:
        raise ValueError(f"{what}: {', '.join(twice)} stands twice")
