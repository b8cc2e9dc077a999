"""Evaluation documents from files of JSON lines, checked line by line.

``mini`` is the ``custom_dataset`` of the miniature tasks (``eval.documents.sources`` has the benchmarks'). lm-eval
calls the function named there with the task's ``metadata`` and ``dataset_kwargs`` as keywords; from its command line
``--metadata '{"data_dir": "…", "split": "test"}'`` sets them. Nothing is downloaded and nothing is written: the rows
go straight into a ``datasets.Dataset`` in memory.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset

#: Fields that any document may carry besides the task's own.
COMMON_FIELDS = ("cluster",)


def document_path(data_dir: str | Path, name: str, split: str) -> Path:
    """The file that holds the documents of task ``name`` in ``split`` (``test`` or ``dev``)."""
    return Path(data_dir) / f"{name}_{split}.jsonl"


def read_bytes(path: Path) -> bytes:
    """What a file holds, decompressed where its name ends in ``.gz``.

    Raises:
        ValueError: no such file, or it ends in ``.gz`` and is not such an archive.
    """
    if not path.is_file():
        raise ValueError(f"evaluation data not found: {path}. Set eval.data_dir to the folder that holds it.")
    content = path.read_bytes()
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is not a whole gzip file ({error}). Copy it again.") from error


def read_text(path: Path) -> str:
    """A file's text; ``ValueError`` names the line that is not UTF-8, besides what ``read_bytes`` raises."""
    content = read_bytes(path)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {number}: not UTF-8 text ({error.reason}). Save the file as UTF-8."
        ) from error


def part_file(folder: Path, names: Sequence[str], part: str) -> Path:
    """The first of some files, each plain or with ``.gz``, that is in a folder.

    Args:
        folder: where to look.
        names: what the file may be called.
        part: which part of a task it holds: ``test``, ``dev`` or ``train``.

    Raises:
        ValueError: none of them is there; the message names them.
    """
    for path in (folder / (name + ending) for name in names for ending in ("", ".gz")):
        if path.is_file():
            return path
    hint = ", or set eval.num_fewshot=0" if part == "train" else ""
    raise ValueError(
        f"evaluation data not found: {' or '.join(names)} (or .gz) in {folder}. "
        f"Set eval.data_dir to the folder that holds it{hint}."
    )


def json_lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """The objects of a file of JSON lines, one a line, each with a text that says where it stands.

    Args:
        path: the file, or one of them compressed (``.gz``); blank lines are skipped.

    Raises:
        ValueError: no file, a line that is not a JSON object (the message names it), or no object at all.
    """
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{where}: not valid JSON ({error.msg}). Correct or remove the line.") from error
        if not isinstance(row, dict):
            raise ValueError(f"{where}: expected a JSON object, found {type(row).__name__}.")
        rows.append((where, row))
    if not rows:
        raise ValueError(f"{path} holds no documents. Write at least one JSON object to it.")
    return rows


def hub_rows(
    path: str, configuration: str | None, split: str, hint: str = "", **options: Any
) -> list[dict[str, Any]]:
    """All rows of one split of a data set on the hub, or from its cache on this machine.

    Args:
        path, configuration: of the data set.
        split: as ``datasets`` names it.
        hint: what else to say where it cannot be loaded.
        options: of ``datasets.load_dataset``.

    Raises:
        ValueError: it cannot be loaded, for whatever reason; the message says what to do without a hub.
    """
    import datasets

    try:
        loaded = datasets.load_dataset(path, configuration, split=split, **options)
    except Exception as error:  # the client raises what its network and cache layers raise
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ValueError(
            f"cannot load {path} from the Hugging Face hub ({reason}). {hint}Connect to it once to fill its cache, "
            "or use eval.source=local eval.data_dir=DIR with the benchmark's files."
        ) from error
    rows: list[dict[str, Any]] = loaded.to_list()
    if not rows:
        raise ValueError(f"{path} ({split}) holds no documents.")
    return rows


def read_documents(path: Path, fields: Sequence[str], patterns: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Read one JSON object a line and keep the named fields, every one of them a string.

    Args:
        path: as of `json_lines`.
        fields: must be there on every line.
        patterns: regular expressions; they become ``None`` where a line lacks them.

    Raises:
        ValueError: what `json_lines` and `checked` raise.
    """
    return [checked(row, where, fields, patterns) for where, row in json_lines(path)]


def checked(
    row: Mapping[str, Any], where: str, fields: Sequence[str], patterns: Sequence[str] = ()
) -> dict[str, Any]:
    """The named fields of one document; ``where`` begins the message of the ValueError."""
    for field in (*fields, *patterns, *COMMON_FIELDS):
        value = row.get(field)
        if not isinstance(value, str) and (field in fields or value is not None):
            state = "missing" if value is None else f"a {type(value).__name__}, not a string"
            raise ValueError(f"{where}: field '{field}' is {state}. Needed: {', '.join(fields)}.")
    for field in patterns:
        try:
            re.compile(row.get(field) or "")
        except re.error as error:
            raise ValueError(f"{where}: field '{field}' is no regular expression ({error}). Correct it.") from error
    return {field: row.get(field) for field in (*fields, *patterns, *COMMON_FIELDS)}


def mini(
    *,
    name: str,
    fields: Sequence[str],
    patterns: Sequence[str] = (),
    data_dir: str | None = None,
    split: str = "test",
    **_: Any,
) -> dict[str, Dataset]:
    """The documents of one miniature task, under the key that its YAML calls ``test_split``.

    Args:
        name, fields, patterns: from the YAML's ``dataset_kwargs``.
        data_dir, split: from the metadata; ``split`` chooses the file, so a development run scores
            ``<name>_dev.jsonl``.

    Raises:
        ValueError: no ``data_dir``, or what ``read_documents`` raises.
    """
    from datasets import Dataset

    rows = read_documents(document_path(needed(data_dir, name), name, split), fields, patterns)
    return {"test": Dataset.from_list(rows)}


def needed(data_dir: str | Path | None, name: str) -> Path:
    """The folder of the data; ValueError where the metadata name none."""
    if data_dir is None:
        raise ValueError(f"task '{name}' reads local files: give their folder as data_dir in the metadata.")
    return Path(data_dir)
