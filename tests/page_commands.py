"""The commands in a page's code blocks."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def commands(page: str) -> list[tuple[str, list[str]]]:
    """(door, words) of every ``python -m experiments.…`` in a page's code blocks, in order."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [re.match(r"\s*(?:\.venv/bin/)?python -m experiments\.(\w+)(.*)", line) for line in lines]
    return [(match[1], shlex.split(match[2], comments=True)) for match in found if match]
