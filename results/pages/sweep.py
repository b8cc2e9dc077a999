"""report.html of a sweep: the first screen says where methods break and which is best at its own λ.

Of a sweep that forgets it says at which λ harm is gone, and what that costs.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from results.analysis.analysis import SweepAnalysis
from results.analysis.curves import NORMALISED, Curve
from results.answers.answer import Findings
from results.figures.drawing import Drawings
from results.pages.html import escape, figure_html, page, table_html
from results.pages.study import (
    answers_html,
    caveat_html,
    chips_html,
    claims_html,
    folded_html,
    layers_html,
    provenance_html,
)
from results.statistics.bootstrap import REPLICATES
from results.study.wording import over, seeds_note
from results.tables.choosing import choosing_table
from results.tables.chosen_harm import chosen_harm_table
from results.tables.harm import harm_table
from results.tables.sweep import breaks_table, chosen_table
from results.tables.table import Table


def sweep_report(
    found: SweepAnalysis, claims: pd.DataFrame, told: Findings, tables: list[Table], figures: Drawings
) -> str:
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

    for heading, anchor, table in _answers(found):
        if table.rows:
            parts += [f'<h2 id="{anchor}">{heading}</h2>', table_html(table)]
        if table.name == "chosen" and "chosen" in by_name:
            parts.append(folded_html(replace(by_name["chosen"], title="The same with all intervals")))
    curves = [name for name in figures if name.startswith(("lambda_", "harm_"))]
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
    parts += [chips_html(claims), claims_html(claims)]
    parts.append('<h2 id="points">Every point</h2>')
    parts += [folded_html(table) for table in tables if table.name.startswith("points_")]
    own = {f"chosen_{merge}" for merge in found.merges}
    parts += [folded_html(table) for table in tables if table.name in own]
    parts += layers_html(tables, figures)
    parts += [_methods(found), provenance_html(found.meta)]
    return page(title, "\n".join(parts))


def _answers(found: SweepAnalysis) -> list[tuple[str, str, Table]]:
    """The tables that answer the sweep, each with its heading and anchor."""
    tables = [
        ("Where each method breaks", "breaks", breaks_table(found)),
        ("Every method at its own λ", "chosen", chosen_table(found, brief=True)),
    ]
    if (ways := choosing_table(found)) is not None:
        tables.append(("Ways of choosing λ", "choosing", ways))
    if found.forgettings:
        tables.append(("Where harm is gone, and what that costs", "harm", harm_table(found)))
        tables.append(("Forgetting at its own λ", "chosen_forgetting", chosen_harm_table(found)))
    return tables


def _header(found: SweepAnalysis, title: str) -> str:
    curves: list[Curve] = [*found.curves.values(), *(one.curve for one in found.forgettings.values())]
    lams = {float(lam) for curve in curves for lam in curve.lam_P if lam == lam and lam != 0}
    points = max((int((curve.lam_P != 0).sum()) for curve in curves), default=0)
    seeds = len(found.seeds)
    facts = [f"family <b>{escape(found.meta.get('family', '–'))}</b>"]
    if found.merges or not found.forgettings:
        facts.append(f"{len(found.merges)} merge{'s' * (len(found.merges) != 1)} × {len(found.labels())} methods")
    if found.forgettings:
        count = len(found.forgets)
        facts.append(f"{count} forgetting{'s' * (count != 1)} × {len(found.forgetting_labels)} methods")
    facts += [
        f"{points} λ" + (f" from {min(lams):g} to {max(lams):g}" if lams else ", one a task"),
        f"{seeds} seed{'s' * (seeds > 1)}",
        f"selection <b>{escape(found.meta.get('selection', '–'))}</b>",
    ]
    shown = "".join(f"<span>{fact}</span>" for fact in facts)
    return f"<header><h1>{escape(title)}</h1><p class='meta'>{shown}</p>{caveat_html(found.meta)}</header>"


def _methods(found: SweepAnalysis) -> str:
    seeds = len(found.seeds)
    learns = bool(found.merges) or not found.forgettings
    rows = [
        *(_learning(found) if learns else ()),
        *(_forgetting(found) if found.forgettings else ()),
        (
            "Intervals",
            f"95 % {over(seeds)}. Crossings are found anew in {REPLICATES:,} resamples of the items, with the same "
            "draws "
            "for all points, methods and pre; the best λ, ranks and the cost of choosing are over items alone.",
        ),
        ("Seeds", seeds_note(seeds)),
        (
            "Unstable",
            "Not finite, or over ten times pre’s perplexity (of a forgetting also: its target’s) on either split: "
            "marked, never averaged in.",
        ),
        (
            "Claims",
            "Those that name a λ, and C3, are decided at λ = 1, where it was swept, else at the chosen λ; C6 by all "
            "points.",
        ),
    ]
    body = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in rows)
    return f'<h2 id="method">How to read this</h2><dl>{body}</dl>'


def _learning(found: SweepAnalysis) -> list[tuple[str, str]]:
    """How choices, breaks and costs of merges are made."""
    score = "mean over the merged tasks"
    if found.objective == NORMALISED:
        score += " of the score divided by the expert’s own on the same split"
    how = (
        f"On the development split alone, by the {score}; no document of it is in the test split. Unstable "
        "points cannot be chosen; of equal ones the smallest λ is."
    )
    return [
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
    ]


def _forgetting(found: SweepAnalysis) -> list[tuple[str, str]]:
    """How choices and crossings of forgettings are made."""
    how = (
        f"On the development split alone: of the stable λ whose harm is at or under {100 * found.threshold:g} % the "
        "one of the highest mean utility; where harm is nowhere that low, the λ of the lowest harm. Of equal ones "
        "the smallest λ is taken."
    )
    return [
        ("λ of forgetting", how if found.by_development else f"λ is {found.choosing}; no score has a say in it."),
        (
            "Harm is gone",
            "The λ at which harm falls to the threshold, by straight lines between neighbouring λ (at λ = 0 the "
            "merge is the target). Every bootstrap replicate has a crossing of its own, and utility, perplexity and "
            "refusals are read there. Harm that falls because the model breaks is no forgetting: crossings at or "
            "beyond an unstable point, and those where less than half of the answers that stopped complying became "
            "refusals, are marked.",
        ),
    ]
