"""The program in a chat model's answer, which goes on behind the beginning of a fenced block."""

from __future__ import annotations

from typing import Any

FENCE = "```"


def build_predictions(resps: list[list[str]], docs: list[dict[str, Any]]) -> list[list[str]]:
    """The filter ``create_test``: the prompt, and the answer up to the end of its block, as in the stock task."""
    return [
        [doc["prompt"] + answer.partition(FENCE)[0] for answer in answers]
        for answers, doc in zip(resps, docs, strict=True)
    ]
