"""Words of a command line in Hydra's grammar: names of files and folders just work, whatever letters they hold.

Hydra reads a value as an expression, in which ``=``, ``,``, brackets, quotes, ``~`` and letters beyond ASCII end a
path or make another thing of it. A value that names a place and that Hydra would not take as it stands is quoted.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from experiments.commands.options import quoted

#: Keys whose value names a place.
_PLACE = re.compile(
    r"\+{0,2}(?:family\.(?:base|pre|target|experts\.[^.]+|models\.[^.]+\.source)"
    r"|model|tokenizer|output|out|cache|eval\.data_dir|eval\.judge\.cache|method\.profile)"
)
#: Keys whose value gives names of the user's places.
_PLACES = re.compile(r"\+{0,2}family\.experts")

#: Where an entry of ``{name: place, name: place}`` begins.
_ENTRY = re.compile(r"(?:^|,)\s*([A-Za-z_][A-Za-z0-9_-]*)\s*:(?:\s+|(?=[/~.'\"]))")

_KEY = re.compile(r"[+~]{0,2}[A-Za-z0-9_./@$:-]+")


def for_hydra(words: Sequence[str]) -> list[str]:
    """A command line in which Hydra reads every place as the user wrote it."""
    several = "--multirun" in words or "-m" in words
    return [_literal(word, several) for word in words]


def _literal(word: str, several: bool) -> str:
    key, equals, value = word.partition("=")
    # Interpolations are the user's own, and with --multirun a comma divides jobs.
    if not equals or not value.strip() or "${" in value or (several and "," in value):
        return word
    if _PLACES.fullmatch(key):
        return word if _parsed(word) else _mapping(key, value) or word
    if not _PLACE.fullmatch(key):
        return word
    return word if _stands(_parsed(word), several) else f"{key}={quoted(value.strip())}"


def refuse_slips(words: Sequence[str], named_experts: bool) -> None:
    """ValueError for what Hydra reads as something else than the user means, with what to write instead.

    Args:
        words: the command line.
        named_experts: whether ``family.experts`` gives names to places, as for a merge; a study's is a list of names.
    """
    several = "--multirun" in words or "-m" in words
    for word in words:
        key, equals, value = word.partition("=")
        key = key.lstrip("+")
        if not equals or "${" in value:
            continue
        if key == "recipe" and word.startswith("+"):
            raise ValueError(f"a recipe is no key to add; write recipe={value} output=NEW_DIR, without the +")
        if named_experts and key == "family.experts" and value.strip() and value.strip()[0] not in "{'\"":
            place = value.strip("[]") or "DIR"
            raise ValueError(
                f"family.experts names each expert: --expert math={place}, or 'family.experts={{math: {place}}}'"
            )
        if key == "lam" and (value.startswith("[") or ("," in value and value[0] not in "{'\"" and not several)):
            numbers = value.strip("[]")
            raise ValueError(
                f"lam={value}: lam is one number, or {{task: number, …}} in a merge; to try several, "
                f"lata sweep 'lambdas=[{numbers}]'"
            )


def _stands(found: Override | None, several: bool) -> bool:
    """Whether Hydra takes a value for a text, for null, or for the values of several jobs where there are several."""
    if found is None:
        return False
    if found.is_sweep_override():
        return several
    return isinstance(found.value(), (str, type(None)))


def _mapping(key: str, value: str) -> str | None:
    """``key={name: place, …}`` with every place quoted; None where it cannot be told what they are."""
    text = value.strip()
    if not (text.startswith("{") and text.endswith("}")):
        return None
    text = text[1:-1]
    entries = list(_ENTRY.finditer(text))
    if not entries or entries[0].start():
        return None
    ends = [entry.start() for entry in entries[1:]] + [len(text)]
    places = {entry[1]: text[entry.end() : end].strip() for entry, end in zip(entries, ends, strict=True)}
    if len(places) < len(entries) or not all(places.values()):
        return None
    pairs = (f"{name}: {place if _is_quoted(place) else quoted(place)}" for name, place in places.items())
    word = f"{key}={{{', '.join(pairs)}}}"
    return word if _parsed(word) else None


def advice(word: str) -> str:
    """What is said of a word that Hydra cannot read: what works instead, ready to be pasted where that is known."""
    key, equals, value = word.partition("=")
    if not equals:
        return f"{word!r} is neither key=value nor an option; --help lists both"
    if not _KEY.fullmatch(key):
        return f"cannot read the override {word!r}; the names in a key have letters from a to z, digits, - and _"
    better = _mapping(key, value) if value.startswith("{") else f"{key}={quoted(value)}"
    if better and _parsed(better) and not value.startswith("["):
        return f"cannot read the override {word!r}; quotes inside the quotes help: {shlex.quote(better)}"
    return f"cannot read the override {word!r}; write key=value, and lists in quotes: 'methods=[ta, ties]'"


def _is_quoted(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] and text[0] in "'\""


def _parsed(word: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException:
        return None
