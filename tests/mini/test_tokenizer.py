"""The tokenizer: numbers are tokens, nothing is added, every text comes back."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from experiments.mini.corpora.mixtures import GENERATORS
from experiments.mini.data import evaluation_rows
from experiments.mini.training.tokenizer import EOS, EOS_TOKEN, PAD, PAD_TOKEN, train_tokenizer, wrap


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    """As it comes back from a model's folder."""
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    wrap(train_tokenizer(640), 512).save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def test_training_it_twice_gives_the_same(tokenizer: PreTrainedTokenizerFast) -> None:
    again = json.loads(train_tokenizer(640).to_str())["model"]
    assert again == json.loads(tokenizer.backend_tokenizer.to_str())["model"]


def test_special_tokens_are_eos_for_bos_too_and_pad(tokenizer: PreTrainedTokenizerFast) -> None:
    assert (tokenizer.eos_token, tokenizer.bos_token, tokenizer.pad_token) == (EOS_TOKEN, EOS_TOKEN, PAD_TOKEN)
    assert (tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id) == (EOS, EOS, PAD)
    assert len(tokenizer) == 640
    assert tokenizer.model_max_length == 512


def test_it_adds_no_token_by_itself(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer("Question: How many?")["input_ids"]
    assert EOS not in ids
    assert ids == tokenizer("Question: How many?", add_special_tokens=False)["input_ids"]


def test_numbers_below_100_are_single_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    assert all(len(tokenizer(str(number))["input_ids"]) == 1 for number in range(100))


@pytest.mark.parametrize("name", GENERATORS)
def test_every_training_text_comes_back(tokenizer: PreTrainedTokenizerFast, name: str) -> None:
    rng = random.Random(0)
    for _ in range(50):
        text = "".join(GENERATORS[name](rng))
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_answers_fit_in_64_tokens_with_room(tokenizer: PreTrainedTokenizerFast) -> None:
    longest = {
        "gsm8k": max(
            len(tokenizer(" " + row["answer"])["input_ids"]) for row in evaluation_rows("gsm8k", "test", 300)
        ),
        "humaneval": max(
            len(tokenizer(row["canonical_solution"])["input_ids"])
            for row in evaluation_rows("humaneval", "test", 300)
        ),
    }
    assert longest["gsm8k"] <= 48
    assert longest["humaneval"] <= 48
