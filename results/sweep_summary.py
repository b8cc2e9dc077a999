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

from results import stored
from results.choosing_table import choosing_table
from results.claims import claims_markdown
from results.compared_curves import Curves
from results.figure_cd import critical_difference_diagram
from results.figure_harm import harm_curves_figure
from results.figure_heat import heat_map
from results.figure_lambda import lambda_curves
from results.figure_layers import layers
from results.figure_pareto import pareto_fronts
from results.figure_similarity import similarity
from results.figures import drawn
from results.files import Drawings, Folder, terminal
from results.grid import Table
from results.layers import has_layers, layers_table
from results.lineup import Model
from results.ranks import ranking
from results.study import Summary
from results.sweep import Sweep
from results.sweep_analysis import SweepAnalysis, analyse_sweep
from results.sweep_curves import PPL
from results.sweep_findings import sweep_findings
from results.sweep_forget_tables import chosen_harm_table, harm_points_table
from results.sweep_grid_tables import grid_table, points_table
from results.sweep_harm_tables import harm_table
from results.sweep_report import sweep_report
from results.sweep_tables import breaks_table, chosen_table
from results.tables import merge_table, similarity_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def summarise_sweep(sweep: Sweep, out: Path) -> Summary:
    """Compute and write everything.

    Args:
        sweep: see `results.sweep.Sweep`.
        out: folder to write into; made where missing. Files of an earlier run with the same names are replaced.

    Returns:
        What a terminal needs: the tables of choices, of breaks and of harm, and the answers as a headline.

    Raises:
        ValueError: the tables do not belong together.
        OSError: `out` cannot be written.
    """
    found = analyse_sweep(sweep)
    told = sweep_findings(found)
    tables = sweep_tables(found)
    drawings = sweep_figures(found)
    folder = Folder(out)
    folder.write("scores.parquet", found.scores)
    folder.write("scores.csv", found.scores)
    for name, content in stored.files(sweep).items():
        folder.write(name, content)
    folder.write("comparisons.csv", found.chosen.comparisons)
    folder.write("choices.csv", sweep.choices)
    folder.write("claims.csv", found.claims)
    folder.write("claims.md", claims_markdown(found.chosen, found.claims))
    folder.tables(tables)
    folder.figures(drawings)
    folder.write("report.html", sweep_report(found, told, tables, drawings))
    shown = [chosen_table(found, brief=True), breaks_table(found)] if found.merges or not found.forgettings else []
    shown += [table] if (table := choosing_table(found, brief=True)) else []
    shown += [harm_table(found, brief=True), chosen_harm_table(found, brief=True)] if found.forgettings else []
    text = "\n\n".join(terminal(table) for table in shown if table.rows)
    return Summary(text, told.headline, found.claims, found.scores, found.chosen.comparisons, tuple(folder.files))


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
    return pareto_fronts(Curves(found.sweep))


def _ranks(found: SweepAnalysis) -> tuple[Figure, str] | None:
    """Mean ranks at the chosen λ over the perplexities and merged tasks of all merges that have every method."""
    lineup = found.chosen.lineup
    methods = [label for label in found.labels() if not lineup.is_control(label)]
    shared = [merge for merge in found.merges if set(methods) <= set(found.labels(merge))]
    cells = [(merge, task) for merge in shared for task in (PPL, *found.members(merge))]
    scored = [cell for cell in cells if cell[1] in found.chosen.measures]
    return critical_difference_diagram(ranking(found.chosen, methods, scored), lineup)
