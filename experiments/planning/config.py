"""The schema of ``experiments.plan``: a study's configuration, and on what machine it is thought to run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from pathlib import Path

from omegaconf import DictConfig

from experiments.config.family import FamilyKind
from experiments.config.keys import checked_object
from experiments.config.study import Mode, StudyPlan, study_plan
from experiments.config.sweep import SWEEP_FREE, SweepConfig, checked_sweep
from experiments.planning.machines import MACHINES, Machine
from lata.methods import suggest


@dataclass
class PlanOptions:
    """The machine, and what is assumed of it.

    Attributes:
        gpu: a name in `machines.MACHINES`; None is the CPU for a miniature family and an H100 otherwise.
        gpus: how many.
        cores: of the processor.
        ram_gb: memory of the machine; None compares nothing with it.
        compute_use: share of the device's FLOP/s that a forward pass reaches; None is the device's own default.
        memory_use: share of its memory bandwidth that a decoding step reaches.
        launch_ms: least milliseconds of one layer in one forward pass: the time to launch its kernels.
        answers: length of generated answers in lengths of the benchmark's reference answers.
        read_gb_s: reading from disk, 10⁹ bytes a second.
        combine_gb_s: bytes of models that two cores combine; more cores combine more, in proportion.
        download_mb_s: from the hub, 10⁶ bytes a second.
    """

    gpu: str | None = None
    gpus: int = 1
    cores: int = 2
    ram_gb: float | None = None
    compute_use: float | None = None
    memory_use: float = 0.6
    launch_ms: float | None = None
    answers: float = 1.0
    read_gb_s: float = 1.4
    combine_gb_s: float = 1.5
    download_mb_s: float = 100.0


@dataclass
class PlanConfig(SweepConfig):
    """A study or a sweep, and a machine; see the comments in ``conf/plan.yaml``."""

    plan: PlanOptions = field(default_factory=PlanOptions)


@dataclass(frozen=True)
class Planning:
    """A checked configuration.

    Attributes:
        study: as `experiments.reproduce` would run it; as `experiments.sweep`, where λ are named.
        options: as configured.
        machine: the device that evaluates.
        folder: where ``plan.json`` goes; None where `out` was not given on the command line.
    """

    study: StudyPlan
    options: PlanOptions
    machine: Machine
    folder: Path | None = None

    @property
    def compute_use(self) -> float:
        """Share of the device's FLOP/s that is reached."""
        said = self.options.compute_use
        return self.machine.compute_use if said is None else said

    @property
    def launch(self) -> float:
        """Least seconds of one layer in one forward pass."""
        said = self.options.launch_ms
        if said is not None:
            return said / 1e3
        if self.machine.is_cpu:
            return 1e-4
        return 5e-5 if self.study.config.eval.backend == "vllm" else 7e-4


def register_schemas() -> None:
    """Make the dataclass known to Hydra under the name that ``conf/plan.yaml`` refers to."""
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="plan_schema", node=PlanConfig)


def planning(raw: DictConfig) -> Planning:
    """Check a composed configuration; what the user has still to give is no error here.

    Raises:
        ValueError: as `experiments.config.study.study_plan`, or a machine that is not known or a number out of range.
    """
    config = checked_object(raw, PlanConfig, free=SWEEP_FREE)
    if config.lambdas is not None and config.mode is Mode.both:
        config.mode = Mode.learn
    options = config.plan
    study = study_plan(config, False) if config.lambdas is None else checked_sweep(config, False)
    if config.eval.device == "cpu" or (options.gpu is None and config.family.kind is FamilyKind.mini):
        name = options.gpu or "cpu"
    else:
        name = options.gpu or "h100"
    if name not in MACHINES:
        raise ValueError(f"plan.gpu={name!r} is not one of {', '.join(MACHINES)}{suggest(name, list(MACHINES))}")
    if config.eval.device == "cpu" and name != "cpu":
        raise ValueError(f"eval.device=cpu does not use plan.gpu={name}; leave one of them out")
    for option in fields(PlanOptions):
        value = getattr(options, option.name)
        if isinstance(value, (int, float)) and not (math.isfinite(value) and value > 0):
            raise ValueError(f"plan.{option.name}={value} must be a finite number above 0")
    for key in ("compute_use", "memory_use"):
        if (getattr(options, key) or 0) > 1:
            raise ValueError(f"plan.{key}={getattr(options, key)} is a share; it is at most 1")
    return Planning(study, options, MACHINES[name], study.out if _given("out") else None)


def _given(key: str) -> bool:
    """Whether the command line itself says `key`."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return False
    return any(word.lstrip("+").startswith(f"{key}=") for word in HydraConfig.get().overrides.task)
