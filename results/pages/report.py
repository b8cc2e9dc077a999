"""The pages of a study, a sweep and a comparison, and claims.md: what the templates beside this file show.

Nothing is computed here. A page is one file of HTML with its style and figures inside, without scripts and without
network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lata.names import for_html
from lata.output.templates import render
from results.analysis.analysis import Analysis, SweepAnalysis
from results.analysis.comparison import Comparison
from results.analysis.curves import NORMALISED
from results.analysis.layers import is_about_layers
from results.analysis.refusals import refusal_text
from results.answers.answer import Answer
from results.answers.facts import comparison_facts, confirmatory_tests, noise_text, study_facts, sweep_facts
from results.figures.drawing import Drawings
from results.statistics.bootstrap import REPLICATES
from results.statistics.comparisons import CONFIRMATORY_BASELINES
from results.study.run import rows_of
from results.study.wording import is_miniature, listed, over, seeds_note
from results.tables.table import Table

_FOLDER = Path(__file__).parent

#: Colours of the figures that follow the page's theme when a figure is inside it.
_THEMED = {
    "#1f2328": "var(--ink)",
    "#636c76": "var(--muted)",
    "#d4d9df": "var(--rule)",
    "#ffffff": "var(--paper)",
    "#f4f5f7": "var(--raised)",
}


def study_report(
    analysis: Analysis, answers: Sequence[Answer], claims: pd.DataFrame, tables: Sequence[Table], figures: Drawings
) -> str:
    """report.html of a study."""
    return _page(
        "study",
        analysis.meta,
        title=analysis.meta.get("title") or analysis.meta.get("experiment", "Study"),
        facts=study_facts(analysis),
        answers=answers,
        claims=list(rows_of(claims)),
        tables=tables,
        figures=figures,
        seeds=len(analysis.lineup.seeds),
        about_layers=is_about_layers(analysis),
        refusals=refusal_text(analysis),
        lata=listed(analysis.lineup.of_group("lata")),
        rivals=listed(CONFIRMATORY_BASELINES),
        confirmatory=confirmatory_tests(analysis),
        noise=noise_text(analysis),
    )


def sweep_report(
    sweep: SweepAnalysis,
    answers: Sequence[Answer],
    claims: pd.DataFrame,
    tables: Sequence[Table],
    figures: Drawings,
    chosen: Table,
) -> str:
    """report.html of a sweep; `chosen` is the table of that name without its intervals."""
    return _page(
        "sweep",
        sweep.meta,
        title=sweep.meta.get("title") or sweep.meta.get("experiment", "Sweep"),
        facts=sweep_facts(sweep),
        answers=answers,
        claims=list(rows_of(claims)),
        tables=tables,
        figures=figures,
        seeds=len(sweep.seeds),
        chosen=chosen,
        merges=sweep.merges,
        learns=bool(sweep.merges) or not sweep.forgettings,
        forgets=bool(sweep.forgettings),
        by_development=sweep.by_development,
        choosing=sweep.choosing,
        normalised=sweep.objective == NORMALISED,
        threshold=f"{100 * sweep.threshold:g}",
        over=over(len(sweep.seeds)),
    )


def comparison_report(
    comparison: Comparison, answers: Sequence[Answer], tables: Sequence[Table], figures: Drawings
) -> str:
    """report.html of a comparison."""
    return _page(
        "comparison",
        comparison.meta,
        title=f"Which method is best, against {comparison.baseline}?",
        facts=comparison_facts(comparison),
        answers=answers,
        tables=tables,
        figures=figures,
        seeds=len(comparison.lineup.seeds),
        baseline=comparison.baseline,
        no_curves="" if comparison.curves else comparison.absent.get("curves", ""),
        commands=str(comparison.meta.get("command", "–")).split(" + "),
    )


def claims_report(meta: Mapping[str, Any], seeds: int, claims: pd.DataFrame) -> str:
    """claims.md: a table of verdicts, then each claim with its rule and the numbers behind it."""
    text = render(
        _FOLDER / "claims.md.j2",
        family=meta.get("family", ""),
        miniature=is_miniature(meta),
        seeds_note=seeds_note(seeds),
        claims=list(rows_of(claims)),
    )
    return text.rstrip() + "\n"


def _page(
    name: str, meta: Mapping[str, Any], tables: Sequence[Table], figures: Drawings, seeds: int, **values: Any
) -> str:
    """A page with what all have: the family, the settings, tables and figures by name."""
    settings = {key: value for key, value in meta.items() if key != "title"}
    return render(
        _FOLDER / f"{name}.html.j2",
        **values,
        sections=[],
        family=meta.get("family", "–"),
        miniature=is_miniature(meta),
        tables={table.name: table for table in tables},
        figures=_inside(figures),
        seeds=seeds,
        seeds_note=seeds_note(seeds),
        replicates=f"{REPLICATES:,}",
        command=meta.get("command", "–"),
        provenance=json.dumps(settings, indent=2, default=str, ensure_ascii=False),
    )


def _inside(figures: Drawings) -> dict[str, dict[str, Any]]:
    """Figures as parts of a page: colours of its theme, identifiers of their own, a text alternative."""
    from markupsafe import Markup

    parts = {}
    for number, (name, (caption, svg, _)) in enumerate(figures.items()):
        text = svg.decode()
        text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
        text = re.sub(r'\b(id|xlink:href|href)="(#?)', rf'\1="\2f{number}-', text)
        text = text.replace("url(#", f"url(#f{number}-").replace("xlink:href", "href")
        for colour, variable in _THEMED.items():
            text = text.replace(colour, variable)
        opening = re.match(r'<svg [^>]*?width="([^"]*)"[^>]*?viewBox="([^"]*)"[^>]*>', text)
        assert opening, name
        width, box = opening.groups()
        described = f'role="img" aria-label="{for_html(caption)}"'
        text = f'<svg viewBox="{box}" style="max-width:{width}" {described}>{text[opening.end() :]}'
        parts[name] = {"caption": caption, "svg": Markup(text.strip())}
    return parts
