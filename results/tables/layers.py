"""The tables of layers: their similarities, and how many lie under the threshold."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from lata.quantities import MEASURED, MEASURED_NOTE, OUTSIDE
from results.analysis.analysis import Analysis
from results.analysis.layers import layer_statistics, layer_vectors, outside, threshold_of
from results.statistics.closed_form import FloatArray
from results.study.run import Study
from results.study.wording import layer_key
from results.tables.table import Cell, Column, Row, Table

#: Numbers of a cell that has a range over seeds.
RANGE = ("mean", "least", "most")


def layers_table(analysis: Analysis) -> Table:
    """How many layer vectors lie under the threshold, and where: a row a task, a section a granularity."""
    vectors, threshold = layer_vectors(analysis.study), threshold_of(analysis.study)
    measured, beyond = vectors["cosine"].notna().any(), outside(analysis.study)
    rows = []
    for one in layer_statistics(vectors, threshold):
        share_S = beyond.get(one.task, np.array([math.nan]))
        more = (_mean(one.cosine_S, ".4f"), _mean(one.highest_S, ".4f"), _mean(share_S, ".3f")) if measured else ()
        cells = (
            Cell(str(one.count), raw=(one.count,)),
            _ranged(one.kept_S, 1.0, "g"),
            _ranged(one.share_S, 100.0, ".1f"),
            _mean(one.depth_S, ".2f"),
            _mean(100 * one.late_S, ".0f"),
            Cell("–" if math.isnan(one.rho) else f"{one.rho:.2f}".replace("-", "−"), raw=(one.rho,)),
            _mean(one.lowest_S, ".4f"),
            _mean(one.median_S, ".4f"),
            *more,
        )
        rows.append(Row(one.task, one.granularity, cells))
    under = f"under {threshold:g}"
    columns = (
        Column("vectors", key="layer vectors"),
        Column("number", under, RANGE),
        Column("share (%)", under, RANGE, "share"),
        Column("mean depth", under),
        Column("last third (%)", under, key="late share"),
        Column("ρ of depth", "similarity", key="rho"),
        Column("least", "similarity"),
        Column("median", "similarity"),
        *((Column("median", "cosine"), Column("highest", "cosine"), Column("outside", "share")) if measured else ()),
    )
    title = f"Layer statistics at threshold {threshold:g}"
    return Table("layers", title, columns, tuple(rows), _notes(analysis.study, vectors), "task")


def _ranged(value_S: FloatArray, scale: float, form: str) -> Cell:
    """A mean over seeds and, where they differ, the least and the most."""
    mean, least, most = float(value_S.mean()), float(value_S.min()), float(value_S.max())
    text = f"{scale * mean:.1f}" if form == "g" and mean != round(mean) else f"{scale * mean:{form}}"
    aside = "" if least == most else f"({scale * least:{form}} to {scale * most:{form}})"
    return Cell(text, aside, raw=(mean, least, most))


def _mean(value_S: FloatArray, form: str) -> Cell:
    """A mean over the seeds that have one."""
    have = value_S[np.isfinite(value_S)]
    mean = float(have.mean()) if len(have) else math.nan
    return Cell("–" if math.isnan(mean) else f"{mean:{form}}".replace("-", "−"), raw=(mean,))


def _notes(study: Study, vectors: pd.DataFrame) -> tuple[str, ...]:
    seeds = vectors["seed"].nunique()
    notes = [
        "mean depth and last third: of the layer vectors under the threshold; depth from 0 for the first block to 1 "
        "for the last. ρ of depth: Spearman’s, of depth and similarity; claim C4 expects it below 0."
    ]
    notes += [MEASURED_NOTE] * bool(outside(study))
    if seeds > 1:
        notes.append(f"Means over {seeds} seeds, in brackets the least and the most of one; ρ of mean similarities.")
    beyond = study.granular[study.granular["depth"].astype(int) < 0] if len(study.granular) else study.granular
    if len(beyond):
        names = beyond["layer"].nunique()
        notes.append(f"Not counted: {names} layer vector{'s' * (names > 1)} outside all blocks.")
    return tuple(notes)


def similarity_table(analysis: Analysis) -> Table:
    """What was measured of each layer and task (means over seeds), and the weights that the schedules make of it."""
    frame, weights = analysis.study.similarity, analysis.study.weights
    layers = sorted(frame["layer"].unique(), key=layer_key)
    tasks = sorted(frame["task"].unique())
    measured = [name for name in MEASURED if name in frame]
    values = {name: frame.astype({name: float}).groupby(["layer", "task"])[name].mean() for name in measured}
    means = (
        weights.groupby(["schedule", "layer", "task"])["weight"].mean() if len(weights) else pd.Series(dtype=float)
    )
    schedules = sorted(weights["schedule"].unique()) if len(weights) else []
    form = {"similarity": ".4f", "cosine": ".4f", "share": ".3f"}
    rows = []
    for layer in layers:
        cells = [_number_cell(values[name].get((layer, task)), form[name]) for name in measured for task in tasks]
        cells += [_number_cell(means.get((schedule, layer, task)), ".2f") for schedule in schedules for task in tasks]
        rows.append(Row(str(layer), "", tuple(cells)))
    beyond = outside(analysis.study)
    if beyond:
        none = [_number_cell(None, "")] * len(tasks)
        shares = [_number_cell(float(beyond[task].mean()), form["share"]) for task in tasks]
        rows.append(Row(OUTSIDE, "", (*none, *none, *shares, *none * len(schedules))))
    columns = [Column(task, name) for name in measured for task in tasks]
    columns += [Column(task, schedule) for schedule in schedules for task in tasks]
    seeds = frame["seed"].nunique()
    note = "Layer" if beyond else "Cosine of the complex vector and the instruction vector; layer"
    note += " weights of each schedule."
    note += f" Means over {seeds} seeds." if seeds > 1 else ""
    notes = (*[MEASURED_NOTE] * bool(beyond), note)
    return Table("similarity", "Similarity and weight of each layer", tuple(columns), tuple(rows), notes, "layer")


def _number_cell(value: float | None, form: str) -> Cell:
    """A plain number; a dash where there is none."""
    if value is None or math.isnan(value):
        return Cell("–", raw=(math.nan,))
    return Cell(f"{value:{form}}".replace("-", "−"), raw=(float(value),))
