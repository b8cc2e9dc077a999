"""The vLLM backend, against a stub of vLLM's interface: what it asks, and that it scores what transformers scores."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import stub_vllm
import torch
from eval_documents import PAGES, PROBLEMS
from lm_eval.api.instance import Instance

from eval.backends import vllm
from eval.backends.hf import CausalLM
from eval.backends.language_model import language_model
from eval.backends.requests import Requests
from eval.backends.vllm import Engine
from eval.backends.vllm_lm import EngineLM
from eval.harness import EvalSettings, Evaluator

PROMPTS = [f"Question: {row['question']}\nAnswer:" for row in PROBLEMS] + ["\n", "Ona", PAGES[2]]


@pytest.fixture(autouse=True)
def stub(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The stub in vLLM's place; returns what engines were opened with."""
    module = types.ModuleType("vllm")
    module.LLM, module.SamplingParams = stub_vllm.LLM, stub_vllm.SamplingParams  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setenv("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "1")  # removed again: the engine sets it for the process
    stub_vllm.LLM.opened.clear()
    return stub_vllm.LLM.opened


def saved(model: Any, tokenizer: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def requests(kind: str, texts: list[str], **arguments: Any) -> list[Instance]:
    given = [(text, dict(arguments)) if arguments else (text,) for text in texts]
    return [Instance(kind, {}, args, i, metadata=("t", i, 1)) for i, args in enumerate(given)]  # type: ignore[arg-type]


@pytest.fixture
def both(
    tiny_model: Callable[..., Any], tokenizer: Any, tmp_path: Path
) -> Callable[..., tuple[CausalLM, EngineLM, Engine]]:
    def make(settings: EvalSettings | None = None, **config: Any) -> tuple[CausalLM, EngineLM, Engine]:
        model = tiny_model(1, **config)
        folder = saved(model, tokenizer, tmp_path / "model")
        chosen = settings or EvalSettings(data_dir=tmp_path, backend="vllm", batch_size=7)
        loaded = type(tokenizer).from_pretrained(folder)
        engine = Engine(folder, chosen, loaded)
        return CausalLM(model, Requests(tokenizer), 7), EngineLM(engine, Requests(loaded), chosen.seed), engine

    return make


@pytest.mark.parametrize("context", [256, 48])
def test_both_backends_score_the_same_windows(both: Any, context: int) -> None:
    hugging_face, ours, _ = both(max_position_embeddings=context)
    pages = requests("loglikelihood_rolling", [*PAGES, PAGES[2] * 4])
    longest = max(len(ours.tok_encode(page.args[0], add_special_tokens=False)) for page in pages)
    assert longest > 48, "no document takes several windows: the test would prove nothing"
    expected = hugging_face.loglikelihood_rolling(pages)
    assert ours.loglikelihood_rolling(pages) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("until", [[], ["o", "Ona", "th"], [" "], ["<|pad|>"]])
def test_both_backends_give_the_same_answers(both: Any, until: list[str]) -> None:
    hugging_face, ours, _ = both()
    asked = requests("generate_until", PROMPTS, until=until, do_sample=False, temperature=0.0, max_gen_toks=12)
    expected = hugging_face.generate_until(asked)
    assert any(expected)
    assert ours.generate_until(asked) == expected


def test_prompts_are_cut_as_with_transformers(both: Any) -> None:
    hugging_face, ours, _ = both(max_position_embeddings=40)
    asked = requests("generate_until", PROMPTS, until=["zz"], max_gen_toks=12)
    assert ours.generate_until(asked) == hugging_face.generate_until(asked)


def test_multiple_choice_scores_equal_those_of_transformers(both: Any) -> None:
    hugging_face, ours, _ = both()
    asked = [
        Instance("loglikelihood", {}, (prompt, choice), i, metadata=("t", i, 1))  # type: ignore[arg-type]
        for i, (prompt, choice) in enumerate((p, c) for p in ["", *PROMPTS[:3]] for c in (" 4", " Ona town"))
    ]
    expected = hugging_face.loglikelihood(asked, disable_tqdm=True)
    found = ours.loglikelihood(asked, disable_tqdm=True)
    assert [value for value, _ in found] == pytest.approx([value for value, _ in expected], rel=1e-5)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]


def test_samples_of_one_prompt_differ_and_a_seed_repeats_them(both: Any) -> None:
    _, ours, engine = both()
    asked = requests("generate_until", ["Ona"] * 4, until=["zz"], do_sample=True, temperature=0.8, max_gen_toks=8)
    first = ours.generate_until(asked)
    assert len(set(first)) > 1
    assert EngineLM(engine, ours.shared, seed=0).generate_until(asked) == first
    assert EngineLM(engine, ours.shared, seed=1000).generate_until(asked) != first


def test_the_engine_is_opened_as_the_settings_say(both: Any, stub: list[dict[str, Any]], tmp_path: Path) -> None:
    settings = EvalSettings(
        data_dir=tmp_path, backend="vllm", batch_size=9, tensor_parallel=2, gpu_memory=0.5, dtype="float32"
    )
    both(settings)
    (opened,) = stub
    assert opened["max_model_len"] == 256 + 2
    assert opened["hf_overrides"] == {"max_position_embeddings": 258}
    assert (opened["max_num_seqs"], opened["tensor_parallel_size"], opened["gpu_memory_utilization"]) == (9, 2, 0.5)
    assert (opened["dtype"], opened["seed"]) == ("float32", 0)


def test_positions_that_are_learned_are_not_stretched_and_say_so(tokenizer: Any, tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=32, n_embd=16, n_layer=1, n_head=2)
    folder = saved(GPT2LMHeadModel(config).eval(), tokenizer, tmp_path / "gpt2")
    engine = Engine(folder, EvalSettings(data_dir=tmp_path, backend="vllm"), tokenizer.from_pretrained(folder))
    assert stub_vllm.LLM.opened[0]["max_model_len"] == 32
    ours = EngineLM(engine, Requests(tokenizer))
    assert ours.loglikelihood_rolling(requests("loglikelihood_rolling", ["Ona"]))[0] < 0
    with pytest.raises(ValueError, match=r"cannot score a window of 33 tokens.*eval\.backend=hf"):
        ours.loglikelihood_rolling(requests("loglikelihood_rolling", [PAGES[2] * 4]))


def test_a_merge_in_memory_reaches_the_workers_in_pieces(
    both: Any, tiny_model: Callable[..., Any], tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm, "PIECE", 10_000)
    _, ours, engine = both()
    other = tiny_model(5)
    asked = requests("generate_until", PROMPTS, until=["zz"], max_gen_toks=8)
    before = ours.generate_until(asked)
    engine.load(other.named_parameters())
    assert len(engine._engine.loaded) > 2
    assert sorted(name for piece in engine._engine.loaded for name in piece) == sorted(dict(other.named_parameters()))
    assert engine._engine.resets == 1
    after = ours.generate_until(asked)
    assert after != before
    assert after == CausalLM(other, Requests(tokenizer), 4).generate_until(asked)


def test_an_evaluation_has_the_items_that_transformers_gives(
    both: Any, tiny_model: Callable[..., Any], tokenizer: Any, data_dir: Path
) -> None:
    settings = EvalSettings(data_dir=data_dir, backend="vllm", tasks=("wikitext", "gsm8k", "refusal"), limit=4)
    _, _, engine = both(settings)
    ours = Evaluator(settings, tokenizer)(engine)
    plain = EvalSettings(data_dir=data_dir, tasks=settings.tasks, limit=4, device="cpu")
    expected = Evaluator(plain, tokenizer)(tiny_model(1))
    pd.testing.assert_frame_equal(ours.items, expected.items, rtol=1e-5)
    assert ours.answers == expected.answers
    assert {score["backend"] for score in ours.scores} == {"vllm"}


def test_a_model_of_the_other_backend_is_refused(both: Any, tokenizer: Any, tmp_path: Path) -> None:
    hugging_face, _, engine = both()
    shared = Requests(tokenizer)
    with pytest.raises(ValueError, match=r"eval\.backend=vllm scores an open eval\.backends\.vllm\.Engine"):
        language_model(hugging_face.model, shared, EvalSettings(data_dir=tmp_path, backend="vllm"))
    with pytest.raises(ValueError, match=r"eval\.backend=hf scores a model of transformers"):
        language_model(engine, shared, EvalSettings(data_dir=tmp_path))


def test_arguments_that_vllm_does_not_know_are_refused(both: Any) -> None:
    _, ours, _ = both()
    with pytest.raises(ValueError, match="has no generation_kwargs num_beams"):
        ours.generate_until(requests("generate_until", ["Ona"], until=[], num_beams=4, max_gen_toks=4))


def test_without_vllm_the_message_says_what_to_install(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ValueError, match=r"pip install 'lata-bench\[vllm\]', or set eval\.backend=hf"):
        Engine(tmp_path, EvalSettings(data_dir=tmp_path, backend="vllm"), tokenizer)


def test_the_backend_imports_nothing_heavy_until_it_is_opened() -> None:
    script = (
        "import sys, eval.backends.vllm; print({'torch', 'transformers', 'lm_eval', 'vllm'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed")
def test_the_installed_vllm_has_the_interface_of_the_stub(monkeypatch: pytest.MonkeyPatch) -> None:
    import inspect

    monkeypatch.delitem(sys.modules, "vllm")
    real: Any = importlib.import_module("vllm")
    assert {"collective_rpc", "reset_prefix_cache", "generate"} <= set(dir(real.LLM))
    asked = {"max_tokens", "temperature", "top_p", "top_k", "min_p", "stop", "seed", "prompt_logprobs", "detokenize"}
    asked |= {"skip_special_tokens", "spaces_between_special_tokens"}
    assert asked <= set(inspect.signature(real.SamplingParams).parameters)
