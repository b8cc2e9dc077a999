"""The rows of lm-eval's multilingual tasks, from a folder or the hub, checked one by one.

In a folder a part is a file of JSON lines, plain or ``.gz``: ``<task>_test.jsonl`` is scored, or for
``eval.split=dev`` ``<task>_dev.jsonl``; solved rows for the shots are the first of ``<task>_train.jsonl``. On the hub
the scored split is lm-eval's. For choosing λ it is the other one that the data set has: TMMLU+'s validation rows, or
the first `DEV_ROWS` training rows behind the shots (ours; experts may have been trained on them).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.documents.files import hub_rows, json_lines, needed, part_file, read_bytes
from eval.multilingual.entries import MULTILINGUAL, Kind, StockEntry

if TYPE_CHECKING:
    from datasets import Dataset

#: Most training rows that serve as a development split.
DEV_ROWS = 1_000

Rows = list[dict[str, Any]]


def local(
    *, name: str, data_dir: str | None = None, split: str = "test", num_fewshot: int | None = None, **_: Any
) -> dict[str, Dataset]:
    """lm-eval's ``custom_dataset``: the rows in the files of `data_dir`.

    Args:
        name: the task, from the ``dataset_kwargs``.
        data_dir, split, num_fewshot: from the metadata; no number takes the task's own.

    Raises:
        ValueError: a file that is missing, empty or wrong (the message names the line), or too few rows for shots.
    """
    return _data_set(name, "local", needed(data_dir, name), split, num_fewshot)


def hub(*, name: str, split: str = "test", num_fewshot: int | None = None, **_: Any) -> dict[str, Dataset]:
    """As `local`, from the Hugging Face hub or its cache on this machine."""
    return _data_set(name, "hub", None, split, num_fewshot)


def content(task: str, source: str, data_dir: Path | None, split: str, shots: int) -> Iterator[tuple[str, bytes]]:
    """Name and content of what a task is and of all its rows, for the fingerprint.

    Raises:
        ValueError: data that are missing, or a hub that cannot be reached.
    """
    entry = MULTILINGUAL[task]
    yield from entry.content()
    for part in _parts(split, shots):
        if source == "hub":
            yield f"{task}_{part}", json.dumps(_from_hub(entry, part, shots), sort_keys=True).encode()
        else:
            path = part_file(needed(data_dir, task), [f"{task}_{part}.jsonl"], part)
            yield path.name.removesuffix(".gz"), read_bytes(path)


def checked_row(entry: StockEntry, row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The fields of a row that the task needs, and ``cluster``; ``where`` begins the message of the ValueError."""
    kept: dict[str, Any] = {}
    for path, kind in entry.fields.items():
        outer, _, inner = path.partition(".")
        value = row.get(outer)
        if inner:
            value = value.get(inner) if isinstance(value, Mapping) else None
        if not _is(value, kind):
            raise ValueError(f"{where}: field '{path}' must be {_named(kind)}. Needed: {', '.join(entry.fields)}.")
        kept[outer] = {inner: value} if inner else value
    cluster = row.get("cluster")
    if cluster is not None and not isinstance(cluster, str):
        raise ValueError(f"{where}: field 'cluster' is a {type(cluster).__name__}, not a string.")
    return {**kept, "cluster": cluster or entry.group(row)}


def _is(value: object, kind: Kind) -> bool:
    if isinstance(kind, list):
        return isinstance(value, list) and bool(value) and all(type(item) is kind[0] for item in value)
    if isinstance(kind, type):
        return type(value) is kind
    return type(value) is type(kind[0]) and value in kind


def _named(kind: Kind) -> str:
    if isinstance(kind, type):
        return "a string"
    if isinstance(kind, list):
        return f"a list of {'strings' if kind[0] is str else 'whole numbers'}, not an empty one"
    return f"one of {', '.join(map(str, kind))}"


def _parts(split: str, shots: int) -> list[str]:
    return [split, *(["train"] if shots else [])]


def _data_set(task: str, source: str, folder: Path | None, split: str, shots: int | None) -> dict[str, Dataset]:
    """What lm-eval sees: ``test``, the rows that are scored, and ``train``, the shots."""
    from datasets import Dataset

    entry = MULTILINGUAL[task]
    count = entry.shots if shots is None or not entry.shots else shots
    parts: dict[str, Rows] = {}
    for part in _parts(split, count):
        if folder is not None:
            path = part_file(folder, [f"{task}_{part}.jsonl"], part)
            rows = [checked_row(entry, row, where) for where, row in json_lines(path)]
        else:
            where = f"{entry.hub[0]} ({part})"
            given = _from_hub(entry, part, count)
            rows = [checked_row(entry, row, f"{where}, row {number}") for number, row in enumerate(given)]
        parts["test" if part == split else part] = rows
    if count and len(parts["train"]) < count:
        raise ValueError(
            f"task '{task}': {count} shots need more than the {len(parts['train'])} training rows there are. Lower "
            "eval.num_fewshot."
        )
    parts = {part: rows[:count] if part == "train" else rows for part, rows in parts.items()}
    if task == "tmmluplus":
        parts = {part: _described(entry, rows) for part, rows in parts.items()}
    return {part: Dataset.from_list(rows) for part, rows in parts.items()}


def _from_hub(entry: StockEntry, part: str, shots: int) -> Rows:
    """The rows of one part as the hub has them."""
    if part == "test":
        split = entry.scored
    elif part == "train":
        split = f"train[:{shots}]"
    else:
        split = f"train[{shots}:{shots + DEV_ROWS}]" if entry.dev == "train" else str(entry.dev)
    path, configuration = entry.hub
    hint = (
        "Its rows are made by a program there, which the package datasets no longer runs: write them to "
        "<task>_test.jsonl yourself. "
        if entry.script
        else ""
    )
    if configuration is not None:
        return hub_rows(path, configuration, split, hint)
    rows: Rows = []
    for name, own in subjects(entry).items():
        files = own.get("dataset_kwargs", {}).get("data_files")
        if files is None:
            given = hub_rows(path, name, split)
        elif split in files:
            given = hub_rows(own["dataset_path"], None, split, data_files=files)
        else:
            continue  # lm-eval names no such file for this subject
        # Columns of numbers in the files become numbers; the prompt writes them as text.
        rows += [{**{key: str(value) for key, value in row.items()}, "subject": name} for row in given]
    return rows


def subjects(entry: StockEntry) -> dict[str, dict[str, Any]]:
    """TMMLU+'s subjects and lm-eval's YAML of each: its description, and where its rows are."""
    import yaml

    found = {}
    for path in sorted(entry.folder.glob("tmmluplus_*.yaml")):
        found[path.stem.removeprefix("tmmluplus_")] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def _described(entry: StockEntry, rows: Rows) -> Rows:
    known = subjects(entry)
    for row in rows:
        if row["subject"] not in known:
            raise ValueError(f"tmmluplus: unknown subject {row['subject']!r}. lm-eval has: {', '.join(known)}.")
    return [{**row, "description": known[row["subject"]]["description"]} for row in rows]
