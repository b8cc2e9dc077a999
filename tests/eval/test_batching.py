"""Windows, batches that are sorted by length, and batches that are halved until they fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eval.backends.batching import longest_first, rolling_windows, scored_documents
from eval.fitting import evaluate_fitting, halving
from eval.harness import EvalSettings, Evaluator

PREFIX = 99


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(1, 12))
def test_windows_hold_every_token_once_and_what_stands_before_it(tokens: list[int], length: int) -> None:
    place = 0
    text = [PREFIX, *tokens]
    for context, targets in rolling_windows(tokens, PREFIX, length):
        assert targets == tokens[place : place + len(targets)]
        assert context
        assert context == text[place + 1 - len(context) : place + 1]
        assert len(context) + len(targets) - 1 <= length
        place += len(targets)
    assert place == len(tokens)


@given(st.lists(st.integers(0, 30), max_size=30), st.integers(1, 7))
def test_batches_hold_every_item_once_the_longest_first(lengths: list[int], size: int) -> None:
    batches = list(longest_first(lengths, size, lambda length: length))
    order = [lengths[index] for batch in batches for index in batch]
    assert order == sorted(lengths, reverse=True)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(len(batch) == size for batch in batches[:-1])


def test_by_hand_texts_as_long_as_a_context_are_read_two_at_a_time_and_short_ones_by_the_batch_size() -> None:
    lengths = [8_192] * 3 + [20_000] + [1_000] * 20
    batches = [[lengths[index] for index in batch] for batch in longest_first(lengths, 16, lambda length: length)]
    assert batches == [[20_000], [8_192] * 2, [8_192, 1_000], [1_000] * 16, [1_000] * 3]


def test_each_document_gets_the_sum_of_its_own_windows() -> None:
    documents = [[([0], [1, 2]), ([2], [3])], [], [([0], [4, 5, 6])]]
    seen: list[int] = []

    def score(windows: list[tuple[list[int], list[int]]]) -> list[float]:
        seen.append(len(windows))
        return [float(sum(targets)) for _, targets in windows]

    assert scored_documents(documents, 2, score) == [6.0, 0.0, 15.0]
    assert seen == [2, 1]


class OutOfMemory:
    """A function that has room for so many rows."""

    def __init__(self, room: int, error: Callable[[], Exception]) -> None:
        self.room, self.error, self.tried = room, error, list[int]()

    def __call__(self, rows: int) -> int:
        self.tried.append(rows)
        if rows > self.room:
            raise self.error()
        return rows


def cuda() -> Exception:
    return torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize(
    "error",
    [cuda, lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")],
)
def test_the_batch_is_halved_until_it_fits(error: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run = OutOfMemory(3, error)
    assert halving(run, 16) == (2, 2)
    assert run.tried == [16, 8, 4, 2]
    assert "out of memory with eval.batch_size=16; 8 is tried" in capsys.readouterr().err


def test_a_batch_of_one_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"even with eval\.batch_size=1: choose"):
        halving(OutOfMemory(0, cuda), 4)


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    run = OutOfMemory(0, lambda: RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        halving(run, 4)
    assert run.tried == [4]


def test_scores_after_halving_are_those_of_the_smaller_batch_size(
    tiny_model: Callable[..., Any], tokenizer: Any, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eval.backends import hf as model

    settings = EvalSettings(data_dir=data_dir, tasks=("wikitext", "gsm8k"), batch_size=8, device="cpu", limit=6)
    evaluator = Evaluator(settings, tokenizer)
    expected = Evaluator(
        EvalSettings(data_dir=data_dir, tasks=settings.tasks, batch_size=2, device="cpu", limit=6), tokenizer
    )(tiny_model(0))
    whole = model.greedy

    def small(*args: Any, **kwargs: Any) -> Any:
        if len(args[2]) > 3:
            raise cuda()
        return whole(*args, **kwargs)

    monkeypatch.setattr(model, "greedy", small)
    result, batch_size = evaluate_fitting(evaluator, tiny_model(0))
    assert batch_size == 2
    assert {score["batch_size"] for score in result.scores} == {2}
    pd.testing.assert_frame_equal(result.items, expected.items)
    assert (result.scores, result.answers) == (expected.scores, expected.answers)
    assert evaluator.settings.batch_size == 8
