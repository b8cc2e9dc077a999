"""Templates of reports and cards: Jinja2, where a missing value is an error and every value is escaped.

A value is escaped for what the template becomes: HTML by Jinja itself, Markdown by `lata.names`. What is HTML already
is a `markupsafe.Markup`, what is Markdown already is a `Markdown`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lata.names import code, for_markdown

if TYPE_CHECKING:
    from jinja2 import Environment


class Markdown(str):
    """Text that is Markdown already."""


def render(template: Path, **values: Any) -> str:
    """Fill a template in, ``NAME.html.j2`` or ``NAME.md.j2``; it finds others in its folder."""
    environment = _environment(template.parent, template.name.endswith(".html.j2"))
    return environment.get_template(template.name).render(values)


@lru_cache
def _environment(folder: Path, is_html: bool) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=is_html,
        finalize=None if is_html else _markdown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["code"] = lambda text: Markdown(code(str(text)))
    return environment


def _markdown(value: object) -> str:
    return value if isinstance(value, Markdown) else for_markdown(str(value))
