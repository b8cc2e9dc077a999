"""Merging checkpoints on disk, in bounded memory: plan on headers, take statistics, stream, write, describe.

`merge`, `similarity` and `similarity_tables` are the library's front doors (``lata.merge`` and so on). Peak memory
depends on neither the size of the models nor on their largest tensor; the bytes written depend on neither threads,
block size, sharding of the inputs, the order of the experts, nor on interruptions.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lata.engine.layers import GRANULARITIES, layer_map
from lata.engine.similarities import measure_each
from lata.merging.describing import companions, describe, settings
from lata.merging.describing import mergekit as mergekit_text
from lata.merging.job import open_job
from lata.merging.request import SHARD_BYTES, Request, sources_of
from lata.output.documents.facts import Facts
from lata.output.documents.interchange import check
from lata.output.documents.recipe import recipe
from lata.output.journal import AttemptWarning
from lata.output.writer import Output, layout
from lata.planning import Plan

if TYPE_CHECKING:
    import pandas as pd

    from lata.engine.vectors import Direction, TaskVectors
    from lata.merging.job import Job


@dataclass(frozen=True)
class Result:
    """A merge that was written.

    Attributes:
        output: its folder.
        facts: what is known of it: digests, distance, layer weights.
        plan: what was planned.
        public: file name → content that is published instead of the folder's own, without the user's folders;
            None for a file that is not.
        notices: lines about this attempt, not about what is in the folder: what an earlier one left was damaged.
    """

    output: Path
    facts: Facts
    plan: Plan
    public: Mapping[str, bytes | None]
    notices: tuple[str, ...] = ()


def merge(
    pre: str | Path,
    experts: Mapping[str, str | Path],
    base: str | Path | None = None,
    *,
    method: str = "ta",
    lam: float | Mapping[str, float] = 1.0,
    output: str | Path,
    target: str | Path | None = None,
    seed: int = 0,
    vocab: str = "error",
    blocks: str | None = None,
    shard_bytes: int = SHARD_BYTES,
    allow_unstable: bool = False,
    threads: int | None = None,
    **parameters: Any,
) -> Result:
    """Merge checkpoints on disk into a model folder that transformers loads.

    θ = θ_pre + λ·D, or θ = θ_target − λ·D where a target is given (forgetting); D is what the method makes of the
    experts' task vectors.

    Args:
        pre: θ_pre: a folder, a hub id (``org/name`` or ``org/name@revision``), or either with a LoRA adapter
            (``model+adapter``).
        experts: task → θ_ft,t, given as `pre` is.
        base: θ_base; needed by the methods that compare layers with it.
        method: one of `lata.methods.methods()`.
        lam: λ, or one for each task.
        output: the folder to make; it must not exist, or be empty.
        target: θ_target, from which the experts' tasks are removed.
        seed: of random methods.
        vocab: ``error`` refuses vocabularies of different sizes; ``common`` merges the rows that all share and keeps
            the others as they are.
        blocks: container of the decoder's blocks, such as ``model.layers``; None for the one that has as many
            numbered children as the configuration says (`lata.engine.layers.find_blocks`).
        shard_bytes: most bytes of data in one file.
        allow_unstable: write the merge even if it holds values that are not finite.
        threads: None for one more than there are cores.
        parameters: of the method.

    Raises:
        ValueError: everything that is wrong with the inputs, found before anything is read; one line each.
    """
    request = Request(
        sources=sources_of(pre, experts, base, target),
        method=method,
        parameters=parameters,
        lam=lam,
        mode="learn" if target is None else "forget",
        seed=seed,
        vocab=vocab,
        blocks=blocks,
        shard_bytes=shard_bytes,
        allow_unstable=allow_unstable,
    )
    result = run(request, Path(output), threads=threads)
    for line in (*result.notices, *result.facts.warnings):
        warnings.warn(line, stacklevel=2)
    return result


def similarity(
    base: str | Path,
    pre: str | Path,
    experts: Mapping[str, str | Path],
    *,
    granularity: str = "block",
    outside: str = "keep",
    blocks: str | None = None,
    threads: int | None = None,
) -> pd.DataFrame:
    """s_t[l] = cos(τ_comp,t[l], τ_instr[l]) of checkpoints on disk: a table of layers × tasks.

    Args:
        base: θ_base; every model as in `merge`.
        pre: θ_pre.
        experts: task → θ_ft,t.
        granularity: what a layer is, see `lata.engine.layers.layer_map`.
        outside: what happens to parameters outside every block.
        blocks: container of the decoder's blocks, as in `merge`.
        threads: None for one more than there are cores.

    Raises:
        ValueError: the checkpoints do not fit each other.
    """
    found = similarity_tables(base, pre, experts, (granularity,), outside=outside, blocks=blocks, threads=threads)
    table: Any = found[granularity]
    similarities: pd.DataFrame = table["similarity"]
    return similarities


def similarity_tables(
    base: str | Path,
    pre: str | Path,
    experts: Mapping[str, str | Path],
    granularities: Sequence[str] = GRANULARITIES,
    *,
    outside: str = "keep",
    vocab: str = "error",
    blocks: str | None = None,
    threads: int | None = None,
) -> dict[str, pd.DataFrame]:
    """Similarities at several granularities and what they leave open, in one pass over the checkpoints.

    Args:
        base: θ_base; every model as in `merge`.
        pre: θ_pre.
        experts: task → θ_ft,t.
        granularities: what a layer is, see `lata.engine.layers.layer_map`.
        outside: what happens to parameters outside every block.
        vocab, blocks: as in `merge`.
        threads: None for one more than there are cores.

    Returns:
        granularity → a row a layer, columns (quantity, task): ``similarity`` (s, as in `similarity`), ``cosine``
        (cos(τ, τ_instr)) and ``share`` (of ‖τ‖²); see `lata.engine.similarities.LayerVectors.table`.

    Raises:
        ValueError: the checkpoints do not fit each other, or a word is unknown.
    """
    for granularity in granularities:
        layer_map((), granularity, outside)  # refuses a word that is unknown before anything is opened
    request = Request(sources_of(pre, experts, base, None), "lata_linear", vocab=vocab, blocks=blocks)
    with open_job(request) as job:
        made = job.plan(None)
        made.refuse()
        with job.stream(made, threads, passes=1) as stream:
            measured = measure_each(stream, request.tasks, granularities, outside)
    return {granularity: found.table() for granularity, found in measured.items()}


def plan(request: Request, output: Path | None) -> Plan:
    """What a merge would read, write and take, and everything that is wrong with it; only headers are read."""
    with open_job(request) as job:
        return job.plan(output)


def run(
    request: Request,
    output: Path,
    *,
    threads: int | None = None,
    block: int | None = None,
    mergekit: bool = False,
    report: Callable[[Plan], None] | None = None,
) -> Result:
    """Make a merge and write it.

    Args:
        request: what to merge.
        output: the folder to make.
        threads: None for one more than there are cores.
        block: elements that are processed at a time; None for what fits a processor's cache.
        mergekit: write ``mergekit.yaml`` beside the merge, too.
        report: called with the plan before anything is read.

    Raises:
        ValueError: as `merge`; or the result holds values that are not finite, or a digest is not that of `request`.
    """
    with open_job(request) as job, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = job.plan(output)
        if report is not None:
            report(made)
        made.refuse()
        if mergekit:
            _refuse_export(job, made)
        headers = job.headers()
        shards = layout({name: headers[name] for name in (*made.merged, *made.copied)}, request.shard_bytes)
        target = Output(output, shards, job.key())
        try:
            try:
                with job.stream(made, threads, job.passes, block) as stream:
                    job.recall(stream)
                    job.assume(stream, target)
                    vectors, direction = job.direction(stream, target)
                    extra = {"mergekit.yaml": _mergekit(job, vectors, direction).encode()} if mergekit else {}
                    written = job.write(stream, direction, shards, target)
                of_attempt = [warning for warning in caught if issubclass(warning.category, AttemptWarning)]
                lines = [str(warning.message) for warning in caught if warning not in of_attempt]
                facts = describe(job, vectors, direction, written, [*made.warnings, *lines])
            except Exception:
                target.discard()
                raise
            target.publish({**companions(job, facts), **extra})
        finally:
            target.close()
    public = {"recipe.yaml": recipe(facts, settings(job), public=True).encode(), "mergekit.yaml": None}
    return Result(target.path, facts, made, public, tuple(str(warning.message) for warning in of_attempt))


def export(request: Request, file: Path, *, threads: int | None = None) -> None:
    """Write the mergekit configuration of a merge without making it; LATA's similarities are measured for it."""
    with open_job(request) as job:
        made = job.plan(None)
        made.refuse()
        _refuse_export(job, made)
        with job.stream(made, threads, job.passes - 1) as stream:
            file.write_text(_mergekit(job, *job.direction(stream)), encoding="utf-8")


def _refuse_export(job: Job, made: Plan) -> None:
    if made.rows:
        raise ValueError("mergekit refuses vocabularies of different size: make this merge here")
    sources = {role: checkpoint.source for role, checkpoint in job.checkpoints.items()}
    dtypes = {info.dtype for info in job.headers().values() if info.is_float}
    check(job.method.name, job.parameters, sources, dtypes)


def _mergekit(job: Job, vectors: TaskVectors, direction: Direction) -> str:
    return mergekit_text(describe(job, vectors, direction), direction)
