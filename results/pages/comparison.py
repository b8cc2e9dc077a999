"""report.html of a comparison: the first screen answers; everything else stands below in the order one asks."""

from __future__ import annotations

import json

from results.analysis.comparison import Comparison
from results.answers.answer import Answer
from results.figures.drawing import Drawings
from results.pages.html import escape, figure_html, page, table_html
from results.pages.study import answers_html, caveat_html, folded_html
from results.statistics.bootstrap import REPLICATES
from results.study.wording import listed, seeds_note
from results.tables.table import Table


def compared_report(made: Comparison, found: tuple[Answer, ...], tables: list[Table], figures: Drawings) -> str:
    """The page as one string of HTML, with everything it needs inside."""
    by_name = {table.name: table for table in tables}
    title = f"Which method is best, against {made.baseline}?"
    parts = [_header(made, title), answers_html(found), table_html(by_name["methods"])]

    def section(name: str, heading: str, figure: str, table: str) -> None:
        if table not in by_name and figure not in figures:
            return
        parts.append(f'<h2 id="{name}">{escape(heading)}</h2>')
        if figure in figures:
            caption, svg, _ = figures[figure]
            parts.append(figure_html(figure, svg, caption))
        if table in by_name:
            parts.append(folded_html(by_name[table]) if figure in figures else table_html(by_name[table]))

    section("pareto", "Perplexity against score over λ", "pareto", "hypervolume")
    section("distance", "At equal distance from the model before merging", "", "matched")
    if made.curves is None:
        parts += ['<h2 id="pareto">Over λ</h2>', f"<p>{escape(made.absent['curves'])}</p>"]
    section("ranks", "What ranks can tell apart", "critical_difference", "ranks")
    parts.append('<h2 id="merges">Each merge</h2>')
    merges = [table for table in tables if table.name.startswith("merge_")]
    parts += [folded_html(table, is_open=index == 0) for index, table in enumerate(merges)]
    parts += [_reading(made), _provenance(made)]
    return page(title, "\n".join(parts))


def _header(made: Comparison, title: str) -> str:
    counts = [
        (len(made.merges), "merge"),
        (len(made.labels), "method"),
        (len(made.lineup.seeds), "seed"),
        (max((measure.n for measure in made.chosen.measures.values()), default=0), "item"),
    ]
    facts = [f"family <b>{escape(made.meta.get('family', '–'))}</b>", escape(made.meta.get("title", ""))]
    facts += [f"{count} {name}{'s' * (count != 1)}{' a task' * (name == 'item')}" for count, name in counts]
    facts.append(f"λ: {escape(made.meta.get('selection', 'fixed'))}")
    spans = "".join(f"<span>{fact}</span>" for fact in facts if fact)
    out = f"<header><h1>{escape(title)}</h1><p class='meta'>{spans}</p>"
    return out + caveat_html(made.meta) + "</header>"


def _reading(made: Comparison) -> str:
    rows = [
        (
            "Best",
            "The highest mean over all merged-task scores of the merges that every method has. Controls cannot be "
            "best; nor can a method that is unstable in one of the merges.",
        ),
        (
            "Intervals",
            f"95 %, paired. {seeds_note(len(made.lineup.seeds))} Intervals of ranks are over items alone "
            f"({REPLICATES:,} resamples).",
        ),
        (
            "Wins",
            f"Each method against {made.baseline} on perplexity and the merged tasks of every merge, t tests (exact "
            "McNemar for one seed and independent right-or-wrong items), one Holm correction over them all. This "
            "family was named when this command was "
            "given, not when the study was planned: it is exploratory but for the rows that a study names beforehand "
            "(each LATA schedule against ta, ties and dare).",
        ),
        (
            "Ranks",
            "1 for the best in each merge and task (seeds averaged first), unstable last; Friedman’s test and "
            "Nemenyi’s critical difference after Demšar (JMLR 7, 2006). They take merges and tasks for independent "
            "draws; merges that share an expert are not quite, so read them as too sharp rather than too blunt.",
        ),
        (
            "Hypervolume",
            "Perplexity on a log scale from pre’s to ten times that, score from 0 to 1; the share of that box under "
            "a method’s front over λ. λ = 0, which is pre, belongs to every front, an unstable point to none.",
        ),
        (
            "Equal distance",
            "‖merged − pre‖₂. Between the λ of a method its scores are interpolated over distance on a line, "
            "perplexity by its logarithm, within each seed; compared is what both reach. A gain that goes away here "
            "came from moving less far.",
        ),
        (
            "Unstable",
            "Not finite, or a perplexity over ten times that of the model before merging: never averaged in.",
        ),
    ]
    body = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in rows)
    return f'<h2 id="method">How to read this</h2><dl>{body}</dl>'


def _provenance(made: Comparison) -> str:
    given = {name: value for name, value in made.meta.items() if name != "title"}
    text = json.dumps(given, indent=2, default=str, ensure_ascii=False)
    commands = listed([f"<code>{escape(line)}</code>" for line in str(made.meta.get("command", "–")).split(" + ")])
    return (
        f"<h2>Provenance</h2><p>Made from runs of {commands}. Versions, machines and digests stand in each run’s "
        "<code>provenance.json</code>.</p>"
        f'<details id="provenance"><summary>What decided these runs</summary><pre>{escape(text)}</pre></details>'
    )
