"""What is read of a stranger's run: plain values of the right types, names that are one line of text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from eval.schema import METRICS
from lata.names import for_line
from results.study.run import ITEM_KEY, KEY

#: Most characters of a name, and of any other text in a table.
LONGEST, LONGEST_TEXT = 200, 10_000

_NAMES = (*KEY, *ITEM_KEY, "point", "schedule", "granularity", "selection", "item", "family")
_NUMBERS = ("seed", "value", "n", "weight", "lambda", "distance", "similarity", "cosine", "share", "outside", "depth")
_NUMBER = int | float
_SHAPES: dict[str, Any] = {
    "merges": {str: [str]},
    "forgets": {str: {str: str}},
    "expert_task": {str: str},
    "models": [str],
    "groups": {str: str},
    "controls": [str],
    "method_notes": {str: str},
    "noise_floor": {str: _NUMBER | None},
    "seeds": [int],
    "lambdas": [str],
    "development": [str],
    "notes": [str],
    "baseline": str,
    "family": str,
    "experiment": str,
    "title": str,
    "command": str,
    "selection": str,
    "run_key": str,
    "harm_threshold": _NUMBER,
    "utility_margin": _NUMBER,
    "methods": {str: dict},
    "schedule": {str: str},
    "threshold": dict,
}
#: Text that is a sentence and may be long.
_SENTENCES = ("title", "command", "method_notes", "notes")


def check_frame(frame: pd.DataFrame) -> None:
    """ValueError where a table holds what no run writes: other types, names that are no names, unknown tasks."""
    for column in map(str, frame.columns):
        values = frame[column]
        if column in _NUMBERS and not (pd.api.types.is_numeric_dtype(values) or values.isna().all()):
            raise ValueError(f"the column {column} holds no numbers")
        if not pd.api.types.is_numeric_dtype(values):
            check_values(column, values.dropna().unique() if column not in _NAMES else values.unique())
    if {"task", "metric", "value"} <= set(frame.columns):
        for pair in frame[["task", "metric"]].drop_duplicates().itertuples(index=False):
            if tuple(pair) not in METRICS:
                raise ValueError(f"{pair.task!r} with {pair.metric!r} is no score of this version")


def check_values(column: str, values: Iterable[Any]) -> None:
    """ValueError where a cell is no plain value, or the text of a name is no name."""
    for value in values:
        if column in _NAMES and not isinstance(value, str):
            raise ValueError(f"the column {column} holds {type(value).__name__} where names belong")
        if isinstance(value, str):
            check_text(column, value, LONGEST if column in _NAMES else LONGEST_TEXT)
        elif not isinstance(value, int | float):
            raise ValueError(f"the column {column} holds {type(value).__name__}")


def check_text(what: str, text: str, longest: int = LONGEST) -> None:
    """ValueError where a text is too long, or more than one printable line."""
    if len(text) > longest:
        raise ValueError(f"{what} holds a text of {len(text)} characters")
    if for_line(text) != text:
        raise ValueError(f"{what} holds characters that cannot be printed: {text[:40]!a}")


def check_meta(meta: Any) -> None:
    """ValueError where what is known of a run has other types than `results.study.run.Study` says."""
    if not isinstance(meta, dict):
        raise ValueError("meta is no mapping")
    for key, shape in _SHAPES.items():
        if meta.get(key) is not None:
            _check_shape(key, meta[key], shape)


def _check_shape(key: str, value: Any, shape: Any) -> None:
    if isinstance(shape, Mapping):
        ((inner_key, inner),) = shape.items()
        if not isinstance(value, dict):
            raise ValueError(f"{key} is no mapping")
        for name, part in value.items():
            _check_shape(key, name, inner_key)
            _check_shape(key, part, inner)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise ValueError(f"{key} is no list")
        for part in value:
            _check_shape(key, part, shape[0])
    elif isinstance(value, bool) or not isinstance(value, shape):
        raise ValueError(f"{key} is no {getattr(shape, '__name__', 'number')}")
    elif isinstance(value, str) and key not in _SENTENCES:
        check_text(key, value)
