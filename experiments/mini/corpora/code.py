"""Code: functions of one or two lines in HumanEval's format, composed from integer, list and string operations.

The format is that of Chen et al., arXiv 2107.03374: a signature with a docstring to be completed, and a `check`
function.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from experiments.mini.corpora.heldout import Example, draw

Operations = tuple[tuple[str, str], ...]

# (words, expression); {v} is the argument, {k} a small constant.
INTEGER: Operations = (
    ("{v} plus {k}", "{v} + {k}"),
    ("{v} minus {k}", "{v} - {k}"),
    ("{v} times {k}", "{v} * {k}"),
    ("the larger of {v} and {k}", "max({v}, {k})"),
    ("the smaller of {v} and {k}", "min({v}, {k})"),
    ("the remainder of {v} by {k}", "{v} % {k}"),
    ("the square of {v}", "{v} * {v}"),
    ("the absolute value of {v}", "abs({v})"),
)
REDUCTION: Operations = (
    ("the sum of {v}", "sum({v})"),
    ("the largest item of {v}", "max({v})"),
    ("the smallest item of {v}", "min({v})"),
    ("the length of {v}", "len({v})"),
    ("the first item of {v}", "{v}[0]"),
    ("the last item of {v}", "{v}[-1]"),
)
LIST: Operations = (
    ("{v} sorted", "sorted({v})"),
    ("{v} reversed", "{v}[::-1]"),
    ("each item of {v} plus {k}", "[x + {k} for x in {v}]"),
    ("each item of {v} times {k}", "[x * {k} for x in {v}]"),
    ("the items of {v} above {k}", "[x for x in {v} if x > {k}]"),
    ("the items of {v} below {k}", "[x for x in {v} if x < {k}]"),
    ("the first {k} items of {v}", "{v}[:{k}]"),
)
STRING: Operations = (
    ("{v} in upper case", "{v}.upper()"),
    ("{v} in lower case", "{v}.lower()"),
    ("{v} repeated {k} times", "{v} * {k}"),
    ("{v} reversed", "{v}[::-1]"),
)
STRING_END: Operations = (
    *STRING,
    ("the first letter of {v}", "{v}[0]"),
    ("the length of {v}", "len({v})"),
)

FUNCTIONS = ["solve", "compute", "make", "apply", "run", "build", "find", "calc", "work", "get"]
ARGUMENTS = {"int": ("n", "m", "k"), "list": ("xs", "nums", "items"), "str": ("s", "text")}
# Every list has items above 9 and below 2, so that a selection is never empty.
INPUTS: dict[str, list[object]] = {
    "int": [7, -4, 12, 3],
    "list": [
        [3, 11, 5, 12, 1, 9, 14, 10, 2, 13],
        [12, 4, 10, 1],
        [10, 20, 30, 1, 2, 3, 17],
    ],
    "str": ["Hello", "abCde"],
}


@dataclass(frozen=True)
class Function:
    """A function to write: what the docstring says and the lines that do it."""

    name: str
    argument: str
    kind: str
    doc: str
    lines: tuple[str, ...]

    @property
    def key(self) -> str:
        """The body with the argument's name normalised: what is held out."""
        return _body_key(self.argument, self.lines)

    @property
    def prompt(self) -> str:
        """Signature and docstring, as HumanEval gives them."""
        return f'def {self.name}({self.argument}):\n    """{self.doc}"""\n'

    @property
    def body(self) -> str:
        return "".join(f"    {line}\n" for line in self.lines)

    def test(self) -> str:
        """A `check` function with the values that the solution gives on the inputs of its kind."""
        scope: dict[str, object] = {}
        exec(self.prompt + self.body, scope)  # our own templates, not a model's answer
        solve = scope[self.name]
        assert callable(solve)
        checks = [f"    assert candidate({x!r}) == {solve(x)!r}\n" for x in INPUTS[self.kind]]
        return "def check(candidate):\n" + "".join(checks)


def _body_key(argument: str, lines: tuple[str, ...]) -> str:
    return "code " + "; ".join(re.sub(rf"\b{argument}\b", "v", line) for line in lines)


def _choose(rng: random.Random, operations: Operations, argument: str) -> tuple[str, str]:
    words, expression = rng.choice(operations)
    k = rng.randint(2, 5 if operations in (STRING, STRING_END) else 9)
    return words.format(v=argument, k=k), expression.format(v=argument, k=k)


def make_function(rng: random.Random) -> Function:
    """A function of one or two lines, of any split."""
    kind = rng.choices(("int", "reduce", "list", "str"), (0.35, 0.25, 0.25, 0.15))[0]
    type_ = "list" if kind == "reduce" else kind
    argument = rng.choice(ARGUMENTS[type_])
    second: Operations | None = None
    if kind == "int":
        first, local = INTEGER, "y"
        second = INTEGER if rng.random() < 0.5 else None
    elif kind == "reduce":
        first, local = REDUCTION, "y"
        second = INTEGER if rng.random() < 0.7 else None
    elif kind == "list":
        first, local = LIST, "ys"
        if rng.random() < 0.6:
            second = rng.choice((REDUCTION, LIST))
    elif rng.random() < 0.6:
        first, local, second = STRING, "t", STRING_END
    else:
        first, local = STRING_END, "t"
    words, expression = _choose(rng, first, argument)
    if second is None:
        doc = f"Return {words}."
        lines: tuple[str, ...] = (f"return {expression}",)
    else:
        more_words, more = _choose(rng, second, local)
        doc = f"Let {local} be {words}. Return {more_words}."
        lines = (f"{local} = {expression}", f"return {more}")
    return Function(rng.choice(FUNCTIONS), argument, type_, doc, lines)


def code_example(rng: random.Random) -> Example:
    """A function of the training split: HumanEval's prompt and the body."""
    function = draw(make_function, rng)
    return Example(function.prompt, function.body)


@dataclass(frozen=True)
class _Line:
    """A comment and the line of code that it describes."""

    argument: str
    words: str
    expression: str

    @property
    def key(self) -> str:
        return _body_key(self.argument, (f"return {self.expression}",))


def _make_line(rng: random.Random) -> _Line:
    operations, arguments = rng.choice(
        (
            (INTEGER, (*ARGUMENTS["int"], "y")),
            (REDUCTION, (*ARGUMENTS["list"], "ys")),
            (LIST, (*ARGUMENTS["list"], "ys")),
            (STRING_END, (*ARGUMENTS["str"], "t")),
        )
    )
    argument = rng.choice(arguments)
    return _Line(argument, *_choose(rng, operations, argument))


def raw_code(rng: random.Random) -> Example:
    """Code as it stands in files: a function without a docstring, or a commented line."""
    if rng.random() < 0.5:
        function = draw(make_function, rng)
        return Example("", f"def {function.name}({function.argument}):\n{function.body}")
    line = draw(_make_line, rng)
    return Example("", f"# {line.words}\ny = {line.expression}\n")
