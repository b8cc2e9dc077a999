"""What a reader of the scores should know of the answers behind them, one line each.

A score can be low because a model was asked in a way that it was not made for. Nothing in the score says so, but the
answers do: they are empty, never end, or hold their program in a Markdown fence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

#: A share of the answers that is worth a line.
SHARE = 0.05

_IMPORT = re.compile(r"(import|from) \w")


def notices(
    answers: Sequence[Mapping[str, Any]],
    unended: Mapping[str, int],
    untemplated: Sequence[str],
    own_settings: Mapping[str, Any] | None = None,
) -> list[str]:
    """Lines on the answers of one model.

    Args:
        answers: with ``task`` and ``answer``.
        unended: task → answers that were cut at the most tokens that the task allows.
        untemplated: tasks whose prompts went without a chat template that the tokenizer has.
        own_settings: what the model's ``generation_config`` adds to greedy search.
    """
    by_task: dict[str, list[str]] = {}
    for row in answers:
        by_task.setdefault(row["task"], []).append(row["answer"])
    lines = []
    if answers and own_settings:
        named = ", ".join(f"{key}={value}" for key, value in sorted(own_settings.items()))
        lines.append(
            f"the model's generation_config.json sets {named}: answers follow it, as with lm-eval's own command; "
            "take it out there for plain greedy answers of the task's length"
        )
    for task, own in by_task.items():
        hint = "; the tokenizer has a chat template: set eval.chat_template=on" if task in untemplated else ""
        empty = sum(not answer.strip() for answer in own)
        if empty >= SHARE * len(own):
            lines.append(f"{task}: {empty} of {len(own)} answers are empty{hint}")
        if unended.get(task, 0) == len(own):
            lines.append(f"{task}: all {len(own)} answers were cut at the task's limit of tokens{hint}")
        cut = sum(map(_is_chat, own)) if task == "humaneval" else 0
        if cut and cut >= SHARE * len(own):
            lines.append(
                f"humaneval: {cut} of {len(own)} answers hold a Markdown fence or begin the program anew, as chat "
                "models do, and fail whatever the program is; eval.tasks=[humaneval_instruct] asks them in their way"
            )
    return lines


def _is_chat(answer: str) -> bool:
    """Whether an answer to HumanEval starts a program instead of going on inside the function."""
    lines = [line for line in answer.split("\n") if line.strip()]
    # Imports inside a function are indented; the program behind these was cut at "\ndef".
    only_imports = bool(lines) and all(_IMPORT.match(line) for line in lines)
    return "```" in answer or only_imports or "".join(lines[:1]).startswith("def ")
