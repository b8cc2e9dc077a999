"""Answers are graded once each through an OpenAI-compatible endpoint, whatever the endpoint does meanwhile."""

from __future__ import annotations

import errno
import json
import logging
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stub_endpoint import Answer, Clock, Seen, StubEndpoint, fails, grades, says

from eval.judge import cache as judge_cache
from eval.judge import grading as judge
from eval.judge import pace as judge_pace
from eval.judge.grading import Judgement, check, estimate, score
from eval.judge.rubric import RUBRIC_VERSION, SYSTEM
from eval.judge.settings import JudgeSettings

KEY = "sk-test-0123456789-secret"


def answers(*texts: str) -> list[dict[str, Any]]:
    return [{"task": "refusal", "item": i, "prompt": f"How {i}?", "answer": text} for i, text in enumerate(texts)]


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openai")
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(judge_pace, "BACKOFF_S", 0.001)


@pytest.fixture
def serve() -> Iterator[Callable[..., StubEndpoint]]:
    """``serve(answer, …)`` or ``serve(function)``: a running stub."""
    running: list[StubEndpoint] = []

    def start(*script: Any) -> StubEndpoint:
        running.append(StubEndpoint(script[0] if callable(script[0]) else script))
        return running[-1].__enter__()

    yield start
    for stub in running:
        stub.__exit__()


def settings(stub: StubEndpoint | str, **changes: Any) -> JudgeSettings:
    url = stub if isinstance(stub, str) else stub.url
    fast = {"requests_per_minute": 60_000, "concurrency": 1, "timeout_s": 10}
    return JudgeSettings(**{"base_url": url, "model": "judge-1", **fast, **changes})


def quiet(_: str) -> None:
    """Take the announcement and do nothing."""


def by_answer(scores: dict[str, Answer]) -> Callable[[Seen], Answer]:
    return lambda seen: scores[seen.material["answer"]]


def test_every_answer_gets_its_own_grade_in_the_order_of_the_answers(serve: Callable[..., StubEndpoint]) -> None:
    stub = serve(by_answer({"no": grades(1, "declines"), "yes": grades(5, "gives all"), "well": grades(3)}))
    found = score(settings(stub, concurrency=3), answers("yes", "no", "well"), quiet)
    assert found == [
        Judgement(0, 5, "gives all", cached=False),
        Judgement(1, 1, "declines", cached=False),
        Judgement(2, 3, "because", cached=False),
    ]


def test_a_request_is_greedy_seeded_and_holds_rubric_prompt_and_answer(serve: Callable[..., StubEndpoint]) -> None:
    stub = serve(grades(2))
    score(settings(stub, max_tokens=99), answers("text"), quiet)
    (seen,) = stub.seen
    assert seen.path == "/v1/chat/completions"
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.material == {"request": "How 0?", "answer": "text"}
    assert seen.body["messages"][0] == {"role": "system", "content": SYSTEM}
    options = {name: value for name, value in seen.body.items() if name != "messages"}
    assert options == {"model": "judge-1", "temperature": 0, "seed": 0, "max_tokens": 99}


def test_equal_answers_are_judged_once_and_empty_ones_not_at_all(serve: Callable[..., StubEndpoint]) -> None:
    stub = serve(grades(4))
    rows = [{**row, "prompt": "Same?"} for row in answers("a", "a", " \n", "a")]
    found = score(settings(stub), rows, quiet)
    assert [(row.item, row.score) for row in found] == [(0, 4), (1, 4), (2, 1), (3, 4)]
    assert found[2].reason == "the answer is empty"
    assert len(stub.seen) == 1


def test_no_answers_need_no_endpoint() -> None:
    assert score(settings("http://127.0.0.1:1/v1"), [], quiet) == []


def test_a_second_run_finds_all_in_the_cache_and_needs_neither_key_nor_client(
    serve: Callable[..., StubEndpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = serve(by_answer({"a": grades(4, "rätsel"), "b": says(None, refusal="I would rather not")}))
    where = settings(stub, cache=tmp_path / "deep" / "cache")
    first = score(where, answers("a", "b"), quiet)
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setitem(sys.modules, "openai", None)
    second = score(where, answers("a", "b"), pytest.fail)
    assert [row.cached for row in first] == [False, False]
    assert second == [
        Judgement(0, 4, "rätsel", True),
        Judgement(1, None, "the judge refused: I would rather not", True),
    ]
    assert len(stub.seen) == 2


def test_a_cached_judgement_counts_for_its_endpoint_model_rubric_prompt_and_answer_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = settings("http://a/v1")
    keys = {
        judge_cache.key_of(base, "p", "a"),
        judge_cache.key_of(settings("http://b/v1"), "p", "a"),
        judge_cache.key_of(settings("http://a/v1", model="judge-2"), "p", "a"),
        judge_cache.key_of(base, "pa", ""),
        judge_cache.key_of(base, "p", "b"),
    }
    patient = settings("http://a/v1", max_retries=9, timeout_s=1, price_in=1, price_out=1, max_tokens=99)
    assert judge_cache.key_of(patient, "p", "a") in keys
    monkeypatch.setattr(judge_cache, "RUBRIC_VERSION", "2.0")
    keys.add(judge_cache.key_of(base, "p", "a"))
    assert len(keys) == 6


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": "other", "score": 5, "reason": ""}', '{"score": 9}'])
def test_a_damaged_judgement_is_asked_for_again_with_a_warning(
    serve: Callable[..., StubEndpoint], tmp_path: Path, content: str
) -> None:
    stub = serve(grades(2))
    where = settings(stub, cache=tmp_path)
    score(where, answers("a"), quiet)
    (file,) = tmp_path.rglob("*.json")
    whole = file.read_text()
    file.write_text(content)
    with pytest.warns(UserWarning, match="damaged judgement"):
        assert score(where, answers("a"), quiet) == [Judgement(0, 2, "because", cached=False)]
    assert file.read_text() == whole
    assert list(tmp_path.rglob(".*")) == []


def test_what_a_broken_run_has_judged_is_kept(serve: Callable[..., StubEndpoint], tmp_path: Path) -> None:
    stub = serve(grades(5), grades(4), fails(401))
    where = settings(stub, cache=tmp_path)
    with pytest.raises(ValueError, match=r"2 of 4 judgements were made and are kept in "):
        score(where, answers("a", "b", "c", "d"), quiet)
    stub.answers = [grades(1)]
    found = score(where, answers("a", "b", "c", "d"), quiet)
    assert [(row.score, row.cached) for row in found] == [(5, True), (4, True), (1, False), (1, False)]


def test_a_cache_that_cannot_be_written_stops_before_the_first_request(
    serve: Callable[..., StubEndpoint], tmp_path: Path
) -> None:
    stub = serve(grades(5))
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"eval\.judge\.cache = .* cannot be written"):
        score(settings(stub, cache=tmp_path / "file"), answers("a"), quiet)
    assert stub.seen == []


def test_the_estimate_counts_what_is_not_known_yet(serve: Callable[..., StubEndpoint], tmp_path: Path) -> None:
    where = settings(serve(grades(3)), cache=tmp_path, price_in=2.0, price_out=8.0, max_tokens=100)
    rows = answers("äb", "äb", "", "known")
    rows[1]["prompt"] = rows[0]["prompt"]
    score(where, rows[3:], quiet)
    found = estimate(where, rows)
    user = len(json.dumps({"request": "How 0?", "answer": "äb"}, ensure_ascii=False).encode())
    tokens = -(-len(SYSTEM.encode()) // 3) + -(-user // 3)
    assert (found.requests, found.tokens_in, found.tokens_out) == (1, tokens, 100)
    assert found.price == pytest.approx((tokens * 2 + 100 * 8) / 1e6)
    assert estimate(settings("http://127.0.0.1:1/v1"), rows).price is None


def test_the_estimate_is_told_before_the_first_request(
    serve: Callable[..., StubEndpoint], capsys: pytest.CaptureFixture[str]
) -> None:
    stub = serve(grades(3))
    told: list[tuple[str, int]] = []
    where = settings(stub, price_in=10_000.0, price_out=0.0, requests_per_minute=120_000)
    score(where, answers("a", "b"), lambda line: told.append((line, len(stub.seen))))
    ((line, before),) = told
    assert before == 0
    expected = estimate(where, answers("a", "b"))
    assert line.startswith(f"judge judge-1 at {stub.url}: 2 requests (0 more are cached), about {expected.tokens_in}")
    assert f"a price of at most about {expected.price:.2f}" in line
    score(where, answers("a", "b"))
    assert capsys.readouterr().err == f"{line}\n"


def test_a_price_above_the_limit_sends_nothing(serve: Callable[..., StubEndpoint]) -> None:
    stub = serve(grades(3))
    where = settings(stub, price_in=1e6, price_out=0.0, max_price=5.0)
    with pytest.raises(
        ValueError, match=r"the judge may cost \d+\.\d\d, above eval\.judge\.max_price = 5\. Raise it"
    ):
        score(where, answers("a"), quiet)
    assert stub.seen == []


HICCUPS = {
    "429": fails(429, "slow down"),
    "500": fails(500),
    "503 with a page": Answer("<html>busy</html>", 503, kind="text/html"),
    "408": fails(408),
    "a page": Answer("<html>sign in</html>", kind="text/html"),
    "no choices": Answer('{"choices": []}'),
    "an error dressed as success": Answer('{"error": {"message": "upstream", "code": 429}}'),
    "cut JSON": Answer('{"choices": ['),
}


@pytest.mark.parametrize("hiccup", HICCUPS.values(), ids=HICCUPS)
def test_a_passing_failure_is_tried_again(serve: Callable[..., StubEndpoint], hiccup: Answer) -> None:
    stub = serve(hiccup, hiccup, grades(4))
    assert score(settings(stub), answers("a"), quiet)[0].score == 4
    assert len(stub.seen) == 3


def test_an_endpoint_that_does_not_answer_in_time_is_asked_again(serve: Callable[..., StubEndpoint]) -> None:
    stub = serve(Answer("", hang=True), grades(4))
    assert score(settings(stub, timeout_s=0.2), answers("a"), quiet)[0].score == 4
    assert len(stub.seen) == 2


def test_a_time_limit_that_is_always_reached_is_an_error_of_one_line(serve: Callable[..., StubEndpoint]) -> None:
    stub = serve(Answer("", hang=True))
    with pytest.raises(
        ValueError, match=r"gave no answer after 2 tries: Request timed out\. Check eval\.judge"
    ) as caught:
        score(settings(stub, timeout_s=0.1, max_retries=1), answers("a"), quiet)
    assert "0 of 1 judgements were made and are lost: set eval.judge.cache" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(stub.seen) == 2


def test_an_endpoint_that_is_not_there_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        with pytest.raises(ValueError, match=rf"the judge at {url} gave no answer after 1 try: Connection error"):
            score(settings(url, max_retries=0), answers("a"), quiet)


def test_retries_back_off_exponentially_and_wait_as_long_as_they_are_asked_to(
    serve: Callable[..., StubEndpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    held: list[float] = []

    class VirtualPace(judge_pace.Pace):
        def __init__(self, per_minute: float) -> None:
            super().__init__(per_minute, clock)

        def wait(self, seconds: float) -> None:
            clock.wait(seconds)

        def hold(self, seconds: float) -> None:
            held.append(seconds)

    monkeypatch.setattr(judge, "Pace", VirtualPace)
    monkeypatch.setattr(judge_pace, "BACKOFF_S", 1.0)
    asked = fails(429, headers={"Retry-After": "37"})
    stub = serve(fails(500), fails(500), fails(500), asked, grades(5))
    assert score(settings(stub), answers("a"), quiet)[0].score == 5
    assert len(clock.waits) == 4
    for wait, full in zip(clock.waits[:3], (1, 2, 4), strict=True):
        assert full / 2 <= wait <= full
    assert clock.waits[3] == 37
    assert held == [37]


def test_an_endpoint_that_asks_for_an_hour_ends_the_run(serve: Callable[..., StubEndpoint]) -> None:
    stub = serve(fails(429, headers={"Retry-After": "3600"}))
    with pytest.raises(ValueError, match=r"asks to wait 3600 s\. Run the same command again then\."):
        score(settings(stub), answers("a"), quiet)
    assert len(stub.seen) == 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            fails(401, "bad key"),
            r"refuses requests: .*bad key.* Check the key in the environment variable OPENAI_API_KEY\.",
        ),
        (fails(403), r"Check what the key in OPENAI_API_KEY may use\."),
        (fails(404, "no such model"), r"no such model.* Check eval\.judge\.model, and eval\.judge\.base_url"),
        (fails(400, "temperature must be 1"), r"temperature must be 1.* Choose another eval\.judge\.model"),
        (fails(429, code="insufficient_quota"), r"The account's quota is used up\."),
    ],
)
def test_a_lasting_refusal_is_not_tried_again_and_says_what_to_do(
    serve: Callable[..., StubEndpoint], answer: Answer, message: str
) -> None:
    stub = serve(answer)
    with pytest.raises(ValueError, match=message):
        score(settings(stub), answers("a"), quiet)
    assert len(stub.seen) == 1


def test_one_lasting_refusal_stops_all_requests(serve: Callable[..., StubEndpoint]) -> None:
    stub = serve(fails(401))
    with pytest.raises(ValueError, match="0 of 60 judgements"):
        score(settings(stub, concurrency=3), answers(*map(str, range(60))), quiet)
    assert len(stub.seen) < 30


def test_a_lasting_refusal_ends_the_waits_of_others(
    serve: Callable[..., StubEndpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge_pace, "BACKOFF_S", 300.0)
    monkeypatch.setattr(judge_pace, "BACKOFF_MAX_S", 300.0)
    failed = threading.Event()

    def answer(seen: Seen) -> Answer:
        if seen.material["answer"] == "waits":
            failed.set()
            return fails(500)
        failed.wait(20)
        return fails(401)

    began = time.monotonic()
    with pytest.raises(ValueError, match="0 of 2 judgements"):
        score(settings(serve(answer), concurrency=2, timeout_s=30), answers("waits", "refused"), quiet)
    assert time.monotonic() - began < 100


def test_a_judgement_that_cannot_be_written_whole_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dump(_: Any, stream: Any, **__: Any) -> None:
        stream.write("{")
        raise OSError(errno.ENOSPC, "disk full")

    cache = judge_cache.JudgementCache(settings("http://a/v1", cache=tmp_path))
    cache.put("0" * 64, 3, "first")
    monkeypatch.setattr(judge_cache.json, "dump", dump)
    for key in ("0" * 64, "1" * 64):
        with pytest.raises(OSError, match="disk full"):
            cache.put(key, 4, "second")
    assert cache.get("0" * 64) == (3, "first")
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_a_reply_that_cannot_be_read_is_asked_for_once_more(serve: Callable[..., StubEndpoint]) -> None:
    stub = serve(says("I say five"), grades(5))
    assert score(settings(stub), answers("a"), quiet) == [Judgement(0, 5, "because", cached=False)]
    first, second = (seen.body["messages"] for seen in stub.seen)
    assert second[:2] == first
    assert second[2] == {"role": "assistant", "content": "I say five"}
    assert "could not be read: no JSON object with a score" in second[3]["content"]


def test_what_stays_unreadable_has_no_score_and_says_why(serve: Callable[..., StubEndpoint], tmp_path: Path) -> None:
    odd = says("I'm sorry, I can't help with that.")
    stub = serve(by_answer({"a": odd, "b": grades(2), "c": says(None)}))
    found = score(settings(stub, cache=tmp_path), answers("a", "b", "c"), quiet)
    assert [row.score for row in found] == [None, 2, None]
    assert (
        found[0].reason == "unreadable, asked twice: no JSON object with a score: I'm sorry, I can't help with that."
    )
    assert found[2].reason == "unreadable, asked twice: the reply is empty"
    assert len(stub.seen) == 5


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (says(None, refusal="I would\nrather not"), "the judge refused: I would rather not"),
        (says("", finish="content_filter"), "the endpoint's content filter blocked the request"),
        (fails(400, code="content_filter"), "the endpoint's content filter blocked the request"),
        (fails(400, code="context_length_exceeded"), "the answer is too long for the judge's context"),
        (
            fails(400, "This model's maximum context length is 9 tokens; max_tokens", code=400),
            "the answer is too long for the judge's context",
        ),
    ],
)
def test_an_answer_that_the_judge_will_not_grade_has_no_score_and_stops_nothing(
    serve: Callable[..., StubEndpoint], answer: Answer, reason: str
) -> None:
    stub = serve(by_answer({"a": answer, "b": grades(2)}))
    found = score(settings(stub), answers("a", "b"), quiet)
    assert found == [Judgement(0, None, reason, cached=False), Judgement(1, 2, "because", cached=False)]
    assert len(stub.seen) == 2


def test_a_reply_that_was_cut_names_the_limit_and_is_not_kept(
    serve: Callable[..., StubEndpoint], tmp_path: Path
) -> None:
    stub = serve(says('{"reason": "long', finish="length"))
    found = score(settings(stub, cache=tmp_path, max_tokens=50), answers("a"), quiet)
    assert found == [Judgement(0, None, "the reply was cut at eval.judge.max_tokens = 50", cached=False)]
    assert list(tmp_path.rglob("*.json")) == []


def test_options_that_an_endpoint_does_not_know_are_renamed_or_left_out(serve: Callable[..., StubEndpoint]) -> None:
    def strict(seen: Seen) -> Answer:
        if "max_tokens" in seen.body:
            return fails(400, "Unsupported parameter: 'max_tokens'", param="max_tokens")
        return fails(422, "extra input: seed") if "seed" in seen.body else grades(3)

    stub = serve(strict)
    found = score(settings(stub), answers("a", "b"), quiet)
    assert [row.score for row in found] == [3, 3]
    assert len(stub.seen) == 4
    assert stub.seen[-1].body["max_completion_tokens"] == 512


def test_so_many_requests_are_under_way_at_once_as_settings_say(serve: Callable[..., StubEndpoint]) -> None:
    together = threading.Barrier(3, timeout=20)

    def meet(_: Seen) -> Answer:
        together.wait()
        return grades(5)

    found = score(settings(serve(meet), concurrency=3, max_retries=0, timeout_s=30), answers(*"abcdef"), quiet)
    assert [row.score for row in found] == [5] * 6


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(
        ValueError, match=r"needs the openai package\. Install the extra: pip install 'lata-bench\[judge\]'"
    ):
        score(settings("http://127.0.0.1:1/v1"), answers("a"), quiet)
    with pytest.raises(ValueError, match="needs the openai package"):
        check(settings("http://127.0.0.1:1/v1"))


@pytest.mark.parametrize("key", [None, "", "  "])
def test_without_a_key_its_variable_is_named(monkeypatch: pytest.MonkeyPatch, key: str | None) -> None:
    if key is None:
        monkeypatch.delenv("OPENAI_API_KEY")
    else:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ValueError, match="the environment variable OPENAI_API_KEY is not set"):
        score(settings("http://127.0.0.1:1/v1"), answers("a"), quiet)
    with pytest.raises(ValueError, match="OPENAI_API_KEY is not set"):
        check(settings("http://127.0.0.1:1/v1"))


def test_the_check_sends_nothing(serve: Callable[..., StubEndpoint]) -> None:
    stub = serve(fails(401))
    check(settings(stub))
    assert stub.seen == []


def test_a_key_may_end_in_a_line_break_but_hold_none(
    serve: Callable[..., StubEndpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = serve(grades(1))
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    score(settings(stub), answers("a"), quiet)
    assert stub.seen[0].headers["authorization"] == f"Bearer {KEY}"
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\nX: y")
    with pytest.raises(ValueError, match="holds spaces or characters that no key has") as caught:
        score(settings(stub), answers("b"), quiet)
    assert KEY not in str(caught.value)


def test_an_endpoint_without_keys_is_sent_none(
    serve: Callable[..., StubEndpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = serve(grades(1))
    monkeypatch.setenv("OPENAI_ORG_ID", "org-private")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-private")
    score(settings(stub, key_env=None), answers("a"), quiet)
    sent = json.dumps(dict(stub.seen[0].headers))
    assert KEY not in sent
    assert "private" not in sent


def test_the_key_is_in_nothing_that_is_written_logged_printed_raised_or_returned(
    serve: Callable[..., StubEndpoint],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Against an endpoint that sends the key back wherever it can."""
    echo = {"x-echo": KEY, "x-request-id": KEY}
    script = [
        fails(500, f"what is {KEY}?", headers=echo),
        fails(429, KEY, headers=echo, code=KEY),
        says(f"{KEY} is no grade"),
        grades(5, f"your key is {KEY}"),
        says(None, refusal=f"not with {KEY}"),
        says(f"odd {KEY}"),
        says(f"odd {KEY}"),
        fails(401, f"Incorrect API key: {KEY}", headers=echo),
    ]
    stub = serve(*script)
    where = settings(stub, cache=tmp_path)
    caplog.set_level(logging.DEBUG)
    found = score(where, answers("a", "b", "c"))
    with pytest.raises(ValueError, match=r"Incorrect API key: \[key\]") as caught:
        score(where, answers("a", "b", "c", "d"))
    assert len(stub.seen) == len(script)
    assert all(seen.headers["authorization"] == f"Bearer {KEY}" for seen in stub.seen)
    printed = "".join(capfd.readouterr())
    files = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    raised = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert len(files) == 3
    assert "judge-1" in printed
    assert logging.getLogger("openai").isEnabledFor(logging.DEBUG)
    for text in (printed, caplog.text, raised, repr(found), repr(where), repr(where.deciding()), *files):
        assert KEY not in text
    assert [row.score for row in found] == [5, None, None]
    assert found[0].reason == "your key is [key]"


def test_a_kept_judgement_says_where_it_comes_from(serve: Callable[..., StubEndpoint], tmp_path: Path) -> None:
    stub = serve(grades(2, "brief"))
    where = settings(stub, cache=tmp_path)
    score(where, answers("a"), quiet)
    (file,) = tmp_path.rglob("*.json")
    key = judge_cache.key_of(where, "How 0?", "a")
    assert file.relative_to(tmp_path).as_posix() == f"{key[:2]}/{key}.json"
    assert json.loads(file.read_text()) == {
        "key": key,
        "base_url": stub.url,
        "model": "judge-1",
        "rubric": RUBRIC_VERSION,
        "score": 2,
        "reason": "brief",
    }
