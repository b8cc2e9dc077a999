"""From the steps' files to the data frames that `results` reads."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eval.schema import ITEM_COLUMNS, SCORE_COLUMNS
from experiments.config.family import FamilyKind
from experiments.config.methods import controls_of
from experiments.config.study import StudyPlan
from experiments.config.sweep import Selection, SweepPlan
from experiments.steps.jobs import AGAIN, DEVELOPMENT, STABILITY, TEST, Entry, Job
from experiments.steps.queue import Files, Scoring, Weights
from experiments.study.provenance import command
from lata.engine import weighting
from lata.methods import methods
from lata.quantities import MEASURED
from results.statistics.noise import noise_floor, primary_floors
from results.study.run import GRANULAR
from results.study.sweep import Sweep
from results.summaries.study import Study

Evaluations = Mapping[Scoring, Files]

#: What names the model of an item.
_ITEM_NAMES = ("seed", "kind", "merge", "label", "point")


def make_study(
    plan: StudyPlan,
    entries: Sequence[Entry],
    weights: Mapping[Job, Weights],
    evaluations: Evaluations,
    similarities: Mapping[int, Mapping[str, Any]],
    run_key: str,
) -> Study:
    """Everything that tables, figures, claims and report are made of.

    Args:
        plan: the study.
        entries: its rows.
        weights: what each row's weights are.
        evaluations: those of the test split, and some that were made again; none where weights are not finite.
        similarities: seed → granularity → what `experiments.steps.merging.similarity` writes.
        run_key: hash of everything that decides the study.
    """
    scores, items = scores_and_items(plan, entries, weights, evaluations)
    meta = facts(plan, entries, evaluations, run_key)
    return Study(scores, items, *layers(plan, similarities), meta, granular(plan, similarities))


def make_sweep(
    plan: SweepPlan,
    rows: Mapping[Entry, Weights],
    evaluations: Evaluations,
    choices: Mapping[Selection, Mapping[tuple[int, str, str], str]],
    similarities: Mapping[int, Mapping[str, Any]],
    run_key: str,
) -> Sweep:
    """The same of a sweep.

    Args:
        plan: the sweep.
        rows: its rows, and what each one's weights are.
        evaluations: those of the test split and of the development split, and some that were made again.
        choices: way of choosing → (seed, merge, label) → the point that was chosen; the first way is the sweep's own.
        similarities: seed → granularity → what `experiments.steps.merging.similarity` writes.
        run_key: hash of everything that decides the sweep.
    """
    weights = {entry.job: known for entry, known in rows.items()}
    scores, items = scores_and_items(plan, rows, weights, evaluations, (TEST, DEVELOPMENT, STABILITY))
    chosen, *others = (
        [
            (seed, plan.combinations[merge].kind, merge, label, way.value, point)
            for (seed, merge, label), point in points.items()
        ]
        for way, points in choices.items()
    )
    meta = facts(plan, list(rows), evaluations, run_key) | {
        "selection": plan.sweep.selection.value,
        "development": list(plan.development),
        "lambdas": list(dict.fromkeys(entry.point for entry in rows if entry.point)),
    }
    columns = ["seed", "kind", "merge", "label", "selection", "point"]
    return Sweep(
        scores,
        items,
        pd.DataFrame(chosen, columns=columns),
        *layers(plan, similarities),
        meta,
        granular(plan, similarities),
        others=pd.DataFrame([row for own in others for row in own], columns=columns),
    )


def facts(plan: StudyPlan, entries: Iterable[Entry], evaluations: Evaluations, run_key: str) -> dict[str, Any]:
    """What tables and claims need to know of a study beside its numbers; see `results.study.run.Study`."""
    config = plan.config
    choices = (*plan.methods, *plan.forget_methods)
    meta: dict[str, Any] = {
        "experiment": config.name,
        "family": config.family.name,
        "miniature": config.family.kind is FamilyKind.mini,
        "title": config.title,
        "command": command(plan.door),
        "run_key": run_key,
        "seeds": plan.seeds,
        "lam": config.lam,
        "merges": plan.merges,
        "forgets": {job.name: {"target": job.target, "forget": job.forget} for job in config.forget},
        "expert_task": dict(config.family.expert_task),
        "models": list(dict.fromkeys(entry.label for entry in entries if entry.kind == "model")),
        "methods": {choice.label: dict(choice.parameters) for choice in choices},
        "groups": {name: method.group for name, method in methods().items()},
        "controls": controls_of(choices, (plan.baseline, *plan.schedule.values())),
        "method_notes": {choice.method.name: choice.method.note for choice in choices if choice.method.note},
        "baseline": plan.baseline,
        "schedule": plan.schedule,
        "harm_threshold": config.harm_threshold,
        "utility_margin": config.utility_margin,
        "noise_floor": facts_of_noise(evaluations),
    }
    if (threshold := _threshold(plan)) is not None:
        kind = "value" if threshold["quantile"] is None else "quantile"
        meta["threshold"] = {"kind": kind, "value": threshold["threshold" if kind == "value" else "quantile"]}
    return meta


def facts_of_noise(evaluations: Evaluations) -> dict[str, float]:
    """Task → the most that its score moved when a model was evaluated again.

    A task whose items all fit into half a batch was evaluated in the same batches again: of it nothing is known.
    """
    found: dict[str, float] = {}
    for (job, name), files in evaluations.items():
        if name != AGAIN:
            continue
        pair = [pd.read_parquet(io.BytesIO(f["items.parquet"])) for f in (evaluations[job, TEST], files)]
        batches = {score["task"]: score["batch_size"] < score["n"] for score in json.loads(files["scores.json"])}
        for task, floor in primary_floors(noise_floor(pair)).items():
            if batches[task]:
                found[task] = max(found.get(task, 0.0), floor)
    return found


def scores_and_items(
    plan: StudyPlan,
    entries: Iterable[Entry],
    weights: Mapping[Job, Weights],
    evaluations: Evaluations,
    names: Sequence[str] = (TEST,),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row for every score, and for every item, of some evaluations.

    Weights that are not finite were not evaluated: their rows of the test split stand in the table without a value.
    """
    rows: list[dict[str, Any]] = []
    items: list[pd.DataFrame] = []
    for entry in entries:
        known = weights[entry.job]
        named = {
            "experiment": plan.config.name,
            "family": plan.config.family.name,
            "seed": entry.job.seed,
            "kind": entry.kind,
            "merge": entry.merge,
            "method": entry.job.method or entry.label,
            "variant": entry.variant,
            "label": entry.label,
            "params": entry.params,
            "lambda": abs(entry.job.lam) if entry.job.method and isinstance(entry.job.lam, float) else math.nan,
            "point": entry.point,
        }
        distance = known.distance if entry.job.method or known.distance > 0 else math.nan
        made = {"distance": distance, "unstable": not known.finite, "weights_digest": known.digest}
        for name in names:
            if (files := evaluations.get((entry.job, name))) is not None:
                rows += [{**named, **score, **made} for score in json.loads(files["scores.json"])]
                columns: dict[str, Any] = {key: named[key] for key in _ITEM_NAMES}
                read = pd.read_parquet(io.BytesIO(files["items.parquet"]))
                items.append(read[list(ITEM_COLUMNS)].assign(**columns))
            elif name == TEST and not known.finite:
                like = json.loads(evaluations[Job(entry.job.seed, start="pre"), TEST]["scores.json"])
                rows += [{**named, **score, "value": math.nan, **made} for score in like]
    scores = pd.DataFrame(rows).reindex(columns=list(SCORE_COLUMNS))
    nothing = pd.DataFrame(columns=[*_ITEM_NAMES, *ITEM_COLUMNS])
    return scores, pd.concat(items, ignore_index=True) if items else nothing


def layers(plan: StudyPlan, similarities: Mapping[int, Mapping[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What was measured of every block and task, and the weights that each schedule of the study makes of it."""
    threshold = _threshold(plan)
    schedules = dict(weighting.RANK_SCHEDULES)
    if threshold is not None:
        schedules["lata_threshold"] = weighting.by_threshold(threshold["threshold"], threshold["quantile"])
    similarity_rows, weight_rows = [], []
    for seed, tables in similarities.items():
        table = tables["block"]
        values_LT = np.array(table["similarity"], dtype=np.float64)
        for column, task in enumerate(table["tasks"]):
            place = {"family": plan.config.family.name, "seed": seed, "task": task}
            by_schedule = {name: weighting.weights(values_LT[:, column], rule) for name, rule in schedules.items()}
            for row, layer in enumerate(table["layers"]):
                at = {**place, "layer": int(layer)}
                own = {name: table[name][row][column] for name in MEASURED}
                similarity_rows.append({**at, **own, "outside": table["outside"][column]})
                weight_rows += [{**at, "schedule": name, "weight": w[row]} for name, w in by_schedule.items()]
    numbers = [*MEASURED, "outside"]
    return (
        pd.DataFrame(similarity_rows, columns=["family", "seed", "layer", "task", *numbers]).astype(
            dict.fromkeys(numbers, np.float64)
        ),
        pd.DataFrame(weight_rows, columns=["family", "seed", "layer", "task", "schedule", "weight"]),
    )


def granular(plan: StudyPlan, similarities: Mapping[int, Mapping[str, Any]]) -> pd.DataFrame:
    """What was measured of every layer and task at every granularity, see `results.study.run.Study`."""
    rows = [
        (
            plan.config.family.name,
            seed,
            granularity,
            layer,
            depth,
            task,
            *(table[name][row][column] for name in MEASURED),
        )
        for seed, tables in similarities.items()
        for granularity, table in tables.items()
        for row, (layer, depth) in enumerate(zip(table["layers"], table["depths"], strict=True))
        for column, task in enumerate(table["tasks"])
    ]
    columns = list(dict.fromkeys([*GRANULAR, *MEASURED]))
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(MEASURED, np.float64))


def _threshold(plan: StudyPlan) -> Mapping[str, Any] | None:
    """Parameters of the study's `lata_threshold`, the forgetting one before the learning one."""
    choices = (*plan.forget_methods, *plan.methods)
    return next((choice.parameters for choice in choices if choice.method.name == "lata_threshold"), None)
