"""Merging in memory, for models that fit: the same passes as on disk, over tensors that are loaded.

θ = θ_pre + λ·D (learning) and θ = θ_target − λ·D (forgetting); D is what a method of `lata.methods` makes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lata.checkpoints.folder import FolderCheckpoint
from lata.engine.apply import Applied, apply, length
from lata.engine.stream import Block, Stream, cores, expert
from lata.engine.vectors import TaskVectors
from lata.methods import get, suggest
from lata.numerics.dtypes import Float
from lata.numerics.tensors import ITEM_SIZE, Checkpoint, InMemoryCheckpoint, TensorInfo
from lata.numerics.torch_views import DTYPES, raw_view

if TYPE_CHECKING:
    import torch

    from lata.engine.similarities import Similarity
    from lata.engine.vectors import Direction, Measured
    from lata.merging.in_memory.merge import InMemoryMerge

    TensorDict = dict[str, torch.Tensor]


class LoadedCheckpoint(InMemoryCheckpoint):
    """Loaded parameters as a `lata.numerics.tensors.Checkpoint`.

    Args:
        tensors: parameters on the CPU; they are not copied.
        label: what messages call them.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor], label: str) -> None:
        infos = {name: TensorInfo(DTYPES[str(t.dtype)], tuple(t.shape)) for name, t in tensors.items()}
        super().__init__(label, infos, {name: raw_view(tensor) for name, tensor in tensors.items()})


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

    Attributes:
        measured: similarities that were measured so far.

    Raises:
        ValueError: an expert or the base differs from `pre` in names or shapes (see `check`), or holds values that
            are not finite.
    """

    def __init__(
        self,
        pre: Mapping[str, torch.Tensor],
        experts: Mapping[str, Mapping[str, torch.Tensor]],
        base: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        models = {"pre": pre, **experts, **({} if base is None else {"base": base})}
        for name, tensors in models.items():
            check("pre", pre, name, tensors)
            for parameter, tensor in tensors.items():
                if not tensor.isfinite().all():
                    raise ValueError(f"{name}: {parameter} holds values that are not finite; mend the checkpoint")
        self.pre = pre
        self._sources: dict[str, Checkpoint] = {
            expert(name) if name in experts else name: LoadedCheckpoint(tensors, name)
            for name, tensors in models.items()
        }
        self._sources["start"] = self._sources["pre"]
        self.measured: Measured = {}

    def similarity(self, tasks: list[str], granularity: str = "block", outside: str = "keep") -> Similarity:
        """Similarities of `tasks`, measured once; ValueError without a base."""
        return self._vectors(tasks).similarity(granularity, outside)

    def direction(self, tasks: list[str], method: str, seed: int = 0, **parameters: Any) -> TensorDict:
        """D of `method` for the experts `tasks`, whose order does not matter; fp32, zero where nothing is added."""
        import torch

        vectors = self._vectors(tasks)
        chosen = get(method)
        step = chosen.direction(vectors, seed, chosen.parameters(parameters))
        result = {name: torch.zeros(tensor.shape) for name, tensor in self.pre.items()}
        arrays = {name: tensor.view(-1).numpy() for name, tensor in result.items()}

        def fill(block: Block) -> None:
            values = step(block)
            if values is not None:
                arrays[block.name][block.start : block.start + block.count] = values

        self._stream().each(fill)
        return result

    def hot(
        self,
        tasks: list[str],
        method: str,
        seed: int = 0,
        *,
        start: Mapping[str, torch.Tensor] | None = None,
        forget: bool = False,
        per_task: bool = False,
        threads: int | None = None,
        **parameters: Any,
    ) -> InMemoryMerge:
        """The merge of the experts `tasks` for any number of λ, see `lata.merging.in_memory.merge`.

        Args:
            tasks: names of the experts; their order does not matter.
            method: one of `lata.methods.methods()`.
            seed: of random methods.
            start: the model that is changed, not copied; None for `pre`.
            forget: subtract λ·D. One λ may as well be given with its sign; for one λ a task it must be said here,
                since some methods divide by the λ_t.
            per_task: take a λ for each task, too.
            threads: None for as many as there are cores.
            parameters: of the method.

        Raises:
            ValueError: a name, a parameter or `start` does not fit, or the method needs a base that is not there.
        """
        from lata.merging.in_memory.merge import BLOCK, InMemoryMerge, hold_direction

        for task in tasks:
            if expert(task) not in self._sources:
                known = [role.partition(".")[2] for role in self._sources if role.startswith("experts.")]
                raise ValueError(f"there is no expert {task!r}{suggest(task, known)} (known: {', '.join(known)})")
        chosen = get(method)
        complete = chosen.parameters(parameters)
        sources = self._sources
        if start is not None and start is not self.pre:
            check("pre", self.pre, "start", start)
            sources = {**sources, "start": LoadedCheckpoint(start, "start")}
        block = None if per_task else BLOCK
        stream = Stream(sources, list(self.pre), threads=threads or cores(), block=block)

        if chosen.needs_similarity:
            TaskVectors(stream, tasks, measured=self.measured).similarity(
                complete["granularity"], complete["outside"]
            )

        def make(scales: Mapping[str, float]) -> Direction:
            vectors = TaskVectors(stream, tasks, scales, measured=self.measured)
            direction = chosen.direction(vectors, seed, complete)
            return direction if per_task else hold_direction(stream, direction)

        return InMemoryMerge(
            stream, make, tasks=tasks, headers=sources["start"].tensors, per_task=per_task, forget=forget
        )

    def metagpt(
        self, tasks: list[str], method: str | None = None, seed: int = 0, **parameters: Any
    ) -> dict[str, float]:
        """λ of every task without data (`lata.merging.metagpt`), from τ as published or from the τ' of `method`.

        Raises:
            ValueError: `method` is no weighted sum of task vectors, so it has no τ'.
        """
        from lata.merging.metagpt import coefficients
        from lata.methods.sums import WeightedSum

        vectors = self._vectors(tasks)
        if method is None:
            return coefficients(vectors)
        chosen = get(method)
        direction = chosen.direction(vectors, seed, chosen.parameters(parameters))
        if not isinstance(direction, WeightedSum):
            raise ValueError(f"method {method!r} is no weighted sum of task vectors; take MetaGPT from τ itself")
        return coefficients(vectors, direction.factors)

    def _stream(self) -> Stream:
        return Stream(self._sources, list(self.pre), threads=1)

    def _vectors(self, tasks: list[str]) -> TaskVectors:
        return TaskVectors(self._stream(), tasks, measured=self.measured)


def merge_tensors(start: Mapping[str, torch.Tensor], direction: Mapping[str, torch.Tensor], lam: float) -> Merged:
    """θ = round(θ_start + λ·D), see `lata.engine.apply`.

    Args:
        start: θ_pre for learning, θ_target for forgetting.
        direction: D, fp32, same names and shapes as `start`.
        lam: λ; negative to forget.

    Raises:
        ValueError: λ is not finite, or `direction` does not fit `start`.
    """
    import torch

    if not math.isfinite(lam):
        raise ValueError(f"lam is {lam}; it must be a finite number")
    check("start", start, "direction", direction)
    origin = LoadedCheckpoint(start, "start")
    steps = {name: tensor.reshape(-1).numpy() for name, tensor in direction.items()}
    merged = {name: torch.empty_like(tensor, memory_format=torch.contiguous_format) for name, tensor in start.items()}
    out = {name: raw_view(tensor) for name, tensor in merged.items()}

    def step(block: Block) -> Float:
        return np.asarray(steps[block.name][block.start : block.start + block.count])

    def fill(block: Block) -> Applied:
        dtype = origin.tensors[block.name].dtype
        size = ITEM_SIZE[dtype]
        return apply(
            block, step, lam, dtype, out[block.name][block.start * size : (block.start + block.count) * size]
        )

    stream = Stream({"pre": origin, "start": origin}, list(start), threads=1)
    found = stream.each(fill)
    return Merged(merged, length(found), all(applied.finite for _, applied in found))


def check(
    name: str, reference: Mapping[str, torch.Tensor], other_name: str, other: Mapping[str, torch.Tensor]
) -> None:
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


def load(folder: Path) -> TensorDict:
    """All parameters of the checkpoint in `folder` as torch tensors in their stored dtype, without tied copies."""
    from safetensors.torch import load_file

    with FolderCheckpoint(folder) as checkpoint:
        stored = {name: tensor for file in checkpoint.files for name, tensor in load_file(file).items()}
        return {name: stored[name] for name in checkpoint.tensors}
