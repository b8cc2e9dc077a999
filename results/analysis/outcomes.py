"""Every method against the baseline, score by score: paired differences, one Holm correction, wins, ties, losses."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from results.analysis.analysis import Analysis
from results.statistics.closed_form import holm
from results.statistics.comparisons import above_noise
from results.statistics.estimates import rounded
from results.statistics.inference import ALPHA, Inference
from results.study.lineup import Model
from results.study.run import KEY, rows_of
from results.study.sweep import Sweep

CHOSEN = "chosen"
WIN, TIE, LOSS = "win", "tie", "loss"

#: Columns of `comparisons.csv`, one row a method, merge and task. ``at``: "chosen" (each method at the λ that was
#: chosen for it) or the λ that both have; ``difference`` is a − b; ``p_corrected`` is Holm's over the family of this
#: comparison: all rows with one ``at`` group (chosen, or all common λ together) on perplexity and merged tasks, empty
#: elsewhere; ``outcome`` of `a`: win or loss where ``p_corrected`` < 0.05 and the difference is above the
#: noise floor, or where one side alone is unstable; empty outside the family; ``status``:
#: "confirmatory" where the row belongs to the family that a study names beforehand
#: (`results.statistics.comparisons`), else "exploratory".
COLUMNS = (
    *("at", "kind", "merge", "task", "metric", "a", "b", "point_a", "point_b", "distance_a", "distance_b"),
    *("value_a", "value_b", "difference", "ci_low", "ci_high", "test", "p", "p_corrected", "outcome", "status"),
    *("error", "df", "detectable"),
    *("n", "seeds", "same_sign", "noise_floor", "unstable_a", "unstable_b"),
)
_NUMBERS = ("value_a", "value_b", "difference", "ci_low", "ci_high", "p", "error", "df")


def against_baseline(
    analysis: Analysis,
    baseline: str,
    at: str,
    made: Collection[tuple[str, str]],
    broken: Collection[tuple[str, str]],
) -> pd.DataFrame:
    """The comparisons of a study with its baseline, before any correction; see `COLUMNS`.

    Numbers of a pair with an unstable side are left empty: unstable merges are never averaged in.

    Args:
        analysis: of the models that are compared; its baseline is `baseline`.
        baseline: the method on side b.
        at: what the rows are said to be at.
        made: (merge, label) that a row is wanted for, whether the study has a model of it or not.
        broken: those of them that are unstable.
    """
    lineup = analysis.lineup
    table = _towards(analysis.comparisons, baseline)
    known = set(zip(table["merge"], table["a"], strict=True))
    rows = [
        {
            **{"kind": "learn", "merge": merge, "task": task, "metric": analysis.measures[task].grid.metric},
            **{"a": label, "b": baseline, "test": "none", "seeds": 0, "same_sign": 0, "status": "exploratory"},
            **{"unstable_a": (merge, label) in broken, "unstable_b": (merge, baseline) in broken},
        }
        for merge, label in made
        if label != baseline and (merge, label) not in known
        for task in ("wikitext", *lineup.members(merge))
        if task in analysis.measures
    ]
    table = pd.concat([part for part in (table, pd.DataFrame(rows)) if len(part)] or [table], ignore_index=True)
    if table.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    points = points_of(analysis.study.scores)
    for side in ("a", "b"):
        keys = [Model(row.kind, row.merge, getattr(row, side)) for row in rows_of(table)]
        table[f"point_{side}"] = [points.get(key, "") for key in keys]
        table[f"distance_{side}"] = [lineup.distance(key) for key in keys]
    either = (table["unstable_a"].astype(bool) | table["unstable_b"].astype(bool)).to_numpy()
    for name in _NUMBERS:
        table[name] = table.get(name, pd.Series(np.nan, table.index)).astype(float).mask(either)
    floors = lineup.meta.get("noise_floor") or {}
    table["noise_floor"] = table["task"].map(floors).astype(float)
    table["at"], table["_family"] = at, _family(table, lineup)
    table["_direction"] = [lineup.direction(row.kind, row.merge, row.task) for row in rows_of(table)]
    return table


def _towards(comparisons: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """The comparisons with the baseline, those that have it on side a turned round."""
    other = comparisons[(comparisons["a"] == baseline) & (comparisons["kind"] == "learn")]
    sides = {f"{name}_{side}": f"{name}_{to}" for name in ("value", "unstable") for side, to in ("ab", "ba")}
    turned = other.rename(columns={"a": "b", "b": "a", "ci_low": "ci_high", "ci_high": "ci_low", **sides})
    for name in ("difference", "ci_low", "ci_high"):
        turned[name] = -turned[name]
    return pd.concat([comparisons[comparisons["b"] == baseline], turned[comparisons.columns]], ignore_index=True)


def corrected(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Rows of one family with Holm's correction over all of them, and outcomes; see `COLUMNS`."""
    table = pd.concat([part for part in tables if len(part)], ignore_index=True)
    family = table["_family"].to_numpy(bool)
    p = np.full(len(table), np.nan)
    p[family] = holm(table.loc[family, "p"].to_numpy(np.float64))
    table["p_corrected"] = rounded(p)
    for side in ("distance_a", "distance_b"):
        table[side] = rounded(table[side].to_numpy(np.float64))
    every = Inference(*(table[name].to_numpy(float) for name in ("difference", "error", "df")))
    table["detectable"] = rounded(
        every.detectable(np.where(family, ALPHA / max(int(np.isfinite(p).sum()), 1), ALPHA))
    )
    shown = (p < ALPHA) & above_noise(table, table["noise_floor"])
    sign = np.where(shown, np.sign(table["difference"].fillna(0.0)) * table["_direction"], 0)
    sign = sign + table["unstable_b"].astype(int) - table["unstable_a"].astype(int)
    names = np.array([LOSS, TIE, WIN])[np.sign(sign).astype(int) + 1]
    table["outcome"] = np.where(family, names, "")
    return table.reindex(columns=list(COLUMNS))


def at_every_lambda(sweep: Sweep, baseline: str) -> list[tuple[str, dict[tuple[int, str, str, str], str]]]:
    """λ that the baseline and another method share → the points to compare there, as `Sweep.at` takes them."""
    found = []
    for point in sweep.ordered({key[4] for key in sweep.rows("scores", "test") if key[1] == "learn"}):
        keys = [key[:4] for key in sweep.rows("scores", "test") if key[1] == "learn" and key[4] == point]
        with_baseline = {key[:3] for key in keys if key[3] == baseline}
        wanted = {key: point for key in keys if key[:3] in with_baseline}
        if any(key[3] != baseline for key in wanted):
            found.append((point, wanted))
    return found


def points_of(scores: pd.DataFrame) -> Mapping[Model, str]:
    """Model → its λ as text; several where seeds have their own."""
    rows = scores[[*KEY, "point"]].drop_duplicates()
    return {Model(*map(str, key)): " or ".join(part["point"]) for key, part in rows.groupby(list(KEY), sort=False)}


def record(rows: pd.DataFrame, label: str) -> tuple[int, int, int]:
    """(wins, ties, losses) of a method over the rows of one family."""
    own = rows.loc[rows["a"] == label, "outcome"]
    return int((own == WIN).sum()), int((own == TIE).sum()), int((own == LOSS).sum())


def _family(table: pd.DataFrame, lineup: Any) -> list[bool]:
    """Which rows are tested together: perplexity and the merged tasks of every learning merge."""
    return [
        row.kind == "learn" and (row.task == "wikitext" or row.task in lineup.members(row.merge))
        for row in rows_of(table)
    ]
