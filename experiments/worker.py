"""What a worker process does: make a merge in memory, name it by its weights, evaluate it.

Workers share nothing but the store. Each loads a family's checkpoints, builds the model and loads the tasks once,
and puts merge after merge into the same live model. A worker ends when its parent does, however that happened.
"""

from __future__ import annotations

import functools
import io
import json
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.batching import evaluate_fitting
from eval.harness import EvalSettings, Evaluation, Evaluator
from eval.vllm import Engine
from experiments.store import Store

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from lata.memory import Family, Merged, TensorDict


@dataclass(frozen=True)
class Job:
    """One set of weights: a model of the family as it is, or a merge.

    Attributes:
        seed: which family, and the seed of random methods.
        start: the model that is changed: ``pre`` for learning, a target for forgetting, or the model itself.
        method: name of the method; empty for a model as it is.
        experts: names of the experts that are merged in.
        parameters: of the method.
        lam: λ with its sign: negative to forget.
        batch_size: of an evaluation that repeats another; 0 for the settings' own.
    """

    seed: int
    start: str
    method: str = ""
    experts: tuple[str, ...] = ()
    parameters: tuple[tuple[str, Any], ...] = ()
    lam: float = 0.0
    batch_size: int = 0


@dataclass(frozen=True)
class Context:
    """What every job of a study needs.

    Attributes:
        families: seed → model name → checkpoint folder.
        settings: of the evaluation.
        store: root folder of the store.
    """

    families: Mapping[int, Mapping[str, Path]]
    settings: EvalSettings
    store: Path


_context: Context


def start(context: Context) -> None:
    """Set a worker process up; called once in each."""
    global _context
    _context = context
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
        threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(context.settings.threads)


def folder(seed: int, model: str) -> Path:
    """Checkpoint folder of one model of one family."""
    return _context.families[seed][model]


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def run(step: str, job: Job, key: str, digest: str | None) -> None:
    """Do one step for one job and put its files into the store under `key`.

    Raises:
        ValueError: `digest` is given and the job's weights have another: the cache was made on another machine.
    """
    if digest is not None and _digest(weights(job)) != digest:
        raise ValueError(
            f"{job.method} of {'+'.join(job.experts)} gives other weights here than the cache says, so it was made "
            f"on another kind of machine; remove {_context.store} or set LATA_CACHE to another folder"
        )
    Store(_context.store).put(step, key, STEPS[step](job))


def merge(job: Job) -> dict[str, bytes]:
    """``weights.json``: digest of a job's weights, their distance to where they start, whether they are finite."""
    made = weights(job)
    facts = {"digest": _digest(made), "distance": made.distance, "finite": made.finite}
    return {"weights.json": json.dumps(facts).encode()}


def similarity(job: Job) -> dict[str, bytes]:
    """``similarity.json``: ``layers``, ``tasks`` and ``values`` (layers × tasks) of one family, by blocks."""
    measured = _family(job.seed).similarity(list(job.experts))
    # JSON has no NaN; a layer without a cosine is null.
    values = [[None if math.isnan(value) else value for value in row] for row in measured.values_LT.tolist()]
    table = {"layers": measured.layers, "tasks": measured.tasks, "values": values}
    return {"similarity.json": json.dumps(table).encode()}


def evaluate(job: Job) -> dict[str, bytes]:
    """The scores of one job, see `files_of`."""
    tensors = weights(job).tensors
    pre = folder(job.seed, "pre")
    model = _live_model(pre)
    if isinstance(model, Engine):
        model.load(tensors.items())
    else:
        parameters = dict(model.named_parameters())
        assert parameters.keys() == tensors.keys()
        for name, tensor in tensors.items():
            parameters[name].data.copy_(tensor)
    return files_of(evaluate_fitting(_evaluator(pre), model, job.batch_size or None)[0])


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


#: The steps by name; each turns a job into the files of its store entry.
STEPS = {"merge": merge, "similarity": similarity, "evaluation": evaluate}


def weights(job: Job) -> Merged:
    """Make a job's weights in memory."""
    from lata.memory import Merged, distance, merge_tensors

    family = _family(job.seed)
    origin = _tensors(folder(job.seed, job.start))
    if not job.method:
        # A model as it is: its distance is to θ_pre, as a merge's is.
        return Merged(origin, distance(family.pre, origin), finite=True)  # `Family` has refused anything else
    direction = family.direction(list(job.experts), job.method, job.seed, **dict(job.parameters))
    return merge_tensors(origin, direction, job.lam)


def _digest(made: Merged) -> str:
    from lata.checkpoints.digests import digest
    from lata.memory import MemoryCheckpoint

    return digest(MemoryCheckpoint(made.tensors, "merged"))


@functools.lru_cache(maxsize=32)
def _tensors(checkpoint: Path) -> TensorDict:
    from lata.checkpoints import load

    return load(checkpoint)


@functools.lru_cache(maxsize=4)
def _family(seed: int) -> Family:
    from lata.memory import Family

    tensors = {name: _tensors(checkpoint) for name, checkpoint in _context.families[seed].items()}
    return Family(pre=tensors.pop("pre"), base=tensors.pop("base"), experts=tensors)


@functools.lru_cache(maxsize=4)
def _live_model(checkpoint: Path) -> PreTrainedModel | Engine:
    if _context.settings.backend == "vllm":
        return Engine(checkpoint, _context.settings, _tokenizer(checkpoint))
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=_context.settings.dtype)
    return model.eval()


@functools.lru_cache(maxsize=4)
def _evaluator(checkpoint: Path) -> Evaluator:
    return Evaluator(_context.settings, _tokenizer(checkpoint))


@functools.lru_cache(maxsize=4)
def _tokenizer(checkpoint: Path) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(checkpoint)
    return tokenizer
