"""Names that users and strangers choose, made safe for where they are written: one function a target.

Names of tasks, merges, labels and folders come from configurations, from checkpoints and from the runs of others.
A harmless name stays as it is everywhere.
"""

from __future__ import annotations

import hashlib
import html
import os
import re

#: What the rest of a line cannot be trusted after: control characters, line separators, changes of direction.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")

#: What a spreadsheet takes for a formula.
_FORMULA = ("=", "+", "-", "@")

#: What begins HTML, a code span, a fence, a link or a picture, or ends a table's cell, and the backslash itself.
_MARKDOWN = re.compile(r"\\|\||\*|`|~(?=~)|<(?=[A-Za-z/!?])|(?<=\])[(\[]")

_LATEX = {
    "\\": r"\textbackslash{}",
    **{c: "\\" + c for c in "&%$#_{}"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$", "–": "--", "±": r"$\pm$", "≤": r"$\leq$"},
    **{"°": r"$^{\circ}$", "†": r"$^{\dagger}$", "‡": r"$^{\ddagger}$", "*": r"$^{*}$"},
    **{"×": r"$\times$", "λ": r"$\lambda$"},
    **{
        "θ": r"$\theta$",
        "‖": r"$\Vert$",
        "ρ": r"$\rho$",
        "τ": r"$\tau$",
        "²": r"$^2$",
        "α": r"$\alpha$",
        "“": "``",
        "”": "''",
        "’": "'",
        "<": "$<$",
        ">": "$>$",
        "≥": r"$\geq$",
    },
}


def for_line(text: str) -> str:
    """For a terminal, a log, a comment: one line without control characters."""
    return _UNPRINTABLE.sub(" ", text)


def for_file(name: str, most: int = 200) -> str:
    """For one part of a path: no separator, not hidden, at most `most` bytes.

    A name that has to be changed ends in eight digits of its hash, so that two such names stay apart.
    """
    safe = re.sub(r'[/\\:*?"<>|]', "_", for_line(name))
    safe = re.sub(r"^[.\s~-]|[.\s]$", "_", safe)
    if safe == name and name and len(os.fsencode(name)) <= most:
        return name
    digits = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{(safe or '_').encode()[: most - 9].decode(errors='ignore')}-{digits}"


def for_markdown(text: str) -> str:
    """For running text, headings and cells of tables in GitHub's Markdown."""
    return _MARKDOWN.sub(lambda found: "\\" + found[0], for_line(text))


def code(text: str) -> str:
    """As code in Markdown, in a table or outside."""
    line = for_line(text).replace("|", "\\|")
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence, room = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{room}{line}{room}{fence}"


def for_html(text: object) -> str:
    """For text and quoted attributes in HTML."""
    return html.escape(str(text))


def for_csv(value: object) -> object:
    """For a cell of CSV: text that a spreadsheet would run as a formula begins with an apostrophe."""
    if not isinstance(value, str):
        return value
    return f"'{value}" if value.lstrip().startswith(_FORMULA) and not _is_number(value) else value


def for_latex(text: str) -> str:
    """For text in LaTeX: nothing is read as a command."""
    return "".join(_LATEX.get(character, character) for character in for_line(text))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
