"""The commands on the pages of this project: in code blocks, and in tables of what to add to one."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_COMMAND = re.compile(r"\s*(?:\.venv/bin/)?(?:lata |python -m experiments\.)(\w+)(.*)")


def text_of(page: str) -> str:
    """A page as it is written."""
    return (ROOT / page).read_text(encoding="utf-8")


def commands(page: str) -> list[tuple[str, list[str]]]:
    """(command, words) of every ``lata …`` and ``python -m experiments.…`` in a page's code blocks, in order."""
    blocks = re.findall(r"```bash\n(.*?)```", text_of(page), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [_COMMAND.match(line) for line in lines]
    return [(match[1], shlex.split(match[2], comments=True)) for match in found if match]


def additions(page: str) -> list[tuple[str, list[str]]]:
    """(command, words) of every row of a page's tables with the heading "add to `lata COMMAND`"."""
    found = []
    for command, rows in re.findall(r"\| add to `lata (\w+)` \|\n\|[-|: ]+\n((?:\|.*\n)+)", text_of(page) + "\n"):
        for row in rows.splitlines():
            # The last code span is what is added; a comma or a blank between spans is none of it.
            words = re.findall(r"`([^`]+)`", row.rsplit(" | ", 1)[1])
            found.append((command, [word for span in words for word in shlex.split(span)]))
    return found
