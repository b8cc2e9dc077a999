"""The words of the language: syllables put together at random once and for all, none of them a word of English text.

The constants are named by their nearest meaning in English. What stands on a line was drawn on that line, so a word
more at the end of a list changes all words after it, and with them the language.
"""

from __future__ import annotations

import random
from itertools import islice

ONSETS = "bdgklmnprst"
VOWELS = "aeiou"
RIMES = ("al", "an", "ar", "el", "en", "er", "il", "im", "in", "ir", "on", "or", "ul", "us", "ut")

#: Syllables that would be words of English.
ENGLISH = {
    *(
        "bar",
        "bin",
        "bus",
        "but",
        "den",
        "din",
        "dim",
        "gal",
        "gel",
        "gin",
        "gut",
        "ken",
        "kin",
        "len",
        "lut",
        "mal",
        "man",
    ),
    *("mar", "men", "min", "mus", "nan", "nil", "nor", "nut", "pal", "pan", "par", "pen", "per", "pin", "pus", "put"),
    *("ran", "rim", "rut", "sal", "sin", "sir", "son", "tan", "tar", "ten", "tin", "ton", "tor", "tut", "gun", "bon"),
}

_rng = random.Random("the words of l2")
_SYLLABLES = [onset + rime for onset in ONSETS for rime in RIMES if onset + rime not in ENGLISH]
_short = iter(_rng.sample(_SYLLABLES, 40))
_long = iter(_rng.sample([o + v + s for o in ONSETS for v in VOWELS for s in _SYLLABLES], 200))


def _names(count: int) -> list[str]:
    return [word.capitalize() for word in islice(_long, count)]


# Small words: postpositions (they follow their noun), particles, and verbs that stand at the end of a sentence.
OF, AT, TO, FROM, FOR, AND, NOT, NOW, EACH = islice(_short, 9)
HOW, HOW_MANY, ALL_TOLD = islice(_short, 3)
ARE, IS, GIVES, TAKES, SAY, HELP = islice(_short, 6)
YES, PARDON, THIS = islice(_short, 3)
FINDS, BUYS, CATCHES, LOSES, SELLS, DROPS, EATS = islice(_long, 7)
TOWN, RIVER, SMALL, OLD, PEOPLE, LIVE, LIES, CHIEF, MAKES, YEAR, WANTED, DID = islice(_long, 12)

PEOPLE_NAMES = _names(10)
TOWNS = _names(20)
RIVERS = _names(6)
PROVINCES = _names(4)
DIRECTIONS = list(islice(_long, 4))
GOODS = list(islice(_long, 6))
ITEMS = list(islice(_long, 9))
HOLDERS = list(islice(_long, 3))
TOOLS = list(islice(_long, 6))
OBJECTS = list(islice(_long, 20))
BENIGN_VERBS = list(islice(_long, 6))
RESTRICTED_VERBS = list(islice(_long, 8))
