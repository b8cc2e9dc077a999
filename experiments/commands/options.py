"""Plain options as Hydra's overrides.

``--pre DIR --expert math=DIR`` is ``family.pre=DIR 'family.experts={math: DIR}'``. What is Hydra's own stays as it
is, and so does ``key=value``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from experiments.commands.catalogue import COMMANDS, FLAG, LIST, NAMED, PATH

#: Options of Hydra: followed by a value, and alone.
_WITH_VALUE = {
    *("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"),
    "--experimental-rerun",
}
_ALONE = {"--multirun", "-m", "--run", "-r", "--resolve", "--info", "-i", "--hydra-help", "--shell-completion", "-sc"}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
#: Values that Hydra's grammar takes for a text as they stand.
_PLAIN = re.compile(r"[A-Za-z/~_][A-Za-z0-9_./~+@-]*|\.{1,2}/[A-Za-z0-9_./~+@-]*")
_NO_TEXT = {"true", "false", "null", "inf", "nan"}


def overrides(command: str, words: Sequence[str]) -> list[str]:
    """The words of a subcommand with its options as ``key=value``.

    Raises:
        ValueError: an unknown option, one without its value, or a key that is given twice.
    """
    known = COMMANDS[command].options
    given: dict[str, str | dict[str, str]] = {}
    out: list[str] = []
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name not in known:
            out += _hydras(word, rest, [*known])
            continue
        key, kind = known[name]
        if kind != FLAG and not equals:
            value = next(rest, "")
        if kind == FLAG and equals:
            raise ValueError(f"{name} takes no value; write {name} alone, or {key}={value}")
        if kind != FLAG and (not value.strip() or (not equals and value in {*known, *_ALONE, *_WITH_VALUE})):
            raise ValueError(f"{name} needs a value: {name} {kind}")
        if kind == NAMED:
            _add_named(given.setdefault(key, {}), name, value)
        elif key in given:
            raise ValueError(f"{name} is given twice; give it once")
        else:
            given[key] = {FLAG: "true", LIST: f"[{value}]", PATH: value}.get(kind, value)
    keys = {word.partition("=")[0].lstrip("+") for word in out}
    for key in given:
        if twice := sorted(one for one in keys if one == key or (one.startswith(f"{key}.") and key != "method")):
            raise ValueError(f"{key} is given twice, as an option and as {twice[0]}=…; give it once")
    # A recipe's words are no expressions of Hydra's: it never sees them.
    literal = "recipe" in given or "recipe" in keys
    paths = {key for key, kind in known.values() if kind == PATH}
    return [*(word for key, one in given.items() for word in _words(key, one, key in paths, literal)), *out]


def _hydras(word: str, rest: Iterable[str], known: Sequence[str]) -> list[str]:
    """A word that is no option of the subcommand, with the value that follows it where it is Hydra's."""
    name = word.partition("=")[0]
    if not word.startswith("-") or name in _ALONE:
        return [word]
    if name in _WITH_VALUE:
        return [word] if name != word else [word, *[following for following in [next(iter(rest), "")] if following]]
    raise ValueError(f"unknown option {name}{nearest(name, known) or '; --help lists options and keys'}")


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean x?`` for the nearest of `known`, or nothing where none is near."""
    near = difflib.get_close_matches(word, [*known], n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _add_named(given: str | dict[str, str], option: str, value: str) -> None:
    assert isinstance(given, dict)
    name, equals, place = value.partition("=")
    if not equals or not place.strip() or _NAME.fullmatch(name) is None:
        raise ValueError(
            f"{option} {value}: write {option} {NAMED}, such as {option} math=DIR; a name has letters from a to z, "
            "digits, - and _"
        )
    if name in given:
        raise ValueError(f"{option} {name}=… is given twice; give it once")
    given[name] = place


def _words(key: str, value: str | Mapping[str, str], path: bool, literal: bool) -> list[str]:
    """One key with its value as overrides, in quotes where Hydra would read another thing than what was written."""
    if isinstance(value, str):
        return [f"{key}={_text(value) if path and not literal else value}"]
    if literal:
        return [f"{key}.{name}={place}" for name, place in value.items()]
    return [f"{key}={{{', '.join(f'{name}: {_text(place)}' for name, place in value.items())}}}"]


def _text(text: str) -> str:
    """A path as one value in Hydra's grammar."""
    if _PLAIN.fullmatch(text) and text.lower() not in _NO_TEXT:
        return text
    return quoted(text.replace("${", "\\${"))


def quoted(text: str) -> str:
    """Text as one value in Hydra's grammar: backslashes count only before a quote, and there twice."""
    return "'" + re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), text) + "'"
