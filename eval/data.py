"""Evaluation documents from a folder of JSON lines, the ``custom_dataset`` of the task YAML files.

lm-eval calls the function named there with the task's ``metadata`` and ``dataset_kwargs`` as keywords; from
its command line ``--metadata '{"data_dir": "…", "split": "test"}'`` sets them. Nothing is downloaded and
nothing is written: the rows go straight into a ``datasets.Dataset`` in memory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset

#: Fields that any document may carry besides the task's own.
COMMON_FIELDS = ("cluster",)


def document_path(data_dir: str | Path, name: str, split: str) -> Path:
    """The file that holds the documents of task ``name`` in ``split`` (``test`` or ``dev``)."""
    return Path(data_dir) / f"{name}_{split}.jsonl"


def read_documents(path: Path, fields: Sequence[str], optional: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Read one JSON object a line and keep the named fields, every one of them a string.

    Args:
        path: the JSON-lines file; blank lines are skipped.
        fields: must be there on every line.
        optional: become ``None`` where a line lacks them.

    Raises:
        ValueError: no file, a line that is not a JSON object, a field that is missing or not a string (the
            message names the line), or no document at all.
    """
    if not path.is_file():
        raise ValueError(f"evaluation data not found: {path}. Set eval.data_dir to the folder that holds it.")
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{where}: not valid JSON ({error.msg}). Correct or remove the line.") from error
        if not isinstance(row, dict):
            raise ValueError(f"{where}: expected a JSON object, found {type(row).__name__}.")
        for field in fields:
            if not isinstance(row.get(field), str):
                state = "missing" if row.get(field) is None else f"a {type(row[field]).__name__}, not a string"
                raise ValueError(f"{where}: field '{field}' is {state}. Needed: {', '.join(fields)}.")
        rows.append({field: row.get(field) for field in (*fields, *optional, *COMMON_FIELDS)})
    if not rows:
        raise ValueError(f"{path} holds no documents. Write at least one JSON object to it.")
    return rows


def mini(
    *,
    name: str,
    fields: Sequence[str],
    optional: Sequence[str] = (),
    data_dir: str | None = None,
    split: str = "test",
    **_: Any,
) -> dict[str, Dataset]:
    """The documents of one miniature task, under the key that its YAML calls ``test_split``.

    Args:
        name, fields, optional: from the YAML's ``dataset_kwargs``.
        data_dir, split: from the metadata; ``split`` chooses the file, so a development run scores
            ``<name>_dev.jsonl``.

    Raises:
        ValueError: no ``data_dir``, or what ``read_documents`` raises.
    """
    if data_dir is None:
        raise ValueError(f"task '{name}' reads local files: give their folder as data_dir in the metadata.")
    from datasets import Dataset

    rows = read_documents(document_path(data_dir, name, split), fields, optional)
    return {"test": Dataset.from_list(rows)}
