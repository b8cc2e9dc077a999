"""The door: `compare_runs(sweep, baseline, out)` turns one or several runs into an answer to "which method is best?".

Writes into `out`: ``comparisons.csv``, ``ranks.csv``, ``pareto.csv``, ``hypervolume.csv`` and ``matched.csv`` (the
last three where there are several λ), ``tables/``, ``figures/`` and ``report.html``. The same input gives the same
bytes.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from results.analysis.comparison import Comparison, compared
from results.analysis.matched import Match
from results.analysis.pareto import Curves, Volume, front
from results.answers.comparison import answers
from results.figures.critical_difference import critical_difference_diagram
from results.figures.drawing import Drawings, drawn
from results.figures.pareto import pareto_fronts
from results.pages.report import comparison_report
from results.statistics.estimates import rounded
from results.statistics.inference import Contrast
from results.statistics.ranks import Ranking
from results.study.sweep import Sweep
from results.summaries.files import WIDTH, Folder, terminal
from results.tables.comparison import compared_tables, methods_table


@dataclass(frozen=True)
class ComparedSummary:
    """What a terminal needs after a comparison.

    Attributes:
        headline: the answers, a question and a sentence a line.
        table: all methods at a glance, as text.
        rows: see `results.analysis.outcomes.COLUMNS`.
        files: everything that was written.
    """

    headline: str
    table: str
    rows: pd.DataFrame
    files: tuple[Path, ...]


def compare_runs(sweep: Sweep, baseline: str, out: Path, every_lambda: bool = False) -> ComparedSummary:
    """Compute and write everything.

    Args:
        sweep: one run (`store.load`), or several as one (`union.pool`).
        baseline: the method that the others are compared with.
        out: folder to write into; made where missing.
        every_lambda: also compare at each λ that the baseline shares with another method.

    Raises:
        ValueError: unknown baseline, nothing to compare, or tables that do not belong together.
        OSError: `out` cannot be written.
    """
    made = compared(sweep, baseline, every_lambda)
    found = answers(made)
    tables = compared_tables(made)
    figures = compared_figures(made)
    folder = Folder(out)
    folder.write("comparisons.csv", _rounded(made.rows))
    if made.ranking is not None:
        folder.write("ranks.csv", _rounded(_ranks(made.ranking)))
    if made.curves:
        folder.write("pareto.csv", _rounded(_points(made.curves)))
        folder.write("hypervolume.csv", _rounded(_flat(made.volumes)))
    if made.matches:
        folder.write("matched.csv", _rounded(_flat(made.matches)))
    folder.tables(tables)
    folder.figures(figures)
    folder.write("report.html", comparison_report(made, found, tables, figures))
    lines = [textwrap.fill(f"{answer.question} {answer.text}", WIDTH, subsequent_indent="  ") for answer in found]
    shown = terminal(methods_table(made, brief=True))
    return ComparedSummary("\n".join(lines), shown, made.rows, tuple(folder.files))


def compared_figures(made: Comparison) -> Drawings:
    """Every figure that the comparison has material for."""
    return drawn(
        {
            "pareto": lambda: pareto_fronts(made.curves, made.lineup),
            "critical_difference": lambda: critical_difference_diagram(made.ranking, made.lineup),
        }
    )


def _rounded(frame: pd.DataFrame) -> pd.DataFrame:
    """Ten significant digits in every column of numbers, as in all other tables."""
    numbers = frame.select_dtypes("float").columns
    return frame.assign(**{name: rounded(frame[name].to_numpy(np.float64)) for name in numbers})


def _flat(found: Sequence[Match] | Sequence[Volume]) -> pd.DataFrame:
    """One row each, the difference from the baseline in columns of its own (empty where there is none)."""
    names = [field.name for field in fields(Contrast) if field.name not in ("names", "statistic")]
    rows = []
    for one in found:
        gap = vars(one.gap) if one.gap else {}
        own = {name: value for name, value in vars(one).items() if name != "gap"}
        rows.append({**own, **{f"difference_{name}".replace("_value", ""): gap.get(name, np.nan) for name in names}})
    return pd.DataFrame(rows)


def _ranks(found: Ranking) -> pd.DataFrame:
    """One row a method: mean rank with interval, then its rank in each cell."""
    columns = {"label": found.labels, "mean_rank": found.mean_K, "ci_low": found.low_K, "ci_high": found.high_K}
    cells = {f"{merge} {task}": found.ranks_KN[:, place] for place, (merge, task) in enumerate(found.cells)}
    tests = {"critical_difference": found.critical}
    if found.friedman is not None:
        tests |= {"friedman_f": found.friedman.f, "friedman_p": found.friedman.p}
    return pd.DataFrame({**columns, **cells}).assign(**tests)


def _points(curves: Curves) -> pd.DataFrame:
    """One row a point of every curve: where it stands, and whether it is on the front."""
    rows = []
    for (merge, label), curve in curves.items():
        made = front(curve)
        for place, point in enumerate(made.points):
            known = curve.distance_PS[place][curve.present_PS[place]]
            rows.append(
                {
                    "merge": merge,
                    "label": label,
                    "point": point,
                    "lambda": float(curve.lam_P[place]),
                    "distance": float(known.mean()) if len(known) else float("nan"),
                    "perplexity": float(made.ppl_P[place]),
                    "score": float(made.score_P[place]),
                    "front": bool(made.front_P[place]),
                    "unstable": bool((curve.present_PS[place] & ~curve.complete_PS[place]).any()),
                }
            )
    return pd.DataFrame(rows)
