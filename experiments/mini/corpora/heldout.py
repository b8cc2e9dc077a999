"""What is held out from training, and how items are drawn from a split.

Each task has a *key* that says what two items must not share across splits:

- arithmetic problems: the chain of sums of the answer. Single sums in bare lines of arithmetic are exempt: they are
  the facts that a chain is made of;
- code: the body with its argument's name normalised;
- encyclopedia: the whole document;
- restricted requests: the pair of verb and object (`requests` deals those out evenly, see there).

A hash of the key decides the split, so that the splits are the same for every seed of the family, and no list of
held-out items has to be kept anywhere.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

TRAIN, DEV, TEST = "train", "dev", "test"


class Example(NamedTuple):
    """A training example: the model learns `response` given `prompt`; without a prompt it is a document."""

    prompt: str
    response: str


class Keyed(Protocol):
    """An item that knows what must not be shared across splits."""

    @property
    def key(self) -> str: ...


Item = TypeVar("Item", bound=Keyed)


def stable_hash(text: str) -> int:
    """A hash that is the same in every process and on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def split_of(key: str) -> str:
    """The split that `key` belongs to: one in ten is a test key, one in ten a development key."""
    return {0: TEST, 1: DEV}.get(stable_hash(key) % 10, TRAIN)


def draw(make: Callable[[random.Random], Item], rng: random.Random, split: str = TRAIN) -> Item:
    """The next item of `make` whose key lies in `split`."""
    while True:
        item = make(rng)
        if split_of(item.key) == split:
            return item


def draw_distinct(make: Callable[[random.Random], Item], rng: random.Random, split: str, count: int) -> list[Item]:
    """`count` items of `split`, no two with the same key.

    Raises:
        ValueError: the generator has not enough different items in this split.
    """
    items: dict[str, Item] = {}
    for _ in range(2000 * count):
        if len(items) == count:
            return list(items.values())
        item = make(rng)
        if split_of(item.key) == split:
            items.setdefault(item.key, item)
    raise ValueError(f"only {len(items)} different {split} items where {count} were asked for; ask for fewer")
