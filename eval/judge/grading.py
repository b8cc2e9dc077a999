"""Grades answers to restricted requests from 1 (full refusal) to 5 (full compliance) by a language model.

    settings = JudgeSettings(base_url="https://api.openai.com/v1", model="…", cache=folder)
    estimate(settings, answers)     # requests, tokens and price, nothing is sent
    score(settings, answers)        # one Judgement an answer, in the same order

The rule of ``eval/tasks/refusal`` stays the default and gives the metric ``compliance``; these grades are the metric
``judge_score``. Equal answers to equal prompts are judged once, judgements already in the cache not at all, so an
interrupted run goes on where it stopped, and one that finds everything needs neither key nor ``openai``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from eval.judge import rubric
from eval.judge.cache import JudgementCache, key_of
from eval.judge.client import Endpoint, quiet_transport
from eval.judge.pace import Pace
from eval.judge.settings import JudgeSettings

#: Bytes of text to a token. English has about 4, so the estimate is rather too high than too low.
BYTES_PER_TOKEN = 3

Verdict = tuple[int | None, str]

#: An answer without text complies with nothing; no judge is asked.
EMPTY: Verdict = (1, "the answer is empty")


@dataclass(frozen=True)
class Estimate:
    """What a run will ask for at most, re-asked and repeated requests aside.

    Attributes:
        requests: distinct answers that are in no cache.
        tokens_in: tokens sent, estimated from the length of the text.
        tokens_out: tokens received if every reply is as long as it may be.
        price: in the currency of the settings' prices; None without prices.
    """

    requests: int
    tokens_in: int
    tokens_out: int
    price: float | None


@dataclass(frozen=True)
class Judgement:
    """One answer's grade.

    Attributes:
        item: the answer's item.
        score: 1 to 5; None where the judge refused or could not be understood.
        reason: the judge's, or why there is no score.
        cached: whether it was in the cache before.
    """

    item: int
    score: int | None
    reason: str
    cached: bool


def check(settings: JudgeSettings) -> None:
    """Find out before the answers are generated whether the judge can be asked; nothing is sent.

    Raises:
        ValueError: ``openai`` or the key is missing.
    """
    Endpoint(settings, Pace(settings.requests_per_minute)).close()


def estimate(settings: JudgeSettings, answers: Sequence[Mapping[str, Any]]) -> Estimate:
    """What ``score`` would ask for, with nothing sent.

    Args:
        settings: the judge.
        answers: dictionaries with ``item``, ``prompt`` and ``answer``.
    """
    return _estimate(settings, _missing(settings, answers, _known(settings, answers)))


def score(
    settings: JudgeSettings,
    answers: Sequence[Mapping[str, Any]],
    report: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> list[Judgement]:
    """Grade answers.

    Args:
        settings: the judge.
        answers: dictionaries with ``item``, ``prompt`` and ``answer``.
        report: gets the estimate, one line, before the first request.

    Returns:
        One judgement an answer, in the order of ``answers``.

    Raises:
        ValueError: the estimate is above ``max_price``, ``openai`` or the key is missing, the cache cannot be
            written, or the endpoint refuses or does not answer. Judgements made until then stay in the cache.
    """
    known = _known(settings, answers)
    missing = _missing(settings, answers, known)
    fresh: dict[str, Verdict] = {}
    if missing:
        expected = _estimate(settings, missing)
        report(_announcement(settings, expected, len(known)))
        if settings.max_price is not None and expected.price is not None and expected.price > settings.max_price:
            raise ValueError(
                f"the judge may cost {expected.price:.2f}, above eval.judge.max_price = {settings.max_price:g}. "
                "Raise it, or set eval.limit."
            )
        with quiet_transport():
            fresh = _judge(settings, missing)
    judgements = []
    for answer in answers:
        key = key_of(settings, answer["prompt"], answer["answer"])
        verdict = known.get(key) or fresh.get(key) or EMPTY
        judgements.append(Judgement(answer["item"], *verdict, cached=key in known))
    return judgements


def _known(settings: JudgeSettings, answers: Sequence[Mapping[str, Any]]) -> dict[str, Verdict]:
    """Judgements in the cache, by key."""
    cache = JudgementCache(settings)
    keys = {key_of(settings, answer["prompt"], answer["answer"]) for answer in answers if answer["answer"].strip()}
    return {key: verdict for key in keys if (verdict := cache.get(key)) is not None}


def _missing(
    settings: JudgeSettings, answers: Sequence[Mapping[str, Any]], known: Mapping[str, Verdict]
) -> dict[str, list[dict[str, str]]]:
    """The messages for every distinct answer that has text and no judgement yet, by key."""
    chats = {}
    for answer in answers:
        key = key_of(settings, answer["prompt"], answer["answer"])
        if answer["answer"].strip() and key not in known:
            chats[key] = rubric.messages(answer["prompt"], answer["answer"])
    return chats


def _estimate(settings: JudgeSettings, chats: Mapping[str, list[dict[str, str]]]) -> Estimate:
    lengths = [len(message["content"].encode()) for chat in chats.values() for message in chat]
    tokens_in = sum(-(-length // BYTES_PER_TOKEN) for length in lengths)
    tokens_out = len(chats) * settings.max_tokens
    price = None
    if settings.price_in is not None and settings.price_out is not None:
        price = (tokens_in * settings.price_in + tokens_out * settings.price_out) / 1e6
    return Estimate(len(chats), tokens_in, tokens_out, price)


def _announcement(settings: JudgeSettings, expected: Estimate, cached: int) -> str:
    price = "set eval.judge.price_in and price_out for a price"
    if expected.price is not None:
        price = f"a price of at most about {expected.price:.2f}"
    return (
        f"judge {settings.model} at {settings.base_url}: {expected.requests} requests ({cached} more are cached), "
        f"about {expected.tokens_in} tokens sent and at most {expected.tokens_out} received; {price}; "
        f"at least {expected.requests / settings.requests_per_minute:.1f} min"
    )


def _judge(settings: JudgeSettings, chats: Mapping[str, list[dict[str, str]]]) -> dict[str, Verdict]:
    """Ask for all grades; each is in the cache as soon as it is there."""
    cache = JudgementCache(settings)
    cache.prepare()
    pace = Pace(settings.requests_per_minute)
    endpoint = Endpoint(settings, pace)
    done: dict[str, Verdict] = {}

    def one(key: str) -> None:
        done[key], final = _grade(endpoint, chats[key])
        if final:
            cache.put(key, *done[key])

    pool = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="judge")
    try:
        try:
            for future in as_completed([pool.submit(one, key) for key in chats]):
                future.result()
        finally:
            pace.stop.set()
            pool.shutdown(cancel_futures=True)
            endpoint.close()
    except ValueError as error:
        kept = f"are kept in {settings.cache}" if settings.cache else "are lost: set eval.judge.cache to keep them"
        raise ValueError(f"{error} {len(done)} of {len(chats)} judgements were made and {kept}.") from None
    return done


def _grade(endpoint: Endpoint, chat: list[dict[str, str]]) -> tuple[Verdict, bool]:
    """One grade, and whether asking again could not change it. A reply that cannot be read is asked for once more."""
    reply = endpoint.ask(chat)
    problem = "the reply is empty"
    for last in (False, True):
        if reply.declined is not None:
            return (None, reply.declined), True
        grade, problem = rubric.parse(reply.text)
        if grade is not None:
            return (grade, problem), True
        if not last:
            reply = endpoint.ask([*chat, *rubric.reminder(reply.text, problem)])
    if reply.cut:
        return (None, f"the reply was cut at eval.judge.max_tokens = {endpoint.settings.max_tokens}"), False
    said = f": {rubric.shortened(reply.text)}" if reply.text.strip() else ""
    return (None, rubric.shortened(f"unreadable, asked twice: {problem}{said}")), True
