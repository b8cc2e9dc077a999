"""Tokenizers that were changed for training: a pad token that the model lacks, EOS behind every text."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eval_documents import PROBLEMS
from tokenizers import AddedToken
from tokenizers.processors import TemplateProcessing

from eval.harness import EvalSettings, Evaluator


@pytest.fixture
def settings(data_dir: Path) -> EvalSettings:
    return EvalSettings(data_dir=data_dir, tasks=("wikitext", "gsm8k"), limit=4, batch_size=4, device="cpu")


@pytest.fixture
def enlarged(tokenizer: Any) -> Any:
    """The tokenizer with a ``[PAD]`` of its own, as it is added for training; the models have no row for it."""
    changed = copy.deepcopy(tokenizer)
    changed.add_special_tokens({"pad_token": AddedToken("[PAD]", special=True)})
    assert changed.pad_token_id == len(tokenizer)
    return changed


@pytest.fixture
def ending(tokenizer: Any) -> Any:
    """The tokenizer with EOS before and behind every text."""
    changed = copy.deepcopy(tokenizer)
    changed.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|eos|> $A <|eos|>", special_tokens=[("<|eos|>", 0)]
    )
    assert changed("a")["input_ids"][0] == changed("a")["input_ids"][-1] == 0
    return changed


@pytest.mark.parametrize("loop", ["own", "library"])
def test_a_pad_token_without_a_row_changes_nothing(
    enlarged: Any, tokenizer: Any, tiny_model: Callable[..., Any], settings: EvalSettings, loop: str
) -> None:
    model = tiny_model(0)
    if loop == "library":
        model.generation_config.renormalize_logits = True
    found, plain = (Evaluator(settings, used)(model) for used in (enlarged, tokenizer))
    assert found.answers == plain.answers
    assert found.scores == plain.scores


@pytest.mark.parametrize("task", ["gsm8k", "wikitext"])
def test_a_prompt_with_a_token_without_a_row_is_refused(
    enlarged: Any, tiny_model: Callable[..., Any], tmp_path: Path, task: str
) -> None:
    import json

    row = {"gsm8k": {**PROBLEMS[0], "question": "[PAD]?"}, "wikitext": {"page": "Ona [PAD]"}}[task]
    (tmp_path / f"{task}_test.jsonl").write_text(json.dumps(row))
    evaluator = Evaluator(EvalSettings(data_dir=tmp_path, tasks=(task,), device="cpu"), enlarged)
    last = len(enlarged) - 1
    with pytest.raises(ValueError, match=rf"'\[PAD\]', token {last} .* have {last} rows.*chat_template=off"):
        evaluator(tiny_model(0))


def test_what_a_tokenizer_puts_behind_every_text_is_left_out_and_said(
    ending: Any, tokenizer: Any, tiny_model: Callable[..., Any], settings: EvalSettings
) -> None:
    beginning = copy.deepcopy(tokenizer)
    beginning.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|eos|> $A", special_tokens=[("<|eos|>", 0)]
    )
    model = tiny_model(0)
    found, right = (Evaluator(settings, used)(model) for used in (ending, beginning))
    assert found.answers == right.answers
    assert found.scores == right.scores
    assert [line for line in found.warnings if "<|eos|>" in line and "lm-eval" in line] == list(found.warnings[:1])
    assert found.warnings[1:] == right.warnings


def test_a_choice_is_scored_for_itself_not_for_the_end_behind_it(
    ending: Any, tiny_model: Callable[..., Any], tokenizer: Any
) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from eval.backends.hf import CausalLM
    from eval.backends.requests import Requests

    asked: list[Instance] = [
        Instance("loglikelihood", {}, ("Ona lies", choice), i, metadata=("t", i, 1))  # type: ignore[arg-type]
        for i, choice in enumerate((" in the north", " on"))
    ]
    model = tiny_model(0)
    beginning = copy.deepcopy(tokenizer)
    beginning.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|eos|> $A", special_tokens=[("<|eos|>", 0)]
    )
    expected = HFLM(pretrained=model, tokenizer=beginning).loglikelihood(asked, disable_tqdm=True)
    found = CausalLM(model, Requests(ending), 2).loglikelihood(asked)
    assert [value for value, _ in found] == pytest.approx([value for value, _ in expected], rel=1e-5)


@pytest.mark.parametrize(
    ("tasks", "begins", "said"),
    [(("gsm8k",), True, "by which answers end"), (("wikitext",), False, "nor one that begins texts")],
)
def test_a_tokenizer_without_an_end_token_is_refused_where_one_is_needed(
    tokenizer: Any, data_dir: Path, tasks: tuple[str, ...], begins: bool, said: str
) -> None:
    changed = copy.deepcopy(tokenizer)
    changed.eos_token = None
    if not begins:
        changed.bos_token = None
    with pytest.raises(ValueError, match=f"no end token, {said}: name it as"):
        Evaluator(EvalSettings(data_dir=data_dir, tasks=tasks, device="cpu"), changed)


def test_pages_need_no_end_token_where_there_is_one_that_begins_texts(
    tokenizer: Any, data_dir: Path, tiny_model: Callable[..., Any]
) -> None:
    changed = copy.deepcopy(tokenizer)
    changed.eos_token = None
    settings = EvalSettings(data_dir=data_dir, tasks=("wikitext",), limit=3, device="cpu")
    found, plain = (Evaluator(settings, used)(tiny_model(0)) for used in (changed, tokenizer))
    assert found.scores == plain.scores
