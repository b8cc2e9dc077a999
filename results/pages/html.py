"""The look of the report: one HTML page without any outside resource."""

from __future__ import annotations

import re

from lata.names import for_html as escape
from results.tables.table import Cell, Table

__all__ = ["chip", "escape", "figure_html", "page", "table_html"]

_CSS = """
:root { --paper:#ffffff; --raised:#f6f8fa; --ink:#1f2328; --muted:#59636e; --rule:#d4d9df; --accent:#0072b2;
  --good:#116329; --good-bg:#dafbe1; --bad:#a40e26; --bad-bg:#ffebe9; --open:#7d4e00; --open-bg:#fff8c5; }
@media (prefers-color-scheme: dark) { :root { --paper:#14181d; --raised:#1d232a; --ink:#e6edf3; --muted:#a0aab5;
  --rule:#38414b; --accent:#6cb6ff; --good:#7ee787; --good-bg:#12351f; --bad:#ffa198; --bad-bg:#4a1518;
  --open:#f2cc60; --open-bg:#3f2f05; } }
* { box-sizing:border-box }
html { -webkit-text-size-adjust:100% }
body { margin:0; background:var(--paper); color:var(--ink); line-height:1.5;
  font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif }
main { max-width:1160px; margin:0 auto; padding:2rem 1.25rem 4rem }
h1 { font-size:1.75rem; line-height:1.2; margin:0 0 .35rem }
h2 { font-size:1.3rem; margin:2.8rem 0 .6rem; padding-top:.4rem; border-top:1px solid var(--rule) }
h3 { font-size:1.02rem; margin:1.6rem 0 .4rem }
p { margin:.5rem 0; max-width:85ch } a { color:var(--accent) }
code, pre { font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace; font-size:.86em }
pre { background:var(--raised); padding:.8rem 1rem; overflow-x:auto; border-radius:6px; white-space:pre-wrap }
.meta, .note, figcaption, caption { color:var(--muted); font-size:.88rem }
.note { max-width:100ch; margin:.25rem 0 } figcaption { max-width:100ch }
.meta span + span::before { content:"·"; margin:0 .5em }
.caveat { background:var(--open-bg); color:var(--open); padding:.6rem .9rem; border-radius:6px; margin:1rem 0;
  max-width:none; font-size:.94rem }
.answers { display:grid; grid-template-columns:repeat(auto-fit,minmax(215px,1fr)); gap:.9rem; margin:1.1rem 0 }
.answer { background:var(--raised); border-radius:8px; padding:.9rem 1rem 1rem; border-top:4px solid var(--rule) }
.answer.good { border-top-color:var(--good) } .answer.bad { border-top-color:var(--bad) }
.answer h2 { all:unset; display:block; color:var(--muted); font-size:.88rem }
.answer .short { font-size:1.28rem; line-height:1.25; font-weight:650; margin:.25rem 0 .45rem;
  overflow-wrap:anywhere }
.answer p { font-size:.9rem; margin:0; overflow-wrap:anywhere }
.verdicts { display:flex; flex-wrap:wrap; gap:.45rem; padding:0; margin:.8rem 0; list-style:none }
.chip { display:inline-block; padding:.12rem .6rem; border-radius:99px; font-size:.84rem; font-weight:600;
  background:var(--raised); color:var(--muted); white-space:nowrap; text-decoration:none }
.chip.supported { background:var(--good-bg); color:var(--good) }
.chip.not-supported { background:var(--bad-bg); color:var(--bad) }
.chip.inconclusive { background:var(--open-bg); color:var(--open) }
.scroll { overflow-x:auto; margin:.6rem 0 } .scroll:focus-visible { outline:2px solid var(--accent) }
table { border-collapse:collapse; font-size:.87rem; font-variant-numeric:tabular-nums; min-width:100% }
caption { text-align:left; padding:.2rem 0 .5rem; color:var(--ink); font-weight:600; font-size:.95rem }
th, td { padding:.22rem .55rem; text-align:right; white-space:nowrap; border-bottom:1px solid var(--rule) }
thead th { vertical-align:bottom; font-weight:600; color:var(--muted); white-space:normal }
thead th.corner { text-align:left } thead th.group { text-align:center; color:var(--ink) }
tbody th { text-align:left; font-weight:500; position:sticky; left:0; background:var(--paper) }
tbody tr:hover > * { background:var(--raised) }
tr.section th { color:var(--muted); font-size:.8rem; padding-top:.75rem; font-weight:600 }
td.aside { color:var(--muted); font-size:.8em; text-align:left; padding-left:.1rem; white-space:nowrap }
td b { font-weight:700 } th[colspan="2"]:not(.group) { text-align:center }
td.first, th.first { border-left:1px solid var(--rule) }
td .m { display:inline-block; min-width:.75em; text-align:left }
figure { margin:1rem 0; overflow-x:auto } figure svg { display:block; width:100%; height:auto; max-width:100% }
details { border:1px solid var(--rule); border-radius:6px; padding:.15rem .9rem; margin:.6rem 0 }
details[open] { padding-bottom:.8rem }
details caption { position:absolute; width:1px; height:1px; overflow:hidden; clip-path:inset(50%) }
summary { cursor:pointer; padding:.45rem 0; font-weight:600 }
.claim { border-left:4px solid var(--rule); padding:.1rem 0 .1rem .9rem; margin:1rem 0 }
.claim h3 { margin:0 } .claim p { margin:.25rem 0 } .claim details { border:0; padding:0; margin:.2rem 0 }
.claim summary { color:var(--muted); font-weight:500; font-size:.88rem; padding:.1rem 0 }
.claim ul { margin:.2rem 0; padding-left:1.2rem; font-size:.86rem }
dl { display:grid; grid-template-columns:max-content 1fr; gap:.2rem 1rem; font-size:.92rem }
dt { font-weight:600 } dd { margin:0 }
@media print { @page { margin:14mm } body { font-size:10.5pt } main { max-width:none; padding:0 } .answer, figure, tr
  { break-inside:avoid } h2, h3, caption { break-after:avoid } .scroll { overflow:visible }
  details:not([open])::details-content { content-visibility:visible; block-size:auto } table { font-size:7.5pt } }
@media (max-width:620px) { main { padding:1.2rem .8rem 3rem } h1 { font-size:1.4rem } figure svg { min-width:640px }
  dl { grid-template-columns:1fr } }
"""

#: Colours of the figures that follow the page's theme when a figure stands inside it.
_THEMED = {
    "#1f2328": "var(--ink)",
    "#636c76": "var(--muted)",
    "#d4d9df": "var(--rule)",
    "#ffffff": "var(--paper)",
    "#f4f5f7": "var(--raised)",
}


def page(title: str, body: str) -> str:
    """The whole document."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def chip(verdict: str, prefix: str = "") -> str:
    """A verdict as a coloured word with a sign, so that colour is not needed to read it."""
    sign = {"supported": "✓", "not supported": "✗", "inconclusive": "?"}.get(verdict, "–")
    return f'<span class="chip {verdict.replace(" ", "-")}">{escape(prefix)}{sign} {escape(verdict)}</span>'


def table_html(table: Table) -> str:
    """A table with caption, header cells and sections, in a box of its own that scrolls where it is too wide."""
    wide = [2 if any(row.cells[i].aside for row in table.rows) else 1 for i in range(len(table.columns))]
    starts, at, groups = set(), 0, ""
    for group, count in table.groups:
        starts.add(at)
        span = sum(wide[at : at + count])
        groups += f'<th class="group first" colspan="{span}" scope="colgroup">{escape(group)}</th>'
        at += count
    grouped = any(column.group for column in table.columns)
    first = [' class="first"' if grouped and i in starts else "" for i in range(len(wide))]
    titles = "".join(
        f'<th scope="col" colspan="{wide[i]}"{first[i]}>{escape(column.title)}</th>'
        for i, column in enumerate(table.columns)
    )
    head = f"<tr><td></td>{groups}</tr>" if grouped else ""
    head += f'<tr><th scope="col" class="corner">{escape(table.corner)}</th>{titles}</tr>'
    body = []
    for section, rows in table.sections:
        if section:
            body.append(
                f'<tr class="section"><th scope="rowgroup" colspan="{sum(wide) + 1}">{escape(section)}</th></tr>'
            )
        for row in rows:
            cells = "".join(_cell(cell, wide[i], first[i]) for i, cell in enumerate(row.cells))
            body.append(f'<tr><th scope="row">{escape(row.label)}</th>{cells}</tr>')
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in table.notes)
    label = escape(table.title)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table><caption>{label}</caption>'
        f"<thead>{head}</thead><tbody>{''.join(body)}</tbody></table></div>{notes}"
    )


def _cell(cell: Cell, wide: int, first: str) -> str:
    text = f"<b>{escape(cell.text)}</b>" if cell.best else escape(cell.text)
    out = f'<td{first}>{text}<span class="m">{escape(cell.marks)}</span></td>'
    return out + f'<td class="aside">{escape(cell.aside)}</td>' if wide == 2 else out


def figure_html(name: str, svg: bytes, caption: str) -> str:
    """A figure inside the page: theme colours, identifiers of its own, a text alternative."""
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\b(id|xlink:href|href)="(#?)', rf'\1="\2{name}-', text)
    text = text.replace("url(#", f"url(#{name}-")
    for colour, variable in _THEMED.items():
        text = text.replace(colour, variable)
    label = f'role="img" aria-label="{escape(caption)}"'
    text = re.sub(r'^<svg [^>]*?(viewBox="[^"]*")[^>]*>', lambda found: f"<svg {found[1]} {label}>", text)
    text = text.replace("xlink:href", "href")
    return f"<figure>{text.strip()}<figcaption>{escape(caption)}</figcaption></figure>"
