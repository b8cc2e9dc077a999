"""The steps that need weights alone: a merge in memory, named by its digest; similarities of layers; MetaGPT's λ."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lata.quantities import MEASURED

if TYPE_CHECKING:
    from experiments.steps.jobs import Context, Job, Task
    from lata.merging.in_memory.merge import InMemoryMerge


def merge(context: Context, task: Task) -> dict[str, bytes]:
    """``weights.json``: digest of a job's weights, their distance to where they start, whether they are finite."""
    job = task.job
    if job.method:
        facts = asdict(in_memory(context, job).measure(lam_of(job), digest=True))
    else:
        models = context.families[job.seed]
        facts = _model_facts(models[job.start], models["pre"], context.vocab)
    return {"weights.json": json.dumps(facts).encode()}


def similarity(context: Context, task: Task) -> dict[str, bytes]:
    """``similarity.json``: granularity → what `lata.similarity_tables` measured of its layers.

    ``layers``, ``depths``, ``tasks``; `MEASURED` (layers × tasks); ``outside``, a share for each task.
    """
    from lata.merging.on_disk import similarity_tables

    models = context.families[task.job.seed]
    experts = {name: models[name] for name in task.job.experts}
    tables = similarity_tables(
        *(models["base"], models["pre"], experts),
        vocab=context.vocab,
        blocks=context.blocks,
        threads=context.shared.threads,
    )

    def plain(values: Iterable[float]) -> list[float | None]:
        # JSON has no NaN; a layer without a cosine is null.
        return [None if math.isnan(value) else value for value in values]

    found = {
        granularity: {
            "layers": list(table.index),
            "depths": table.attrs["depths"],
            "tasks": list(table.attrs["outside"]),
            **{name: [plain(row) for row in table[name].to_numpy().tolist()] for name in MEASURED},
            "outside": plain(table.attrs["outside"].values()),
        }
        for granularity, table in tables.items()
    }
    return {"similarity.json": json.dumps(found).encode()}


def coefficients(context: Context, task: Task) -> dict[str, bytes]:
    """``coefficients.json``: MetaGPT's λ of each expert, from the vectors of the job's method."""
    from lata.merging.measuring import metagpt

    job, models = task.job, context.families[task.job.seed]
    found = metagpt(
        models["pre"],
        {name: models[name] for name in job.experts},
        models.get("base"),
        method=job.method,
        vocab=context.vocab,
        blocks=context.blocks,
        threads=context.shared.threads,
        **dict(job.parameters),
    )
    return {"coefficients.json": json.dumps(found).encode()}


def _model_facts(source: str, pre: str, vocab: str) -> dict[str, Any]:
    """What ``weights.json`` says of a model as it is; its distance is to θ_pre, as a merge's is."""
    from lata.checkpoints import open_checkpoint
    from lata.checkpoints.digests import digest
    from lata.merging.measuring import distance

    with open_checkpoint(source) as checkpoint:
        # A pass refuses values that are not finite.
        return {"digest": digest(checkpoint), "distance": distance(pre, source, vocab=vocab), "finite": True}


def lam_of(job: Job) -> float | dict[str, float]:
    """λ as `lata.merging.in_memory.merge` takes it: without the sign that says whether it is learned or forgotten."""
    sign = 1.0 if job.start == "pre" else -1.0
    return {task: sign * lam for task, lam in job.lam} if isinstance(job.lam, tuple) else sign * job.lam


#: The merge that is held in memory, by everything but λ; a process has room for one.
_held: dict[tuple[Any, ...], InMemoryMerge] = {}


def in_memory(context: Context, job: Job) -> InMemoryMerge:
    """The job's merge in memory, for any λ of its kind."""
    from lata.merging.in_memory.load import hold

    key = (job.seed, job.start, job.method, job.experts, job.parameters, isinstance(job.lam, tuple))
    if key not in _held:
        while _held:
            _held.popitem()[1].close()
        models = context.families[job.seed]
        _held[key] = hold(
            models["pre"],
            {name: models[name] for name in job.experts},
            models.get("base"),
            target=None if job.start == "pre" else models[job.start],
            method=job.method,
            seed=job.seed,
            vocab=context.vocab,
            blocks=context.blocks,
            per_task=isinstance(job.lam, tuple),
            threads=context.shared.threads,
            **dict(job.parameters),
        )
    return _held[key]
