"""report.html of a sweep: the first screen says where methods break and which is best at its own λ."""

from __future__ import annotations

from dataclasses import replace

from results.bootstrap import REPLICATES
from results.files import Drawings
from results.findings import Findings
from results.grid import Table
from results.page import escape, figure_html, page, table_html
from results.report import answers_html, caveat_html, chips_html, claims_html, folded_html, provenance_html
from results.sweep_analysis import SweepAnalysis
from results.sweep_curves import NORMALISED
from results.sweep_tables import breaks_table, chosen_table
from results.wording import seeds_note


def sweep_report(found: SweepAnalysis, told: Findings, tables: list[Table], figures: Drawings) -> str:
    """The page as one string of HTML, with everything it needs inside.

    Args:
        found: the sweep.
        told: the answers of the first screen.
        tables: all tables; those it has no place for are left to their files.
        figures: name → (caption, SVG, PNG).
    """
    title = str(found.meta.get("title") or found.meta.get("experiment", "Sweep"))
    by_name = {table.name: table for table in tables}
    parts = [_header(found, title), answers_html(told.answers)]

    def figure(*names: str) -> None:
        for name in names:
            if name in figures:
                caption, svg, _ = figures[name]
                parts.append(figure_html(name, svg, caption))

    for heading, anchor, table in (
        ("Where each method breaks", "breaks", breaks_table(found)),
        ("Every method at its own λ", "chosen", chosen_table(found, brief=True)),
    ):
        if table.rows:
            parts += [f'<h2 id="{anchor}">{heading}</h2>', table_html(table)]
    parts += [
        folded_html(replace(table, title="The same with all intervals")) for table in tables if table.name == "chosen"
    ]
    curves = [name for name in figures if name.startswith("lambda_")]
    if curves:
        parts.append('<h2 id="curves">Over λ</h2>')
        figure(*curves)
    heat = [name for name in figures if name.startswith("heat_")]
    if heat:
        parts.append('<h2 id="tasks">One λ a task</h2>')
        figure(*heat)
    parts += [folded_html(table) for table in tables if table.name.startswith("grid_")]
    if "pareto" in figures or "critical_difference" in figures:
        parts.append('<h2 id="fronts">Perplexity against scores, and ranks</h2>')
        figure("pareto", "critical_difference")
    parts += [chips_html(found.claims), claims_html(found.claims)]
    parts.append('<h2 id="points">Every point</h2>')
    parts += [folded_html(table) for table in tables if table.name.startswith("points_")]
    parts += [folded_html(table) for table in tables if table.name.startswith("chosen_")]
    if "similarity" in by_name:
        parts.append('<h2 id="layers">Layers</h2>')
        figure("similarity")
        parts.append(folded_html(by_name["similarity"]))
    parts += [_methods(found), provenance_html(found.meta)]
    return page(title, "\n".join(parts))


def _header(found: SweepAnalysis, title: str) -> str:
    lams = {float(lam) for curve in found.curves.values() for lam in curve.lam_P if lam == lam}
    points = max((len(curve.points) for curve in found.curves.values()), default=0)
    seeds = len(found.seeds)
    facts = [
        f"family <b>{escape(found.meta.get('family', '–'))}</b>",
        f"{len(found.merges)} merge{'s' * (len(found.merges) != 1)} × {len(found.labels())} methods",
        f"{points} λ" + (f" from {min(lams):g} to {max(lams):g}" if lams else ", one a task"),
        f"{seeds} seed{'s' * (seeds > 1)}",
        f"selection <b>{escape(found.meta.get('selection', '–'))}</b>",
    ]
    shown = "".join(f"<span>{fact}</span>" for fact in facts)
    return f"<header><h1>{escape(title)}</h1><p class='meta'>{shown}</p>{caveat_html(found.meta)}</header>"


def _methods(found: SweepAnalysis) -> str:
    seeds = len(found.seeds)
    score = "mean over the merged tasks"
    if found.objective == NORMALISED:
        score += " of the score divided by the expert’s own on the same split"
    how = (
        f"On the development split alone, by the {score}; no document of it is in the test split. Unstable "
        "points cannot be chosen; of equal ones the smallest λ is."
    )
    rows = [
        ("Choosing λ", how if found.by_development else f"λ is {found.choosing}; no score has a say in it."),
        (
            "Breaks",
            "The λ at which word perplexity passes ten times that of pre, by straight lines of its logarithm between "
            "neighbouring λ (at λ = 0 a merge is pre). Every bootstrap replicate has a crossing of its own. A point "
            "that is not finite is not interpolated to: the interval reaches back to the λ before.",
        ),
        (
            "Cost",
            "Best test score in hindsight minus that at the choice. The best of many scores is a noisy maximum: the "
            "lower end of the interval compares all points with the choice at once (Hsu’s comparisons with the "
            "best), the upper end picks the best anew in every replicate.",
        ),
        ("Intervals", f"95 %, {REPLICATES:,} resamples, with the same draws for all points, methods and pre."),
        ("Seeds", seeds_note(seeds)),
        ("Unstable", "Not finite, or over ten times pre’s perplexity on either split: marked, never averaged in."),
        (
            "Claims",
            "Those that name a λ are decided at λ = 1, where it was swept, else at the chosen λ; C6 by all points.",
        ),
    ]
    body = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in rows)
    return f'<h2 id="method">How to read this</h2><dl>{body}</dl>'
