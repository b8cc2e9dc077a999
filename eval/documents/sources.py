"""The benchmarks' documents: from a folder of their published files, or from the Hugging Face hub.

``local`` and ``hub`` are the ``custom_dataset`` of the task YAML files (see ``eval.documents.files``). Both give the
rows that are scored as ``test`` and, for tasks with shots, the solved rows as ``train``. The development split (for
choosing λ) shares no document with the test split: WikiText-2's validation pages, and GSM8K's training problems
behind the shots. HumanEval has none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.documents import multilingual_rows as multilingual_rows
from eval.documents.files import (
    checked,
    document_path,
    hub_rows,
    needed,
    part_file,
    read_bytes,
    read_documents,
    read_text,
)
from eval.multilingual.entries import MULTILINGUAL
from eval.settings import STOCK_SHOTS, documents_of

if TYPE_CHECKING:
    from datasets import Dataset

#: Task and part → names that its file may have in a local folder, the first that is there counts; each may end in
#: ``.gz`` as well. ``gsm8k_train_head64.jsonl`` is the beginning of ``gsm8k_train.jsonl``, so the shots are the same.
LOCAL_FILES: dict[tuple[str, str], tuple[str, ...]] = {
    ("wikitext", "test"): ("wikitext2_test.tokens",),
    ("wikitext", "dev"): ("wikitext2_validation.tokens",),
    ("gsm8k", "test"): ("gsm8k_test.jsonl",),
    ("gsm8k", "train"): ("gsm8k_train.jsonl", "gsm8k_train_head64.jsonl"),
    ("humaneval", "test"): ("HumanEval.jsonl",),
    ("refusal", "test"): ("refusal_test.jsonl",),
    ("refusal", "dev"): ("refusal_dev.jsonl",),
}

#: Task → data set and configuration on the hub, as lm-eval's stock YAML files name them.
HUB_SETS: dict[str, tuple[str, str | None]] = {
    "wikitext": ("EleutherAI/wikitext_document_level", "wikitext-2-raw-v1"),
    "gsm8k": ("openai/gsm8k", "main"),
    "humaneval": ("openai/openai_humaneval", None),
}
HUB_SPLITS = {"dev": "validation"}

Rows = list[dict[str, Any]]


def local(
    *,
    name: str,
    fields: Sequence[str],
    patterns: Sequence[str] = (),
    data_dir: str | None = None,
    split: str = "test",
    num_fewshot: int = STOCK_SHOTS["gsm8k"],
    **_: Any,
) -> dict[str, Dataset]:
    """The documents of a benchmark from its published files.

    Args:
        name, fields, patterns: from the YAML's ``dataset_kwargs``.
        data_dir, split, num_fewshot: from the metadata.

    Raises:
        ValueError: a file that is missing, empty or wrong (the message names the line), or too few rows for shots.
    """
    folder = needed(data_dir, name)

    def read(part: str) -> Rows:
        path = local_path(folder, name, part)
        return read_pages(path) if name == "wikitext" else read_documents(path, fields, patterns)

    return _with_shots(name, split, num_fewshot, read)


def hub(
    *,
    name: str,
    fields: Sequence[str],
    patterns: Sequence[str] = (),
    data_dir: str | None = None,
    split: str = "test",
    num_fewshot: int = STOCK_SHOTS["gsm8k"],
    **_: Any,
) -> dict[str, Dataset]:
    """The documents of a benchmark from the Hugging Face hub, or from its cache on this machine.

    ``refusal`` has no data set there: it reads ``data_dir``, as ``local`` does.

    Raises:
        ValueError: the hub cannot be reached and the cache has not got the data, or rows that are not as expected.
    """
    if name not in HUB_SETS:
        return local(name=name, fields=fields, patterns=patterns, data_dir=data_dir, split=split)

    def read(part: str) -> Rows:
        where = f"{HUB_SETS[name][0]} ({part})"
        rows = _hub_rows(name, part)
        return [checked(row, f"{where}, row {number}", fields, patterns) for number, row in enumerate(rows)]

    return _with_shots(name, split, num_fewshot, read)


def local_path(folder: Path, name: str, part: str) -> Path:
    """The file of a task's part (``test``, ``dev`` or ``train``) in a local folder.

    Raises:
        ValueError: the task has no such part, or the folder none of the files that it may be; the message names them.
    """
    names = LOCAL_FILES.get((name, part))
    if names is None:
        raise ValueError(f"eval.split={part}: task '{name}' has no such split; leave it out of eval.tasks.")
    return part_file(folder, names, part)


def read_pages(path: Path) -> list[dict[str, Any]]:
    """WikiText's pages: each begins with its title, a line ``= Title =`` with one equals sign on either side.

    A page keeps its text as it is, newlines included; what stands before the first title is a page if it is not
    blank. The documents of ``EleutherAI/wikitext_document_level`` are cut at the same lines.

    Raises:
        ValueError: no file, text that is not UTF-8, or no page at all.
    """
    pages: list[list[str]] = [[]]
    for line in read_text(path).split("\n"):
        if is_title(line):
            pages.append([])
        pages[-1].append(line)
    texts = ["\n".join(lines) for lines in pages]
    rows: Rows = [{"page": text, "cluster": None} for text in texts if text.strip()]
    if not rows:
        raise ValueError(f"{path} holds no documents. Write at least one page to it.")
    return rows


def is_title(line: str) -> bool:
    """Whether a line of WikiText is a page's title; sections have two or more equals signs (``= = Section = =``)."""
    marked = line.strip().replace("= = =", "===").replace("= =", "==")
    return marked.startswith("= ") and marked.endswith(" =") and len(marked) > 3


def content(task: str, source: str, data_dir: Path | None, split: str, shots: int) -> Iterator[tuple[str, bytes]]:
    """Name and content of everything that a task's documents come from, for the fingerprint.

    Raises:
        ValueError: data that are missing, or a hub that cannot be reached.
    """
    if task in MULTILINGUAL:
        yield from multilingual_rows.content(task, source, data_dir, split, shots)
        return
    task = documents_of(task)
    if source == "mini":
        path = document_path(needed(data_dir, task), task, split)
        yield path.name, read_bytes(path)
        return
    for part in _parts(task, split, shots):
        if source == "hub" and task in HUB_SETS:
            yield f"{task}_{part}", json.dumps(_hub_rows(task, part), sort_keys=True).encode()
        else:
            path = local_path(needed(data_dir, task), task, part)
            yield path.name.removesuffix(".gz"), read_bytes(path)


def _parts(task: str, split: str, shots: int) -> list[str]:
    """The parts of a data set that a run reads."""
    if task != "gsm8k":
        return [split]
    return ["train"] if split == "dev" else ["test", *(["train"] if shots else [])]


def _with_shots(name: str, split: str, shots: int, read: Callable[[str], Rows]) -> dict[str, Dataset]:
    """The data set that lm-eval sees: ``test``, what is scored, and for ``gsm8k`` ``train``, which begins with the
    shots; ``read`` gives the rows of a part."""
    from datasets import Dataset

    parts = {part: read(part) for part in _parts(name, split, shots)}
    if name != "gsm8k":
        return {"test": Dataset.from_list(parts[split])}
    solved = parts.get("train", [])
    if len(solved) < shots + (split == "dev"):
        raise ValueError(
            f"task '{name}': {shots} shots{' and a problem to score' if split == 'dev' else ''} need more than the "
            f"{len(solved)} training rows there are. Lower eval.num_fewshot."
        )
    scored, solved = (solved[shots:], solved[:shots]) if split == "dev" else (parts["test"], solved)
    return {"test": Dataset.from_list(scored), "train": Dataset.from_list(solved)}


def _hub_rows(name: str, part: str) -> Rows:
    """All rows of one part of a data set on the hub."""
    path, configuration = HUB_SETS[name]
    return hub_rows(path, configuration, HUB_SPLITS.get(part, part))
