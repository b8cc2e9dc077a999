"""The command ``lata``: one subcommand for each module of `experiments`, and lists of what it knows.

``lata merge …`` and ``python -m experiments.merge …`` are the same. Nothing but the standard library is imported
before a subcommand is known.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

from experiments.commands import completion, pages
from experiments.commands.catalogue import COMMANDS
from experiments.commands.options import nearest, overrides

Result = TypeVar("Result")


def main(words: Sequence[str] | None = None) -> None:
    """Run a subcommand.

    Args:
        words: the command line without the program's name; None reads the process's.
    """
    name, *rest = [*(sys.argv[1:] if words is None else words)] or ["--help"]
    if name in ("-h", "--help"):
        print(pages.front())
    elif name == "--version":
        print(pages.version())
    elif name == "--completion":
        _one_line(lambda: print(completion.script(rest[0] if rest else "")))
    elif name == "--complete":
        print("\n".join(completion.candidates(rest)))
    elif name not in COMMANDS:
        known = [*COMMANDS, "--help", "--version", "--completion"]
        kind = "option" if name.startswith("-") else "subcommand"
        _fail(f"unknown {kind} {name!r}{nearest(name, known) or '; see lata --help'}")
    else:
        _run(name, rest)


def _run(name: str, words: list[str]) -> None:
    command = COMMANDS[name]
    # A command that Hydra does not compose has a parser of its own, with its own help.
    if {"-h", "--help"} & {*words} and (command.hydra or not command.main):
        print(pages.help_of(name))
    elif command.main:
        # Results repeat the command that made them; Hydra reads it from here, too.
        sys.argv[1:] = _one_line(lambda: overrides(name, words)) if command.hydra else words
        importlib.import_module(f"experiments.{name}").main()
    elif words:
        _fail(f"lata {name} takes nothing more; leave {words[0]!r} out")
    else:
        from experiments.commands import listing

        print(listing.LISTS[name]())


def _one_line(call: Callable[[], Result]) -> Result:
    """What `call` gives; a ValueError ends the command."""
    try:
        return call()
    except ValueError as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
