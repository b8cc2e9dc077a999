"""Similarity by layer and task, and the layer weights that come of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from results.analysis.analysis import Analysis
from results.figures.drawing import INK, RULE, SERIES, new_figure, spread
from results.study.wording import layer_key

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def similarity(analysis: Analysis) -> tuple[Figure, str] | None:
    """Similarity by layer and task, and cos(τ, τ_instr), beside the layer weights that each schedule makes."""
    frame, weights = analysis.study.similarity, analysis.study.weights
    if frame.empty:
        return None
    schedules = sorted(weights["schedule"].unique()) if len(weights) else []
    layers = sorted(frame["layer"].unique(), key=layer_key)
    tasks = sorted(frame["task"].unique())
    own = "cosine" in frame and bool(frame["cosine"].notna().any())
    more = own + len(schedules)
    width = 4.6 + 2.3 * more
    figure, panels = new_figure(width, 3.3, 1, 1 + more, gridspec_kw={"width_ratios": [2.0, *[1.0] * more]})
    figure.subplots_adjust(left=0.68 / width, right=1 - 0.1 / width, top=0.87, bottom=0.15, wspace=0.24)
    first = panels[0, 0]
    _layer_lines(first, frame, "similarity", layers, tasks, seeds=True)
    first.set_title("similarity to the instruction vector", loc="left", fontweight="bold")
    first.set_xlim(-0.3, (len(layers) - 1) * 1.14 + 0.3)
    _end_labels(first, frame, layers, tasks)
    if own:
        _layer_lines(panels[0, 1], frame, "cosine", layers, tasks, seeds=True)
        panels[0, 1].set_title("cos(τ, τ_instr)", loc="left", fontweight="bold")
    for axes, schedule in zip(panels[0, 1 + own :], schedules, strict=True):
        _layer_lines(axes, weights[weights["schedule"] == schedule], "weight", layers, tasks, seeds=False)
        axes.set_title(schedule, loc="left")
        axes.set_ylim(-0.05, 1.05)
    if schedules:
        panels[0, 1 + own].set_title(f"weight: {schedules[0]}", loc="left")
    for axes in panels[0]:
        axes.set_xlabel("layer")
    many = ", thin lines are single seeds" if frame["seed"].nunique() > 1 else ""
    return figure, (
        "Cosine of each layer's complex vector with the instruction vector, by depth and task"
        f"{many};{' the same of the task vector alone;' * own} and the weight that each schedule gives the layer."
    )


def _layer_lines(
    axes: Axes, frame: pd.DataFrame, column: str, layers: list[Any], tasks: list[str], seeds: bool
) -> None:
    at = {layer: place for place, layer in enumerate(layers)}
    for index, task in enumerate(tasks):
        part = frame[frame["task"] == task]
        colour = SERIES[index % len(SERIES)]
        mean = part.groupby("layer")[column].mean().reindex(layers)
        wide = 1.8 if seeds else 1.5 + 1.1 * (len(tasks) - 1 - index)  # equal weights stay visible below one another
        axes.plot(range(len(layers)), mean.to_numpy(float), "o-", color=colour, linewidth=wide, markersize=wide + 1.7)
        if seeds and part["seed"].nunique() > 1:
            for _, one in part.groupby("seed", sort=True):
                x = [at[layer] for layer in one["layer"]]
                order = np.argsort(x)
                y = one[column].to_numpy(float)[order]
                axes.plot(np.array(x)[order], y, color=colour, linewidth=0.7, alpha=0.45, zorder=2)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    step = max(1, math.ceil(len(layers) / 12))
    axes.set_xticks(range(0, len(layers), step))
    axes.set_xticklabels([str(layer) for layer in layers[::step]])


def _end_labels(axes: Axes, frame: pd.DataFrame, layers: list[Any], tasks: list[str]) -> None:
    """Task names at the right ends of their lines, moved apart where lines end together."""
    last = [float(frame[(frame["task"] == t) & (frame["layer"] == layers[-1])]["similarity"].mean()) for t in tasks]
    low, high = axes.get_ylim()
    heights = spread(np.nan_to_num(np.array(last), nan=low), 0.062 * (high - low))
    for index, (task, height) in enumerate(zip(tasks, heights, strict=True)):
        axes.text(
            len(layers) - 1 + 0.03 * len(layers),
            height,
            task,
            color=INK,
            va="center",
            fontweight="bold",
            fontsize=8.5,
        )
        axes.plot(
            [len(layers) - 1 + 0.015 * len(layers)], [height], "s", color=SERIES[index % len(SERIES)], markersize=4
        )
