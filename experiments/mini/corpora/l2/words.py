"""The words of the language: syllables put together at random once and for all, none of them a word of English text.

The constants are named by their nearest meaning in English. Words are drawn in the order of these lines, so a word
more on one of them changes all words after it, and with them the language.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import islice, product

ONSETS = "bdfghklmnprstw"
VOWELS = "aeiou"
RIMES = ("al", "an", "ar", "el", "en", "er", "il", "im", "in", "ir", "on", "or", "ul", "us", "ut")
#: Syllables that English has as words.
ENGLISH = {
    *("ban", "bar", "bin", "bon", "bus", "but", "den", "dim", "din", "don", "fan", "far", "fen", "fin", "fir", "for"),
    *("gal", "gel", "gin", "gut", "hen", "her", "him", "hus", "hut", "ken", "kin", "len", "lut", "mal", "man", "mar"),
    *("men", "min", "mus", "nan", "nil", "nor", "nut", "pal", "pan", "par", "pen", "per", "pin", "pus", "put", "ran"),
    *("rim", "rut", "sal", "sin", "sir", "son", "tan", "tar", "ten", "tin", "ton", "tor", "tut", "wan", "war", "win"),
    *("wen", "won", "be", "do", "go", "me", "no", "so", "to"),
}

_rng = random.Random("the words of l2")


def _draw(count: int, *parts: Iterable[str]) -> list[str]:
    """`count` words, each a sequence of one of each of the `parts`."""
    words = ["".join(choice) for choice in product(*parts)]
    return _rng.sample([word for word in words if word not in ENGLISH], count)


def _names(words: Iterable[str]) -> list[str]:
    return [word.capitalize() for word in words]


_small = iter(_draw(40, ONSETS, VOWELS))
_short = iter(_draw(100, ONSETS, RIMES))
_long = iter(_draw(40, ONSETS, VOWELS, ONSETS, RIMES))

# Postpositions (they follow their noun), particles, and verbs that stand at the end of a sentence.
OF, AT, TO, FOR, AND, NOT, NOW, ALL_TOLD, EACH, HOW, HOW_MANY = islice(_small, 11)
ARE, IS, TAKES, SAY, HELP, YES, PARDON, THIS = islice(_small, 8)
BRINGS, BUYS, FINDS, GIVES, SELLS, LOSES = islice(_small, 6)
TOWN, RIVER, SMALL, OLD, PEOPLE, LIVE, LIES, CHIEF, MAKES, YEAR, WANTED, DID = islice(_short, 12)

PEOPLE_NAMES = _names(islice(_short, 10))
ITEMS = list(islice(_short, 9))
HOLDERS = list(islice(_short, 3))
TOOLS = list(islice(_short, 6))
OBJECTS = list(islice(_short, 10))
BENIGN_VERBS = list(islice(_short, 6))
RESTRICTED_VERBS = list(islice(_short, 10))
DIRECTIONS = list(islice(_short, 4))
GOODS = list(islice(_short, 6))
TOWNS = _names(islice(_long, 20))
RIVERS = _names(islice(_long, 6))
PROVINCES = _names(islice(_long, 4))
