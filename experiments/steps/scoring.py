"""The evaluation of weights: its key, and its files in the store; the same for a study and for one model."""

from __future__ import annotations

import functools
import io
import json
from typing import TYPE_CHECKING

from eval.backends.vllm import Engine
from eval.fitting import evaluate_fitting
from eval.harness import Evaluation, Evaluator
from experiments.steps.merging import in_memory, lam_of
from experiments.steps.models import find
from experiments.steps.store import key_of
from lata.code_version import code_version

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from eval.settings import EvalSettings
    from experiments.steps.jobs import Context, Task
    from experiments.steps.models import Scored

#: The step's name in the store.
EVALUATION = "evaluation"


def evaluation_key(weights: str, reads: str, fingerprint: str, **more: str) -> str:
    """The key of an evaluation: everything that decides its answers, whatever command asks for it.

    Args:
        weights: their digest; it stands for how they were merged.
        reads: `Scored.reads` of the model whose configuration and tokenizer are used.
        fingerprint: `eval.harness.task_fingerprint` of the settings.
        more: what else decides, where vocabularies may differ.
    """
    without = ("experiments.steps.merging", "experiments.steps.store")
    code = code_version("experiments.steps.scoring", packages=("experiments.steps",), without=without)
    return key_of(step=EVALUATION, code=code, weights=weights, reads=reads, fingerprint=fingerprint, **more)


def score(scored: Scored, settings: EvalSettings) -> dict[str, bytes]:
    """The scores of one model by itself, see `_files`."""
    tokenizer = scored.tokenizer()
    return _files(*evaluate_fitting(Evaluator(settings, tokenizer), scored.model(settings, tokenizer)))


def evaluate(context: Context, task: Task) -> dict[str, bytes]:
    """The scores of one job, see `_files`."""
    job = task.job
    models = context.families[job.seed]
    model = _loaded_model(models["pre"], context.shared)
    if not job.method:
        _load(context, model, find(models[job.start], None), find(models["pre"], None))
    elif isinstance(model, Engine):
        model.load(in_memory(context, job).tensors(lam_of(job)))
    elif in_memory(context, job).write(lam_of(job), model, digest=True).digest != task.digest:
        raise ValueError(
            f"{job.method} of {'+'.join(job.experts)} gives other weights here than the cache says, so it was made "
            f"on another kind of machine; remove {context.store} or set LATA_CACHE to another folder"
        )
    return _files(*evaluate_fitting(_evaluator(models["pre"], context.settings[task.settings]), model))


def _files(result: Evaluation, batch_size: int) -> dict[str, bytes]:
    """An evaluation as files: ``items.parquet``, ``scores.json``, ``answers.jsonl``, ``warnings.json``.

    And ``batch_size.json``, which is less than was asked for where the device had no room for that.
    """
    items = io.BytesIO()
    result.items.to_parquet(items, index=False, compression="zstd")
    answers = "".join(json.dumps(answer, ensure_ascii=False) + "\n" for answer in result.answers)
    return {
        "items.parquet": items.getvalue(),
        "scores.json": json.dumps(result.scores, indent=1).encode(),
        "answers.jsonl": answers.encode(),
        "batch_size.json": json.dumps(batch_size).encode(),
        "warnings.json": json.dumps(result.warnings).encode(),
    }


def _load(context: Context, model: PreTrainedModel | Engine, scored: Scored, pre: Scored) -> None:
    """Put a model of the family as it is into the loaded one, which keeps the configuration of θ_pre."""
    from lata.merging.in_memory.destinations import load

    headers = {name: info for name, info in scored.checkpoint.tensors.items() if info.is_float}
    like = pre if context.vocab == "common" else None
    tensors = scored.tensors(context.shared.dtype, like)
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
def _loaded_model(pre: str, settings: EvalSettings) -> PreTrainedModel | Engine:
    return find(pre, None).model(settings, _tokenizer(pre))


@functools.lru_cache(maxsize=8)
def _evaluator(pre: str, settings: EvalSettings) -> Evaluator:
    return Evaluator(settings, _tokenizer(pre))


@functools.lru_cache(maxsize=4)
def _tokenizer(pre: str) -> PreTrainedTokenizerBase:
    return find(pre, None).tokenizer()
