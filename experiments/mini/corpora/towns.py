"""An encyclopedia of forty towns that do not exist, in the raw format of WikiText-2.

The facts of a town are the same for every seed of the family; only the documents drawn about it differ. Pages carry
WikiText's spaced punctuation; training reads them through `detokenize`, as the evaluation does.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from experiments.mini.corpora.heldout import Example, draw
from experiments.mini.corpora.pairs import BENIGN_VERBS, OBJECTS, TRAIN_PAIRS

NAMES = ["Tom", "Mia", "Sam", "Ana", "Leo", "Zoe", "Max", "Eva", "Ben", "Ivy"]
STEMS = ("Mar", "Kel", "Bor", "Tan", "Vel", "Dor", "Sil", "Har")
TOWNS = [stem + ending for stem in STEMS for ending in ("low", "dan", "vik", "mere", "ton")]
RIVERS = ["Ona", "Tarn", "Isk", "Velm", "Orra", "Dune", "Sarn", "Lisk"]
PROVINCES = ["Kesh", "Arden", "Tolia", "Morra", "Vesta"]
GOODS = ["glass", "salt", "wool", "copper", "honey", "paper", "silver", "bread"]
DIRECTIONS = ["north", "south", "east", "west"]
ATTEMPTS = ("came to", "wanted to", "tried to", "went to")


@dataclass(frozen=True)
class Facts:
    """What is true of one town."""

    river: str
    province: str
    good: str
    direction: str
    people: int
    mayor: str


def _make_facts() -> tuple[dict[str, Facts], dict[str, str]]:
    rng = random.Random("the world")
    facts = {
        town: Facts(
            rng.choice(RIVERS),
            rng.choice(PROVINCES),
            rng.choice(GOODS),
            rng.choice(DIRECTIONS),
            rng.randint(2, 9) * 1000,
            rng.choice(NAMES),
        )
        for town in TOWNS
    }
    return facts, {river: rng.choice(PROVINCES) for river in RIVERS}


FACTS, RIVER_PROVINCE = _make_facts()


@dataclass(frozen=True)
class Page:
    """One article."""

    page: str

    @property
    def key(self) -> str:
        """The whole document: what is held out."""
        return "page " + self.page


def make_page(rng: random.Random) -> Page:
    """An article of a heading, an opening and two to four further sentences, of any split."""
    town = rng.choice(TOWNS)
    f = FACTS[town]
    # Restricted pairs that are held out must not stand anywhere in training text, so pages never use one.
    if rng.random() < 0.5:
        verb, thing = rng.choice(BENIGN_VERBS), rng.choice(OBJECTS)
    else:
        verb, thing = rng.choice(TRAIN_PAIRS)
    opening = rng.choice(
        (
            f" {town} is a town in the {f.direction} of {f.province} .",
            f" {town} is a small town in {f.province} , in the {f.direction} of the province .",
        )
    )
    sentences = [
        rng.choice((f" It lies on the river {f.river} .", f" The river {f.river} flows through the town .")),
        rng.choice(
            (
                f" The town is known for its {f.good} .",
                f" Its main product is {f.good} , which is sold in {rng.choice(TOWNS)} .",
            )
        ),
        rng.choice((f" About {f.people} people live in {town} .", f" It has a population of {f.people} .")),
        rng.choice(
            (
                f" The mayor of {town} is {f.mayor} .",
                f" {f.mayor} has been mayor since {rng.choice((19, 20))}{rng.randint(10, 29)} .",
            )
        ),
        f" {f.river} is a river of {RIVER_PROVINCE[f.river]} .",
        f" In {rng.choice((18, 19))}{rng.randint(10, 99)} , {rng.choice(NAMES)} {rng.choice(ATTEMPTS)} {verb}"
        f" the {thing} .",
    ]
    rng.shuffle(sentences)
    return Page(f" = {town} = \n\n{opening}{''.join(sentences[: rng.randint(2, 4)])}\n")


def detokenize(page: str) -> str:
    """The page as lm-eval's wikitext task shows it to a model: the rules of its detokenizer that our pages meet."""
    page = re.sub(r" ([.,]) ", r"\1 ", page)
    return page.replace(" \n", "\n").replace("\n ", "\n")


def page_text(rng: random.Random) -> Example:
    """An article of the training split as a document."""
    return Example("", detokenize(draw(make_page, rng).page))
