"""Tokens scored in pieces get the values of the whole logits, on any architecture, and never all logits at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from eval.backends import logits
from eval.backends.hf import CausalLM
from eval.backends.logits import TokenScorer
from eval.backends.requests import Requests

SMALL = {
    **{"vocab_size": 400, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "head_dim": 8},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 96, "initializer_range": 0.5},
    **{"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 0},
}
TOKENS = torch.arange(2 * 40).reshape(2, 40) * 37 % 400
PLACES = [*range(20, 39), *range(45, 79)]


def gemma(**config: Any) -> Any:
    settings = {**SMALL, "sliding_window": 16, "final_logit_softcapping": 30.0, **config}
    return Gemma2ForCausalLM(Gemma2Config(**settings))


MODELS: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SMALL)),
    "llama, tied": lambda: LlamaForCausalLM(LlamaConfig(**SMALL, tie_word_embeddings=True)),
    "gemma 2": gemma,
    "gemma 2, no cap": lambda: gemma(final_logit_softcapping=None),
    "gpt 2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=400, n_positions=96, n_embd=32, n_layer=2, n_head=4)),
    "cohere": lambda: CohereForCausalLM(CohereConfig(**{**SMALL, "logit_scale": 0.25})),
}


def made(name: str) -> Any:
    torch.manual_seed(0)
    return MODELS[name]().eval()


def whole(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """log P from the logits of the whole batch."""
    targets = [int(TOKENS.flatten()[place + 1]) for place in PLACES]
    with torch.inference_mode():
        rows = model(TOKENS).logits.flatten(0, 1)[PLACES].double()
    return rows.log_softmax(-1)[range(len(PLACES)), targets], rows.argmax(-1) == torch.tensor(targets)


def pieced(model: Any) -> tuple[TokenScorer, tuple[torch.Tensor, torch.Tensor]]:
    scorer = TokenScorer(model)
    return scorer, scorer(TOKENS, PLACES, [int(TOKENS.flatten()[place + 1]) for place in PLACES])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("limit", [1, 400 * 7, 2**26])
def test_pieces_of_any_size_give_the_values_of_the_whole(
    name: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logits, "LOGITS", limit)
    model = made(name)
    expected, best = whole(model)
    scorer, (values, greedy) = pieced(model)
    assert scorer.split is (name != "cohere"), "Cohere scales its logits: they are not its head's"
    assert values.dtype == torch.float32
    torch.testing.assert_close(values.double(), expected, rtol=1e-6, atol=1e-5)
    assert torch.equal(greedy, best)


@pytest.mark.parametrize("name", ["llama", "gemma 2"])
def test_no_more_logits_are_made_at_a_time_than_allowed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logits, "LOGITS", 400 * 7)
    model, seen = made(name), []
    model.lm_head.register_forward_hook(lambda _, __, output: seen.append(output.shape[:-1].numel()))
    pieced(model)
    assert max(seen) == 7
    assert sum(seen) == 2 * 2 + len(PLACES), "two tokens twice, once to compare; then every place once"


@pytest.mark.parametrize("name", ["llama", "gemma 2"])
def test_no_cache_is_filled(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(name)
    scorer = TokenScorer(model)
    monkeypatch.setattr("transformers.cache_utils.DynamicLayer.update", lambda *_, **__: pytest.fail("a cache"))
    scorer(TOKENS, PLACES, [5] * len(PLACES))


def test_bf16_logits_are_normalised_in_fp32() -> None:
    model = made("gemma 2").bfloat16()
    expected, best = whole(model)
    scorer, (values, greedy) = pieced(model)
    assert scorer.split
    torch.testing.assert_close(values.double(), expected, rtol=1e-2, atol=1e-2)
    assert torch.equal(greedy, best)


def test_a_merge_that_has_come_apart_is_still_scored_in_pieces() -> None:
    model = made("gemma 2")
    model.model.layers[0].mlp.up_proj.weight.data.fill_(float("nan"))
    scorer, (values, _) = pieced(model)
    assert scorer.split
    assert values.isnan().all()


def choices(texts: list[str], continuations: list[str]) -> list[Instance]:
    pairs = [(text, continuation) for text in texts for continuation in continuations]
    return [
        Instance("loglikelihood", {}, pair, index, metadata=("t", index, 1))  # type: ignore[arg-type]
        for index, pair in enumerate(pairs)
    ]


@pytest.mark.parametrize("name", ["llama", "gemma 2", "cohere"])
def test_choices_score_as_with_lm_evals_own_model(name: str, tokenizer: Any) -> None:
    model = made(name)
    texts = ["", "Ona ", "Question: Tom has 4 books.\nAnswer:", "A long text. " * 30]
    asked = choices(texts, [" A", " B", " Town 3 lies", "\nx"])
    expected = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=3).loglikelihood(asked, disable_tqdm=True)
    found = CausalLM(model, Requests(tokenizer), 3).loglikelihood(asked)
    assert [value for value, _ in found] == pytest.approx([value for value, _ in expected], rel=1e-6)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]


def test_choices_of_one_token_are_read_with_their_question_once(
    tiny_model: Callable[..., Any], tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = []
    scorer = TokenScorer.__call__
    monkeypatch.setattr(
        TokenScorer, "__call__", lambda self, inputs, *rest: rows.append(len(inputs)) or scorer(self, inputs, *rest)
    )
    texts = [f"Question {number}\nAnswer:" for number in range(5)]
    letters = ["!", "#", "$", "%"]
    assert all(len(tokenizer.encode(letter)) == 1 for letter in letters)
    CausalLM(tiny_model(0), Requests(tokenizer), 3).loglikelihood(choices(texts, letters))
    assert rows == [3, 2]


def test_a_text_is_tokenised_once_for_all_models_and_requests(
    tiny_model: Callable[..., Any], tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = Requests(tokenizer)
    asked = choices(["Ona", "Town 2"], [" A", " B"])
    CausalLM(tiny_model(0), shared, 3).loglikelihood(asked)
    monkeypatch.setattr(type(tokenizer), "encode", lambda *_, **__: pytest.fail("tokenised again"))
    CausalLM(tiny_model(1), shared, 3).loglikelihood(asked)
