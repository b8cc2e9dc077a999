"""The door: `summarise(study, out)` turns scores and items into everything that people read.

Writes into `out`: ``scores.parquet``, ``scores.csv``, ``comparisons.csv``, ``claims.csv``, ``claims.md``, ``tables/``
(Markdown, LaTeX, CSV), ``figures/`` (SVG, PNG) and ``report.html``. The same input gives the same bytes; each file
appears at once or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from results import stored
from results.analysis import analyse
from results.claims import check_claims, claims_markdown
from results.figures import all_figures
from results.files import Folder, terminal
from results.findings import findings
from results.inputs import Study
from results.published import load, published_table
from results.report import report
from results.tables import all_tables, forget_overview

#: Tables that a terminal shows.
TERMINAL = ("overview", "models", "forget_overview")

__all__ = ["Study", "Summary", "summarise"]


@dataclass(frozen=True)
class Summary:
    """What a terminal or a logger needs after a study.

    Attributes:
        table: the overview (and forgetting) as text, at most 110 columns wide where the methods' names allow.
        headline: which method, by how much, more than noise, against the controls, in a few sentences.
        claims: one row a claim: family, claim, statement, rule, verdict, numbers, detail.
        scores: the score table with its intervals.
        comparisons: see `results.compare.COLUMNS`.
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
        study: see `results.inputs.Study`.
        out: folder to write into; made where missing. Files of an earlier run with the same names are replaced.

    Raises:
        ValueError: the tables do not belong together.
        OSError: `out` cannot be written.
    """
    analysis = analyse(study)
    claims = check_claims(analysis)
    found = findings(analysis)
    compared = published_table(analysis, load())
    tables = [*all_tables(analysis), *([compared] if compared else [])]
    figures = all_figures(analysis)
    forget = [forget_overview(analysis)] if analysis.lineup.merges("forget") else []
    folder = Folder(out)
    folder.write("scores.parquet", analysis.scores)
    folder.write("scores.csv", analysis.scores)
    for name, content in stored.files(study).items():
        folder.write(name, content)
    folder.write("comparisons.csv", analysis.comparisons)
    folder.write("claims.csv", claims)
    folder.write("claims.md", claims_markdown(analysis, claims))
    folder.tables(tables)
    folder.figures(figures)
    folder.write("report.html", report(analysis, found, claims, tables, figures))
    shown = "\n\n".join(terminal(table) for table in (*tables, *forget) if table.name in TERMINAL)
    return Summary(shown, found.headline, claims, analysis.scores, analysis.comparisons, tuple(folder.files))
