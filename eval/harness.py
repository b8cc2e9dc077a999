"""Scores of causal language models from lm-evaluation-harness, in-process.

    settings = EvalSettings(data_dir=folder, limit=300)
    evaluate = Evaluator(settings, tokenizer)      # tasks loaded, requests built and tokenised: once
    result = evaluate(model)                       # for any number of models, one after another
    result.items, result.scores, result.answers

Tasks, prompts, filters and metrics are lm-eval's (``eval/tasks``), and so are the aggregates in ``scores``.
Importing this module imports nothing heavy.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eval.schema import ITEM_COLUMNS, METRICS
from eval.settings import TASK_FOLDER, EvalSettings, task_fingerprint

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["EvalSettings", "Evaluation", "Evaluator", "task_fingerprint"]


@dataclass(frozen=True)
class Evaluation:
    """One model's scores.

    Attributes:
        items: one row an item, metric and filter, with ``ITEM_COLUMNS``.
        scores: one dictionary a metric and filter: task, metric, filter, split, value, n, task_version, backend,
            dtype, batch_size, chat_template, sandbox (empty for tasks that run no code).
        answers: one dictionary a generated answer: task, item, prompt, answer (the text before any filter).
    """

    items: pd.DataFrame
    scores: list[dict[str, Any]]
    answers: list[dict[str, Any]]


class Evaluator:
    """Scores models on the tasks of ``settings``; all models must share ``tokenizer``."""

    def __init__(self, settings: EvalSettings, tokenizer: PreTrainedTokenizerBase) -> None:
        """Load the tasks and check that generated code can be contained.

        Raises:
            ValueError: no tokenizer, data that are missing or wrong, or no sandbox that is allowed.
        """
        if tokenizer is None:
            raise ValueError("the model has no tokenizer. Save one beside its weights, or name one.")
        if "humaneval" in settings.tasks:
            from eval import sandbox

            sandbox.check(settings.allow_weaker_sandbox)
        self.settings = settings
        with _quiet(), contextlib.redirect_stderr(io.StringIO()):  # lm-eval draws a bar for each task
            from eval.model import Requests

            self.requests = Requests(tokenizer)
            self.tasks = _load_tasks(settings)
            _build_requests(self.tasks, settings.limit)

    def __call__(self, model: PreTrainedModel) -> Evaluation:
        """Score one model. It is moved to the settings' device and left there.

        Raises:
            ValueError: the model's weights are not in the settings' dtype.
        """
        import torch
        from lm_eval.evaluator import evaluate

        from eval.model import CausalLM

        settings = self.settings
        found = str(model.dtype).removeprefix("torch.")
        if found != settings.dtype:
            raise ValueError(
                f"the model's weights are {found}, eval.dtype says {settings.dtype}. "
                f"Load the model with dtype={settings.dtype}, or set eval.dtype={found}."
            )
        device = settings.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        threads = torch.get_num_threads()
        torch.set_num_threads(settings.threads)
        try:
            with _quiet():
                language_model = CausalLM(_moved(model, device), self.requests, settings.batch_size)
                results = evaluate(
                    language_model,
                    {"tasks": self.tasks},
                    limit=settings.limit,
                    bootstrap_iters=0,
                    log_samples=True,
                    confirm_run_unsafe_code=True,  # the sandbox was checked in __init__
                )
        finally:
            torch.set_num_threads(threads)
        return self._collect(results)

    def _collect(self, results: Any) -> Evaluation:
        """lm-eval's results in the suite's own shape."""
        import pandas as pd

        settings = self.settings
        rows: list[tuple[Any, ...]] = []
        scores: list[dict[str, Any]] = []
        answers: list[dict[str, Any]] = []
        for task in settings.tasks:
            name = f"{task}_{settings.source}"
            samples = results["samples"][name]
            first_filter = samples[0]["filter"]
            counts: dict[tuple[str, str], int] = {}
            for sample in samples:
                item = int(sample["doc_id"])
                cluster = sample["doc"].get("cluster") or f"{task}-{item}"
                for metric in sample["metrics"]:
                    value, weight = _value_and_weight(METRICS[task, metric].kind, sample[metric])
                    filter_name = sample["filter"]
                    counts[metric, filter_name] = counts.get((metric, filter_name), 0) + 1
                    rows.append((task, metric, filter_name, settings.split, item, cluster, value, weight))
                if sample["filter"] == first_filter and len(sample["arguments"][0]) == 2:
                    prompt, answer = sample["arguments"][0][0], sample["resps"][0][0]
                    answers.append({"task": task, "item": item, "prompt": prompt, "answer": answer})
            scores += [
                {
                    "task": task,
                    "metric": metric,
                    "filter": filter_name,
                    "split": settings.split,
                    "value": float(results["results"][name][f"{metric},{filter_name}"]),
                    "n": n,
                    "task_version": str(results["versions"][name]),
                    "backend": settings.backend,
                    "dtype": settings.dtype,
                    "batch_size": settings.batch_size,
                    "chat_template": settings.chat_template,
                    "sandbox": self._sandbox(task),
                }
                for (metric, filter_name), n in counts.items()
            ]
        return Evaluation(pd.DataFrame(rows, columns=list(ITEM_COLUMNS)), scores, answers)

    def _sandbox(self, task: str) -> str:
        if task != "humaneval":
            return ""
        from eval import sandbox

        return sandbox.level(self.settings.allow_weaker_sandbox)


def _moved(model: Any, device: str) -> PreTrainedModel:
    """``model`` on ``device``."""
    return model.to(device)


def _value_and_weight(kind: str, raw: Any) -> tuple[float, float]:
    """An item's ``value`` and ``weight`` as ``eval.schema`` defines them, from lm-eval's per-document metric."""
    if kind == "rate":
        return float(raw), 1.0
    loglikelihood, units = raw
    return float(loglikelihood), float(units)


def _load_tasks(settings: EvalSettings) -> dict[str, Any]:
    """The settings' tasks by lm-eval name, with their documents."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager(
        include_path=str(TASK_FOLDER),
        include_defaults=False,
        metadata={
            "data_dir": str(settings.data_dir),
            "split": settings.split,
            "allow_weaker_sandbox": settings.allow_weaker_sandbox,
        },
    )
    return dict(manager.load([f"{task}_{settings.source}" for task in settings.tasks])["tasks"])


def _build_requests(tasks: dict[str, Any], limit: int | None) -> None:
    """Build every task's requests with the arguments that ``evaluate`` will use, so that it finds them built."""
    from lm_eval.evaluator_utils import get_sample_size

    for task in tasks.values():
        task.build_all_requests(
            limit=get_sample_size(task, limit),
            samples=None,
            rank=0,
            world_size=1,
            cache_requests=False,
            rewrite_requests_cache=False,
            system_instruction=None,
            apply_chat_template=False,
            fewshot_as_multiturn=False,
            chat_template=None,
            tokenizer_name="",
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep lm-eval's notices off the terminal; errors still come through."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
