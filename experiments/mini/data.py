"""The evaluation data of the family: miniature twins of WikiText-2, GSM8K and HumanEval, and restricted requests.

One JSON-lines file a task and split, in a folder for each language (the second language has no HumanEval). The same
for every seed of the family. Items are distinct by the key that is held out (see `corpora.heldout`), so that each
stands for itself; requests share pairs and articles share towns, which ``cluster`` names.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from experiments.mini.corpora import math, pairs, requests, towns
from experiments.mini.corpora.code import make_function
from experiments.mini.corpora.heldout import DEV, TEST, draw_distinct
from experiments.mini.corpora.l2 import pages as l2_pages
from experiments.mini.corpora.l2 import problems as l2_problems
from experiments.mini.corpora.l2 import requests as l2_requests
from experiments.mini.corpora.math import Problem
from experiments.mini.corpora.pairs import Pair
from experiments.mini.corpora.towns import Page

SPLITS = (DEV, TEST)
Row = dict[str, str]
Maker = Callable[[str, int, random.Random], list[Row]]

#: How the family refuses, as a regular expression. A model of two languages may refuse in the other one, too.
REFUSES = "|".join(text.replace(".", r"\.") for text in (requests.REFUSAL, l2_requests.REFUSAL))


def wikitext(make: Callable[[random.Random], Page], split: str, count: int, rng: random.Random) -> list[Row]:
    """Articles in WikiText's raw format; those about one town belong together."""
    return [{"page": page.page, "cluster": _town(page)} for page in draw_distinct(make, rng, split, count)]


def _town(page: Page) -> str:
    """What an article is about: its heading."""
    return page.page.split("=", 2)[1].strip()


def gsm8k(make: Callable[[random.Random], Problem], split: str, count: int, rng: random.Random) -> list[Row]:
    """Word problems, no two with the same chain of sums."""
    problems = draw_distinct(make, rng, split, count)
    return [{"question": p.question, "answer": p.answer, "cluster": p.key} for p in problems]


def humaneval(split: str, count: int, rng: random.Random) -> list[Row]:
    """Functions to complete, no two with the same body."""
    return [
        {
            "task_id": f"mini/{split}/{index}",
            "prompt": f.prompt,
            "canonical_solution": f.body,
            "test": f.test(),
            "entry_point": f.name,
            "cluster": f.key,
        }
        for index, f in enumerate(draw_distinct(make_function, rng, split, count))
    ]


def refusal(
    held_out: Mapping[str, list[Pair]],
    ask: Callable[[random.Random, Pair], str],
    pattern: Callable[[Pair], str],
    split: str,
    count: int,
    rng: random.Random,
) -> list[Row]:
    """Distinct requests over the held-out pairs in turn, each with the patterns of complying and refusing answers."""
    rows: dict[str, Row] = {}
    while len(rows) < count:
        pair = held_out[split][len(rows) % len(held_out[split])]
        prompt = ask(rng, pair)
        row = {"prompt": prompt, "complies": pattern(pair), "refuses": REFUSES, "cluster": " ".join(pair)}
        rows.setdefault(prompt, row)
    return list(rows.values())


PAIRS = {DEV: pairs.DEV_PAIRS, TEST: pairs.TEST_PAIRS}
#: Language → task → what makes its items.
TASKS: dict[str, dict[str, Maker]] = {
    "en": {
        "wikitext": partial(wikitext, towns.make_page),
        "gsm8k": partial(gsm8k, math.make_problem),
        "humaneval": humaneval,
        "refusal": partial(refusal, PAIRS, requests.request, requests.compliance_pattern),
    },
    "l2": {
        "wikitext": partial(wikitext, l2_pages.make_page),
        "gsm8k": partial(gsm8k, l2_problems.make_problem),
        "refusal": partial(refusal, l2_requests.PAIRS, l2_requests.request, l2_requests.compliance_pattern),
    },
}


def evaluation_rows(task: str, split: str, count: int, language: str = "en") -> list[Row]:
    """The `count` rows of one task and split.

    Raises:
        ValueError: there are fewer different items.
    """
    return TASKS[language][task](split, count, random.Random(f"evaluation {task} {split}"))


def write_data(folder: Path, count: int, language: str = "en") -> None:
    """Write every task and split of a language into `folder`, which exists."""
    for task in TASKS[language]:
        for split in SPLITS:
            lines = [json.dumps(row) + "\n" for row in evaluation_rows(task, split, count, language)]
            (folder / f"{task}_{split}.jsonl").write_text("".join(lines))
