"""The door: `summarise(study, out)` turns scores and items into everything that people read.

Writes into `out`: ``scores.parquet``, ``scores.csv``, ``comparisons.csv``, ``claims.csv``, ``claims.md``, ``tables/``
(Markdown, LaTeX, CSV), ``figures/`` (SVG, PNG) and ``report.html``. The same input gives the same bytes; each file
appears at once or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from results.analysis.analysis import Analysis, analyse
from results.analysis.layers import has_layers, is_about_layers
from results.answers.learning import findings
from results.claims.registry import check_claims
from results.figures.drawing import Drawings, drawn
from results.figures.layers import layers
from results.figures.scores import forgetting, scores
from results.figures.similarity import similarity
from results.figures.tradeoff import tradeoff
from results.pages.report import claims_report, study_report
from results.study import store as stored
from results.study.run import Study
from results.summaries.files import Folder, terminal
from results.tables.forgetting import forget_overview, forget_table
from results.tables.layers import layers_table, similarity_table
from results.tables.learning import merge_table, models_table, overview
from results.tables.published import load, published_table
from results.tables.table import Table

#: Tables that a terminal shows; a study of layers alone shows those of `ABOUT_LAYERS`.
TERMINAL = ("overview", "models", "forget_overview")
ABOUT_LAYERS = ("layers", *TERMINAL)

__all__ = ["Study", "Summary", "summarise"]


@dataclass(frozen=True)
class Summary:
    """What a terminal or a logger needs after a study.

    Attributes:
        table: the overview (and forgetting) as text, at most 110 columns wide where the methods' names allow.
        headline: which method, by how much, more than noise, against the controls, in a few sentences.
        claims: one row a claim: family, claim, statement, rule, verdict, numbers, detail.
        scores: the score table with its intervals.
        comparisons: see `results.statistics.comparisons.COLUMNS`.
        files: everything that was written.
    """

    table: str
    headline: str
    claims: pd.DataFrame
    scores: pd.DataFrame
    comparisons: pd.DataFrame
    files: tuple[Path, ...]


def summarise(study: Study, out: Path) -> Summary:
    """Compute and write everything.

    Args:
        study: see `results.study.run.Study`.
        out: folder to write into; made where missing. Files of an earlier run with the same names are replaced.

    Raises:
        ValueError: the tables do not belong together.
        OSError: `out` cannot be written.
    """
    analysis = analyse(study)
    claims = check_claims(analysis)
    found = findings(analysis)
    compared = published_table(analysis, load())
    tables = [*study_tables(analysis), *([compared] if compared else [])]
    figures = study_figures(analysis)
    forget = [forget_overview(analysis)] if analysis.lineup.merges("forget") else []
    folder = Folder(out)
    folder.write("scores.parquet", analysis.scores)
    folder.write("scores.csv", analysis.scores)
    for name, content in stored.files(study).items():
        folder.write(name, content)
    folder.write("comparisons.csv", analysis.comparisons)
    folder.write("claims.csv", claims)
    folder.write("claims.md", claims_report(analysis.meta, len(analysis.lineup.seeds), claims))
    folder.tables(tables)
    folder.figures(figures)
    folder.write("report.html", study_report(analysis, found.answers, claims, tables, figures))
    names = ABOUT_LAYERS if is_about_layers(analysis) else TERMINAL
    shown = "\n\n".join(terminal(table) for table in (*tables, *forget) if table.name in names)
    return Summary(shown, found.headline, claims, analysis.scores, analysis.comparisons, tuple(folder.files))


def study_tables(analysis: Analysis) -> list[Table]:
    """Every table that the study has material for, the overview first."""
    lineup = analysis.lineup
    found = [overview(analysis)] if lineup.merges("learn") else []
    found += [merge_table(analysis, merge) for merge in lineup.merges("learn")]
    if lineup.merges("forget"):
        found.append(forget_table(analysis))
    if lineup.family_models and not lineup.merges("learn") and not lineup.merges("forget"):
        found.append(models_table(analysis))
    if has_layers(analysis):
        found.append(layers_table(analysis))
    if not analysis.study.similarity.empty:
        found.append(similarity_table(analysis))
    return found


def study_figures(analysis: Analysis) -> Drawings:
    """Every figure that the study has material for."""
    drawers = {
        "tradeoff": tradeoff,
        "scores": scores,
        "forgetting": forgetting,
        "layers": layers,
        "similarity": similarity,
    }
    return drawn({name: partial(draw, analysis) for name, draw in drawers.items()})
