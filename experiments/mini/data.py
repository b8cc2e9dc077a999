"""The evaluation data of the family: miniature twins of WikiText-2, GSM8K and HumanEval, and restricted requests.

One JSON-lines file a task and split. The same for every seed of the family. Items are distinct by the key that is
held out (see `corpora.heldout`), so that each stands for itself; requests share pairs, which ``cluster`` names.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

from experiments.mini.corpora.code import make_function
from experiments.mini.corpora.heldout import DEV, TEST, draw_distinct
from experiments.mini.corpora.math import make_problem
from experiments.mini.corpora.pairs import DEV_PAIRS, TEST_PAIRS
from experiments.mini.corpora.requests import compliance_pattern, request
from experiments.mini.corpora.towns import make_page

SPLITS = (DEV, TEST)
Row = dict[str, str]


def wikitext(split: str, count: int, rng: random.Random) -> list[Row]:
    """Articles in WikiText's raw format."""
    return [{"page": page.page} for page in draw_distinct(make_page, rng, split, count)]


def gsm8k(split: str, count: int, rng: random.Random) -> list[Row]:
    """Word problems, no two with the same chain of sums."""
    problems = draw_distinct(make_problem, rng, split, count)
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


def refusal(split: str, count: int, rng: random.Random) -> list[Row]:
    """Distinct requests over the held-out pairs in turn."""
    pairs = {DEV: DEV_PAIRS, TEST: TEST_PAIRS}[split]
    rows: dict[str, Row] = {}
    while len(rows) < count:
        pair = pairs[len(rows) % len(pairs)]
        prompt = request(rng, pair)
        rows.setdefault(prompt, {"prompt": prompt, "complies": compliance_pattern(pair), "cluster": " ".join(pair)})
    return list(rows.values())


TASKS: dict[str, Callable[[str, int, random.Random], list[Row]]] = {
    "wikitext": wikitext,
    "gsm8k": gsm8k,
    "humaneval": humaneval,
    "refusal": refusal,
}


def evaluation_rows(task: str, split: str, count: int) -> list[Row]:
    """The `count` rows of one task and split.

    Raises:
        ValueError: there are fewer different items.
    """
    return TASKS[task](split, count, random.Random(f"evaluation {task} {split}"))


def write_data(folder: Path, count: int) -> None:
    """Write every task and split into `folder`, which exists."""
    for task in TASKS:
        for split in SPLITS:
            lines = [json.dumps(row) + "\n" for row in evaluation_rows(task, split, count)]
            (folder / f"{task}_{split}.jsonl").write_text("".join(lines))
