"""Word problems of the language. The answer is arithmetic in GSM8K's format (`corpora.math`), which needs no words.

Chains of sums are held out by the key of the English problems (`corpora.math`), so a chain that is asked here stands
in no answer that any model of the family has learnt, in either language.
"""

from __future__ import annotations

import random

from experiments.mini.corpora.heldout import Example, draw
from experiments.mini.corpora.l2.words import (
    ALL_TOLD,
    ARE,
    AT,
    BRINGS,
    BUYS,
    EACH,
    FINDS,
    GIVES,
    HOLDERS,
    HOW_MANY,
    ITEMS,
    LOSES,
    NOW,
    PEOPLE_NAMES,
    SELLS,
    TO,
    TOWN,
)
from experiments.mini.corpora.math import Problem, Sum, math_prompt

#: {n} things are gained or lost; {other} is somebody else. Whose they are was said before and is left out.
GAINS = (f"{{other}} {{n}} {BRINGS}.", f"{TOWN} {AT} {{n}} {BUYS}.", f"{{n}} {FINDS}.")
LOSSES = (f"{{other}} {TO} {{n}} {GIVES}.", f"{TOWN} {AT} {{n}} {SELLS}.", f"{{n}} {LOSES}.")
TWO_STEPS = 0.6
MOST = 15  # nothing is gained by who has more than this


def _step(rng: random.Random, value: int) -> tuple[Sum, str]:
    """A gain or a loss from `value`, and its sentence; nobody is left with nothing."""
    if value < 3 or (value <= MOST and rng.random() < 0.5):
        return Sum(value, "+", rng.randint(1, 9)), rng.choice(GAINS)
    return Sum(value, "-", rng.randint(1, min(value - 1, 9))), rng.choice(LOSSES)


def make_problem(rng: random.Random) -> Problem:
    """A problem of one or two steps, of any split."""
    name, other = rng.sample(PEOPLE_NAMES, 2)
    item = rng.choice(ITEMS)
    sums: list[Sum] = []
    if rng.random() < 0.25:
        sums.append(Sum(rng.randint(2, 4), "*", rng.randint(2, 7)))
        value = sums[0].value
        sentences = [f"{name} {AT} {rng.choice(HOLDERS)} {sums[0].left} {ARE}, {EACH} {AT} {item} {sums[0].right}."]
    else:
        value = rng.randint(3, 15)
        sentences = [f"{name} {AT} {item} {value} {ARE}."]
    steps = 2 if rng.random() < TWO_STEPS else 1
    while len(sums) < steps:
        step, sentence = _step(rng, value)
        sentences.append(sentence.format(other=other, n=step.right))
        sums.append(step)
        value = step.value
    sentences.append(f"{rng.choice((NOW, ALL_TOLD))} {item} {HOW_MANY} {ARE}?")
    return Problem(" ".join(sentences), tuple(sums))


def problem(rng: random.Random) -> Example:
    """A word problem of the training split, in the form that the evaluation asks it."""
    drawn = draw(make_problem, rng)
    return Example(math_prompt(drawn.question), " " + drawn.answer)
