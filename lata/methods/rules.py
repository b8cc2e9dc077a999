"""What the values of a method's parameters must obey, and the one form in which each is kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

#: Task, in sorted order → similarities from a family's first block to its last; None where a block has no cosine.
Profile: TypeAlias = tuple[tuple[str, tuple[float | None, ...]], ...]


@dataclass(frozen=True)
class Interval:
    """A parameter that is a finite number from `low` to `high`.

    `open_low` and `open_high` leave out the ends; `optional` allows None as well.
    """

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False
    optional: bool = False

    def problem(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        if value is None and self.optional:
            return None
        if _is_number(value):
            above = value > self.low if self.open_low else value >= self.low  # type: ignore[operator]
            below = value < self.high if self.open_high else value <= self.high  # type: ignore[operator]
            if above and below:
                return None
        left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
        return f"must be a number in {left}{self.low:g}, {self.high:g}{right}"

    def normal(self, value: object) -> object:
        """`value` with an integer as a float: ``density: 1`` must not make another key than ``1.0`` does."""
        return float(value) if isinstance(value, int) else value


@dataclass(frozen=True)
class OneOf:
    """A parameter that is one of some words."""

    choices: tuple[str, ...]

    def problem(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        return None if value in self.choices else f"must be one of {', '.join(self.choices)}"

    def normal(self, value: object) -> object:
        """`value` as it is."""
        return value


@dataclass(frozen=True)
class Cosines:
    """A parameter that gives each task a list of cosines: a mapping, or a `Profile`. It has no default."""

    def problem(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        if value is None:
            return "is missing: give the similarities of another family's blocks, task → list"
        pairs = _pairs(value)
        if not pairs:
            return "must give task → list of similarities"
        tasks = [task for task, _ in pairs]
        if len(set(tasks)) < len(tasks):
            return f"names a task twice: {', '.join(sorted(tasks))}"
        for task, numbers in pairs:
            if not numbers or not all(n is None or (_is_number(n) and -1 <= n <= 1) for n in numbers):
                return f"must give task {task!r} a list of numbers in [-1, 1], null where a block has no cosine"
        if len({len(numbers) for _, numbers in pairs}) > 1:
            return "must give every task as many numbers: one for each block of the other family"
        return None

    def normal(self, value: object) -> object:
        """`value` as a `Profile`, which can be hashed and does not depend on the order of tasks."""
        return tuple(
            (task, tuple(None if number is None else float(number) for number in numbers))
            for task, numbers in sorted(_pairs(value))
        )


def lam_problem(value: object) -> str | None:
    """What is wrong with a λ, or None. The sign is the mode's: λ has none in tables and in claims."""
    if not _is_number(value):
        return "must be a finite number"
    below = value < 0  # type: ignore[operator]
    return "must be at least 0: mode=forget takes a task away, mode=learn adds it" if below else None


Rule: TypeAlias = Interval | OneOf | Cosines


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _pairs(value: object) -> list[tuple[str, tuple[float | None, ...]]]:
    """Tasks with their numbers; none where `value` has not that form."""
    entries = value.items() if isinstance(value, Mapping) else value
    if not isinstance(entries, Iterable) or isinstance(entries, str):
        return []
    pairs = []
    for entry in entries:
        if not (isinstance(entry, (tuple, list)) and len(entry) == 2 and isinstance(entry[0], str)):
            return []
        if not isinstance(entry[1], (tuple, list)):
            return []
        pairs.append((entry[0], tuple(entry[1])))
    return pairs
