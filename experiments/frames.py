"""From the steps' files to the data frames that `results` reads."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from eval.schema import ITEM_COLUMNS, SCORE_COLUMNS
from experiments.config import StudyPlan
from experiments.provenance import command
from experiments.steps import Weights
from experiments.worker import Job
from lata import weighting
from results.noise import noise_floor, primary_floors
from results.study import Study

if TYPE_CHECKING:
    from experiments.pipeline import Entry


def make_study(
    plan: StudyPlan,
    entries: Sequence[Entry],
    weights: Mapping[Job, Weights],
    evaluations: Mapping[Job, Mapping[str, bytes]],
    repeats: Mapping[Job, Mapping[str, bytes]],
    similarities: Mapping[int, Mapping[str, Any]],
    run_key: str,
) -> Study:
    """Everything that tables, figures, claims and report are made of.

    Args:
        plan: the study.
        entries: its rows.
        weights: what each row's weights are.
        evaluations: job → files of the evaluation; a job whose weights are not finite has none.
        repeats: some of the evaluations, made again with another batch size.
        similarities: seed → ``layers``, ``tasks``, ``values``.
        run_key: hash of everything that decides the study.
    """
    scores, items = _scores_and_items(plan, entries, weights, evaluations)
    similarity, layer_weights = _layers(plan, similarities)
    config = plan.config
    meta: dict[str, Any] = {
        "experiment": config.name,
        "family": config.family.name,
        "title": config.title,
        "command": command(),
        "run_key": run_key,
        "seeds": plan.seeds,
        "lam": config.lam,
        "merges": plan.merges,
        "forgets": {
            f"{job.target}-{job.forget}": {"target": job.target, "forget": job.forget} for job in config.forget
        },
        "expert_task": dict(config.family.expert_task),
        "models": list(dict.fromkeys(entry.label for entry in entries if entry.kind == "model")),
        "methods": {choice.label: dict(choice.parameters) for choice in (*plan.methods, *plan.forget_methods)},
        "controls": [choice.label for choice in plan.methods if choice.method.control],
        "baseline": config.baseline,
        "harm_threshold": config.harm_threshold,
        "utility_margin": config.utility_margin,
        "noise_floor": _noise(evaluations, repeats),
    }
    if (threshold := _threshold(plan)) is not None:
        kind = "value" if threshold["quantile"] is None else "quantile"
        meta["threshold"] = {"kind": kind, "value": threshold["threshold" if kind == "value" else "quantile"]}
    return Study(scores=scores, items=items, similarity=similarity, weights=layer_weights, meta=meta)


def _noise(
    evaluations: Mapping[Job, Mapping[str, bytes]], repeats: Mapping[Job, Mapping[str, bytes]]
) -> dict[str, float]:
    """Task → the most that its score moved when a model was evaluated again."""
    found: dict[str, float] = {}
    for job, files in repeats.items():
        pair = [pd.read_parquet(io.BytesIO(f["items.parquet"])) for f in (evaluations[job], files)]
        for task, floor in primary_floors(noise_floor(pair)).items():
            found[task] = max(found.get(task, 0.0), floor)
    return found


def _scores_and_items(
    plan: StudyPlan,
    entries: Sequence[Entry],
    weights: Mapping[Job, Weights],
    evaluations: Mapping[Job, Mapping[str, bytes]],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    read_scores = {job: json.loads(files["scores.json"]) for job, files in evaluations.items()}
    rows: list[dict[str, Any]] = []
    items: list[pd.DataFrame] = []
    for entry in entries:
        facts = weights[entry.job]
        names = {
            "experiment": plan.config.name,
            "family": plan.config.family.name,
            "seed": entry.job.seed,
            "kind": entry.kind,
            "merge": entry.merge,
            "method": entry.job.method or entry.label,
            "variant": entry.variant,
            "label": entry.label,
            "params": entry.params,
            "lambda": plan.config.lam if entry.job.method else math.nan,
        }
        # Weights that are not finite were not evaluated: their rows stand in the table without a value.
        own = read_scores.get(entry.job)
        if own is None:
            own = [{**score, "value": math.nan} for score in read_scores[Job(entry.job.seed, start="pre")]]
        distance = facts.distance if entry.job.method or facts.distance > 0 else math.nan
        rows += [
            {**names, **score, "distance": distance, "unstable": not facts.finite, "weights_digest": facts.digest}
            for score in own
        ]
        if entry.job in evaluations:
            columns: dict[str, Any] = {key: names[key] for key in ("seed", "kind", "merge", "label")}
            read = pd.read_parquet(io.BytesIO(evaluations[entry.job]["items.parquet"]))
            items.append(read[list(ITEM_COLUMNS)].assign(**columns))
    scores = pd.DataFrame(rows)
    return scores.reindex(columns=list(SCORE_COLUMNS)), pd.concat(items, ignore_index=True)


def _layers(plan: StudyPlan, similarities: Mapping[int, Mapping[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Similarity by layer and task, and the weights that each schedule of the study makes of it."""
    threshold = _threshold(plan)
    schedules = dict(weighting.RANK_SCHEDULES)
    if threshold is not None:
        schedules["lata_threshold"] = weighting.by_threshold(threshold["threshold"], threshold["quantile"])
    similarity_rows, weight_rows = [], []
    for seed, table in similarities.items():
        values_LT = np.array(table["values"], dtype=np.float64)
        for column, task in enumerate(table["tasks"]):
            place = {"family": plan.config.family.name, "seed": seed, "task": task}
            by_schedule = {name: weighting.weights(values_LT[:, column], rule) for name, rule in schedules.items()}
            for row, layer in enumerate(table["layers"]):
                at = {**place, "layer": int(layer)}
                similarity_rows.append({**at, "similarity": values_LT[row, column]})
                weight_rows += [{**at, "schedule": name, "weight": w[row]} for name, w in by_schedule.items()]
    return (
        pd.DataFrame(similarity_rows, columns=["family", "seed", "layer", "task", "similarity"]),
        pd.DataFrame(weight_rows, columns=["family", "seed", "layer", "task", "schedule", "weight"]),
    )


def _threshold(plan: StudyPlan) -> Mapping[str, Any] | None:
    """Parameters of the study's `lata_threshold`, the forgetting one before the learning one."""
    choices = (*plan.forget_methods, *plan.methods)
    return next((choice.parameters for choice in choices if choice.method.name == "lata_threshold"), None)
