"""Arithmetic: bare sums, one-sentence stories, and word problems in the format of GSM8K.

The answers of word problems carry GSM8K's calculator marks (``<<3+4=7>>``) and its ``#### N`` (Cobbe et al.,
arXiv 2110.14168). Numbers are small: operands to 29 and to 9, tables 2 to 4 times 2 to 7.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from experiments.mini.corpora.heldout import Example, draw
from experiments.mini.corpora.towns import NAMES

ITEMS = ["apples", "books", "coins", "pens", "shells", "cards", "eggs", "stones", "cups", "boxes"]
HOLDERS = ("bags", "rows", "packs")
GAINS = (
    "{giver} gives {name} {n} more.",
    "{name} finds {n} more.",
    "{name} buys {n} more.",
    "{name} gets {n} more from {giver}.",
)
LOSSES = (
    "{name} loses {n} of them.",
    "{name} sells {n} of them.",
    "{name} gives {n} of them to {giver}.",
    "{name} breaks {n} of them.",
)
TWO_STEPS = 0.6
OPERATIONS = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}


@dataclass(frozen=True)
class Sum:
    """One step of arithmetic."""

    left: int
    sign: str
    right: int

    @property
    def value(self) -> int:
        return OPERATIONS[self.sign](self.left, self.right)

    def __str__(self) -> str:
        return f"{self.left}{self.sign}{self.right}"


@dataclass(frozen=True)
class Problem:
    """A word problem and the sums that answer it."""

    question: str
    sums: tuple[Sum, ...]

    @property
    def key(self) -> str:
        """The chain of sums: what is held out."""
        return "math " + " ".join(map(str, self.sums))

    @property
    def answer(self) -> str:
        """The answer as GSM8K writes it, from the first sum to ``#### N``."""
        steps = [f"{s}=<<{s}={s.value}>>{s.value}" for s in self.sums]
        return "\n".join([*steps, f"#### {self.sums[-1].value}"])


def math_prompt(question: str) -> str:
    """The stock prompt of the gsm8k task without shots."""
    return f"Question: {question}\nAnswer:"


def _product(rng: random.Random) -> Sum:
    return Sum(rng.randint(2, 4), "*", rng.randint(2, 7))


def _change(rng: random.Random, value: int, most: int) -> tuple[Sum, str]:
    """A gain or a loss from `value`, and its sentence; no gain above `most`, nothing falls below 1."""
    if (rng.random() < 0.5 or value < 3) and value <= most:
        return Sum(value, "+", rng.randint(1, 9)), rng.choice(GAINS)
    return Sum(value, "-", rng.randint(1, min(value - 1, 9))), rng.choice(LOSSES)


def make_problem(rng: random.Random) -> Problem:
    """A problem of one or two steps, of any split."""
    name, giver = rng.sample(NAMES, 2)
    item = rng.choice(ITEMS)
    sums: list[Sum] = []
    if rng.random() < 0.25:
        sums.append(_product(rng))
        value = sums[0].value
        sentences = [f"{name} has {sums[0].left} {rng.choice(HOLDERS)} with {sums[0].right} {item} in each."]
    else:
        value = rng.randint(4, 19)
        sentences = [f"{name} has {value} {item}."]
    steps = 2 if rng.random() < TWO_STEPS else 1
    while len(sums) < steps:
        change, sentence = _change(rng, value, most=20)
        sentences.append(sentence.format(name=name, giver=giver, n=change.right))
        sums.append(change)
        value = change.value
    sentences.append(f"How many {item} does {name} have{rng.choice((' now?', ' in the end?'))}")
    return Problem(" ".join(sentences), tuple(sums))


def math_example(rng: random.Random) -> Example:
    """A word problem of the training split, in the form that the evaluation asks it."""
    problem = draw(make_problem, rng)
    return Example(math_prompt(problem.question), " " + problem.answer)


def sum_lines(rng: random.Random) -> Example:
    """Six bare sums, one a line: the atomic facts."""
    lines = []
    for _ in range(6):
        kind = rng.random()
        if kind < 0.4:
            one = Sum(rng.randint(1, 20), "+", rng.randint(1, 9))
        elif kind < 0.75:
            left = rng.randint(2, 29)
            one = Sum(left, "-", rng.randint(1, min(left - 1, 9)))
        else:
            one = _product(rng)
        lines.append(f"{one}={one.value}\n")
    return Example("", "".join(lines))


@dataclass(frozen=True)
class Story:
    """A one-sentence sum in running text."""

    text: str
    sum: Sum

    @property
    def key(self) -> str:
        """The same key as a problem of one step, so that its chain is held out here too."""
        return f"math {self.sum}"


def _make_story(rng: random.Random) -> Story:
    name, giver = rng.sample(NAMES, 2)
    item = rng.choice(ITEMS)
    if rng.random() < 0.25:
        one = _product(rng)
        start = f"{name} has {one.left} {rng.choice(HOLDERS)} with {one.right} {item} in each"
    else:
        value = rng.randint(4, 20)
        one, sentence = _change(rng, value, most=20)
        start = f"{name} has {value} {item}. " + sentence.format(name=name, giver=giver, n=one.right)[:-1]
    return Story(f"{start}, so {name} has {one}={one.value} {item}.\n", one)


def story(rng: random.Random) -> Example:
    """A one-sentence sum: the skills of the word problems with another surface."""
    return Example("", draw(_make_story, rng).text)
