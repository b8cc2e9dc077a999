"""The door: `summarise(study, out)` turns scores and items into everything that people read.

Writes into `out`: ``scores.parquet``, ``scores.csv``, ``comparisons.csv``, ``claims.csv``, ``claims.md``, ``tables/``
(Markdown, LaTeX, CSV), ``figures/`` (SVG, PNG) and ``report.html``. The same input gives the same bytes; each file
appears at once or not at all.
"""

from __future__ import annotations

import io
import os
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from results.analysis import analyse
from results.claims import check_claims, claims_markdown
from results.figures import all_figures
from results.findings import findings
from results.grid import Table, to_csv, to_latex, to_markdown, to_text
from results.inputs import Study
from results.report import report
from results.tables import all_tables, forget_overview

WIDTH = 110
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
    tables = all_tables(analysis)
    figures = all_figures(analysis)
    forget = [forget_overview(analysis)] if analysis.lineup.merges("forget") else []
    out = Path(out)
    files: list[Path] = []

    def write(name: str, content: str | bytes) -> None:
        _write(out / name, content if isinstance(content, bytes) else content.encode())
        files.append(out / name)

    write("scores.parquet", _parquet(analysis.scores))
    write("scores.csv", analysis.scores.to_csv(index=False, lineterminator="\n"))
    write("comparisons.csv", analysis.comparisons.to_csv(index=False, lineterminator="\n"))
    write("claims.csv", claims.to_csv(index=False, lineterminator="\n"))
    write("claims.md", claims_markdown(analysis, claims))
    for table in tables:
        write(f"tables/{table.name}.md", to_markdown(table))
        write(f"tables/{table.name}.tex", to_latex(table))
        write(f"tables/{table.name}.csv", to_csv(table))
    for name, (_, svg, png) in figures.items():
        write(f"figures/{name}.svg", svg)
        write(f"figures/{name}.png", png)
    write("report.html", report(analysis, found, claims, tables, figures))
    shown = "\n\n".join(_terminal(table) for table in (*tables, *forget) if table.name in TERMINAL)
    return Summary(shown, found.headline, claims, analysis.scores, analysis.comparisons, tuple(files))


def _terminal(table: Table) -> str:
    notes = [textwrap.fill(note.replace("in bold", "marked >"), WIDTH) for note in table.notes]
    return "\n".join([table.title, "", to_text(table, WIDTH), *notes])


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _write(path: Path, content: bytes) -> None:
    """Write beside the target, then rename: nobody ever sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
