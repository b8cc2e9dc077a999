"""λ curves of one merge: perplexity with the limit of stability, each merged task, and the mean that decides."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from results.analysis.analysis import SweepAnalysis
from results.analysis.curves import NORMALISED, PPL, RAW
from results.figures.drawing import SERIES
from results.figures.panel import canvas, panel, perplexity_axis, styles_of
from results.study.wording import heading_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def lambda_curves(analysis: SweepAnalysis, merge: str) -> tuple[Figure, str] | None:
    """A panel a quantity, a line a method; None where no method has two points with one λ for all tasks."""
    curves = [curve for curve in analysis.of(merge) if len(curve.line) > 1]
    if not curves:
        return None
    objective = NORMALISED if analysis.objective == NORMALISED else RAW
    names = [name for name in (PPL, *analysis.members(merge), objective) if any(name in c.scored for c in curves)]
    figure, panels = canvas(f"{merge} over λ", len(names))
    styles = styles_of(analysis.labels(), analysis.chosen.lineup)
    chosen = {curve.label: set(analysis.choices[merge, curve.label].chosen.values()) for curve in curves}
    for axes, name in zip(panels, names, strict=True):
        start = perplexity_of(analysis, "pre")
        limit = perplexity_axis(axes, curves, start, "pre", start, "pre") if name == PPL else math.inf
        panel(axes, curves, name, _title(name), styles, chosen, limit)
    return figure, _caption(analysis, merge)


def _caption(analysis: SweepAnalysis, merge: str) -> str:
    seeds = len(analysis.seeds)
    band = "the range of the seeds" if seeds > 1 else "95 % intervals"
    line = f"means over {seeds} seeds" if seeds > 1 else "scores"
    grey = " Grey: methods beyond six, and controls." if len(analysis.labels(merge)) > len(SERIES) else ""
    return (
        f"{merge} over λ: {line} on the test split; bands are {band}. Rings: the λ that was {analysis.choosing}. "
        "Crosses: unstable points, which no line goes through; the dashed line is ten times the "
        f"perplexity of pre, beyond which a merge is unstable.{grey}"
    )


def _title(name: str) -> str:
    means = {RAW: "mean of the merged tasks (%)", NORMALISED: "mean of score / expert’s own score (%)"}
    return means.get(name) or heading_of(name)


def perplexity_of(analysis: SweepAnalysis, label: str) -> float | None:
    """Perplexity of a model of the family, mean over seeds."""
    rows = analysis.scores[(analysis.scores["label"] == label) & (analysis.scores["kind"] == "model")]
    rows = rows[(rows["task"] == PPL) & (rows["metric"] == "word_perplexity") & (rows["split"] == "test")]
    return float(rows["value"].mean()) if len(rows) else None
