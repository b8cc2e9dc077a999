"""Our generation and perplexity give what lm-eval's own model class gives, item by item."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from eval_documents import PAGES, PROBLEMS
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from eval.backends import generate
from eval.backends.hf import CausalLM
from eval.backends.requests import Requests
from eval.backends.stops import StopStrings

PROMPTS = [f"Question: {row['question']}\nAnswer:" for row in PROBLEMS] + ["\n", "Ona", PAGES[2]]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("lm_eval").setLevel(logging.ERROR)


def generation(prompts: list[str], **arguments: Any) -> list[Instance]:
    return [
        Instance("generate_until", {}, (prompt, dict(arguments)), 0, metadata=("t", i, 1))
        for i, prompt in enumerate(prompts)
    ]


def rolling(pages: list[str]) -> list[Instance]:
    return [Instance("loglikelihood_rolling", {}, (page,), 0, metadata=("t", i, 1)) for i, page in enumerate(pages)]


def both(model: Any, tokenizer: Any, batch_size: int) -> tuple[CausalLM, HFLM]:
    return (
        CausalLM(model, Requests(tokenizer), batch_size),
        HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size),
    )


@pytest.mark.parametrize("batch_size", [5, 32])
@pytest.mark.parametrize(
    ("seed", "until"), [(0, []), (1, ["e", "\nab"]), (2, ["o", "Ona", "th"]), (3, [" ", "books"])]
)
def test_answers_equal_stock_item_by_item(
    tiny_model: Callable[..., Any], tokenizer: Any, seed: int, batch_size: int, until: list[str]
) -> None:
    ours, stock = both(tiny_model(seed), tokenizer, batch_size)
    requests = generation(PROMPTS, until=until, do_sample=False, temperature=0.0, max_gen_toks=24)
    expected = stock.generate_until(requests, disable_tqdm=True)
    assert ours.generate_until(requests) == expected
    assert any(expected), "the model wrote nothing at all: the test would prove nothing"


def test_rows_that_end_with_eos_equal_stock(tiny_model: Callable[..., Any], tokenizer: Any) -> None:
    model = tiny_model(3)
    ids = [tokenizer.encode(prompt) for prompt in PROMPTS]
    none = StopStrings(tokenizer, [])
    free = generate.greedy(model, tokenizer, ids, none, 24)
    ends = {free[0][6], free[3][2], free[5][11]}  # tokens that some rows reach early, others late or never
    model.generation_config.eos_token_id = sorted({0, *ends})
    ours, stock = both(model, tokenizer, 32)
    lengths = {len(row) for row in generate.greedy(model, tokenizer, ids, none, 24)}
    assert len(lengths) > 3, "rows must end at different steps for this test to prove anything"
    requests = generation(PROMPTS, until=[], do_sample=False, max_gen_toks=24)
    assert ours.generate_until(requests) == stock.generate_until(requests, disable_tqdm=True)


def test_a_prompt_longer_than_the_context_is_cut_as_in_stock(tiny_model: Callable[..., Any], tokenizer: Any) -> None:
    ours, stock = both(tiny_model(1, max_position_embeddings=40), tokenizer, 8)
    requests = generation(PROMPTS, until=[], do_sample=False, max_gen_toks=16)
    assert ours.generate_until(requests) == stock.generate_until(requests, disable_tqdm=True)


def test_a_context_without_room_for_a_prompt_is_refused(tiny_model: Callable[..., Any], tokenizer: Any) -> None:
    ours, _ = both(tiny_model(max_position_embeddings=16), tokenizer, 8)
    with pytest.raises(ValueError, match="max_gen_toks = 16 leaves no room for a prompt in a context of 16"):
        ours.generate_until(generation(["a"], until=[], do_sample=False, max_gen_toks=16))


def test_different_arguments_in_one_call_keep_their_order(tiny_model: Callable[..., Any], tokenizer: Any) -> None:
    ours, stock = both(tiny_model(0), tokenizer, 3)
    short = generation(PROMPTS, until=["e"], do_sample=False, max_gen_toks=5)
    long = generation(PROMPTS, until=["a"], do_sample=False, max_gen_toks=12)
    mixed = [request for pair in zip(short, long, strict=True) for request in pair]
    assert ours.generate_until(mixed) == stock.generate_until(mixed, disable_tqdm=True)


@pytest.mark.parametrize(
    "setting", [{"repetition_penalty": 1.7}, {"no_repeat_ngram_size": 2}, {"suppress_tokens": list(range(2, 200))}]
)
def test_a_model_with_generation_defaults_answers_as_stock(
    tiny_model: Callable[..., Any], tokenizer: Any, setting: dict[str, Any]
) -> None:
    model = tiny_model(0)
    assert generate.supports(model)
    plain = both(model, tokenizer, 8)[0].generate_until(
        generation(PROMPTS, until=[], do_sample=False, max_gen_toks=12)
    )
    for key, value in setting.items():
        setattr(model.generation_config, key, value)
    assert not generate.supports(model)
    ours, stock = both(model, tokenizer, 8)
    requests = generation(PROMPTS, until=[], do_sample=False, max_gen_toks=12)
    answers = ours.generate_until(requests, disable_tqdm=True)
    assert answers == stock.generate_until(requests, disable_tqdm=True)
    assert answers != plain


def test_sampled_answers_equal_stock(tiny_model: Callable[..., Any], tokenizer: Any) -> None:
    ours, stock = both(tiny_model(0), tokenizer, 8)
    requests = generation(PROMPTS, until=[], do_sample=True, temperature=0.7, max_gen_toks=8)
    torch.manual_seed(1)
    answers = ours.generate_until(requests, disable_tqdm=True)
    torch.manual_seed(1)
    assert answers == stock.generate_until(requests, disable_tqdm=True)


@pytest.mark.parametrize("kind", ["gpt2", "gemma2", "qwen2"])
def test_other_architectures_answer_as_stock(kind: str, tokenizer: Any) -> None:
    import transformers

    torch.manual_seed(0)
    sizes = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
    if kind == "gpt2":
        config: Any = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=256, **sizes)
    else:
        shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
        shape |= {"num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.3}
        if kind == "gemma2":
            shape |= {"head_dim": 8, "sliding_window": 12}
        make = transformers.Gemma2Config if kind == "gemma2" else transformers.Qwen2Config
        config = make(**shape, **sizes)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    ours, stock = both(model, tokenizer, 6)
    assert generate.supports(model)
    requests = generation(PROMPTS, until=["e"], do_sample=False, max_gen_toks=20)
    assert ours.generate_until(requests) == stock.generate_until(requests, disable_tqdm=True)
    for a, b in zip(
        ours.loglikelihood_rolling(rolling(PAGES)), stock.loglikelihood_rolling(rolling(PAGES)), strict=True
    ):
        assert a == pytest.approx(b, rel=1e-6)


@pytest.mark.parametrize("batch_size", [1, 4, 32])
@pytest.mark.parametrize("context", [16, 256])
def test_rolling_loglikelihood_equals_stock(
    tiny_model: Callable[..., Any], tokenizer: Any, batch_size: int, context: int
) -> None:
    ours, stock = both(tiny_model(4, max_position_embeddings=context), tokenizer, batch_size)
    expected = stock.loglikelihood_rolling(rolling(PAGES), disable_tqdm=True)
    for a, b in zip(ours.loglikelihood_rolling(rolling(PAGES)), expected, strict=True):
        assert a == pytest.approx(b, rel=1e-6)


def test_a_tokenizer_that_adds_bos_does_not_score_it(tiny_model: Callable[..., Any], tokenizer: Any) -> None:
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    adding = PreTrainedTokenizerFast(
        tokenizer_object=type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str()),
        bos_token="<|eos|>",
        eos_token="<|eos|>",
        pad_token="<|pad|>",
    )
    adding.backend_tokenizer.post_processor = TemplateProcessing(single="<|eos|> $A", special_tokens=[("<|eos|>", 0)])
    assert adding("a")["input_ids"][0] == 0
    model = tiny_model(5)
    ours, trapped = both(model, adding, 8)
    plain, _ = both(model, tokenizer, 8)
    scores = ours.loglikelihood_rolling(rolling(PAGES))
    assert scores == plain.loglikelihood_rolling(rolling(PAGES))
    assert scores != pytest.approx(trapped.loglikelihood_rolling(rolling(PAGES), disable_tqdm=True))
    # A prompt keeps what the tokenizer adds, as in stock.
    requests = generation(PROMPTS, until=[], do_sample=False, max_gen_toks=10)
    assert ours.generate_until(requests) == trapped.generate_until(requests, disable_tqdm=True)


def test_one_token_store_serves_many_models_with_the_same_answers(
    tiny_model: Callable[..., Any], tokenizer: Any
) -> None:
    requests = generation(PROMPTS, until=["e"], do_sample=False, max_gen_toks=10)
    shared = Requests(tokenizer)
    together = [CausalLM(tiny_model(seed), shared, 8).generate_until(requests) for seed in (0, 1)]
    apart = [CausalLM(tiny_model(seed), Requests(tokenizer), 8).generate_until(requests) for seed in (0, 1)]
    assert together == apart
    assert together[0] != together[1]
