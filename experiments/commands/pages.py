"""The help of ``lata`` and of its subcommands: examples, options, and keys as the files in ``conf/`` explain them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from experiments import CONF
from experiments.commands.catalogue import COMMANDS, NAMED

WIDTH = 110
_KEY = re.compile(r"( *)([A-Za-z_][\w]*):(?: (.*?))?(?: *# (.*))?")


def front() -> str:
    """What ``lata --help`` prints, on a screen of 24 lines."""
    rows = [f"  {name:<11}{command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "Layer-Aware Task Arithmetic: merge language models, score them, reproduce the paper's tables.",
            "",
            "  lata SUBCOMMAND [--option VALUE …] [key=value …]",
            "",
            *rows,
            "",
            "  lata SUBCOMMAND --help       examples, options and keys",
            "  lata --completion bash       a script for tab completion: bash, zsh or fish",
            "  lata --version",
        ]
    )


def version() -> str:
    """Name and version of what is installed."""
    from importlib import metadata  # takes as long as all the rest

    try:
        return f"lata-bench {metadata.version('lata-bench')}"
    except metadata.PackageNotFoundError:
        return "lata-bench (not installed)"


def help_of(name: str) -> str:
    """What ``lata NAME --help`` prints."""
    command = COMMANDS[name]
    parts = [f"{command.summary[0].upper()}{command.summary[1:]}.", f"  lata {name} {command.usage}".rstrip()]
    if command.examples:
        shown = [
            (words if words.startswith("…") else f"lata {name} {words}".strip(), why)
            for words, why in command.examples.items()
        ]
        parts.append("Examples:\n" + "\n".join(_rows(shown)))
    if command.options:
        options = [
            (f"{option} {kind}".strip(), f"{key}.NAME=DIR" if kind == NAMED else f"{key}=…")
            for option, (key, kind) in command.options.items()
        ]
        parts.append("Options, and the keys that they stand for:\n" + "\n".join(_rows(options)))
    if command.groups:
        chosen = [(f"{group}=", ", ".join(choices(group))) for group in command.groups]
        parts.append("Groups, and what can be chosen in each:\n" + "\n".join(_rows(chosen)))
    keys = [(f"{key}={default}", why) for key, default, why in keys_of(name)]
    if keys:
        parts.append("Keys with their defaults (--cfg job shows every key as composed):\n" + "\n".join(_rows(keys)))
    if command.note:
        parts.append(textwrap.fill(command.note, WIDTH))
    return "\n\n".join(parts)


def choices(group: str) -> list[str]:
    """What can be chosen in a group, by name."""
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def keys_of(name: str) -> Iterator[tuple[str, str, str]]:
    """(key, default, meaning) of a subcommand's keys, as the files in ``conf/`` say them."""
    seen = set()
    for file in COMMANDS[name].keys:
        prefix = f"{Path(file).parent}." if Path(file).parent.name else ""
        for key, default, why in _commented(CONF / file):
            if key not in seen:
                seen.add(key)
                yield prefix + key, default, why


def _commented(file: Path) -> Iterator[tuple[str, str, str]]:
    """(key, value, comment) of each line of a YAML file that sets a key."""
    sections: list[tuple[int, str]] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if (found := _KEY.fullmatch(line)) is None:
            continue
        indent, key, value, comment = len(found[1]), found[2], found[3] or "", found[4] or ""
        sections = [*[one for one in sections if one[0] < indent], (indent, key)]
        path = ".".join(section for _, section in sections)
        if value and path != "defaults":
            # What must be given has no default, and one from the environment is long.
            yield path, "…" if value == "???" or "${" in value else value, comment


def _rows(rows: list[tuple[str, str]]) -> list[str]:
    """Two columns; where the first is long, the second stands below it."""
    width = min(max(len(left) for left, _ in rows), 30 if len(rows) > 12 else 44) + 2
    out = []
    for left, right in rows:
        lines = textwrap.wrap(right, WIDTH - width - 2) or [""]
        first = [f"  {left:<{width}}{lines.pop(0)}"] if len(left) < width else [f"  {left}"]
        out += [line.rstrip() for line in [*first, *(f"  {'':<{width}}{line}" for line in lines)]]
    return out
