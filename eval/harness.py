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
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from eval.collect import Evaluation, collect, notices
from eval.documents.loading import build_requests, load_tasks
from eval.fingerprint import task_fingerprint
from eval.settings import CODE_TASKS, EvalSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from eval.backends.vllm import Engine

__all__ = ["EvalSettings", "Evaluation", "Evaluator", "task_fingerprint"]


class Evaluator:
    """Scores models on the tasks of ``settings``; all models must share ``tokenizer``.

    Attributes:
        settings: as given.
        requests: tokenised texts, shared by all models.
        tasks: lm-eval's tasks by name, their requests built.
        chat_template: task → ``on`` or ``off``, what the setting means for the tokenizer and the task.
    """

    def __init__(self, settings: EvalSettings, tokenizer: PreTrainedTokenizerBase) -> None:
        """Load the tasks and check that generated code can be contained and that the judge can be asked.

        Raises:
            ValueError: no tokenizer, data that are missing or wrong, no chat template where one is asked for, no
                sandbox that is allowed, or a judge that cannot be asked.
        """
        if tokenizer is None:
            raise ValueError("the model has no tokenizer. Save one beside its weights, or name one.")
        templated = _uses_template(settings, tokenizer)
        if {*CODE_TASKS} & {*settings.tasks}:
            from eval import sandbox

            sandbox.check(settings.allow_weaker_sandbox)
        if settings.judge is not None and "refusal" in settings.tasks:
            from eval.judge import grading as judge

            judge.check(settings.judge)
        self.settings = settings
        with _quiet(), contextlib.redirect_stderr(io.StringIO()):  # lm-eval draws a bar for each task
            from eval.backends.requests import Requests

            self.requests = Requests(tokenizer)
            self.tasks = load_tasks(settings)
            build_requests(self.tasks, settings.limit, tokenizer if templated else None)
        _check_end_token(tokenizer, {task.OUTPUT_TYPE for task in self.tasks.values()})
        self.chat_template = {
            task: "on" if templated and self.tasks[f"{task}_{settings.source}"].asks else "off"
            for task in settings.tasks
        }
        self._tokens = self._tokenise()
        self._highest = max((max(ids) for ids in self.requests.encoded.values() if ids), default=0)

    def __call__(self, model: PreTrainedModel | Engine) -> Evaluation:
        """Score one model. It is moved to the settings' device and left there.

        Args:
            model: for the backend ``hf`` a causal language model; for ``vllm`` an open `eval.backends.vllm.Engine`.

        Raises:
            ValueError: weights in another dtype than the settings', or a context too short for a task's prompts.
        """
        import torch
        from lm_eval.evaluator import evaluate

        from eval.backends.language_model import language_model

        settings = self.settings
        if isinstance(model, torch.nn.Module):
            dtype = str(model.dtype).removeprefix("torch.")
            if dtype != settings.dtype:
                raise ValueError(
                    f"the model's weights are {dtype}, eval.dtype says {settings.dtype}. "
                    f"Load the model with dtype={settings.dtype}, or set eval.dtype={dtype}."
                )
        threads = torch.get_num_threads()
        torch.set_num_threads(settings.threads)
        try:
            with _quiet(), _seeded(settings):
                wrapped: Any = language_model(model, self.requests, settings)
                self._check_context(wrapped.max_length)
                self._check_rows(wrapped)
                templated = "on" in self.chat_template.values()
                results = evaluate(
                    wrapped,
                    {"tasks": self.tasks},
                    limit=settings.limit,
                    bootstrap_iters=0,
                    log_samples=True,
                    apply_chat_template=templated,
                    fewshot_as_multiturn=templated,
                    confirm_run_unsafe_code=True,  # the sandbox was checked in __init__
                )
        finally:
            torch.set_num_threads(threads)
        found = collect(results, settings, self._tokens.get("wikitext", {}), self.chat_template, self._sandbox)
        unended = {name.rpartition("_")[0]: count for name, count in wrapped.unended.items()}
        there = getattr(self.requests.tokenizer, "chat_template", None) is not None
        untemplated = [task for task, used in self.chat_template.items() if there and used == "off"]
        lines = (*self._on_tokens, *notices(found.answers, unended, untemplated, wrapped.own_settings))
        return replace(found, warnings=lines + found.warnings)

    def _tokenise(self) -> dict[str, dict[int, int]]:
        """Task → item → tokens of its text, its prompt, or its question with the longest choice.

        The tokens are kept for the models as well.
        """
        from lm_eval.models.utils import has_bos_prefix

        tokenizer = self.requests.tokenizer
        counts: dict[str, dict[int, int]] = {}
        for name, task in self.tasks.items():
            own = counts.setdefault(name.rpartition("_")[0], {})
            rolling = task.OUTPUT_TYPE == "loglikelihood_rolling"
            for instance in task.instances:
                text = "".join(part for part in instance.args if isinstance(part, str))
                special = not rolling and not has_bos_prefix(text, getattr(tokenizer, "bos_token", None))
                own[instance.doc_id] = max(own.get(instance.doc_id, 0), len(self.requests.encode(text, special)))
        return counts

    def _check_context(self, context: int) -> None:
        """Refuse prompts that would lose their beginning, and with it their shots.

        Args:
            context: tokens that the model can hold, prompt and answer together.
        """
        for task, counts in self._tokens.items():
            config = self.tasks[f"{task}_{self.settings.source}"].config
            if config.output_type == "loglikelihood_rolling":
                continue
            answer = config.generation_kwargs["max_gen_toks"] if config.output_type == "generate_until" else 0
            longest = max(counts.values())
            if longest + answer > context:
                shots = config.num_fewshot or 0
                parts = f"{longest} for its longest prompt with {shots} shots, {answer} for the answer"
                parts = parts if answer else f"its longest question with a choice and {shots} shots"
                way = "set a lower eval.num_fewshot, " if shots else ""
                raise ValueError(
                    f"{task} needs {longest + answer} tokens ({parts}), but the model's context is {context}: {way}"
                    f"choose a model with a longer context, or leave {task} out of eval.tasks."
                )

    def _check_rows(self, lm: Any) -> None:
        """Refuse prompts with tokens that the model has no row of its embeddings for."""
        rows, tokenizer = lm.rows, self.requests.tokenizer
        rolling = any(task.OUTPUT_TYPE == "loglikelihood_rolling" for task in self.tasks.values())
        highest = max([self._highest, *([lm.prefix_token_id] if rolling else [])])
        if highest >= rows:
            raise ValueError(
                f"the prompts hold {tokenizer.convert_ids_to_tokens(highest)!r}, token {highest} of the tokenizer, "
                f"but the model's embeddings have {rows} rows, for tokens 0 to {rows - 1}: take the tokenizer that "
                "the model was trained with, or set eval.chat_template=off if only the template writes that token"
            )

    @property
    def _on_tokens(self) -> tuple[str, ...]:
        """A line on what the tokenizer would put behind every prompt."""
        if not self.requests.appended:
            return ()
        text = self.requests.tokenizer.decode(self.requests.appended)
        return (
            f"the tokenizer ends every text with {text} (add_eos_token, left on from training): left out of the "
            "prompts, for a model has nothing to say behind it; lm-eval's own command leaves it in and scores that",
        )

    def _sandbox(self, task: str) -> str:
        if task not in CODE_TASKS:
            return ""
        from eval import sandbox

        return sandbox.level(self.settings.allow_weaker_sandbox)


def _check_end_token(tokenizer: PreTrainedTokenizerBase, kinds: set[str]) -> None:
    """Refuse a tokenizer that lacks what lm-eval ends answers with, or begins texts with."""
    generates = "generate_until" in kinds
    if tokenizer.eos_token_id is None and (generates or tokenizer.bos_token_id is None):
        raise ValueError(
            "the tokenizer has no end token"
            + (", by which answers end" if generates else ", nor one that begins texts")
            + ': name it as "eos_token" in tokenizer_config.json'
        )


def _uses_template(settings: EvalSettings, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether prompts go through the tokenizer's chat template."""
    there = getattr(tokenizer, "chat_template", None) is not None
    if settings.chat_template == "on" and not there:
        raise ValueError("eval.chat_template=on: the tokenizer has no chat template. Set off, or auto.")
    return there and settings.chat_template != "off"


@contextlib.contextmanager
def _seeded(settings: EvalSettings) -> Iterator[None]:
    """Give sampling the settings' seed, and torch its own state back afterwards; greedy runs draw nothing."""
    import torch

    if settings.samples == 1:
        yield
        return
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(settings.seed)
        yield


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
