"""Merging in memory: θ = θ_pre + λ·D (learning) and θ = θ_target − λ·D (forgetting).

D is the direction that a method of `lata.methods` makes. Everything is computed in fp32 and rounded to the
checkpoint's own dtype once, at the end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lata import similarity as similarity_pass
from lata.methods import get
from lata.norms import norm

if TYPE_CHECKING:
    import torch

    from lata.methods import TensorDict
    from lata.similarity import Similarity

    Checkpoint = Mapping[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Merged:
    """A merge in memory.

    Attributes:
        tensors: the merged parameters, in the dtypes of the model they start from.
        distance: ‖merged − start‖₂ over all parameters, after rounding, in fp64.
        finite: False where some merged value is not finite; such a merge is unstable.
    """

    tensors: TensorDict
    distance: float
    finite: bool


class Family:
    """Loaded checkpoints of one family, and the similarities that were measured on them so far.

    Args:
        pre: θ_pre.
        experts: task → θ_ft,t.
        base: θ_base; needed by the methods that compare layers with it.

    Raises:
        ValueError: an expert or the base differs from `pre` in names or shapes (see `check`), or holds values that
            are not finite.
    """

    def __init__(self, pre: Checkpoint, experts: Mapping[str, Checkpoint], base: Checkpoint | None = None) -> None:
        for name, other in [*experts.items(), *([("base", base)] if base is not None else [])]:
            check("pre", pre, name, other)
        for name, checkpoint in [("pre", pre), *experts.items(), *([("base", base)] if base is not None else [])]:
            for parameter, tensor in checkpoint.items():
                if not tensor.isfinite().all():
                    raise ValueError(f"{name}: {parameter} holds values that are not finite; mend the checkpoint")
        self.pre, self.experts, self.base = pre, experts, base
        self._task_vectors: dict[str, TensorDict] = {}
        self._measured: dict[tuple[str, str, tuple[str, ...]], Similarity] = {}

    def task_vector(self, task: str) -> TensorDict:
        """τ_t = θ_ft,t − θ_pre in fp32."""
        if task not in self._task_vectors:
            expert = self.experts[task]
            self._task_vectors[task] = {n: expert[n].float() - pre.float() for n, pre in self.pre.items()}
        return self._task_vectors[task]

    def similarity(self, tasks: list[str], granularity: str = "block", outside: str = "keep") -> Similarity:
        """Similarities of `tasks`, measured once; ValueError without a base."""
        if self.base is None:
            raise ValueError("similarity compares layers with θ_base: give the base model")
        key = (granularity, outside, tuple(sorted(tasks)))
        if key not in self._measured:
            experts = {task: self.experts[task] for task in tasks}
            self._measured[key] = similarity_pass.measure(self.base, self.pre, experts, granularity, outside)
        return self._measured[key]

    def direction(self, tasks: list[str], method: str, seed: int = 0, **parameters: Any) -> TensorDict:
        """D of `method` for the experts `tasks`, whose order does not matter."""
        chosen = get(method)
        complete = chosen.parameters(parameters)
        measured = None
        if chosen.needs_similarity:
            measured = self.similarity(tasks, complete["granularity"], complete["outside"])
        task_vectors = {task: self.task_vector(task) for task in sorted(tasks)}
        return chosen.direction(task_vectors, measured, seed, complete)


def merge_tensors(start: Checkpoint, direction: Checkpoint, lam: float) -> Merged:
    """θ = round(θ_start + λ·D): one multiplication and one addition in fp32, one rounding.

    Args:
        start: θ_pre for learning, θ_target for forgetting.
        direction: D, fp32, same names and shapes as `start`.
        lam: λ; negative to forget.

    Raises:
        ValueError: λ is not finite, or `direction` does not fit `start`.
    """
    if not math.isfinite(lam):
        raise ValueError(f"lam is {lam}; it must be a finite number")
    check("start", start, "direction", direction)
    merged: TensorDict = {}
    moved: list[torch.Tensor] = []
    finite = True
    for name, tensor in start.items():
        merged[name] = (tensor.float() + lam * direction[name]).to(tensor.dtype)
        moved.append(merged[name].double() - tensor.double())
        finite = finite and bool(merged[name].isfinite().all())
    return Merged(merged, norm(moved), finite)


def check(name: str, reference: Checkpoint, other_name: str, other: Checkpoint) -> None:
    """ValueError where two checkpoints differ in parameter names or shapes; it names every difference."""
    problems = [f"{p} is missing from {other_name}" for p in sorted(reference.keys() - other.keys())]
    problems += [f"{p} stands in {other_name} but not in {name}" for p in sorted(other.keys() - reference.keys())]
    problems += [
        f"{p} is {tuple(reference[p].shape)} in {name} but {tuple(other[p].shape)} in {other_name}"
        for p in sorted(reference.keys() & other.keys())
        if reference[p].shape != other[p].shape
    ]
    if problems:
        raise ValueError(f"{other_name} does not fit {name}: " + "; ".join(problems))
