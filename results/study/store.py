"""A run's folder as data: what is written beside its tables so that a later command can read the run again.

Beside ``scores.parquet`` stand ``items.parquet`` (every item of every model, lossless) and ``study.json`` (what is
known about the study, its choices, similarities and layer weights, and a digest of the items; of the frames that not
every run has, `OPTIONAL`, those with rows). The same input gives the same bytes. `load` reads a folder back as a
`Sweep`; a study at one λ is a sweep of one point.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from eval.schema import ITEM_COLUMNS, SCORE_COLUMNS
from results.study.checks import check_frame, check_meta
from results.study.run import KEY, Study
from results.study.sweep import Sweep

ITEMS, STUDY, SCORES = "items.parquet", "study.json", "scores.parquet"

#: Raised when what a file holds changes its meaning.
FORMAT = 2

#: Frames that not every study or sweep has.
OPTIONAL = ("granular", "others")

_MODEL = ("seed", *KEY, "point")
_ITEM_COLUMNS = (*_MODEL, *ITEM_COLUMNS)
#: Metrics of one task share most of their values; models one after the other let a codec find that.
_ORDER = ("task", "split", *_MODEL, "metric", "filter", "item")
_COMPUTED = ("stderr", "ci_low", "ci_high")
#: Differs between two runs of one study, or would only repeat another file.
_LEFT_OUT = ("provenance",)

Read = TypeVar("Read")


def as_sweep(study: Study) -> Sweep:
    """A study as a sweep with one point a row; each row is its own choice."""
    scores, items = _pointed(study.scores), study.items
    keys = ["seed", *KEY]
    points = scores[[*keys, "point"]].drop_duplicates(ignore_index=True)
    if "point" not in items:
        items = items.merge(points, on=keys, how="left")
    choices = points[points["kind"] != "model"].assign(selection="fixed").reset_index(drop=True)
    meta = {**study.meta, "selection": "fixed", "lambdas": list(dict.fromkeys(choices["point"]))}
    choices = choices[[*keys, "selection", "point"]]
    return Sweep(scores, items, choices, study.similarity, study.weights, meta, study.granular)


def _pointed(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores with the name of their λ, also where a study has one λ and did not name it."""
    if "point" in scores:
        return scores
    lam = scores["lambda"].astype(float).abs()
    return scores.assign(point=["" if np.isnan(value) else f"{value:g}" for value in lam])


def files(run: Study | Sweep) -> dict[str, bytes]:
    """Name → content of what `load` needs beside ``scores.parquet``.

    ``scores.parquet`` is the caller's: all score rows of the run, columns `eval.schema.SCORE_COLUMNS`.
    """
    sweep = as_sweep(run) if isinstance(run, Study) else run
    items = _parquet(sweep.items)
    record = {
        "format": FORMAT,
        "meta": {key: value for key, value in sweep.meta.items() if key not in _LEFT_OUT},
        "choices": _columns(sweep.choices),
        "similarity": _columns(sweep.similarity),
        "weights": _columns(sweep.weights),
        **{name: _columns(frame) for name in OPTIONAL if len(frame := getattr(sweep, name))},
        "digests": {ITEMS: hashlib.sha256(items).hexdigest()},
    }
    # In the order given: that of merges and models is the order of every table.
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), default=str) + "\n"
    return {ITEMS: items, STUDY: text.encode()}


def load(folder: Path) -> Sweep:
    """Read a run's folder.

    Raises:
        ValueError: no folder, no run in it, a run of an older version, or a file that cannot be read; the line says
            which, and what to do.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; give the folders of finished runs, such as runs/mini")
    for name in (SCORES, STUDY, ITEMS):
        if not (folder / name).is_file():
            raise ValueError(f"{folder} {_missing(folder, name)}")
    again = "make the run again with the command that made it (finished steps come from the cache)"
    record = _read(folder / STUDY, again, _record)
    if record.get("format") != FORMAT:
        raise ValueError(f"{folder / STUDY} is of another version of this suite; {again}")
    raw = (folder / ITEMS).read_bytes()
    if record["digests"].get(ITEMS) != hashlib.sha256(raw).hexdigest():
        raise ValueError(f"{folder / ITEMS} is damaged or belongs to another {STUDY}; {again}")
    items = _read(folder / ITEMS, again, lambda raw: _frame(raw, _ITEM_COLUMNS))
    scores = _read(folder / SCORES, again, lambda raw: _frame(raw, SCORE_COLUMNS))
    columns = [name for name in SCORE_COLUMNS if name in scores.columns and name not in _COMPUTED]
    try:
        check_meta(record["meta"])
        choices, similarity, weights = (pd.DataFrame(record[n]) for n in ("choices", "similarity", "weights"))
        more = {name: pd.DataFrame(record[name]) for name in OPTIONAL if name in record}
        for frame in (scores, items, choices, similarity, weights, *more.values()):
            check_frame(frame)
        return Sweep(_pointed(scores[columns]), items, choices, similarity, weights, dict(record["meta"]), **more)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{folder} cannot be read: {reason}; {again}") from error


def _record(raw: bytes) -> dict[str, Any]:
    """The content of ``study.json``, maybe a stranger's; ValueError where it is not made of tables."""
    record = json.loads(raw)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        return {"format": None}
    frames: list[Any] = [record.get(name) for name in ("choices", "similarity", "weights")]
    frames += [record[name] for name in OPTIONAL if name in record]
    if not all(isinstance(part, dict) for part in (record.get("meta"), record.get("digests"), *frames)):
        raise ValueError("a part is no object")
    if not all(isinstance(column, list) for frame in frames for column in frame.values()):
        raise ValueError("a column is no list")
    return record


def _missing(folder: Path, name: str) -> str:
    if name == SCORES or not (folder / SCORES).is_file():
        return f"holds no run ({SCORES} is missing); give the folder that a run wrote its report into"
    return (
        f"was written by an older version ({name} is missing); make the run again with the command in its report "
        "(finished steps come from the cache)"
    )


def _read(path: Path, again: str, parse: Callable[[bytes], Read]) -> Read:
    import pyarrow

    try:
        return parse(path.read_bytes())
    except (OSError, ValueError, TypeError, KeyError, RecursionError, MemoryError, pyarrow.ArrowException) as error:
        raise ValueError(f"{path} cannot be read; {again}") from error


def _frame(raw: bytes, wanted: Sequence[str]) -> pd.DataFrame:
    """The wanted columns of a Parquet file as plain values; what pandas noted in it of types is not read."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(io.BytesIO(raw))
    table = file.read([name for name in wanted if name in file.schema_arrow.names])
    frame: pd.DataFrame = table.replace_schema_metadata(None).to_pandas()
    return frame


def _columns(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """Column → plain values; numbers that do not exist as null."""
    return {str(name): frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in frame.columns}


def _parquet(items: pd.DataFrame) -> bytes:
    """The item table in one fixed order, names and repeated values as dictionaries."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    frame = items[list(_ITEM_COLUMNS)].copy()
    frame["item"] = frame["item"].astype(str)
    frame = frame.sort_values(list(_ORDER), kind="stable", ignore_index=True)
    text = {name: pa.string() for name in _ITEM_COLUMNS}
    schema = pa.schema(list({**text, "seed": pa.int64(), "value": pa.float64(), "weight": pa.float64()}.items()))
    # Without the metadata of pandas, which names versions.
    table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False).replace_schema_metadata(None)
    buffer = io.BytesIO()
    pq.write_table(
        table, buffer, compression="zstd", compression_level=12, dictionary_pagesize_limit=2**26, row_group_size=2**26
    )
    return buffer.getvalue()
