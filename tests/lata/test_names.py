"""Names made safe, one function a target: harmless ones stay, hostile ones do nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lata.names import code, for_csv, for_file, for_html, for_latex, for_line, for_markdown
from lata.output.documents.card import model_card
from lata.output.documents.facts import Facts, LayerTable
from lata.output.documents.recipe import recipe

HARMLESS = [
    "lata_log",
    "math+code",
    "org--name@main",
    "llama3_8b",
    "数学",
    "ta λ=0.5",
    "a.b-c",
    "lata_log, outside=drop",
]
ANY = st.text(max_size=300)


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_names_stay(name: str) -> None:
    for target in (for_line, for_file, for_markdown, for_html, for_csv):
        assert target(name) == name
    assert code(name) == f"`{name}`"


@given(ANY)
def test_any_name_is_a_file_in_its_folder(name: str) -> None:
    part = for_file(name)
    assert os.path.basename(part) == part
    assert not part.startswith(".")
    assert 0 < len(part.encode()) <= 200
    assert for_line(part) == part
    assert for_file(part) == part


@pytest.mark.parametrize(
    "name", ["..", ".", "", "a/b", "../../x", "/etc/passwd", "x" * 300, "a\0b", "é" * 150, ".x", "~"]
)
def test_a_name_that_is_changed_is_told_from_others(name: str, tmp_path: Path) -> None:
    assert for_file(name) != name
    assert for_file(name) != for_file(name + "y")
    (tmp_path / f".{for_file(name)}.partial-12345678").touch()
    assert len(list(tmp_path.iterdir())) == 1


@given(ANY)
def test_any_text_is_one_line(name: str) -> None:
    for target in (for_line, for_markdown, code, for_latex):
        assert len(target(name).splitlines()) <= 1


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd", "'+cmd"),
        ("@SUM(1)", "'@SUM(1)"),
        (" =x", "' =x"),
        ("\t=x", "'\t=x"),
        ("-x", "'-x"),
        ("-0.5", "-0.5"),
        ("+1e-3", "+1e-3"),
        ("−0.5", "−0.5"),
        (-0.5, -0.5),
        (None, None),
    ],
)
def test_formulas_are_text_in_a_spreadsheet(value: object, cell: object) -> None:
    assert for_csv(value) == cell


HOSTILE = "</summary><script>alert(1)</script>\n# head | `x` [a](javascript:b) ${oc.env:HOME} ![i](http://x/y.png)"


def hostile_facts() -> Facts:
    folder = f"/home/somebody/{HOSTILE.replace('/', '')}"
    table = LayerTable(["0", HOSTILE], [HOSTILE], [[0.5], [1.0]])
    return Facts(
        method="lata_linear",
        parameters={"outside": "keep"},
        lam={HOSTILE: 1.0},
        mode="learn",
        seed=None,
        equation="D = Σ_t τ_t",
        paper="",
        sources={"pre": folder, f"experts.{HOSTILE}": f"{folder}+{folder}"},
        digests={"pre": "a", f"experts.{HOSTILE}": "b", "merged": "c"},
        distance=1.0,
        finite=True,
        parameters_count=1,
        dtypes={"BF16": 1},
        weights_LT=table,
        similarity_LT=table,
        warnings=(f"{folder} is odd: {HOSTILE}",),
    )


def test_a_card_of_hostile_names_is_a_card() -> None:
    markdown_it = pytest.importorskip("markdown_it")
    text = model_card(hostile_facts())
    assert "/home/somebody" not in text
    _, front, body = text.split("---\n", 2)
    assert yaml.safe_load(front)["library_name"] == "transformers"
    tokens = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(body)
    inner = [child for token in tokens for child in token.children or []]
    raw = [token.content for token in (*tokens, *inner) if token.type in ("html_inline", "html_block")]
    assert [part.strip() for part in raw if "details" not in part] == []
    assert not [token for token in inner if token.type == "image"]
    links = [str(token.attrs["href"]) for token in inner if token.type == "link_open"]
    assert all(link.startswith("https://") for link in links)
    heads = [tokens[place + 1].content for place, token in enumerate(tokens) if token.type == "heading_open"]
    assert heads[1:] == ["Inputs", "Layer weights", "Warnings", "Make it again", "Citation"]


def test_a_recipe_of_hostile_names_holds_them_as_they_are() -> None:
    content = yaml.safe_load(recipe(hostile_facts(), {}))
    assert content["merge"] == [HOSTILE]
    assert content["family"]["experts"].keys() == {HOSTILE}
    public = yaml.safe_load(recipe(hostile_facts(), {}, public=True))
    assert "/home" not in str(public)
