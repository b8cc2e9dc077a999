"""A question of a reader with its answer in a sentence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """One of them: the question, the answer in a few words, and the sentence with its numbers."""

    question: str
    short: str
    text: str
    good: bool | None = None


@dataclass(frozen=True)
class Findings:
    """The answers and the same as a few sentences."""

    answers: tuple[Answer, ...]
    headline: str
