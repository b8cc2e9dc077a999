"""From a mixture (which generators, how many of each) to the examples of one stage."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from experiments.mini.corpora.code import code_example, raw_code
from experiments.mini.corpora.heldout import Example
from experiments.mini.corpora.math import math_example, story, sum_lines
from experiments.mini.corpora.requests import (
    benign_request,
    expert_request,
    refused_request,
    repetition,
    target_request,
    town_question,
    word_lists,
)
from experiments.mini.corpora.towns import page_text

GENERATORS: dict[str, Callable[[random.Random], Example]] = {
    "pages": page_text,
    "sums": sum_lines,
    "stories": story,
    "raw_code": raw_code,
    "word_lists": word_lists,
    "benign": benign_request,
    "refused": refused_request,
    "town_questions": town_question,
    "repetitions": repetition,
    "math": math_example,
    "code": code_example,
    "expert_requests": expert_request,
    "target_requests": target_request,
}


def examples_of(mixture: Mapping[str, int], name: str, seed: int) -> list[Example]:
    """The shuffled examples of a stage.

    Args:
        mixture: number of examples by generator.
        name: the stage; two stages never share random numbers.
        seed: the family's seed.
    """
    examples = []
    for part, count in mixture.items():
        rng = random.Random(f"{part} {name} {seed}")
        examples += [GENERATORS[part](rng) for _ in range(count)]
    random.Random(f"order {name} {seed}").shuffle(examples)
    return examples
