"""The hash of code's meaning: what changes it, what does not, and which modules it covers."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import pytest

from lata import code_version as module
from lata.code_version import code_version, meaning, modules_of

CODE = """
import os

LIMIT = 3

def double(x):
    if x > LIMIT:
        x = LIMIT
    return [f"{x}: {2 * x}", "two  words"]
"""
SAME = {
    "comments": CODE.replace("LIMIT = 3", "# How many.\n#: There are three.\nLIMIT = 3  # three"),
    "docstrings": '"""A module."""\n' + CODE.replace("(x):", '(x):\n    """Double it.\n\n    Or not.\n    """'),
    "a raw docstring of two strings": CODE.replace("(x):", "(x):\n    r'Double' 'it.'"),
    "an attribute's docstring": CODE.replace("LIMIT = 3", 'LIMIT = 3\n"""How many."""'),
    "blank lines and spaces at ends": CODE.replace("\n\n", "\n\n\n  \n").replace("x = LIMIT", "x = LIMIT  "),
    "other ends of lines": CODE.replace("\n", "\r\n"),
    "no end of the last line": CODE.rstrip(),
}
OTHER = {
    "a constant": CODE.replace("3", "4"),
    "a string": CODE.replace("two  words", "two words"),
    "an f-string": CODE.replace("2 * x", "3 * x"),
    "an f-string's text": CODE.replace(": {", ":  {"),
    "a statement in another block": CODE.replace("    return", "        return"),
    "a statement less": CODE.replace("        x = LIMIT\n", "        pass\n"),
    "an f-string that runs": CODE + 'f"{os.remove(1)}"\n',
    "a value that is a docstring elsewhere": CODE.replace("LIMIT = 3", 'LIMIT = """3"""'),
}


@pytest.mark.parametrize("change", SAME)
def test_what_decides_nothing_leaves_the_meaning_as_it_is(change: str) -> None:
    assert SAME[change] != CODE
    assert meaning(SAME[change]) == meaning(CODE)


@pytest.mark.parametrize("change", OTHER)
def test_what_decides_something_changes_the_meaning(change: str) -> None:
    assert meaning(OTHER[change]) not in (meaning(CODE), "")


def test_blank_lines_and_spaces_in_a_string_of_many_lines_count() -> None:
    texts = [f'x = """a\n{between}b"""\n' for between in ("", "\n", " \n", "# c\n")]
    texts += [f'y = f"""a{{x}}\n{between}b"""\n' for between in ("", "\n", " \n", "# c\n")]
    assert len({meaning(text) for text in texts}) == len(texts)
    assert all(text.strip().partition("= ")[2] in meaning(text) for text in texts)


def code_tokens(source: str) -> list[str]:
    """By Python's own tokeniser, without strings that are statements."""
    layout = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    found = list(tokenize.generate_tokens(io.StringIO(source).readline))
    statements = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr))
    strings = [range(n.lineno, (n.end_lineno or 0) + 1) for n in statements if isinstance(n.value, ast.Constant)]
    return [
        token.string
        for token in found
        if token.type not in layout
        and not (token.type == tokenize.STRING and any(token.start[0] in lines for lines in strings))
    ]


def test_code_of_this_project_keeps_its_tokens_and_nothing_else() -> None:
    packages = ("lata", "eval", "experiments")
    for file in sorted(file for package in packages for file in (module.ROOT / package).rglob("*.py"))[::4]:
        source = file.read_text(encoding="utf-8")
        found = meaning(source)
        tokens = [
            token
            for token in tokenize.generate_tokens(io.StringIO(found).readline)
            if token.type not in (tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT)
        ]
        assert [token.string for token in tokens] == code_tokens(source), file
        assert not [token for token in tokens if token.type == tokenize.COMMENT], file


TREE = {
    "one/__init__.py": "",
    "one/entry.py": "from one import direct\nfrom one.inner import named\nimport two.far\n",
    "one/direct.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from one import typed\n",
    "one/inner/__init__.py": "named = 1\nimport one.beside as b\n",
    "one/beside.py": "def f():\n    from one.late import g\n",
    "one/late.py": "import json",
    "one/typed.py": "",
    "one/unused.py": "",
    "two/__init__.py": "",
    "two/far.py": "from one import unused\n",
}


def tree(root: Path, monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    for name, text in {**TREE, **{f"one/{stem}.py": text for stem, text in changes.items()}}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(module, "ROOT", root)


def test_modules_are_found_through_imports_in_the_packages_that_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path, monkeypatch)
    reached = ["one", "one.beside", "one.direct", "one.entry", "one.inner", "one.late"]
    assert modules_of("one.entry", packages=("one",)) == reached
    assert modules_of("one.entry", packages=("one",), without=("one.inner",)) == ["one", "one.direct", "one.entry"]
    assert modules_of("one.entry", packages=("one", "two")) == [*reached, "one.unused", "two", "two.far"]
    with pytest.raises(AssertionError, match=r"one\.gone"):
        modules_of("one.entry", "one.gone", packages=("one",))


def test_the_hash_is_that_of_the_meaning_of_all_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = []
    changes = ({}, {"late": "import json  # for g"}, {"unused": "x = 1"}, {"typed": "x = 1"}, {"late": "x = 1"})
    for number, change in enumerate(changes):
        tree(tmp_path / str(number), monkeypatch, **change)
        hashes.append(code_version("one.entry", packages=("one",)))
    assert hashes[:4] == [hashes[0]] * 4
    assert hashes[4] != hashes[0]
