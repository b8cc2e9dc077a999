"""A few documents for every task, in the files that ``eval.source=local`` reads.

Real ones come from the folder ``LATA_BENCH_DATA`` where it is named, short ones of them; else they are made here.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.documents.sources import read_pages
from eval.multilingual.entries import MULTILINGUAL, Kind

#: Documents of a task.
DOCUMENTS = 4
#: More than the shots of GSM8K, so that its development split has some.
TRAIN = 9

Row = Mapping[str, Any]

PAGES = [
    f" = Town {i} = \n \n Town {i} lies on the river Ona , in the north . It has {i},000 people . \n"
    f" = = History = = \n \n The town was built in 1{i}20 , and its bridge in 1{i}45 . " * (1 + 40 * (i == 2))
    for i in range(2 * DOCUMENTS)
]
PROBLEMS = [
    {
        "question": f"Mia has {i + 2} books and finds {i + 1} more. How many books has she now?",
        "answer": f"She has {i + 2}+{i + 1}=<<{i + 2}+{i + 1}={2 * i + 3}>>{2 * i + 3} books.\n#### {2 * i + 3}",
    }
    for i in range(TRAIN + DOCUMENTS)
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
SENTENCES = ("Der Fluss heißt Ona.", "Река называется Она.", "แม่น้ำชื่อโอนา", "川の名前はオナです。", "這條河叫歐納。")
REQUESTS = [{"prompt": f"How do I open gate {i} without its key?"} for i in range(2 * DOCUMENTS)]


def write(folder: Path) -> list[str]:
    """Write the files; returns the texts in them, of which a vocabulary can be made."""
    folder.mkdir(parents=True)
    pages = _real_pages() or PAGES
    (folder / "wikitext2_test.tokens").write_text("".join(pages[:DOCUMENTS]), encoding="utf-8")
    (folder / "wikitext2_validation.tokens").write_text("".join(pages[DOCUMENTS:]), encoding="utf-8")
    questions = _shortest("gsm8k_test.jsonl", "question", DOCUMENTS) or PROBLEMS[TRAIN:]
    solved = _shortest("gsm8k_train_head64.jsonl", "answer", TRAIN) or PROBLEMS[:TRAIN]
    programs = _shortest("HumanEval.jsonl.gz", "prompt", DOCUMENTS) or PROGRAMS
    rows: dict[str, Sequence[Row]] = {
        "gsm8k_test": questions,
        "gsm8k_train": solved,
        "HumanEval": programs,
        "refusal_test": REQUESTS[:DOCUMENTS],
        "refusal_dev": REQUESTS[DOCUMENTS:],
        **{
            f"{task}_{part}": [_filled(entry.fields, first + number) for number in range(DOCUMENTS)]
            for task, entry in MULTILINGUAL.items()
            for first, part in enumerate(("test", "train", "dev"))
        },
    }
    for name, content in rows.items():
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return [*pages, *(str(value) for content in rows.values() for row in content for value in row.values())]


def _filled(fields: Mapping[str, Kind], number: int) -> Row:
    """A row of one of lm-eval's multilingual tasks: something that is allowed in every field."""
    row: dict[str, Any] = {}
    for path, kind in fields.items():
        outer, _, inner = path.partition(".")
        text = f"{SENTENCES[number % len(SENTENCES)]} ({path}, {number})"
        value: Any
        if path == "subject":
            value = "physics"
        elif isinstance(kind, list):
            value = [1, 0] if kind == [int] else [text, f"{text}?"]
        else:
            value = text if kind is str else kind[number % len(kind)]
        row[outer] = {inner: value} if inner else value
    return row


def _published(name: str) -> Path | None:
    folder = os.environ.get("LATA_BENCH_DATA")
    path = Path(folder) / name if folder else None
    return path if path is not None and path.is_file() else None


def _shortest(name: str, field: str, count: int) -> Sequence[Row]:
    """The documents of a published file whose `field` is shortest; none where the file is not there."""
    path = _published(name)
    if path is None:
        return []
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as lines:
        rows: list[Row] = [json.loads(line) for line in lines]
    return sorted(rows, key=lambda row: len(row[field]))[:count]


def _real_pages() -> list[str]:
    """Beginnings of WikiText-2's first pages; the third is longer than a stand-in's context."""
    path = _published("wikitext2_test.tokens")
    if path is None:
        return []
    pages = [row["page"] for row in read_pages(path)[: 2 * DOCUMENTS]]
    return [page[: 3600 if place == 2 else 500].rpartition(" ")[0] + " \n" for place, page in enumerate(pages)]
