"""Numbers about checkpoints on disk, without a merge: how far apart two are, and MetaGPT's λ."""

from __future__ import annotations

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


def distance(start: str | Path, other: str | Path, *, threads: int | None = None) -> float:
    """‖other − start‖₂ over all parameters, in fp64, in one pass.

    Args:
        start: a folder, a hub id, or either with an adapter.
        other: a model of the same names and shapes.
        threads: None for one more than there are cores.

    Raises:
        ValueError: they differ in names or shapes, or one holds values that are not finite.
    """
    from lata.numerics.kernels import distances

    with open_checkpoint(start) as origin, open_checkpoint(other) as model:
        shapes = [{name: info.shape for name, info in one.tensors.items()} for one in (origin, model)]
        if differing := sorted(dict(shapes[0].items() ^ shapes[1].items())):
            raise ValueError(f"{other} does not fit {start}: {differing[0]} differs ({len(differing)} in all)")
        names = [name for name, info in origin.tensors.items() if info.is_float]
        stream = Stream({"pre": origin, "start": origin, "other": model}, names, threads=threads)

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
        blocks: container of the decoder's blocks, as for `lata.merge`.
        threads: None for one more than there are cores.
        parameters: of the method.

    Raises:
        ValueError: something is wrong with the inputs, or `method` is no weighted sum of task vectors.
    """
    request = Request(sources_of(pre, experts, base, None), method, parameters, blocks=blocks)
    with open_job(request) as job:
        made = job.plan(None)
        made.refuse()
        with job.stream(made, threads, job.passes) as stream:
            vectors, direction = job.direction(stream)
            if not isinstance(direction, WeightedSum):
                raise ValueError(f"method {method!r} is no weighted sum of task vectors; take ta or a LATA method")
            return coefficients(vectors, direction.factors)
