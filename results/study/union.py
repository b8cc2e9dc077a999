"""Several runs as one: seeds, methods, merges and λ that one run adds to another stand in one table.

What two runs both have counts once. They must then agree: the same weights, the same items, the same settings of the
evaluation; a run that was made otherwise is refused, with what differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from results.study.lineup import base_name
from results.study.run import ITEM_KEY, KEY, rows_of
from results.study.sweep import Sweep

_MODEL = ["seed", *KEY, "point"]
_SCORE = [*_MODEL, *ITEM_KEY]
_LAYER = ["family", "seed", "layer", "task"]
#: Settings of an evaluation that two runs must share for a task. Batch sizes may differ: that is the noise floor.
_SETTINGS = ("task_version", "backend", "dtype", "chat_template")
#: Scores of one model may differ by this much between runs where no noise floor is known.
_TOLERANCE = 1e-6
#: Mappings of `Study.meta` that are united, and what one of their keys is called.
_UNITED = {"merges": "merge", "forgets": "forgetting", "expert_task": "expert", "methods": "method"}


def pool(runs: Mapping[str, Sweep]) -> Sweep:
    """Unite runs.

    A method that stands in two runs with other parameters keeps apart: its rows are named by their parameters.
    Where two runs chose another λ for the same row, one of them counts (`_choices`), and ``meta["notes"]`` says so.

    Args:
        runs: name of a run, as its user knows it → the run.

    Raises:
        ValueError: two runs that cannot be compared; the line names both, what differs, and what to do.
    """
    if len(runs) == 1:
        return next(iter(runs.values()))
    renamed = _apart(runs)
    names = list(renamed)
    for place, name in enumerate(names):
        for other in names[:place]:
            _check(other, renamed[other], name, renamed[name])
    notes: list[str] = []
    return Sweep(
        scores=_first([run.scores for run in renamed.values()], _SCORE),
        items=_first([run.items for run in renamed.values()], _SCORE),
        choices=_choices(renamed, notes),
        similarity=_first([run.similarity for run in renamed.values()], _LAYER),
        weights=_first([run.weights for run in renamed.values()], [*_LAYER, "schedule"]),
        meta=_meta(renamed, notes),
        granular=_first([run.granular for run in renamed.values()], [*_LAYER, "granularity"]),
        others=_first([run.others for run in renamed.values()], ["seed", *KEY, "selection"]),
    )


def _first(frames: Iterable[pd.DataFrame], keys: list[str]) -> pd.DataFrame:
    """All frames below one another, without what an earlier frame has under the same key."""
    out: list[pd.DataFrame] = []
    seen: pd.MultiIndex | None = None
    for frame in frames:
        if frame.empty:
            continue
        index = pd.MultiIndex.from_frame(frame[keys])
        out.append(frame if seen is None else frame[~index.isin(seen)])
        own = index.unique()
        seen = own if seen is None else seen.union(own, sort=False)
    return pd.concat(out, ignore_index=True) if out else next(iter(frames))


def _apart(runs: Mapping[str, Sweep]) -> dict[str, Sweep]:
    """The runs with labels that name their parameters where one label means two things."""
    said: dict[str, set[tuple[str, str]]] = {}
    for run in runs.values():
        for row in rows_of(_parameters(run)):
            said.setdefault(row.label, set()).add((row.variant, row.params))
    double = {label for label, found in said.items() if len(found) > 1}
    if not double:
        return dict(runs)
    out = {}
    for name, run in runs.items():
        names = {
            row.label: f"{base_name(row.label)}({row.params})"
            for row in rows_of(_parameters(run))
            if row.label in double and row.params
        }
        methods = {names.get(label, label): value for label, value in run.meta.get("methods", {}).items()}
        meta = {**run.meta, "methods": methods}
        if "controls" in meta:
            meta["controls"] = [names.get(label, label) for label in meta["controls"]]
        frames = {
            table: frame.assign(label=frame["label"].where(frame["kind"] == "model", frame["label"].replace(names)))
            for table in ("scores", "items", "choices", "others")
            if len(frame := getattr(run, table))
        }
        out[name] = replace(run, **frames, meta=meta)
    return out


def _parameters(run: Sweep) -> pd.DataFrame:
    merged = run.scores[run.scores["kind"] != "model"]
    return merged[["label", "variant", "params"]].fillna("").astype(str).drop_duplicates()


def _check(a: str, first: Sweep, b: str, second: Sweep) -> None:
    """ValueError where two runs cannot stand in one table."""

    def refuse(what: str, advice: str) -> None:
        raise ValueError(f"{a} and {b} cannot be compared: {what}; {advice}")

    one, two = str(first.meta.get("family", "")), str(second.meta.get("family", ""))
    if one != two:
        refuse(f"their families are {one} and {two}", "give runs of one family")
    for key, called in _UNITED.items():
        ours, theirs = (_plain(run.meta.get(key, {})) for run in (first, second))
        for name, value in ours.items():
            other = theirs.get(name, value)
            if other != value:
                refuse(
                    f"{called} {name} is {value} in one and {other} in the other", "name them apart in one of them"
                )
    settings = [name for name in _SETTINGS if name in first.scores and name in second.scores]
    both = first.scores[["task", *settings]].drop_duplicates().merge(second.scores[["task", *settings]], on="task")
    for name in settings:
        for row in rows_of(both[["task", f"{name}_x", f"{name}_y"]].drop_duplicates()):
            _, left, right = row
            if left != right and not (pd.isna(left) and pd.isna(right)):
                refuse(f"{name} of {row.task} is {left} in one and {right} in the other", "evaluate both alike")
    _check_items(first, second, refuse)
    _check_scores(first, second, refuse)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without ``outside: keep``, which methods of earlier versions did not name."""

    def of(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: own for key, own in value.items() if (key, own) != ("outside", "keep")}

    return {name: of(value) for name, value in values.items()}


def _check_items(first: Sweep, second: Sweep, refuse: Any) -> None:
    groups = ["seed", *ITEM_KEY]
    found = []
    for run in (first, second):
        units = run.items.assign(item=run.items["item"].astype(str), cluster=run.items["cluster"].fillna(""))
        units = units[[*groups, "item", "cluster"]].drop_duplicates()
        found.append(dict(list(units.groupby(groups, observed=True)[["item", "cluster"]])))
    for key, units in found[0].items():
        others = found[1].get(key)
        if others is None:
            continue
        one, two = (set(map(tuple, frame.to_numpy())) for frame in (units, others))
        if one != two:
            seed, task, _, _, split = key
            what = (
                f"seed {seed} has {len(one)} and {len(two)} items of {task} ({split}), {len(one & two)} of them alike"
            )
            refuse(what, "evaluate both with the same eval settings (tasks, limit, data)")


def _check_scores(first: Sweep, second: Sweep, refuse: Any) -> None:
    """What both have must have the same weights, and the same scores but for the noise of evaluating."""
    both = first.scores.merge(second.scores, on=_SCORE, suffixes=("_a", "_b"))
    if both.empty:
        return
    named = [" ".join(filter(None, map(str, row))) for row in rows_of(both[["kind", "merge", "label", "point"]])]
    if "weights_digest_a" in both:
        other = both[both["weights_digest_a"] != both["weights_digest_b"]]
        if len(other):
            what = f"seed {other['seed'].iloc[0]}, {named[other.index[0]]} has other weights in one than in the other"
            refuse(what, "they come from other families or code; make one of the runs again")
    floors = [run.meta.get("noise_floor") or {} for run in (first, second)]
    floor = both["task"].map(lambda task: max(_TOLERANCE, *(float(known.get(task, 0.0)) for known in floors)))
    a, b = both["value_a"].astype(float), both["value_b"].astype(float)
    moved = both[(a - b).abs() > floor * a.abs().clip(lower=1.0)]
    if len(moved):
        row = moved.iloc[0]
        what = f"seed {row['seed']}, {named[moved.index[0]]} scores {row['value_a']:.6g} and {row['value_b']:.6g} on "
        refuse(what + f"{row['task']} with the same weights", "evaluate both with the same eval settings")


def _choices(runs: Mapping[str, Sweep], notes: list[str]) -> pd.DataFrame:
    """What counts as chosen for every row, and a note where runs differ.

    Where every λ was fixed by hand and one of them is common to all rows, it is that one: at it methods can be
    compared. Otherwise the first run's choice.
    """
    keys = ["seed", *KEY]
    every = pd.concat([run.choices for run in runs.values()], ignore_index=True)
    first = _first([run.choices for run in runs.values()], keys)
    learned = every[every["kind"] == "learn"]
    found = {key: set(points) for key, points in learned.groupby(keys, sort=False)["point"]}
    differ = [str(key[keys.index("label")]) for key, points in found.items() if len(points) > 1]
    if not differ:
        return first
    labels = ", ".join(dict.fromkeys(differ))
    common = set.intersection(*found.values())
    if common and set(every["selection"]) == {"fixed"}:
        point = next(point for point in every["point"] if point in common)
        notes.append(f"{labels}: runs fix different λ; compared at λ = {point}, which all methods have.")
        return first.assign(point=first["point"].where(first["kind"] != "learn", point))
    notes.append(f"{labels}: runs chose different λ; the choice of the run named first counts.")
    return first


def _meta(runs: Mapping[str, Sweep], notes: list[str]) -> dict[str, Any]:
    """What is known about all runs: mappings and lists united, the rest of the first run."""
    metas = [run.meta for run in runs.values()]
    out: dict[str, Any] = {**metas[0]}
    for key in (*_UNITED, "groups", "method_notes"):
        out[key] = {name: value for meta in metas for name, value in meta.get(key, {}).items()}
    for key in ("seeds", "models", "lambdas", "notes"):
        out[key] = list(dict.fromkeys(value for meta in metas for value in meta.get(key, [])))
    out["controls"] = list(dict.fromkeys(name for meta in metas for name in meta.get("controls", ())))
    out["seeds"] = sorted(out["seeds"])
    out["notes"] += notes
    floors = [meta.get("noise_floor") or {} for meta in metas]
    tasks = dict.fromkeys(task for floor in floors for task in floor)
    out["noise_floor"] = {task: max(float(floor.get(task, 0.0)) for floor in floors) for task in tasks}
    out["selection"] = " and ".join(dict.fromkeys(str(meta.get("selection", "fixed")) for meta in metas))
    for key in ("experiment", "title", "command", "run_key"):
        out[key] = " + ".join(dict.fromkeys(str(meta[key]) for meta in metas if meta.get(key)))
    return out
