"""The commands in a page's code blocks."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from experiments.commands.catalogue import COMMANDS
from experiments.commands.options import overrides

ROOT = Path(__file__).resolve().parent.parent


def commands(page: str) -> list[tuple[str, list[str]]]:
    """(door, words) of every ``lata …`` or ``python -m experiments.…`` in a page's code blocks, in order.

    Options stand as the keys that they mean; lists of what there is (``lata methods``) are left out.
    """
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [re.match(r"\s*(?:\.venv/bin/)?(?:python -m experiments\.|lata )(\w+)(.*)", line) for line in lines]
    called = [(match[1], shlex.split(match[2], comments=True)) for match in found if match]
    return [(door, as_keys(door, words)) for door, words in called if COMMANDS[door].main]


def as_keys(door: str, words: list[str]) -> list[str]:
    """The words of a command with its options as Hydra's overrides, where Hydra composes it."""
    return overrides(door, words) if COMMANDS[door].hydra else words
