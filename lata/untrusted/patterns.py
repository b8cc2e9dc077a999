"""Matching module names by the regular expressions in a stranger's files, in bounded time.

Python's own ``re`` cannot be stopped: ``(a+)+$`` on thirty letters runs for hours. A repeated group can also fill the
memory before anything is matched, so only single characters may be repeated.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

import regex

# Seconds for all matches of one table, thousands of times what honest ones take.
_PATIENCE = 2.0
_LONGEST, _GROUPS = 1000, 20
# Repeated groups, extensions other than (?:…), nested sets, and braces that are no count.
_UNBOUNDED = re.compile(r"(?<!\\)(\)[*+{]|\(\?(?!:)|\[\[|\{(?!\d+(,\d*)?\}))")


class Patterns:
    """A table of patterns for ends of module paths, such as PEFT's ``rank_pattern``.

    Args:
        table: pattern → value.
    """

    def __init__(self, table: Mapping[str, Any] | None) -> None:
        self._table = table or {}
        self._left = _PATIENCE

    def find(self, module: str, default: Any) -> Any:
        """The value of the first pattern that matches `module`, or its part behind some dot (PEFT's
        ``get_pattern_key``).

        Raises:
            ValueError: a pattern is no regular expression, repeats a group, or takes too long.
        """
        return next((value for pattern, value in self._table.items() if self._matches(pattern, module)), default)

    def _matches(self, pattern: str, module: str) -> bool:
        begun = time.monotonic()
        if len(pattern) > _LONGEST or pattern.count("(") > _GROUPS or _UNBOUNDED.search(pattern):
            problem = "repeats a group, or is too long, and could take for ever to match"
        else:
            try:
                re.compile(pattern)
                return regex.match(rf"(.*\.)?({pattern})$", module, timeout=max(self._left, 1e-3)) is not None
            except TimeoutError:
                problem = "takes too long to match"
            except (re.error, regex.error, OverflowError) as error:
                problem = f"is no regular expression ({error})"
            finally:
                self._left -= time.monotonic() - begun
        raise ValueError(f"the pattern {pattern[:80]!r} {problem}; name the modules plainly")
