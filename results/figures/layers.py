"""Every layer vector by depth and similarity, a panel a granularity, with the threshold as a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from results.analysis.analysis import Analysis
from results.analysis.layers import granularities, layer_vectors, threshold_of
from results.figures.drawing import INK, MUTED, RULE, SERIES, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def layers(analysis: Analysis) -> tuple[Figure, str] | None:
    """A dot a layer vector and task (mean over seeds); None where the study has one granularity alone."""
    vectors, threshold = layer_vectors(analysis.study), threshold_of(analysis.study)
    names, tasks = granularities(vectors), sorted(vectors["task"].unique())
    if len(names) < 2:
        return None
    width = 3.7 * len(names) + 0.7
    figure, panels = new_figure(width, 3.3, 1, len(names), sharey=True)
    figure.subplots_adjust(left=0.62 / width, right=1 - 0.1 / width, top=0.8, bottom=0.15, wspace=0.06)
    for axes, name in zip(panels[0], names, strict=True):
        own = vectors[vectors["granularity"] == name]
        for index, task in enumerate(tasks):
            mean = own[own["task"] == task].groupby(["layer", "depth"])["similarity"].mean().reset_index()
            # Tasks stand side by side within a block's place, or their dots would cover one another.
            x = mean["depth"].to_numpy(float) + 0.5 * ((index + 0.5) / len(tasks) - 0.5)
            axes.plot(x, mean["similarity"].to_numpy(float), "o", color=SERIES[index % len(SERIES)], markersize=3.2)
        axes.axhline(threshold, color=INK, linestyle=(0, (4, 2)), linewidth=1.0)
        axes.set_title(f"by {name}", loc="left", fontweight="bold")
        axes.set_xlabel("block")
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        step = max(1, int(np.ceil((own["depth"].max() + 1) / 12)))
        axes.set_xticks(range(0, int(own["depth"].max()) + 1, step))
    panels[0, 0].set_ylabel("similarity")
    at = 0.62 / width
    for index, task in enumerate(tasks):
        figure.text(at, 0.93, f"● {task}", color=SERIES[index % len(SERIES)], fontsize=9, fontweight="bold")
        at += (0.3 + 0.09 * len(task)) / width
    figure.text(at, 0.93, f"dashed: threshold {threshold:g}", fontsize=8.5, color=MUTED)
    many = ", means over seeds" if vectors["seed"].nunique() > 1 else ""
    return figure, (
        f"Similarity of every layer vector to the instruction vector by depth and task{many}. Those under the dashed "
        "line are what a threshold keeps."
    )
