"""Numbers in words for people."""

from __future__ import annotations

import math


def size(count: int) -> str:
    """Bytes, e.g. ``2.47 GB``, ``48 MB`` or ``900 bytes``."""
    if count >= 1e9:
        return f"{count / 1e9:.2f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count} bytes"


def amount(count: int) -> str:
    """A number of parameters, e.g. ``1.24 billion``."""
    for unit, name in ((1e9, "billion"), (1e6, "million")):
        if count >= unit:
            return f"{count / unit:.2f} {name}"
    return str(count)


def duration(seconds: float) -> str:
    """A time, e.g. ``12 s`` or ``3 minutes``."""
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{math.ceil(seconds)} s"
