"""The noise floor: how far a score moves when the same model is evaluated again with another batch size.

A batch's shape decides the order in which a library adds numbers, so that logits differ in their last digits, and a
greedy answer changes wherever two tokens were nearly tied. Nothing was learned or lost in between: a difference of
two models that is no larger than this says nothing, however many items there are. In float32 the floor is usually 0;
in bfloat16 it is not (lm-evaluation-harness issues 1645 and 3055).

The floor is a range over the repeats that were made, not an estimate with a sampling distribution; what is
estimated, with Wilson's interval, is the share of items that change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from eval.schema import METRICS, PRIMARY
from results.statistics.closed_form import FloatArray, wilson
from results.study.run import ITEM_KEY

#: Columns of a noise table, one row a task, metric, filter and split. ``value_low`` and ``value_high``: the least and
#: greatest score; ``noise_floor``: their difference; ``changed``: the largest share of items that two repeats value
#: differently, at most ``changed_high`` in the population of items (95 %); ``item_range``: the largest range of one
#: item's value (nats for documents).
COLUMNS = (
    *ITEM_KEY,
    *("n", "repeats", "value_low", "value_high", "noise_floor", "changed", "changed_high", "item_range"),
)


def noise_floor(repeats: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Compare evaluations of one model that should agree.

    Args:
        repeats: at least two item tables (`eval.schema.ITEM_COLUMNS`), each from another batch size, number of
            threads or backend.

    Returns:
        See `COLUMNS`; metrics that `eval.schema` does not know are left out.

    Raises:
        ValueError: fewer than two evaluations, or they do not have the same items.
    """
    if len(repeats) < 2:
        raise ValueError("a noise floor needs at least two evaluations of one model; evaluate it once more")
    groups: list[dict[Any, pd.DataFrame]] = [dict(list(t.groupby(list(ITEM_KEY), sort=False))) for t in repeats]
    rows = []
    for name in groups[0]:
        task, metric, filter_, split = name
        if (task, metric) not in METRICS:
            continue
        value_NR, weight_NR = _aligned([group.get(name) for group in groups], " ".join(map(str, name)))
        score_R = _scores(METRICS[task, metric].kind, value_NR, weight_NR)
        changed = max(float((value_NR[:, i] != value_NR[:, j]).mean()) for j in range(len(score_R)) for i in range(j))
        low, high = float(score_R.min()), float(score_R.max())
        spread = 0.0 if low == high else high - low  # also where all are infinite
        most = float(wilson(changed, len(value_NR))[1])
        span = float(np.ptp(value_NR, axis=1).max())
        rows.append(
            (task, metric, filter_, split, len(value_NR), len(repeats), low, high, spread, changed, most, span)
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def primary_floors(table: pd.DataFrame) -> dict[str, float]:
    """Task → noise floor of its primary metric on the test split, as `Study.meta["noise_floor"]` takes it.

    Of perplexities it is a share of the lowest: 20 and 1e9 have no absolute floor in common.
    """
    found = {}
    for task, (metric, filter_) in PRIMARY.items():
        wanted = (table["task"] == task) & (table["metric"] == metric) & (table["filter"] == filter_)
        rows = table[wanted & (table["split"] == "test")]
        if len(rows):
            unit = float(rows["value_low"].iloc[0]) if METRICS[task, metric].kind == "perplexity" else 1.0
            floor = float(rows["noise_floor"].iloc[0])
            found[task] = floor / unit if floor else 0.0
    return found


def _aligned(parts: list[pd.DataFrame | None], what: str) -> tuple[FloatArray, FloatArray]:
    """Values and weights (N items, R repeats), items in one order."""
    indexed = [pd.DataFrame() if part is None else part.set_index("item").sort_index() for part in parts]
    first = indexed[0].index
    if not first.is_unique or not all(part.index.equals(first) for part in indexed):
        raise ValueError(f"{what}: the evaluations have different items; repeat with the same tasks, limit and split")
    value, weight = (
        np.stack([part[column].to_numpy(np.float64) for part in indexed], axis=1) for column in ("value", "weight")
    )
    return value, weight


def _scores(kind: str, value_NR: FloatArray, weight_NR: FloatArray) -> FloatArray:
    """The score of each repeat, as `eval.schema` defines it."""
    ratio = value_NR.sum(0) / weight_NR.sum(0)
    if kind == "perplexity":
        return np.asarray(np.exp(-ratio))
    return np.asarray(-ratio / np.log(2) if kind == "bits" else ratio)
