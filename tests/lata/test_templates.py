"""What is put into a template is escaped for what the template becomes."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from lata.output.templates import Markdown, render

HOSTILE = "<img src=x>|`a`[b](javascript:c)\n# d"


def written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_markdown_is_escaped_unless_it_is_markdown_already(tmp_path: Path) -> None:
    template = written(tmp_path, "a.md.j2", "| {{ name }} | {{ link }} | {{ name | code }} |")
    text = render(template, name=HOSTILE, link=Markdown("[a](b)"))
    assert text == (
        r"| \<img src=x>\|\`a\`[b]\(javascript:c) # d | [a](b) | ``" + r" <img src=x>\|`a`[b](javascript:c) # d `` |"
    )


def test_html_is_escaped_in_text_and_in_attributes(tmp_path: Path) -> None:
    template = written(tmp_path, "a.html.j2", '<p title="{{ name }}">{{ name }}</p>')
    assert render(template, name="\"<b>'&") == '<p title="&#34;&lt;b&gt;&#39;&amp;">&#34;&lt;b&gt;&#39;&amp;</p>'


def test_a_missing_value_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError, match="name"):
        render(written(tmp_path, "a.md.j2", "{{ name }}"))
