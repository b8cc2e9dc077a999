"""One model's scores with their intervals, as files and as a table for the terminal."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from eval.schema import ITEM_COLUMNS, METRICS, SCORE_COLUMNS
from experiments.steps.store import write_atomic
from experiments.study import provenance
from results.statistics.estimates import fill_scores, measure_all
from results.statistics.items import grids
from results.study.lineup import Lineup
from results.study.run import Study, rows_of
from results.summaries.files import csv_text

#: What holds for the whole table stands below it.
_FACTS = ("backend", "dtype", "batch_size", "chat_template", "sandbox")


def write(out: Path, name: str, digest: str, files: Mapping[str, bytes], record: dict[str, Any]) -> pd.DataFrame:
    """Write ``scores.csv``, ``scores.parquet``, ``items.parquet``, ``answers.jsonl`` and ``provenance.json``.

    Args:
        out: the folder; made where missing.
        name: of the model, its label in the tables.
        digest: of its weights.
        files: of the store, see `experiments.steps.scoring`.
        record: what ``provenance.json`` says beside the digests of the files.

    Returns:
        The scores with 95 % intervals, columns `eval.schema.SCORE_COLUMNS`.

    Raises:
        ValueError: `out` cannot be written.
    """
    scores, items = _frames(name, digest, files)
    contents = {
        "scores.csv": csv_text(scores).encode(),
        "scores.parquet": _parquet(scores),
        "items.parquet": _parquet(items),
        "answers.jsonl": files["answers.jsonl"],
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        for file, content in contents.items():
            write_atomic(out / file, content)
        record = {**record, "files": provenance.file_digests(out, [out / file for file in contents])}
        write_atomic(out / "provenance.json", (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise ValueError(
            f"out={out} cannot be written: {error.strerror}; choose another folder with out=…"
        ) from error
    return scores


def table(scores: pd.DataFrame) -> str:
    """The scores as text, rates in per cent; below it what they were made with."""
    cells = [("task", "metric", "filter", "score", "95 % interval", "n")]
    for score in rows_of(scores):
        kind = METRICS[score.task, score.metric].kind
        value, low, high = (_number(x, kind) for x in (score.value, score.ci_low, score.ci_high))
        cells.append((score.task, score.metric, score.filter, value, f"{low} to {high}", str(score.n)))
    width = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        left = [cell.ljust(size) for cell, size in zip(row[:3], width, strict=False)]
        right = [cell.rjust(size) for cell, size in zip(row[3:], width[3:], strict=True)]
        lines.append("  ".join([*left, *right]))
    facts = []
    for key in _FACTS:
        used = [str(value) for value in scores[key].unique() if str(value) not in ("", "nan")]
        facts += [f"{key} {', '.join(used)}"] if used else []
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], "", "; ".join(facts)])


def _number(value: float, kind: str) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{100 * value:.1f} %" if kind in ("rate", "share") else f"{value:.4g}"


def _frames(name: str, digest: str, files: Mapping[str, bytes]) -> tuple[pd.DataFrame, pd.DataFrame]:
    model: dict[str, Any] = {"seed": 0, "kind": "model", "merge": "", "label": name}
    facts = {"experiment": "evaluate", "family": "", "method": name, "variant": "", "params": "", "lambda": math.nan}
    rows = [
        {**facts, **model, **score, "distance": math.nan, "unstable": False, "weights_digest": digest}
        for score in json.loads(files["scores.json"])
    ]
    items = pd.read_parquet(io.BytesIO(files["items.parquet"]))[list(ITEM_COLUMNS)]
    study = Study(pd.DataFrame(rows).reindex(columns=list(SCORE_COLUMNS)), items.assign(**model))
    lineup = Lineup(study)
    return fill_scores(study, lineup, measure_all(grids(study, lineup))), items


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()
