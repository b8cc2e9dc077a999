"""Numbers about checkpoints on disk, without a merge: how far apart two are, and MetaGPT's λ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lata.checkpoints import open_checkpoint
from lata.engine.apply import Applied, length
from lata.engine.stream import Block, Stream
from lata.merging.job import open_job
from lata.merging.metagpt import coefficients
from lata.merging.request import Request, sources_of
from lata.methods.sums import WeightedSum
from lata.planning.compare import vocabulary_sized


def distance(start: str | Path, other: str | Path, *, vocab: str = "error", threads: int | None = None) -> float:
    """‖other − start‖₂ over all parameters, in fp64, in one pass.

    Args:
        start: a folder, a hub id, or either with an adapter.
        other: a model of the same names and shapes.
        vocab: ``common`` compares the rows that both have of tables of tokens; ``error`` wants as many of both.
        threads: None for one more than there are cores.

    Raises:
        ValueError: they differ in names or shapes, or one holds values that are not finite.
    """
    from lata.numerics.kernels import distances

    with open_checkpoint(start) as origin, open_checkpoint(other) as model:
        shapes = [{name: info.shape for name, info in one.tensors.items()} for one in (origin, model)]
        differing = sorted(dict(shapes[0].items() ^ shapes[1].items()))
        both = {name: (shapes[0][name], shapes[1][name]) for name in differing if all(name in s for s in shapes)}
        sized = {name: min(pair) for name, pair in both.items() if vocabulary_sized(name, pair)}
        if vocab == "common":
            differing = [name for name in differing if name not in sized]
        if differing:
            advice = "; set vocab=common to compare the rows that both have" * (sized.keys() == {*differing})
            raise ValueError(
                f"{other} does not fit {start}: {differing[0]} differs ({len(differing)} in all){advice}"
            )
        shared = {name: math.prod(shape) for name, shape in sized.items()}
        names = [name for name, info in origin.tensors.items() if info.is_float]
        stream = Stream({"pre": origin, "start": origin, "other": model}, names, shared=shared, threads=threads)

        def visit(block: Block) -> Applied:
            values = block.read("other")
            return Applied(block.sums(distances, values, block.pre), finite=True)

        try:
            return length(stream.each(visit))
        finally:
            stream.close()


def metagpt(
    pre: str | Path,
    experts: Mapping[str, str | Path],
    base: str | Path | None = None,
    *,
    method: str = "ta",
    vocab: str = "error",
    blocks: str | None = None,
    threads: int | None = None,
    **parameters: Any,
) -> dict[str, float]:
    """λ of every task without data, see `lata.merging.metagpt`.

    Args:
        pre: θ_pre, and the other models, as for `lata.merge`.
        experts: task → θ_ft,t.
        base: θ_base; needed by the methods that compare layers with it.
        method: ``ta`` for the norms of τ, as published; a LATA method for those of its w·τ.
        vocab, blocks: as for `lata.merge`.
        threads: None for one more than there are cores.
        parameters: of the method.

    Raises:
        ValueError: something is wrong with the inputs, or `method` is no weighted sum of task vectors.
    """
    request = Request(sources_of(pre, experts, base, None), method, parameters, vocab=vocab, blocks=blocks)
    with open_job(request) as job:
        made = job.plan(None)
        made.refuse()
        with job.stream(made, threads, job.passes) as stream:
            vectors, direction = job.direction(stream)
            if not isinstance(direction, WeightedSum):
                raise ValueError(f"method {method!r} is no weighted sum of task vectors; take ta or a LATA method")
            return coefficients(vectors, direction.factors)
