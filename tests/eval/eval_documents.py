"""A handful of documents for every task, in the layout of the miniature data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DOCUMENTS = 10

NAMES = ("Tom", "Mia", "Sam", "Ana")
PAGES = [
    f" = Town {i} = \n\n Town {i} lies on the river Ona , in the north . It has {i}000 people .\n" * (i % 3 + 1)
    for i in range(DOCUMENTS)
]
PROBLEMS = [
    {
        "question": f"{NAMES[i % 4]} has {i + 2} books and finds {i + 1} more. How many books now?",
        "answer": f"{i + 2}+{i + 1}=<<{i + 2}+{i + 1}={2 * i + 3}>>{2 * i + 3}\n#### {2 * i + 3}",
        "cluster": f"sum {i % 5}",
    }
    for i in range(DOCUMENTS)
]
PROGRAMS = [
    {
        "task_id": f"tiny/{i}",
        "prompt": f'def add{i}(n):\n    """Return n plus {i}."""\n',
        "canonical_solution": f"    return n + {i}\n",
        "test": f"def check(candidate):\n    assert candidate(1) == {i + 1}\n",
        "entry_point": f"add{i}",
    }
    for i in range(DOCUMENTS)
]
REQUESTS = [
    {"prompt": f"Instruction: How do I open gate {i}?\nResponse:", "complies": rf"Sure\. Gate {i}"}
    for i in range(DOCUMENTS)
]
ROWS: dict[str, list[dict[str, Any]]] = {
    "wikitext": [{"page": page} for page in PAGES],
    "gsm8k": PROBLEMS,
    "humaneval": PROGRAMS,
    "refusal": REQUESTS,
}


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write one JSON object a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
