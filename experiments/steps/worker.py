"""What a worker process does: make a merge in memory, name it by its weights, evaluate it.

Workers share nothing but the store. Each builds the model and loads the tasks once, holds one merge in memory at a
time, and writes it into the loaded model at one λ after another. A worker ends when its parent does, however that
happened.
"""

from __future__ import annotations

import functools
import io
import json
import math
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterable
from dataclasses import asdict
from enum import Enum
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, TextIO

from eval.backends.vllm import Engine
from eval.fitting import evaluate_fitting
from eval.harness import Evaluation, Evaluator
from experiments.steps.jobs import Context, Job, Task
from experiments.steps.leases import Claims
from experiments.steps.models import Scored, find
from experiments.steps.store import Store
from lata.quantities import MEASURED

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from lata.merging.in_memory.merge import InMemoryMerge


class Outcome(Enum):
    """What became of a task: done here, found in the store, or another process is at it."""

    done = "done"
    found = "found"
    taken = "taken"


_context: Context


def start(context: Context, devices: SimpleQueue[str] | None = None) -> None:
    """Set a worker process up; called once in each.

    Args:
        context: of the study.
        devices: holds what ``CUDA_VISIBLE_DEVICES`` is to be, once for each worker; None leaves it as it is.
    """
    global _context
    _context = context
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
        # SLURM warns every process of a job before it ends it; the parent of this one knows what to do.
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        threading.Thread(target=_end_with_parent, daemon=True).start()
    if devices is not None:
        # Before torch is imported: it reads this once.
        os.environ["CUDA_VISIBLE_DEVICES"] = devices.get()
    warnings.showwarning = _warn
    import torch

    torch.set_num_threads(context.shared.threads)


#: Warnings that this process has given.
_warned: set[str] = set()


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """One line for each warning, and only once: a checkpoint's comes back with every merge of it."""
    if str(message) not in _warned:
        _warned.add(str(message))
        print(f"warning: {message}", file=sys.stderr)


def _source(seed: int, model: str) -> str:
    """What finds one model of one family."""
    return _context.families[seed][model]


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def run(task: Task) -> Outcome:
    """Do one step for one job and put its files into the store, unless another process is at it.

    Raises:
        ValueError: the job's weights are not those that the task names: the cache was made on another machine.
    """
    store = Store(_context.store)
    claim = Claims(_context.store).take(task.step, task.key)
    if claim is None:
        return Outcome.taken
    with claim:
        # Whoever had the claim before may have finished since this process looked.
        if store.get(task.step, task.key) is not None:
            return Outcome.found
        store.put(task.step, task.key, STEPS[task.step](task))
        return Outcome.done


def merge(task: Task) -> dict[str, bytes]:
    """``weights.json``: digest of a job's weights, their distance to where they start, whether they are finite."""
    job = task.job
    if job.method:
        facts = asdict(_hot(job).measure(_lam(job), digest=True))
    else:
        facts = _model_facts(_source(job.seed, job.start), _source(job.seed, "pre"))
    return {"weights.json": json.dumps(facts).encode()}


def similarity(task: Task) -> dict[str, bytes]:
    """``similarity.json``: granularity → what `lata.similarity_tables` measured of its layers.

    ``layers``, ``depths``, ``tasks``; `MEASURED` (layers × tasks); ``outside``, a share for each task.
    """
    import lata

    models = _context.families[task.job.seed]
    experts = {name: models[name] for name in task.job.experts}
    tables = lata.similarity_tables(
        *(models["base"], models["pre"], experts),
        vocab=_context.vocab,
        blocks=_context.blocks,
        threads=_context.shared.threads,
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


def coefficients(task: Task) -> dict[str, bytes]:
    """``coefficients.json``: MetaGPT's λ of each expert, from the vectors of the job's method."""
    from lata.merging.measuring import metagpt

    job, models = task.job, _context.families[task.job.seed]
    found = metagpt(
        models["pre"],
        {name: models[name] for name in job.experts},
        models.get("base"),
        method=job.method,
        vocab=_context.vocab,
        blocks=_context.blocks,
        threads=_context.shared.threads,
        **dict(job.parameters),
    )
    return {"coefficients.json": json.dumps(found).encode()}


def evaluate(task: Task) -> dict[str, bytes]:
    """The scores of one job, see `files_of`."""
    job = task.job
    pre = _source(job.seed, "pre")
    model = _live_model(pre)
    if not job.method:
        _load(model, find(_source(job.seed, job.start), None), find(pre, None))
    elif isinstance(model, Engine):
        model.load(_hot(job).tensors(_lam(job)))
    elif _hot(job).write(_lam(job), model, digest=True).digest != task.digest:
        raise ValueError(
            f"{job.method} of {'+'.join(job.experts)} gives other weights here than the cache says, so it was made "
            f"on another kind of machine; remove {_context.store} or set LATA_CACHE to another folder"
        )
    return files_of(evaluate_fitting(_evaluator(pre, task.settings), model)[0])


def files_of(result: Evaluation) -> dict[str, bytes]:
    """An evaluation as files: ``items.parquet``, ``scores.json``, ``answers.jsonl``, ``warnings.json``."""
    items = io.BytesIO()
    result.items.to_parquet(items, index=False, compression="zstd")
    answers = "".join(json.dumps(answer, ensure_ascii=False) + "\n" for answer in result.answers)
    return {
        "items.parquet": items.getvalue(),
        "scores.json": json.dumps(result.scores, indent=1).encode(),
        "answers.jsonl": answers.encode(),
        "warnings.json": json.dumps(result.warnings).encode(),
    }


#: The steps by name; each turns a task into the files of its store entry.
STEPS = {"merge": merge, "similarity": similarity, "coefficients": coefficients, "evaluation": evaluate}


def _model_facts(source: str, pre: str) -> dict[str, Any]:
    """What ``weights.json`` says of a model as it is; its distance is to θ_pre, as a merge's is."""
    from lata.merging.measuring import distance

    # A pass refuses values that are not finite.
    return {
        "digest": find(source, None).digest,
        "distance": distance(pre, source, vocab=_context.vocab),
        "finite": True,
    }


def _lam(job: Job) -> float | dict[str, float]:
    """λ as `lata.merging.in_memory.merge` takes it: without the sign that says whether it is learned or forgotten."""
    sign = 1.0 if job.start == "pre" else -1.0
    return {task: sign * lam for task, lam in job.lam} if isinstance(job.lam, tuple) else sign * job.lam


#: The merge that is held in memory, by everything but λ; a process has room for one.
_held: dict[tuple[Any, ...], InMemoryMerge] = {}


def _hot(job: Job) -> InMemoryMerge:
    """The job's merge in memory, for any λ of its kind."""
    import lata

    key = (job.seed, job.start, job.method, job.experts, job.parameters, isinstance(job.lam, tuple))
    if key not in _held:
        while _held:
            _held.popitem()[1].close()
        models = _context.families[job.seed]
        _held[key] = lata.hold(
            models["pre"],
            {name: models[name] for name in job.experts},
            models.get("base"),
            target=None if job.start == "pre" else models[job.start],
            method=job.method,
            seed=job.seed,
            vocab=_context.vocab,
            blocks=_context.blocks,
            per_task=isinstance(job.lam, tuple),
            threads=_context.shared.threads,
            **dict(job.parameters),
        )
    return _held[key]


def _load(model: PreTrainedModel | Engine, scored: Scored, pre: Scored) -> None:
    """Put a model of the family as it is into the loaded one, which keeps the configuration of θ_pre."""
    from lata.merging.in_memory.destinations import load

    headers = {name: info for name, info in scored.checkpoint.tensors.items() if info.is_float}
    like = pre if _context.vocab == "common" else None
    tensors = scored.tensors(_context.shared.dtype, like)
    if isinstance(model, Engine):
        model.load(tensors)
    else:
        load(
            model,
            tensors,
            headers
            if like is None
            else {name: like.checkpoint.tensors.get(name, info) for name, info in headers.items()},
        )


@functools.lru_cache(maxsize=1)
def _live_model(pre: str) -> PreTrainedModel | Engine:
    return find(pre, None).model(_context.shared, _tokenizer(pre))


@functools.lru_cache(maxsize=8)
def _evaluator(pre: str, settings: str) -> Evaluator:
    return Evaluator(_context.settings[settings], _tokenizer(pre))


@functools.lru_cache(maxsize=4)
def _tokenizer(pre: str) -> PreTrainedTokenizerBase:
    return find(pre, None).tokenizer()
