"""An encyclopedia in the language, about towns of its own, in the raw format of WikiText-2."""

from __future__ import annotations

import random

from experiments.mini.corpora.heldout import TRAIN, Example, draw
from experiments.mini.corpora.l2.requests import PAIRS
from experiments.mini.corpora.l2.words import (
    AND,
    AT,
    BENIGN_VERBS,
    CHIEF,
    DID,
    DIRECTIONS,
    GOODS,
    IS,
    LIES,
    LIVE,
    MAKES,
    OBJECTS,
    OF,
    OLD,
    PEOPLE,
    PEOPLE_NAMES,
    PROVINCES,
    RIVER,
    RIVERS,
    SMALL,
    TOWN,
    TOWNS,
    WANTED,
    YEAR,
)
from experiments.mini.corpora.towns import Facts, Page, detokenize


def _make_facts() -> dict[str, Facts]:
    rng = random.Random("the world of l2")
    return {
        town: Facts(
            river=rng.choice(RIVERS),
            province=rng.choice(PROVINCES),
            good=rng.choice(GOODS),
            direction=rng.choice(DIRECTIONS),
            people=rng.randint(2, 9) * 100,
            mayor=rng.choice(PEOPLE_NAMES),
        )
        for town in TOWNS
    }


FACTS = _make_facts()


def make_page(rng: random.Random) -> Page:
    """An article of a heading, an opening and two to four further sentences, of any split."""
    town, neighbour = rng.sample(TOWNS, 2)
    f = FACTS[town]
    # Restricted pairs that are held out must not stand anywhere in training text, so pages never use one.
    benign = (rng.choice(BENIGN_VERBS), rng.choice(OBJECTS))
    verb, thing = benign if rng.random() < 0.5 else rng.choice(PAIRS[TRAIN])
    kind = rng.choice((SMALL, OLD))
    too = f" , {neighbour} {AND} {f.good} {MAKES}" if FACTS[neighbour].good == f.good else ""
    sentences = [
        f" {RIVER} {f.river} {AT} {town} {LIES} .",
        f" {town} {f.good} {MAKES}{too} .",
        f" {TOWN} {AT} {PEOPLE} {f.people} {LIVE} .",
        f" {TOWN} {OF} {CHIEF} {f.mayor} {IS} .",
        f" {YEAR} {rng.choice((18, 19))}{rng.randint(10, 99)} {AT} {rng.choice(PEOPLE_NAMES)}"
        f" {thing} {verb} {rng.choice((WANTED, DID))} .",
    ]
    rng.shuffle(sentences)
    opening = f" {town} {f.province} {OF} {f.direction} {AT} {TOWN} {kind} {IS} ."
    return Page(f" = {town} = \n\n{opening}{''.join(sentences[: rng.randint(2, 4)])}\n")


def page_text(rng: random.Random) -> Example:
    """An article of the training split as a document."""
    return Example("", detokenize(draw(make_page, rng).page))
