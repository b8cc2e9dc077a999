"""lm-eval's task objects for an evaluation: the suite's own YAML files and the multilingual entries."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from eval.multilingual.entries import MULTILINGUAL
from eval.settings import TASK_FOLDER, EvalSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tasks(settings: EvalSettings) -> dict[str, Any]:
    """The settings' tasks by lm-eval name, with their documents."""
    import datasets
    from lm_eval.tasks import TaskManager

    from eval.documents.stock import registered_task

    datasets.disable_progress_bars()
    core = [f"{task}_{settings.source}" for task in settings.tasks if task not in MULTILINGUAL]
    manager = TaskManager(include_path=str(TASK_FOLDER), include_defaults=False, metadata=settings.metadata())
    loaded = dict(manager.load(core)["tasks"])
    for task in settings.tasks:
        if task in MULTILINGUAL:
            loaded[f"{task}_{settings.source}"] = registered_task(task, settings)
    return {name: loaded[name] for name in (f"{task}_{settings.source}" for task in settings.tasks)}


def build_requests(
    tasks: dict[str, Any], limit: int | None = None, templated: PreTrainedTokenizerBase | None = None
) -> None:
    """Build every task's requests with the arguments that ``evaluate`` will use, so that it finds them built.

    Args:
        tasks: of ``load_tasks``.
        limit: the first so many documents; None takes all.
        templated: the tokenizer whose chat template prompts go through; None leaves them as they are.
    """
    from lm_eval.evaluator_utils import get_sample_size

    from eval.documents.conversation import conversation

    template = None if templated is None else partial(conversation, templated)
    for task in tasks.values():
        task.build_all_requests(
            limit=get_sample_size(task, limit),
            samples=None,
            rank=0,
            world_size=1,
            cache_requests=False,
            rewrite_requests_cache=False,
            system_instruction=None,
            apply_chat_template=templated is not None,
            fewshot_as_multiturn=templated is not None,
            chat_template=template,
        )
