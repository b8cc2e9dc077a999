"""report.html: the first screen answers a reader's questions; everything else stands below in the order one asks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from results.analysis.layers import is_about_layers, layer_vectors
from results.analysis.refusals import refusal_text
from results.analysis.snapshot import Analysis
from results.answers.answer import Answer, Findings
from results.figures.drawing import Drawings
from results.pages.html import chip, escape, figure_html, page, table_html
from results.statistics.bootstrap import REPLICATES
from results.statistics.comparisons import CONFIRMATORY_BASELINES
from results.study.lineup import LATA
from results.study.run import rows_of
from results.study.wording import is_miniature, kind_of, listed, seeds_note
from results.tables.table import Table


def report(analysis: Analysis, found: Findings, claims: pd.DataFrame, tables: list[Table], figures: Drawings) -> str:
    """The page as one string of HTML, with everything it needs inside."""
    title = str(analysis.meta.get("title") or analysis.meta.get("experiment", "Study"))
    by_name = {table.name: table for table in tables}
    parts = [_header(analysis, title), answers_html(found.answers), chips_html(claims)]

    def figure(name: str) -> None:
        if name in figures:
            caption, svg, _ = figures[name]
            parts.append(figure_html(name, svg, caption))

    # A study that has neither merges nor forgettings is about its layers, where it looked at them.
    about_layers = is_about_layers(analysis)
    if about_layers:
        parts += layers_html(tables, figures, is_open=True)
    first = by_name.get("overview") or by_name.get("models")
    if first:
        parts += ['<h2 id="overview">All methods at a glance</h2>', table_html(first)]
    figure("tradeoff")

    def forgetting() -> None:
        parts.extend(['<h2 id="forgetting">Forgetting</h2>', *_refusals(analysis), table_html(by_name["forgetting"])])
        figure("forgetting")

    # A study that learns nothing is about this table.
    leads = first is None and "forgetting" in by_name
    if leads:
        forgetting()
    parts.append(claims_html(claims))
    merges = [table for table in tables if table.name.startswith("merge_")]
    if merges:
        parts.append('<h2 id="merges">Each merge in full</h2>')
        figure("scores")
        parts += [folded_html(table, is_open=index == 0) for index, table in enumerate(merges)]
    if "forgetting" in by_name and not leads:
        forgetting()
    if "published" in by_name:
        parts += ['<h2 id="published">Published numbers</h2>', table_html(by_name["published"])]
    if not about_layers:
        parts += layers_html(tables, figures)
    parts += [_methods(analysis), provenance_html(analysis.meta)]
    return page(title, "\n".join(parts))


def layers_html(tables: Sequence[Table], figures: Drawings, is_open: bool = False) -> list[str]:
    """The section on layers: statistics by granularity (open, where asked for), similarities and weights."""
    shown = [table for table in tables if table.name in ("layers", "similarity")]
    parts = ['<h2 id="layers">Layers</h2>'] * bool(shown)
    for name in ("layers", "similarity"):
        if name in figures:
            caption, svg, _ = figures[name]
            parts.append(figure_html(name, svg, caption))
    return parts + [folded_html(table, is_open=is_open and table.name == "layers") for table in shown]


def _header(analysis: Analysis, title: str) -> str:
    lineup = analysis.lineup
    n = sorted({measure.n for measure in analysis.measures.values()})
    kind = "learn" if lineup.merges("learn") or not lineup.merges("forget") else "forget"
    merges, methods = len(lineup.merges(kind)), len(lineup.labels(kind))
    what = "merge" if kind == "learn" else "forgetting"
    made = f"{merges} {what}{'s' * (merges != 1)} × {methods} method{'s' * (methods != 1)}"
    if is_about_layers(analysis):
        vectors = layer_vectors(analysis.study)
        blocks, tasks = vectors["depth"].nunique(), vectors["task"].nunique()
        made = f"{blocks} block{'s' * (blocks != 1)} × {tasks} expert{'s' * (tasks != 1)}"
    facts = [
        f"family <b>{escape(analysis.meta.get('family', '–'))}</b>",
        made,
        f"{len(lineup.seeds)} seed{'s' * (len(lineup.seeds) > 1)}",
        *(f"{most} items a task" for most in n[-1:]),
    ]
    out = f"<header><h1>{escape(title)}</h1><p class='meta'>{''.join(f'<span>{fact}</span>' for fact in facts)}</p>"
    return out + caveat_html(analysis.meta) + "</header>"


def _refusals(analysis: Analysis) -> list[str]:
    """What refusals say about the fall of harm, where they were scored."""
    text = refusal_text(analysis)
    return [f"<p>{escape(text)}</p>"] if text else []


def caveat_html(meta: Mapping[str, Any]) -> str:
    """What every page about the embedded family says first."""
    if not is_miniature(meta):
        return ""
    return (
        '<p class="caveat"><b>Miniature models, not the paper’s.</b> The family has about a million '
        "parameters and was trained on generated text; no number on this page is a number of the paper, and what "
        "holds here need not hold for large models. How the family is made, which decides how strongly its merges "
        "interfere, stands in experiments/mini/README.md.</p>"
    )


def answers_html(answers: Sequence[Answer]) -> str:
    """The questions of a reader and their answers, as cards."""
    cards = []
    for answer in answers:
        state = {True: " good", False: " bad", None: ""}[answer.good]
        cards.append(
            f'<section class="answer{state}"><h2>{escape(answer.question)}</h2>'
            f'<div class="short">{escape(answer.short)}</div><p>{escape(answer.text)}</p></section>'
        )
    return f'<div class="answers">{"".join(cards)}</div>'


def chips_html(claims: pd.DataFrame) -> str:
    """The verdicts in one line, linked to `claims_html`."""
    items = "".join(
        f'<li><a href="#{row.claim}" title="{escape(row.statement)}" style="text-decoration:none">'
        f"{chip(row.verdict, row.claim + ' ')}</a></li>"
        for row in rows_of(claims)
    )
    return f'<ul class="verdicts" aria-label="Verdicts on the claims">{items}</ul>'


def claims_html(claims: pd.DataFrame) -> str:
    """Each claim with its verdict, its rule and the numbers behind it."""
    out = ['<h2 id="claims">Claims</h2>']
    for row in rows_of(claims):
        lines = "".join(f"<li>{escape(line)}</li>" for line in str(row.detail).splitlines())
        more = f"<details><summary>numbers behind it</summary><ul>{lines}</ul></details>" if lines else ""
        out.append(
            f'<section class="claim" id="{row.claim}"><h3>{row.claim} {chip(str(row.verdict))}</h3>'
            f"<p>{escape(row.statement)}</p><p class='note'>Rule: {escape(row.rule)}</p>"
            f"<p>Found: {escape(row.numbers)}.</p>{more}</section>"
        )
    return "\n".join(out)


def folded_html(table: Table, is_open: bool = False) -> str:
    """A table that opens on a click."""
    return f"<details{' open' * is_open}><summary>{escape(table.title)}</summary>{table_html(table)}</details>"


def _methods(analysis: Analysis) -> str:
    seeds = len(analysis.lineup.seeds)
    family = int((analysis.comparisons["status"] == "confirmatory").sum()) if len(analysis.comparisons) else 0
    rows = [
        (
            "Intervals",
            "95 %. "
            + (
                "Over items: Wilson’s for rates (with an effective number of items where items belong together); "
                f"bootstrap over items for shares and over documents for perplexity ({REPLICATES:,} resamples); t "
                "for "
                "differences."
                if seeds == 1
                else "Over trainings: t on the seeds’ own values, with the error of the test items that they share."
            ),
        ),
        ("Seeds", seeds_note(seeds)),
        (
            "Confirmatory",
            f"Each of {listed(LATA)} against {listed(CONFIRMATORY_BASELINES)}, for each merge, on perplexity and the "
            f"merged tasks, whatever the baseline: {family} tests, one Holm correction. Everything else is "
            "exploratory "
            "and uncorrected.",
        ),
        (
            "Tests",
            "t on paired differences: over trainings with several seeds, over items with one; for one seed and "
            "independent right-or-wrong items exact McNemar. No test draws random numbers.",
        ),
        (
            "Controls",
            "ta_norm_matched moves exactly as far as LATA; ta_half is plain shrinkage; lata_shuffled and "
            "lata_reversed give the same weights to the wrong layers; depth_linear uses depth instead of similarity; "
            "lata_transferred takes the weights of another family’s layers at the same relative depth; a row that "
            "differs from another in outside alone shows what embeddings, head and the rest outside the blocks do.",
        ),
        (
            "Unstable",
            "Not finite, or a perplexity over ten times pre’s (of a forgetting also: its target’s): marked, never "
            "averaged in.",
        ),
    ]
    if floor := noise_text(analysis):
        rows.append(("Noise floor", floor))
    body = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in rows)
    return f'<h2 id="method">How to read this</h2><dl>{body}</dl>'


def noise_text(analysis: Analysis) -> str:
    """What is known of the noise floor, and of which tasks nothing is."""
    floors = analysis.meta.get("noise_floor") or {}
    missing = [task for task in analysis.lineup.tasks if task not in floors]
    moved = ", ".join(
        f"{task} {float(floor):.2g}" + " of its value" * (kind_of(task) == "perplexity")
        for task, floor in floors.items()
    )
    text = (
        f"Repeating an evaluation with another batch size moves scores by {moved}; a difference that is no larger is "
        "not called significant."
    ) * bool(floors)
    unknown = f"Not known for {listed(missing)}: no evaluation was repeated in other batches." * bool(missing)
    return f"{text} {unknown}".strip()


def provenance_html(meta: Mapping[str, Any]) -> str:
    """The command and the settings that made the page."""
    given = {name: value for name, value in meta.items() if name != "title"}
    text = json.dumps(given, indent=2, default=str, ensure_ascii=False)
    command = escape(meta.get("command", "–"))
    return (
        f"<h2>Provenance</h2><p>Made by <code>{command}</code>. Versions, machine, digests and times stand in "
        "<code>provenance.json</code> beside this page.</p>"
        f'<details id="provenance"><summary>What decided this study</summary><pre>{escape(text)}</pre></details>'
    )
