"""The door: `summarise_sweep(sweep, out)` turns a λ sweep into everything that people read.

Writes into `out`: ``scores.parquet``, ``scores.csv`` (test and development split), ``comparisons.csv`` (at the chosen
λ), ``choices.csv``, ``claims.csv``, ``claims.md``, ``tables/`` (Markdown, LaTeX, CSV), ``figures/`` (SVG, PNG) and
``report.html``. The same input gives the same bytes; each file appears at once or not at all.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from results.analysis.analysis import SweepAnalysis, analyse_sweep
from results.analysis.curves import PPL, from_pre
from results.analysis.layers import has_layers
from results.answers.sweep import sweep_findings
from results.claims.registry import check_sweep
from results.figures.critical_difference import critical_difference_diagram
from results.figures.drawing import Drawings, drawn
from results.figures.harm import harm_curves_figure
from results.figures.heat import heat_map
from results.figures.lambda_curves import lambda_curves
from results.figures.layers import layers
from results.figures.pareto import pareto_fronts
from results.figures.similarity import similarity
from results.pages.report import claims_report, sweep_report
from results.statistics.ranks import ranking
from results.study import store as stored
from results.study.lineup import Model
from results.study.sweep import Sweep
from results.summaries.files import Folder, terminal
from results.summaries.study import Summary
from results.tables.choosing import choosing_table
from results.tables.chosen_harm import chosen_harm_table, harm_points_table
from results.tables.harm import harm_table
from results.tables.layers import layers_table, similarity_table
from results.tables.learning import merge_table
from results.tables.points import grid_table, points_table
from results.tables.sweep import breaks_table, chosen_table
from results.tables.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def summarise_sweep(sweep: Sweep, out: Path) -> Summary:
    """Compute and write everything.

    Args:
        sweep: see `results.study.sweep.Sweep`.
        out: folder to write into; made where missing. Files of an earlier run with the same names are replaced.

    Returns:
        What a terminal needs: the tables of choices, of breaks and of harm, and the answers as a headline.

    Raises:
        ValueError: the tables do not belong together.
        OSError: `out` cannot be written.
    """
    found = analyse_sweep(sweep)
    claims, told = check_sweep(found), sweep_findings(found)
    tables, chosen = sweep_tables(found), chosen_table(found, brief=True)
    drawings = sweep_figures(found)
    folder = Folder(out)
    folder.write("scores.parquet", found.scores)
    folder.write("scores.csv", found.scores)
    for name, content in stored.files(sweep).items():
        folder.write(name, content)
    folder.write("comparisons.csv", found.chosen.comparisons)
    folder.write("choices.csv", sweep.choices)
    folder.write("claims.csv", claims)
    folder.write("claims.md", claims_report(found.meta, len(found.seeds), claims))
    folder.tables(tables)
    folder.figures(drawings)
    folder.write("report.html", sweep_report(found, told.answers, claims, tables, drawings, chosen))
    shown = [chosen, breaks_table(found)] if found.merges or not found.forgettings else []
    shown += [table] if (table := choosing_table(found, brief=True)) else []
    shown += [harm_table(found, brief=True), chosen_harm_table(found, brief=True)] if found.forgettings else []
    text = "\n\n".join(terminal(table) for table in shown if table.rows)
    return Summary(text, told.headline, claims, found.scores, found.chosen.comparisons, tuple(folder.files))


def sweep_tables(found: SweepAnalysis) -> list[Table]:
    """Every table that the sweep has material for, the answers first."""
    tables = [breaks_table(found), chosen_table(found)]
    tables += [table] if (table := choosing_table(found)) else []
    tables += [harm_table(found), chosen_harm_table(found)] if found.forgettings else []
    tables = [table for table in tables if table.rows]
    for merge in found.merges:
        tables.append(points_table(found, merge))
        grid = grid_table(found, merge)
        tables += [grid] if grid else []
    for merge in found.chosen.lineup.merges("learn"):
        table, own = merge_table(found.chosen, merge), f"each method at its own λ, {found.choosing}"
        tables.append(replace(table, name=f"chosen_{merge}", title=f"{merge}: {own}"))
    tables += [harm_points_table(found, merge) for merge in found.forgets]
    tables += [layers_table(found.chosen)] if has_layers(found.chosen) else []
    if not found.sweep.similarity.empty:
        tables.append(similarity_table(found.chosen))
    return tables


def sweep_figures(found: SweepAnalysis) -> Drawings:
    """Every figure that the sweep has material for."""
    drawers = {f"lambda_{merge}": partial(lambda_curves, found, merge) for merge in found.merges}
    drawers |= {f"heat_{merge}": partial(heat_map, found, merge) for merge in found.merges}
    drawers |= {f"harm_{merge}": partial(harm_curves_figure, found, merge) for merge in found.forgets}
    drawers |= {"pareto": partial(_fronts, found), "critical_difference": partial(_ranks, found)}
    drawers |= {"layers": partial(layers, found.chosen), "similarity": partial(similarity, found.chosen)}
    return drawn(drawers)


def _fronts(found: SweepAnalysis) -> tuple[Figure, str] | None:
    """Pareto fronts over λ, from pre on."""
    lineup = found.chosen.lineup
    if not found.breaks or PPL not in found.chosen.measures or Model("model", "", "pre") not in lineup.position:
        return None
    curves = {key: from_pre(curve) for key, curve in found.curves.items() if curve.tasks and PPL in curve.scored}
    return pareto_fronts(curves, lineup)


def _ranks(found: SweepAnalysis) -> tuple[Figure, str] | None:
    """Mean ranks at the chosen λ over the perplexities and merged tasks of all merges that have every method."""
    lineup = found.chosen.lineup
    methods = [label for label in found.labels() if not lineup.is_control(label)]
    shared = [merge for merge in found.merges if set(methods) <= set(found.labels(merge))]
    cells = [(merge, task) for merge in shared for task in (PPL, *found.members(merge))]
    scored = [cell for cell in cells if cell[1] in found.chosen.measures]
    return critical_difference_diagram(ranking(lineup, found.chosen.measures, methods, scored), lineup)
