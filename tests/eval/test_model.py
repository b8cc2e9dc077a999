"""Which model lm-eval gets, and on which device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from eval.backends.hf import CausalLM
from eval.backends.language_model import language_model
from eval.backends.requests import Asked, Requests, prompt_tokens
from eval.harness import EvalSettings


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_a_model_of_transformers_goes_to_the_device_with_the_batch_size(
    tiny_model: Callable[..., Any], tokenizer: Any, tmp_path: Path, device: str
) -> None:
    settings = EvalSettings(data_dir=tmp_path, batch_size=3, device=device)
    made = language_model(tiny_model(0), Requests(tokenizer), settings)
    assert isinstance(made, CausalLM)
    assert made.batch_size == 3
    assert made.device.type == ("cuda" if device == "auto" and torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(tiny_model: Callable[..., Any], tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"eval\.device=cuda:1: there is no GPU.*set eval\.device=cpu"):
        language_model(tiny_model(0), Requests(tokenizer), EvalSettings(data_dir=tmp_path, device="cuda:1"))


def test_a_model_spread_over_devices_stays_where_it_is(
    tiny_model: Callable[..., Any], tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(0)
    model.hf_device_map = {"": "cpu"}
    monkeypatch.setattr(model, "to", lambda *_: pytest.fail("the model was moved"))
    language_model(model, Requests(tokenizer), EvalSettings(data_dir=tmp_path, device="cpu"))


def test_what_a_request_asks_is_read_once_for_both_backends(tiny_model: Callable[..., Any], tokenizer: Any) -> None:
    lm = CausalLM(tiny_model(0), Requests(tokenizer), 2)
    asked = Asked.of(lm, {"until": ["\n"], "max_gen_toks": 56, "do_sample": True, "temperature": 0.5})
    assert (asked.stops, asked.max_new, asked.room) == (["\n", "<|eos|>"], 56, 200)
    assert asked.sampling == {"do_sample": True, "temperature": 0.5}
    assert Asked.of(lm, {"until": [], "max_gen_toks": 8}).sampling["temperature"] == 0.0
    with pytest.raises(ValueError, match="leaves no room for a prompt in a context of 256"):
        Asked.of(lm, {"until": [], "max_gen_toks": 256})


def test_bos_is_not_added_to_a_prompt_that_begins_with_it(tiny_model: Callable[..., Any], tokenizer: Any) -> None:
    lm = CausalLM(tiny_model(0), Requests(tokenizer), 2)
    assert prompt_tokens(lm, "<|eos|>Ona") == tokenizer.encode("<|eos|>Ona", add_special_tokens=False)
