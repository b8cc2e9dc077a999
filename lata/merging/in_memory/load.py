"""``lata.hold``: checkpoints on disk as a merge in memory."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lata.engine.stream import Block, Stream, cores, expert
from lata.engine.vectors import TaskVectors
from lata.merging.in_memory.merge import BLOCK, InMemoryMerge, hold_direction
from lata.merging.job import open_job
from lata.merging.request import Request, sources_of
from lata.numerics.tensors import ITEM_SIZE, InMemoryCheckpoint

if TYPE_CHECKING:
    from lata.engine.vectors import Direction
    from lata.merging.job import Job
    from lata.numerics.dtypes import Float
    from lata.numerics.tensors import Checkpoint
    from lata.planning import Plan


def hold(
    pre: str | Path,
    experts: Mapping[str, str | Path],
    base: str | Path | None = None,
    *,
    method: str = "ta",
    target: str | Path | None = None,
    seed: int = 0,
    vocab: str = "error",
    blocks: str | None = None,
    per_task: bool = False,
    threads: int | None = None,
    **parameters: Any,
) -> InMemoryMerge:
    """Read checkpoints once and hold their merge in memory, for any number of λ (see `lata.merging.in_memory.merge`).

    Takes the memory of the start in its own dtype and 4 bytes a parameter for D. `per_task` takes that of the start,
    θ_pre and every expert in their own dtypes, and so a λ for each task; a number still does.

    Args:
        pre: θ_pre, and the other models, as for `lata.merge`.
        experts: task → θ_ft,t.
        base: θ_base; needed by the methods that compare layers with it.
        method: one of `lata.methods.methods()`.
        target: θ_target, from which the experts' tasks are removed: θ_target − λ·D.
        seed: of random methods.
        vocab: ``error``, or ``common`` to merge only the rows that all models share.
        blocks: container of the decoder's blocks, as for `lata.merge`.
        per_task: be ready for a λ for each task.
        threads: None for as many as there are cores.
        parameters: of the method.

    Raises:
        ValueError: everything that is wrong with the inputs, found before anything is read; one line each; or an
            input holds values that are not finite.
    """
    mode = "learn" if target is None else "forget"
    request = Request(
        sources_of(pre, experts, base, target), method, parameters, mode=mode, seed=seed, vocab=vocab, blocks=blocks
    )
    with open_job(request) as job:
        made = job.plan(None)
        made.refuse()
        for line in made.warnings:
            warnings.warn(line, stacklevel=2)
        return _hold(job, made, threads or cores(), per_task)


def _hold(job: Job, made: Plan, threads: int, per_task: bool) -> InMemoryMerge:
    request = job.request
    with job.stream(made, threads, job.passes) as disk:
        job.recall(disk)
        if per_task:
            vectors = TaskVectors(disk, request.tasks)
            if job.method.needs_similarity:
                vectors.similarity(job.parameters["granularity"], job.parameters["outside"])
            copies = _Copies(disk, ("start", "pre", *map(expert, request.tasks)))
            disk.each(copies.take)
        else:
            _, direction = job.direction(disk)
            copies = _Copies(disk, ("start",))
            held = hold_direction(disk, copies.beside(direction))
        digests = job.digests(disk)
    block = None if per_task else BLOCK
    memory = Stream(copies.sources, made.merged, shared=disk.shared, threads=threads, block=block, blocks=disk.blocks)

    def make(scales: Mapping[str, float]) -> Direction:
        if not per_task:
            return held
        again = TaskVectors(memory, request.tasks, scales, measured=vectors.measured)
        return job.method.direction(again, request.seed, job.parameters)

    headers, start = job.headers(), digests["pre" if job.start is job.checkpoints["pre"] else "start"]
    return InMemoryMerge(
        memory,
        make,
        tasks=request.tasks,
        headers=headers,
        per_task=per_task,
        forget=request.mode == "forget",
        copied={name: (headers[name], start[name]) for name in made.copied},
    )


class _Copies:
    """Copies of some models in memory, taken block by block.

    Args:
        stream: the models.
        roles: which of them are copied; ``start`` among them.

    Attributes:
        sources: role → copy; ``pre`` is there in any case.
    """

    def __init__(self, stream: Stream, roles: tuple[str, ...]) -> None:
        self._raw = {}
        self.sources: dict[str, Checkpoint] = {}
        same = stream.sources["start"] is stream.sources["pre"]
        for role in roles:
            if role == "pre" and same:
                continue
            source = stream.sources[role]
            infos = {name: source.tensors[name] for name in stream.names}
            # Past the rows that all models share only the start's are ever looked at.
            counts = {n: stream.count(n) if role == "start" else stream.shared.get(n, stream.count(n)) for n in infos}
            self._raw[role] = {n: np.empty(counts[n] * ITEM_SIZE[info.dtype], np.uint8) for n, info in infos.items()}
            self.sources[role] = InMemoryCheckpoint(source.label, infos, self._raw[role])
        if "pre" not in self.sources:
            self.sources["pre"] = self.sources["start"]

    def take(self, block: Block) -> None:
        """Copy a block."""
        for role, held in self._raw.items():
            raw = block.raw(role)
            begin = block.start * ITEM_SIZE[block.dtype(role)]
            held[block.name][begin : begin + raw.size] = raw

    def beside(self, direction: Direction) -> Direction:
        """`direction`, with every block that it is asked for copied."""

        def both(block: Block) -> Float | None:
            self.take(block)
            return direction(block)

        return both
