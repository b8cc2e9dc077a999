"""What a study is cut into: jobs (one set of weights each), tasks (one step for one job), entries (one row each)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.settings import EvalSettings

#: Names of evaluations: the test split, and again with half the batch size to see how much scores move by themselves.
TEST, AGAIN = "test", "again"
#: And on the development split: the tasks that λ is chosen by, and the perplexity that says which points are stable.
DEVELOPMENT, STABILITY = "development", "stability"

#: λ with its sign (negative to forget), or one for each expert, sorted by name.
Lam = float | tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Job:
    """One set of weights: a model of the family as it is, or a merge.

    Attributes:
        seed: which family, and the seed of random methods.
        start: the model that is changed: ``pre`` for learning, a target for forgetting, or the model itself.
        method: name of the method; empty for a model as it is.
        experts: names of the experts that are merged in, sorted.
        parameters: of the method.
        lam: λ.
    """

    seed: int
    start: str
    method: str = ""
    experts: tuple[str, ...] = ()
    parameters: tuple[tuple[str, Any], ...] = ()
    lam: Lam = 0.0


@dataclass(frozen=True)
class Task:
    """One step for one job.

    Attributes:
        step: a name in `experiments.steps.worker.STEPS`.
        job: the weights.
        key: of the step's entry in the store.
        settings: of an evaluation: a name in `Context.settings`.
        digest: what the job's weights must have, where it is known.
    """

    step: str
    job: Job
    key: str
    settings: str = ""
    digest: str | None = None


@dataclass(frozen=True)
class Context:
    """What every task of a study needs.

    Attributes:
        families: seed → model name → what `lata.checkpoints.open_checkpoint` finds it by.
        settings: the evaluations by name; all have the same backend, dtype, device and threads.
        store: root folder of the store.
        blocks, vocab: as for `lata.merge`.
    """

    families: Mapping[int, Mapping[str, str]]
    settings: Mapping[str, EvalSettings]
    store: Path
    blocks: str | None = None
    vocab: str = "error"

    @property
    def shared(self) -> EvalSettings:
        """One of the settings, for what all of them share."""
        return next(iter(self.settings.values()))


@dataclass(frozen=True)
class Entry:
    """One row of a study's tables: how it is named, and the job that makes it.

    Attributes:
        kind: ``model``, ``learn`` or ``forget``.
        merge: ``ua+math``, or ``target_ua-ua`` for forgetting; empty for a model as it is.
        label: the row's name: the model, or the method.
        variant: of the method.
        params: parameters that differ from the method's defaults.
        job: what makes the weights.
    """

    kind: str
    merge: str
    label: str
    variant: str
    params: str
    job: Job

    @property
    def point(self) -> str:
        """λ as tables name it: without the sign that says whether it is learned or forgotten."""
        return point_of(self.job.lam, self.kind) if self.job.method else ""


def negated(lam: Lam) -> Lam:
    """λ with the other sign."""
    return tuple((task, -value) for task, value in lam) if isinstance(lam, tuple) else -lam


def point_of(lam: Lam, kind: str = "learn") -> str:
    """λ as text: ``0.6``, or ``code=0.4,math=0.6``."""
    lam = negated(lam) if kind == "forget" else lam
    if isinstance(lam, tuple):
        return ",".join(f"{task}={value:g}" for task, value in lam)
    return f"{lam:g}"


#: What λ is chosen for: seed of the family, merge, label of the method.
Curve = tuple[int, str, str]
